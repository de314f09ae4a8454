//! The macros' code needs nothing of its surroundings and causes no warning.
#![no_implicit_prelude]
#![deny(warnings)]

#[derive(::ensue::Event, ::serde::Serialize, ::serde::Deserialize)]
#[event(type = "order.created", topic = "orders.{region}", key = (region, order_id))]
struct OrderCreatedV1 {
    region: u8,
    order_id: ::std::string::String,
}

#[derive(::ensue::Event, ::serde::Serialize, ::serde::Deserialize)]
#[event(type = "order.created", topic = "orders.{region}", key = order_id, codec = "cbor")]
#[event(version = 2, previous = OrderCreatedV1)]
struct OrderCreated {
    region: u8,
    order_id: ::std::string::String,
}

impl ::std::convert::From<OrderCreatedV1> for OrderCreated {
    fn from(old: OrderCreatedV1) -> Self {
        Self {
            region: old.region,
            order_id: old.order_id,
        }
    }
}

struct Result;

#[::ensue::service]
impl Result {
    #[on(attempts = 3, backoff = "1s", timeout = "1m", on_dead = "park")]
    async fn created(&self, order: OrderCreated, context: &::ensue::Context) -> ::ensue::Outgoing {
        let _ = context.id();
        ::ensue::Outgoing::new(order)
    }

    #[on(topics = ">", types = ["order.paid"], publishes = [OrderCreated])]
    async fn any(&self, _: ::ensue::Envelope) -> ::ensue::Effects {
        ::ensue::Effects::none()
    }
}

fn main() {
    let service = ::std::sync::Arc::new(Result);
    let handlers = ::ensue::Service::handlers(service);
    ::std::assert_eq!(handlers.len(), 2);
}

//! The six services. Each is a struct whose fields are those it talks to, and whose methods answer
//! an event with what follows from it.
//!
//! ```text
//! order.placed ─> ordering ─> order.created ─> payments ─> order.payment ─> fulfilment
//!   ─> order.processing ─> shipping ─> order.shipped ─> shipping ─> order.signed ─> receipts
//!   ─> order.signed_received ─> ordering
//! ```
//!
//! The service that learns that the next step cannot happen publishes `order.updated` instead.

mod fulfilment;
mod notifications;
mod ordering;
mod payments;
mod receipts;
mod shipping;

use ensue::App;

pub use self::fulfilment::Fulfilment;
pub use self::notifications::Notifications;
pub use self::ordering::Ordering;
pub use self::payments::Payments;
pub use self::receipts::Receipts;
pub use self::shipping::Shipping;
use crate::outside::Outside;

/// Adds one service to an app.
pub type Add = fn(App, &Outside) -> App;

/// Every service, by name: a process may run all of them or any of them.
pub const ALL: [(&str, Add); 6] = [
    ("ordering", |app, outside| {
        let customer = outside.customer();
        app.service(Ordering { customer })
    }),
    ("payments", |app, outside| {
        let gateway = outside.gateway();
        app.service(Payments { gateway })
    }),
    ("fulfilment", |app, outside| {
        let warehouse = outside.warehouse();
        app.service(Fulfilment { warehouse })
    }),
    ("shipping", |app, outside| {
        let carrier = outside.carrier();
        app.service(Shipping { carrier })
    }),
    ("receipts", |app, _| app.service(Receipts)),
    ("notifications", |app, outside| {
        let customer = outside.customer();
        app.service(Notifications { customer })
    }),
];

/// Adds the services to an app that `is_wanted` says yes to, by their names.
pub fn add(app: App, outside: &Outside, is_wanted: impl Fn(&str) -> bool) -> App {
    let wanted = ALL.iter().filter(|(name, _)| is_wanted(name));
    wanted.fold(app, |app, (_, add)| add(app, outside))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ensue::{App, Timestamp};

    use super::add;
    use crate::events::{LIFE, OrderPlaced, OrderSignedReceived};
    use crate::outside::{Ledger, Outside};
    use crate::world::Recorded;

    /// Orders that are named after what becomes of them; each step takes a minute, from minute 1.
    const ORDERS: &str = "\
order_id,customer_id,order_status,order_purchase_timestamp,order_approved_at,order_delivered_carrier_date,order_delivered_customer_date
delivered,c,delivered,1/1/1970 0:01,1/1/1970 0:02,1/1/1970 0:03,1/1/1970 0:04
returned,c,canceled,1/1/1970 0:01,1/1/1970 0:02,1/1/1970 0:03,1/1/1970 0:04
on its way,c,shipped,1/1/1970 0:01,1/1/1970 0:02,1/1/1970 0:03,
unavailable,c,unavailable,1/1/1970 0:01,1/1/1970 0:02,,
canceled,c,canceled,1/1/1970 0:01,,,
";

    pub(super) fn outside() -> Outside {
        failing(0)
    }

    /// Of the calls to it, so many of a hundred fail.
    pub(super) fn failing(faults_percent: u8) -> Outside {
        let world = Recorded::read(ORDERS.as_bytes()).unwrap();
        Outside::new(Arc::new(world), Ledger::in_memory(), faults_percent)
    }

    pub(super) fn at(minute: i64) -> Timestamp {
        Timestamp::from_micros(minute * 60_000_000)
    }

    pub(super) fn signed_received(order_id: &str) -> OrderSignedReceived {
        OrderSignedReceived {
            order_id: order_id.into(),
            charge: "charge-1".into(),
            signed_at: at(4),
        }
    }

    #[tokio::test]
    async fn every_event_of_a_life_follows_from_something_and_is_handled() {
        let engine = ensue::Engine::open("memory:").await.unwrap();
        let app = App::new(engine).publishes::<OrderPlaced>();
        let description = add(app, &outside(), |_| true).describe();
        let services = description.services.iter();
        let handlers = services.flat_map(|service| &service.handlers);
        let follow: Vec<_> = handlers.flat_map(|handler| &handler.publishes).collect();
        assert!(LIFE.iter().all(|kind| follow.contains(&kind)), "{follow:?}");
        assert!(description.unhandled.is_empty(), "{description}");
    }
}

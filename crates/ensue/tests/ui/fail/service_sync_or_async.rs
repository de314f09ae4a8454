use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders")]
struct OrderCreated;

struct Payments;

#[service]
impl Payments {
    #[on]
    fn charge(&self, _: OrderCreated) {}
}

struct Refunds;

#[service]
impl Refunds {
    #[on(blocking)]
    async fn refund(&self, _: OrderCreated) {}
}

fn main() {}

use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders")]
struct OrderCreated;

struct Payments;

#[service]
impl Payments {
    #[on(attemps = 5, colour = "red")]
    async fn charge(&self, _: OrderCreated) {}
}

struct Refunds;

#[service(nane = "refunds")]
impl Refunds {
    #[on]
    async fn refund(&self, _: OrderCreated) {}
}

fn main() {}

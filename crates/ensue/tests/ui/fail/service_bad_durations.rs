use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders")]
struct OrderCreated;

struct Payments;

#[service]
impl Payments {
    #[on(backoff = "30s..200ms", timeout = "ten seconds")]
    async fn charge(&self, _: OrderCreated) {}

    #[on(backoff = "fast", timeout = "0s", topics = ">.orders")]
    async fn refund(&self, _: OrderCreated) {}
}

fn main() {}

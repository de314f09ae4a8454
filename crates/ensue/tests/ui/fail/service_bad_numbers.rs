use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders")]
struct OrderCreated;

struct Payments;

#[service]
impl Payments {
    #[on(attempts = 0, concurrency = 65537, on_dead = "drop")]
    async fn charge(&self, _: OrderCreated) {}
}

struct Refunds;

#[service]
impl Refunds {
    #[on(attempts = 1001, concurrency = "many", blocking = true)]
    async fn refund(&self, _: OrderCreated) {}
}

fn main() {}

use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders")]
struct OrderCreated;

struct Payments;

#[service]
impl Payments {
    #[on]
    async fn charge(&self, _: OrderCreated) {}

    #[on]
    async fn refund(&self, _: OrderCreated) {}

    #[on(topics = ">", types = ["a", "b"])]
    async fn one(&self, _: Envelope) {}

    #[on(topics = ">", types = ["b", "c"])]
    async fn two(&self, _: Envelope) {}
}

fn main() {}

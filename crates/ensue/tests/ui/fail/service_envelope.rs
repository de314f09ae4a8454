use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders")]
struct OrderCreated;

struct Payments;

#[service]
impl Payments {
    #[on]
    async fn from_nowhere(&self, _: Envelope) {}

    #[on(blocking, topics = "orders", types = [])]
    fn blocking(&self, _: Envelope) {}

    #[on(types = ["order.created"])]
    async fn typed(&self, _: OrderCreated) {}
}

fn main() {}

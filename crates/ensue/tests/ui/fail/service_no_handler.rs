use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders")]
struct OrderCreated;

struct Payments;

#[service]
impl Payments {
    async fn charge(&self, _: OrderCreated) {}
}

fn main() {}

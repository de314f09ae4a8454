use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders")]
struct OrderCreated;

struct Payments;

#[service]
impl Payments {
    #[on]
    async fn changes(&mut self, _: OrderCreated) {}

    #[on]
    async fn consumes(self, _: OrderCreated) {}

    #[on]
    async fn stands_alone(_: OrderCreated) {}
}

fn main() {}

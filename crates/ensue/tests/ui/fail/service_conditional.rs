use ensue::Expect;
use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders")]
struct OrderCreated;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.paid", topic = "orders")]
struct OrderPaid;

struct Payments;

#[service]
impl Payments {
    #[on]
    async fn charge(&self, _: OrderCreated) -> Effects {
        Effects::none().publish(Outgoing::new(OrderPaid).expect(Expect::Absent))
    }
}

async fn by_reference(publisher: Publisher) {
    let _ = publisher.publish(&OrderPaid).await;
}

fn main() {}

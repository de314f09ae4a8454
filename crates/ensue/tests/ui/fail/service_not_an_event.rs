use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders")]
struct OrderCreated;

struct Payments;

#[service]
impl Payments {
    #[on]
    async fn charge(&self, _: String) {}
}

struct Refunds;

#[service]
impl Refunds {
    #[on(publishes = [String])]
    async fn refund(&self, _: OrderCreated, _: &String) -> Effects {
        Effects::none()
    }
}

struct Invoices;

#[service]
impl Invoices {
    #[on(needs = [Magic])]
    async fn invoice(&self, _: OrderCreated) {}
}

fn main() {}

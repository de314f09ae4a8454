use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders")]
struct OrderCreated;

struct Payments;

#[service]
struct Misplaced;

#[service]
impl Drop for Payments {
    fn drop(&mut self) {}
}

struct Refunds;

impl Refunds {
    #[on]
    async fn refund(&self, _: OrderCreated) {}
}

struct Größe;

#[service]
impl Größe {
    #[on]
    async fn measure(&self, _: OrderCreated) {}
}

struct Shouting;

#[service(name = "SHOUTING")]
impl Shouting {
    #[on]
    #[on(attempts = 3)]
    async fn shout(&self, _: OrderCreated) {}
}

fn is_service<S: Service>(_: S) {}

fn use_them(misplaced: Misplaced, shouting: Shouting) {
    is_service(misplaced);
    is_service(shouting);
}

fn main() {}

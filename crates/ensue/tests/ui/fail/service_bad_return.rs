use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders")]
struct OrderCreated;

struct Payments;

#[service]
impl Payments {
    #[on]
    async fn charge(&self, _: OrderCreated) -> String {
        String::new()
    }
}

struct Refunds;

#[service]
impl Refunds {
    #[on]
    async fn refund(&self, _: OrderCreated) -> Result<u32, Failure> {
        Ok(5)
    }
}

struct NotAnError;

struct Invoices;

#[service]
impl Invoices {
    #[on(blocking)]
    fn invoice(&self, _: OrderCreated) -> Result<(), NotAnError> {
        Ok(())
    }
}

fn main() {}

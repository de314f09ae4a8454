use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.made", topic = "orders", version = 3)]
struct OrderMade;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders", version = 2, previous = OrderMade)]
struct OrderCreated;

impl From<OrderMade> for OrderCreated {
    fn from(_: OrderMade) -> Self {
        Self
    }
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.made", topic = "orders", version = 3, previous = OrderMade)]
struct NotNewer;

impl From<OrderMade> for NotNewer {
    fn from(_: OrderMade) -> Self {
        Self
    }
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.made", topic = "orders", previous = OrderMade)]
struct NoVersion;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.made", topic = "orders", version = 4, previous = OrderMade)]
struct NoConversion;

fn main() {}

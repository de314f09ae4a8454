use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(
    name = "Order Created",
    topic = "orders..new",
    codec = "xml",
    version = 0
)]
struct OrderCreated;

#[derive(Event, Serialize, Deserialize)]
#[event(name = order_paid, topic = "_orders")]
struct OrderPaid;

#[derive(Event, Serialize, Deserialize)]
#[event(
    name = "order.rejected",
    topic = "orders.>",
    nmae = "x",
    name = "again"
)]
struct OrderRejected;

fn main() {}

use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(
    type = "Order Created",
    topic = "orders..new",
    codec = "xml",
    version = 0
)]
struct OrderCreated;

#[derive(Event, Serialize, Deserialize)]
#[event(type = order_paid, topic = "_orders")]
struct OrderPaid;

#[derive(Event, Serialize, Deserialize)]
#[event(
    type = "order.rejected",
    topic = "orders.>",
    tpye = "x",
    type = "again"
)]
struct OrderRejected;

fn main() {}

use ensue::prelude::*;

#[derive(Event, Serialize)]
#[event(name = "order.created", topic = "orders")]
struct OrderCreated;

fn main() {}

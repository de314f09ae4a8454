use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
struct OrderCreated {
    order_id: String,
}

fn main() {}

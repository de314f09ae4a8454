use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders", key = oder_id)]
struct UnknownField {
    order_id: String,
    cents: u64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders", key = "order_id")]
struct Quoted {
    order_id: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders", key = order_id.len())]
struct Called {
    order_id: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders", key = order_id)]
enum NoCommonField {
    Here { order_id: String },
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders", key = order_id)]
struct NoText {
    order_id: Option<String>,
}

fn main() {}

use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "value.changed", topic = "values")]
struct ValueChanged<T> {
    value: T,
}

#[derive(Event, Serialize)]
#[event(type = "text.changed", topic = "texts")]
struct TextChanged<'a> {
    text: &'a str,
}

fn main() {}

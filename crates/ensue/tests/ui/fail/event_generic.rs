use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(name = "value.changed", topic = "values")]
struct ValueChanged<T> {
    value: T,
}

#[derive(Event, Serialize)]
#[event(name = "text.changed", topic = "texts")]
struct TextChanged<'a> {
    text: &'a str,
}

fn main() {}

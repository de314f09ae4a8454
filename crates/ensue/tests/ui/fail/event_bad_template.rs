use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "sensor.read", topic = "sensors.{hal}")]
struct UnknownField {
    hall: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "sensor.read", topic = "sensors.hall-{hall}")]
struct NotAWholePart {
    hall: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "sensor.read", topic = "sensors.{hall}")]
struct NoText {
    hall: Vec<u8>,
}

fn main() {}

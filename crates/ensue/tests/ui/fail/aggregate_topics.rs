use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "account.deposited", topic = "accounts")]
struct Deposited;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "letter.sent", topic = "letters")]
struct LetterSent;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "sensor.read", topic = "sensors.{hall}")]
struct Read {
    hall: u8,
}

#[derive(Default, Serialize, Deserialize)]
struct Account;

#[aggregate]
impl Account {
    #[apply]
    fn deposited(&mut self, _: Deposited) {}

    #[apply]
    fn sent(&mut self, _: LetterSent) {}
}

#[derive(Default, Serialize, Deserialize)]
struct Sensor;

#[aggregate]
impl Sensor {
    #[apply]
    fn read(&mut self, _: Read) {}
}

fn main() {}

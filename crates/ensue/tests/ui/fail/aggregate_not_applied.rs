use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "account.deposited", topic = "accounts")]
struct Deposited;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "account.withdrawn", topic = "accounts")]
struct Withdrawn;

#[derive(Default, Serialize, Deserialize)]
struct Account;

#[aggregate]
impl Account {
    #[apply]
    fn deposited(&mut self, _: Deposited) {}
}

fn main() {
    ensue::testing::given::<Account>(Withdrawn);
}

use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "account.deposited", topic = "accounts")]
struct Deposited;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "account.withdrawn", topic = "accounts")]
struct Withdrawn;

#[aggregate]
#[derive(Default, Serialize, Deserialize)]
struct OnAStruct;

#[derive(Default, Serialize, Deserialize)]
struct Empty;

#[aggregate]
impl Empty {
    fn deposited(&mut self, _: Deposited) {}
}

#[derive(Default, Serialize, Deserialize)]
struct Forms;

#[aggregate(versoin = 2, name = "Two Words", ignore = [])]
impl Forms {
    #[apply(once)]
    fn with_options(&mut self, _: Deposited) {}

    #[apply]
    async fn waits(&mut self, _: Withdrawn) {}

    #[apply]
    fn refuses(&mut self, _: Deposited) -> Result<(), String> {
        Ok(())
    }

    #[apply]
    fn looks(&self, _: Deposited) {}

    #[apply]
    fn takes_two(&mut self, _: Deposited, _: Withdrawn) {}
}

#[derive(Default, Serialize, Deserialize)]
struct Twice;

#[aggregate(ignore = [Withdrawn])]
impl Twice {
    #[apply]
    fn deposited(&mut self, _: Deposited) {}

    #[apply]
    fn again(&mut self, _: &Deposited) {}

    #[apply]
    fn withdrawn(&mut self, _: Withdrawn) {}
}

#[derive(Default, Serialize, Deserialize)]
struct Misplaced;

impl Misplaced {
    #[apply]
    fn deposited(&mut self, _: Deposited) {}
}

fn main() {}

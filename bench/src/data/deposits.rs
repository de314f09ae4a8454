//! What is decided: money that is put into accounts.

use ensue::prelude::*;

use crate::Outcome;

/// Accounts of each worker.
pub(super) const ACCOUNTS: usize = 20;
pub(super) const TYPE: &str = "money.deposited";
pub(super) const TOPIC: &str = "accounts";

#[derive(Event, Serialize, Deserialize)]
#[event(type = "money.deposited", topic = "accounts")]
pub(super) struct Deposited {
    cents: u64,
    note: String,
}

#[derive(Default, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) cents: u64,
}

#[aggregate]
impl Account {
    #[apply]
    fn deposited(&mut self, event: Deposited) {
        self.cents += event.cents;
    }

    pub(super) fn deposit(&self, event: Deposited) -> Result<Deposited, &'static str> {
        match self.cents.checked_add(event.cents) {
            Some(_) => Ok(event),
            None => Err("the account is full"),
        }
    }
}

pub(super) fn deposit() -> Deposited {
    Deposited {
        cents: 1,
        note: "x".repeat(160),
    }
}

/// What everybody stores for a command.
pub(super) fn payload() -> Outcome<Vec<u8>> {
    Ok(serde_json::to_vec(&deposit())?)
}

/// A worker's accounts, one after the other.
pub(super) struct Accounts {
    worker: usize,
    next: usize,
}

impl Accounts {
    pub(super) fn of(worker: usize) -> Self {
        Self { worker, next: 0 }
    }

    pub(super) fn next(&mut self) -> String {
        self.next = (self.next + 1) % ACCOUNTS;
        format!("account-{}-{}", self.worker, self.next)
    }
}

//! Those outside whom services talk to. All of them may be unreachable now and then, and none of
//! them takes part in a commit: what they are asked must bear to be asked again.

mod answer;
mod gateway;
mod ledger;
mod line;
mod partners;

use std::sync::Arc;

pub use self::answer::Answer;
pub use self::gateway::Gateway;
pub use self::ledger::Ledger;
pub use self::line::{Line, Refusal};
pub use self::partners::{Carrier, Customer, Warehouse};
use crate::world::World;

/// Everyone outside.
#[derive(Clone)]
pub struct Outside {
    line: Line,
    ledger: Arc<Ledger>,
}

impl Outside {
    /// The outside of `world`, whose gateway keeps its charges in `ledger`; of the calls to it
    /// `faults_percent` of a hundred fail.
    pub fn new(world: Arc<dyn World>, ledger: Ledger, faults_percent: u8) -> Self {
        Self {
            line: Line::new(world, faults_percent),
            ledger: Arc::new(ledger),
        }
    }

    /// The gateway's books.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The payment gateway.
    pub fn gateway(&self) -> Gateway {
        Gateway::new(self.line.clone(), self.ledger.clone())
    }

    /// The warehouse.
    pub fn warehouse(&self) -> Warehouse {
        Warehouse::new(self.line.clone())
    }

    /// The carrier.
    pub fn carrier(&self) -> Carrier {
        Carrier::new(self.line.clone())
    }

    /// The customer.
    pub fn customer(&self) -> Customer {
        Customer::new(self.line.clone())
    }
}

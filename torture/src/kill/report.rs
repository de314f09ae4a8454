//! What the parent tells the child, and what the child says of what it does: one line of JSON each.
//!
//! What is about to be done is said before it is begun, what was acknowledged after it was: when the
//! child is killed, the parent knows what must be there and what may be there.

use serde::{Deserialize, Serialize};

use super::orders::Mark;
use super::plan::Terms;

/// What a child is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    /// The directory of the log.
    pub(crate) directory: String,
    /// What the orders derive from.
    pub(crate) seed: u64,
    /// The number of this child, from 0.
    pub(crate) cycle: u64,
    /// How the engine is opened, and what goes on.
    pub(crate) terms: Terms,
    /// The number that each key goes on at: the first that was not acknowledged.
    pub(crate) next: Vec<u64>,
    /// Publish nothing, handle everything, close.
    pub(crate) is_last: bool,
}

/// The groups that are moved by hand, because their acknowledgements must be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Group {
    /// Every order leads to one bill.
    Bills,
    /// Some orders fail and are tried again, some never succeed.
    Trials,
    /// A cell of each key holds the number of its last order.
    Tally,
}

impl Group {
    pub(crate) const ALL: [Self; 3] = [Self::Bills, Self::Trials, Self::Tally];

    /// Its name in the engine.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bills => "bills",
            Self::Trials => "trials",
            Self::Tally => "tally",
        }
    }
}

/// The group whose handler is run by an app.
pub(crate) const AUDITS: &str = "audits";
/// The cell that the group `tally` writes.
pub(crate) const CELL: &str = "last";

/// An order that was acknowledged.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Published {
    pub(crate) mark: Mark,
    pub(crate) position: u64,
    /// What was published.
    pub(crate) hash: u64,
    pub(crate) is_duplicate: bool,
}

/// An order that a member got.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Taken {
    pub(crate) mark: Mark,
    pub(crate) position: u64,
    /// What was delivered.
    pub(crate) hash: u64,
    pub(crate) attempt: u32,
    /// Its key was blocked after it was taken: it is not handled now.
    pub(crate) is_stale: bool,
}

/// What a commit says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Decided {
    pub(crate) settled: Vec<Mark>,
    /// With the attempt that failed.
    pub(crate) retried: Vec<(Mark, u32)>,
    pub(crate) dead: Vec<Mark>,
}

/// One thing that a child says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The engine is open and everybody has joined.
    Opened,
    /// A batch is about to be appended.
    Publishing { publisher: usize, marks: Vec<Mark> },
    /// The batch was acknowledged.
    Published {
        publisher: usize,
        events: Vec<Published>,
    },
    /// A member got events.
    Taken {
        group: Group,
        member: usize,
        events: Vec<Taken>,
    },
    /// A member is about to commit.
    Committing {
        group: Group,
        member: usize,
        decided: Decided,
    },
    /// Its commit was acknowledged.
    Committed { group: Group, member: usize },
    /// Dead letters of `trials` are about to be discarded.
    Discarding { marks: Vec<Mark> },
    /// They were, as many as were asked for.
    Discarded,
    /// Something that must not happen.
    Flaw { what: String },
    /// Nothing is left to do, and the engine was closed.
    Drained,
}

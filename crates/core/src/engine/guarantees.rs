//! What an engine promises, as data: declared in code, proved by the contract suite, printed in
//! the documentation and checked before an app starts.

use std::time::Duration;

use serde::Serialize;

/// How much of a commit happens together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Atomicity {
    /// All of it or nothing.
    Atomic,
    /// Effects first, then the settlement; a crash between them repeats effects with the same ids,
    /// which dedup drops.
    EffectsFirst,
}

/// How far back an id is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DedupWindow {
    /// The last so many events.
    Events(u64),
    /// The events of the last so long.
    Time(Duration),
}

/// One promise that a handler may need and an engine may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Guarantee {
    /// Acknowledged means on stable storage, not in some cache.
    DurableOnAcknowledge,
    /// Appends can be conditional on a key's version.
    ConditionalAppend,
    /// Settlements, effects and state are one.
    AtomicCommit,
    /// Events can be appended for later.
    Schedules,
    /// Reading by position and time without a group.
    Replay,
}

/// What an engine promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Guarantees {
    /// Whether an acknowledged event survives a power cut, as the engine is configured.
    pub durable_on_acknowledge: bool,
    /// Whether the log outlives its processes at all.
    pub survives_restart: bool,
    /// How much of a commit happens together.
    pub commit: Atomicity,
    /// How far back an id is remembered.
    pub dedup: DedupWindow,
    /// Whether appends can be conditional on a key's version.
    pub conditional_append: bool,
    /// Whether events can be appended for later.
    pub schedules: bool,
    /// Whether old events can be read by position and time.
    pub replay: bool,
    /// Whether several processes can work on it.
    pub multi_process: bool,
    /// How soon the keys of a dead member move to the others.
    pub failover: Duration,
}

impl Guarantees {
    /// Whether the engine gives `guarantee`.
    pub fn gives(&self, guarantee: Guarantee) -> bool {
        match guarantee {
            Guarantee::DurableOnAcknowledge => self.durable_on_acknowledge,
            Guarantee::ConditionalAppend => self.conditional_append,
            Guarantee::AtomicCommit => self.commit == Atomicity::Atomic,
            Guarantee::Schedules => self.schedules,
            Guarantee::Replay => self.replay,
        }
    }
}

impl Guarantee {
    /// The promise in words, for errors and tables.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::DurableOnAcknowledge => "durability before acknowledgement",
            Self::ConditionalAppend => "conditional append",
            Self::AtomicCommit => "atomic commits",
            Self::Schedules => "schedules",
            Self::Replay => "replay",
        }
    }
}

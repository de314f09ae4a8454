//! What is going on in an engine, for operators and programs.

use serde::Serialize;

use super::{Guarantees, Position};
use crate::cursor::Cursor;
use crate::time::Timestamp;

/// Whether an engine works, and from where to where its log reaches: of a status what nothing has to be
/// counted for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Whether it works; `None` is healthy, else why not.
    pub trouble: Option<String>,
    /// Where the oldest events are that are kept.
    pub first: Cursor,
    /// After the newest events.
    pub end: Cursor,
}

/// An engine's state at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct EngineStatus {
    /// The engine's URL, without secrets.
    pub url: String,
    /// Whether it works; `None` is healthy, else why not.
    pub trouble: Option<String>,
    /// `sync` or `os`: what an acknowledgement means.
    pub durability: String,
    /// Where the oldest events are that are kept.
    pub first: Cursor,
    /// After the newest events.
    pub end: Cursor,
    /// Bytes on disk, if the engine knows.
    pub bytes: Option<u64>,
    /// What needs the oldest event that something needs: retention removes nothing from there on.
    /// `None` when everything that the log holds is done with.
    pub needed: Option<Needed>,
    /// The topics, by name.
    pub topics: Vec<TopicStatus>,
    /// How many replies to requests the log holds: they stay until retention removes them.
    pub replies: u64,
    /// The groups, by name.
    pub groups: Vec<GroupStatus>,
    /// How many events wait for their time.
    pub scheduled: usize,
    /// When the next of them is due.
    pub next_due: Option<Timestamp>,
    /// What is promised.
    pub guarantees: Guarantees,
}

impl EngineStatus {
    /// The group of this name.
    pub fn group(&self, name: &str) -> Option<&GroupStatus> {
        self.groups.iter().find(|group| group.name == name)
    }
}

/// What keeps events in the log, whatever retention would remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Needed {
    /// The oldest event that is needed.
    pub position: Position,
    /// Which group needs it and what for, or which scheduled event it is.
    pub by: String,
}

/// One topic.
#[derive(Clone, Debug, Serialize)]
pub struct TopicStatus {
    /// Its name.
    pub name: String,
    /// How many events it holds.
    pub events: u64,
    /// The oldest of them.
    pub first: Position,
    /// The newest of them.
    pub last: Position,
}

/// One group.
#[derive(Clone, Debug, Serialize)]
pub struct GroupStatus {
    /// Its name.
    pub name: String,
    /// The topics it subscribes to.
    pub topics: Vec<String>,
    /// The place before which everything is settled, parked or dead.
    pub position: Cursor,
    /// How many events its members could take up now and have not: those of its topics that it has
    /// not read, and parked ones whose key is free again.
    ///
    /// A group that wants only some types is told from what its members here have read. Where they are
    /// in other processes, or gone, events are read to leave out the other types: at most 65,536 for a
    /// whole status, those of the shortest lags first. A lag that is longer counts events of every type.
    pub lag: u64,
    /// How many events its members hold.
    pub in_flight: usize,
    /// How many events wait for another attempt.
    pub retrying: usize,
    /// How many events wait behind a blocked key.
    pub parked: usize,
    /// How many dead letters it has.
    pub dead: usize,
    /// How many keys are blocked: their later events wait until a retry has succeeded, or a dead
    /// letter was redriven or discarded.
    pub blocked: usize,
    /// When the next attempt is due.
    pub next_due: Option<Timestamp>,
    /// Why it takes no further events, if it does not.
    pub paused: Option<String>,
    /// Why some of its keys are stopped, other than by their own failures.
    pub trouble: Option<String>,
    /// Why what its members did is not committed at present, and since when, if it is not; they try
    /// again. Only the process whose members they are knows.
    pub refused: Option<String>,
    /// Up to where events are handled again since the group was reset, their effects held back.
    pub held_back_until: Option<Cursor>,
    /// The longest backlogs of its keys: of keys that are slow or blocked, and have more events
    /// than are kept in memory.
    pub backlogs: Vec<KeyBacklog>,
    /// Its members.
    pub members: Vec<MemberStatus>,
}

impl GroupStatus {
    /// Whether nothing is left to do now: no lag, nothing in flight, nothing that waits for an
    /// attempt.
    pub fn is_idle(&self) -> bool {
        self.lag == 0 && self.in_flight == 0 && self.retrying == 0
    }
}

/// A key whose events wait in the log alone, from a position on. Others do not wait for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyBacklog {
    /// The topic.
    pub topic: String,
    /// The key.
    pub key: String,
    /// How many events were found there so far. After the group was moved back, only those found
    /// since count.
    pub events: u64,
    /// Where they begin.
    pub from: Position,
}

/// One member.
#[derive(Clone, Debug, Serialize)]
pub struct MemberStatus {
    /// Its number within the group, from 1, never used again.
    pub id: u64,
    /// How many events it holds.
    pub in_flight: usize,
}

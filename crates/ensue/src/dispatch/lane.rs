//! A worker's keys that are not free.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use hashbrown::{Equivalent, HashMap};

use crate::engine::Delivery;
use crate::event::Envelope;

/// A topic and key, held by an event that has them.
pub(super) struct LaneKey(pub(super) Envelope);

/// The same, borrowed.
pub(super) struct LaneRef<'a>(pub(super) &'a Envelope);

impl Hash for LaneKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        LaneRef(&self.0).hash(state);
    }
}

impl Hash for LaneRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.stream().hash(state);
    }
}

impl PartialEq for LaneKey {
    fn eq(&self, other: &Self) -> bool {
        LaneRef(&self.0).equivalent(other)
    }
}

impl Eq for LaneKey {}

impl Equivalent<LaneKey> for LaneRef<'_> {
    fn equivalent(&self, key: &LaneKey) -> bool {
        // Equal bytes may be cut into topic and key at different places.
        self.0.topic_bytes() == key.0.topic_bytes() && self.0.stream() == key.0.stream()
    }
}

pub(super) type Lanes = HashMap<LaneKey, Lane, foldhash::fast::RandomState>;

/// A key that is not free.
pub(super) enum Lane {
    /// It waits with these events for its turn among the keys that could go on.
    Waiting(VecDeque<Delivery>),
    /// One of its events is being handled; the others wait.
    Busy(Fate, VecDeque<Delivery>),
    /// One of its events failed and the commit that says so is under way.
    Failed(VecDeque<Delivery>),
    /// The failure is committed: what was taken at an earlier generation is stale.
    Blocked(u64),
}

impl Lane {
    /// What waited for its turn waits for a commit that says why its key is blocked.
    pub(super) fn fail(&mut self) {
        if let Self::Waiting(waiting) = self {
            *self = Self::Failed(std::mem::take(waiting));
        }
    }
}

/// What becomes of an event that is being handled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// What its handler says.
    Open,
    /// It comes again, whatever its handler says: the outcome of an earlier event of the key, which
    /// it may have seen, was refused.
    Retracted,
    /// The same, and the earlier event's dead letter is committed, with this generation.
    Stale(u64),
}

//! What of a key waits in the log: all of its events from a position on. However many they are, the
//! key costs its group two numbers.
//!
//! A key has a backlog when more of it waits than its lane keeps, or than a member may have read
//! ahead of a key that is slow. Its events count as settled for the group's low-water mark, and
//! retention stops before them. When the lane has run empty it takes up the next ones.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::record::Deferred;
use super::topic_key::{ByKey, by_key};
use crate::engine::Position;
use crate::model::topic_key::{KeyRef, TopicKey};

/// The backlog of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Backlog {
    /// Every event of the key from here on waits in the log; those before it do not.
    pub(crate) from: Position,
    /// How many were met there.
    pub(crate) events: u64,
}

/// The backlogs of a group's keys. There may be very many: what concerns all of them is counted as they
/// change.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Backlogs {
    lanes: ByKey<Backlog>,
    /// How many start at a position.
    starts: BTreeMap<Position, u32>,
    events: u64,
}

impl Backlogs {
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// How many keys have one.
    pub(crate) fn len(&self) -> usize {
        self.lanes.len()
    }

    pub(crate) fn get(&self, lane: KeyRef<'_>) -> Option<Backlog> {
        self.lanes.get(&lane).copied()
    }

    pub(crate) fn key(&self, lane: KeyRef<'_>) -> Option<&TopicKey> {
        self.lanes.get_key_value(&lane).map(|(key, _)| key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicKey, Backlog)> {
        self.lanes.iter().map(|(key, backlog)| (key, *backlog))
    }

    pub(crate) fn set(&mut self, lane: TopicKey, backlog: Backlog) {
        self.remove(&lane);
        self.events += backlog.events;
        *self.starts.entry(backlog.from).or_default() += 1;
        self.lanes.insert(lane, backlog);
    }

    fn remove(&mut self, lane: &TopicKey) {
        let Some(backlog) = self.lanes.remove(lane) else {
            return;
        };
        self.events -= backlog.events;
        if let Some(count) = self.starts.get_mut(&backlog.from) {
            *count -= 1;
            if *count == 0 {
                self.starts.remove(&backlog.from);
            }
        }
    }

    /// The oldest event that waits.
    pub(crate) fn first(&self) -> Option<Position> {
        self.starts.first_key_value().map(|(from, _)| *from)
    }

    /// How many events wait.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn apply(&mut self, lane: &TopicKey, deferred: &Deferred) {
        if deferred.is_over {
            self.remove(lane);
            return;
        }
        let mut backlog = match (self.get(lane.as_ref()), deferred.start) {
            (Some(backlog), _) => backlog,
            (None, Some(from)) => Backlog { from, events: 0 },
            (None, None) => return,
        };
        let taken = deferred.taken.len() as u64;
        // More may be taken than were counted: after a reset it is not known how many are left.
        backlog.events = (backlog.events + deferred.added).saturating_sub(taken);
        if let Some(next) = deferred.next {
            backlog.from = backlog.from.max(next);
        }
        let known = self.lanes.get_key_value(lane).map(|(key, _)| key.clone());
        self.set(known.unwrap_or_else(|| lane.clone()), backlog);
    }
}

impl Serialize for Backlogs {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        by_key::serialize(&self.lanes, to)
    }
}

impl<'de> Deserialize<'de> for Backlogs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut backlogs = Self::default();
        for (lane, backlog) in by_key::deserialize(from)? {
            backlogs.set(lane, backlog);
        }
        Ok(backlogs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_of_all_backlogs_is_what_they_come_to() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut backlogs = Backlogs::default();
        for position in 0..5_000 {
            let lane = TopicKey::new("t", &random.u8(..20).to_string());
            let start = random.bool().then_some(Position::new(position));
            let deferred = Deferred {
                start,
                added: random.u64(..4),
                taken: vec![Position::ZERO; random.usize(..4)],
                // Several may start at one place.
                next: random.bool().then_some(Position::new(position / 8 * 8)),
                is_over: random.u8(..10) == 0,
                ..Deferred::default()
            };
            backlogs.apply(&lane, &deferred);
            let all = || backlogs.iter().map(|(_, backlog)| backlog);
            assert_eq!(backlogs.first(), all().map(|it| it.from).min());
            assert_eq!(backlogs.events(), all().map(|it| it.events).sum::<u64>());
        }
        let stored = rmp_serde::to_vec_named(&backlogs).unwrap();
        let read: Backlogs = rmp_serde::from_slice(&stored).unwrap();
        assert_eq!(read, backlogs);
    }
}

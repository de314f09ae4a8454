//! What of a key waits in the log: all of its events from a position on. However many they are, the
//! key costs its group two numbers.
//!
//! A key has a backlog when more of it waits than its lane keeps, or than a member may have read
//! ahead of a key that is slow. Its events count as settled for the group's low-water mark, and
//! retention stops before them. When the lane has run empty it takes up the next ones.

use serde::{Deserialize, Serialize};

use super::item::{ByLane, by_lane};
use super::record::Deferred;
use crate::model::set_aside::{LaneKey, LaneRef};

/// The backlog of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Backlog {
    /// Every event of the key from here on waits in the log; those before it do not.
    pub(crate) from: u64,
    /// How many were met there.
    pub(crate) events: u64,
}

/// The backlogs of a group's keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Backlogs(#[serde(with = "by_lane")] ByLane<Backlog>);

impl Backlogs {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many keys have one.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, lane: LaneRef<'_>) -> Option<Backlog> {
        self.0.get(&lane).copied()
    }

    pub(crate) fn key(&self, lane: LaneRef<'_>) -> Option<&LaneKey> {
        self.0.get_key_value(&lane).map(|(key, _)| key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&LaneKey, Backlog)> {
        self.0.iter().map(|(key, backlog)| (key, *backlog))
    }

    pub(crate) fn set(&mut self, lane: LaneKey, backlog: Backlog) {
        self.0.insert(lane, backlog);
    }

    /// The oldest event that waits.
    pub(crate) fn first(&self) -> Option<u64> {
        self.0.values().map(|backlog| backlog.from).min()
    }

    /// How many events wait.
    pub(crate) fn events(&self) -> u64 {
        self.0.values().map(|backlog| backlog.events).sum()
    }

    pub(crate) fn apply(&mut self, lane: &LaneKey, deferred: &Deferred) {
        if deferred.is_over {
            self.0.remove(lane);
            return;
        }
        let backlog = match (self.0.get_mut(lane), deferred.start) {
            (Some(backlog), _) => backlog,
            (None, Some(from)) => {
                let backlog = Backlog { from, events: 0 };
                self.0.entry(lane.clone()).or_insert(backlog)
            }
            (None, None) => return,
        };
        let taken = deferred.taken.len() as u64;
        backlog.events = (backlog.events + deferred.added).saturating_sub(taken);
        backlog.from = backlog.from.max(deferred.next.unwrap_or_default());
    }
}

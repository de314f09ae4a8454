//! Events in members' hands that were delivered before their key was blocked. Their members will
//! hand them back: until then nothing of the key may be delivered that follows them.

use std::collections::BTreeSet;

use hashbrown::{HashMap, HashSet};

use super::window::Status;
use crate::delivery::group_session::GroupSession;
use crate::delivery::key_slots::KeyHash;

/// Positions of events, by their lanes' hashes. Two lanes with the same hash wait for each other's
/// events for a moment, for nothing.
#[derive(Debug, Default)]
pub(crate) struct PositionsByKey(HashMap<KeyHash, BTreeSet<u64>, foldhash::fast::RandomState>);

impl PositionsByKey {
    /// Whether the lane has any.
    pub(crate) fn has(&self, lane: KeyHash) -> bool {
        !self.0.is_empty() && self.0.contains_key(&lane)
    }

    /// The first of the lane.
    pub(crate) fn first(&self, lane: KeyHash) -> Option<u64> {
        self.0.get(&lane)?.first().copied()
    }

    pub(crate) fn insert(&mut self, lane: KeyHash, position: u64) {
        self.0.entry(lane).or_default().insert(position);
    }

    pub(crate) fn remove(&mut self, lane: KeyHash, position: u64) {
        if self.0.is_empty() {
            return;
        }
        if let Some(positions) = self.0.get_mut(&lane) {
            positions.remove(&position);
            if positions.is_empty() {
                self.0.remove(&lane);
            }
        }
    }

    /// Only these lanes matter.
    pub(crate) fn retain(&mut self, is_meant: impl Fn(KeyHash) -> bool) {
        self.0.retain(|lane, _| is_meant(*lane));
    }
}

impl GroupSession {
    /// These lanes are blocked from now on: what of them is in members' hands is stale.
    pub(crate) fn are_blocked(&mut self, lanes: &HashSet<KeyHash>) {
        if lanes.is_empty() {
            return;
        }
        for entry in self.window.iter_mut() {
            let is_in_hands = matches!(entry.status, Status::Held | Status::Committing);
            if is_in_hands && lanes.contains(&entry.lane) {
                self.stale.insert(entry.lane, entry.position);
            }
        }
        for (position, out) in &self.out {
            if lanes.contains(&out.hash) {
                self.stale.insert(out.hash, *position);
            }
        }
    }
}

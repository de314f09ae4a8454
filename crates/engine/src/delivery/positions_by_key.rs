//! Positions of events by their keys' hashes, where few keys have any.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use super::key_hash::KeyHash;
use crate::engine::Position;

/// Positions of events, by their keys' hashes. Two keys with the same hash wait for each other's
/// events for a moment, for nothing.
#[derive(Debug, Default)]
pub(crate) struct PositionsByKey(HashMap<KeyHash, BTreeSet<Position>, foldhash::fast::RandomState>);

impl PositionsByKey {
    /// Whether the lane has any.
    pub(crate) fn has(&self, lane: KeyHash) -> bool {
        !self.0.is_empty() && self.0.contains_key(&lane)
    }

    /// The first of the lane.
    pub(crate) fn first(&self, lane: KeyHash) -> Option<Position> {
        self.0.get(&lane)?.first().copied()
    }

    pub(crate) fn insert(&mut self, lane: KeyHash, position: Position) {
        self.0.entry(lane).or_default().insert(position);
    }

    pub(crate) fn remove(&mut self, lane: KeyHash, position: Position) {
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

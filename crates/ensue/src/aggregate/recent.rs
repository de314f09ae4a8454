//! Aggregates that were used lately, so that the next decision reads nothing.

use std::hash::BuildHasher;

use hashbrown::HashMap;
use tokio::sync::{Mutex, MutexGuard};

use super::history::History;

/// Decisions for two keys wait for each other if they share one of so many places.
const PLACES: usize = 256;

/// Aggregates by key. A key is used by one at a time, so that those of one program do not get into each
/// other's way.
pub(super) struct Recent<A> {
    first: Mutex<Place<A>>,
    others: Vec<Mutex<Place<A>>>,
    hasher: foldhash::fast::RandomState,
}

/// Some keys' aggregates: those that were used since half of the room was taken, and those before. When the
/// first half is full, the second is let go of.
pub(super) struct Place<A> {
    young: HashMap<String, History<A>>,
    old: HashMap<String, History<A>>,
    /// How many either holds.
    half_max: usize,
}

impl<A> Recent<A> {
    /// Room for up to about `max` aggregates.
    pub(super) fn new(max: usize) -> Self {
        let place = || {
            Mutex::new(Place {
                young: HashMap::new(),
                old: HashMap::new(),
                half_max: max.div_ceil(2 * PLACES),
            })
        };
        Self {
            first: place(),
            others: (1..PLACES).map(|_| place()).collect(),
            hasher: foldhash::fast::RandomState::default(),
        }
    }

    /// The place of a key, for its user alone.
    pub(super) async fn place(&self, key: &str) -> MutexGuard<'_, Place<A>> {
        let at = self.hasher.hash_one(key) as usize % PLACES;
        let place = at.checked_sub(1).and_then(|at| self.others.get(at));
        place.unwrap_or(&self.first).lock().await
    }
}

impl<A> Place<A> {
    pub(super) fn take(&mut self, key: &str) -> Option<History<A>> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    pub(super) fn put(&mut self, key: &str, history: History<A>) {
        if self.half_max == 0 {
            return;
        }
        if self.young.len() >= self.half_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key.to_owned(), history);
    }
}

//! What a consumer has taken from its engine and not committed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use hashbrown::HashMap;

use super::suspects::Suspects;
use crate::dispatch::lane::LaneKey;
use crate::engine::{Delivery, Position};
use crate::request;
use crate::time::Clock;

/// What a consumer has taken and not committed, in the order of the log.
#[derive(Debug, Default)]
pub(super) struct Hands {
    held: BTreeMap<Position, Held>,
    bytes: usize,
}

#[derive(Debug)]
struct Held {
    delivery: Delivery,
    /// Its handler was told of it.
    is_given: bool,
}

/// How much a handler takes at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) events_max: usize,
    /// One event is always possible.
    pub(super) bytes_max: usize,
    /// How many events of one key a handler has at a time.
    pub(super) key_events_max: usize,
}

/// What is held of one key, in order, and how much of it has an outcome.
#[derive(Debug, Default)]
pub(super) struct OfKey {
    positions: Vec<Position>,
    done: usize,
    blocked_by: Option<Position>,
}

impl OfKey {
    /// The event at `position` is next; the event that has to be done before, if there is one.
    pub(super) fn not_before(&mut self, position: Position) -> Option<Position> {
        let next = self.positions.get(self.done).copied();
        let before = self.blocked_by.or(next.filter(|next| *next != position));
        self.done += 1;
        before
    }

    /// The event at `position` blocks its key: what is behind it.
    pub(super) fn block(&mut self, position: Position) -> Vec<Position> {
        self.blocked_by = Some(position);
        self.positions
            .split_off(self.done.min(self.positions.len()))
    }
}

impl Hands {
    pub(super) fn add(&mut self, deliveries: Vec<Delivery>) {
        for mut delivery in deliveries {
            // It is kept for as long as its handler takes: it must not keep what was read with it.
            delivery.envelope = delivery.envelope.detached();
            let (position, bytes) = (delivery.position, size(&delivery));
            let held = Held {
                delivery,
                is_given: false,
            };
            match self.held.entry(position) {
                Entry::Vacant(place) => {
                    place.insert(held);
                    self.bytes += bytes;
                }
                // Not reached: an engine hands an event out once. The newer generation counts.
                Entry::Occupied(mut place) => {
                    self.bytes += bytes;
                    let old = place.insert(held);
                    self.bytes -= size(&old.delivery);
                }
            }
        }
    }

    /// How many events there are.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What a handler may be given now, in order: never an event before an earlier one of its key. What
    /// is suspected goes out when the handler has nothing else, and nothing else goes out before.
    pub(super) fn next(&self, bounds: Bounds, suspects: &Suspects) -> Vec<Delivery> {
        let given = self.held.iter().filter(|(_, held)| held.is_given);
        let mut gate = suspects.gate(given.map(|(position, _)| *position));
        let mut of_key: HashMap<LaneKey, usize> = HashMap::new();
        for held in self.held.values().filter(|held| held.is_given) {
            *of_key.entry(key(&held.delivery)).or_default() += 1;
        }
        let (mut next, mut bytes) = (Vec::new(), 0);
        for (position, held) in self.held.iter().filter(|(_, held)| !held.is_given) {
            let count = of_key.entry(key(&held.delivery)).or_default();
            if *count >= bounds.key_events_max {
                continue;
            }
            if !gate.lets(*position) {
                break;
            }
            bytes += size(&held.delivery);
            if next.len() >= bounds.events_max || (bytes > bounds.bytes_max && !next.is_empty()) {
                break;
            }
            *count += 1;
            next.push(held.delivery.clone());
        }
        next
    }

    /// A handler is told of these.
    pub(super) fn give(&mut self, positions: impl Iterator<Item = Position>) {
        for position in positions {
            if let Some(held) = self.held.get_mut(&position) {
                held.is_given = true;
            }
        }
    }

    /// A handler that was told of events does not know of them: they are given again.
    pub(super) fn take_back(&mut self) {
        for held in self.held.values_mut() {
            held.is_given = false;
        }
    }

    /// Requests whose requesters have given up before a handler was told.
    pub(super) fn expired(&self, clock: &Clock) -> Vec<Delivery> {
        let waiting = self.held.values().filter(|held| !held.is_given);
        waiting
            .filter(|held| request::is_expired(&held.delivery.envelope, clock))
            .map(|held| held.delivery.clone())
            .collect()
    }

    /// The event at `position`, if it is held since `generation`.
    pub(super) fn find(&self, position: Position, generation: u64) -> Option<&Delivery> {
        let held = self.held.get(&position).map(|held| &held.delivery)?;
        (held.generation == generation).then_some(held)
    }

    /// What is held of the keys of `positions`.
    pub(super) fn of_keys(
        &self,
        positions: impl Iterator<Item = Position>,
    ) -> HashMap<LaneKey, OfKey> {
        let deliveries = positions.filter_map(|position| self.held.get(&position));
        let mut keys: HashMap<LaneKey, OfKey> = deliveries
            .map(|held| (key(&held.delivery), OfKey::default()))
            .collect();
        for (position, held) in &self.held {
            if let Some(of_key) = keys.get_mut(&key(&held.delivery)) {
                of_key.positions.push(*position);
            }
        }
        keys
    }

    pub(super) fn get(&self, position: Position) -> Option<&Delivery> {
        self.held.get(&position).map(|held| &held.delivery)
    }

    /// What a handler was told of.
    pub(super) fn given(&self) -> Vec<Position> {
        let given = self.held.iter().filter(|(_, held)| held.is_given);
        given.map(|(position, _)| *position).collect()
    }

    /// These are committed.
    pub(super) fn remove(&mut self, positions: &[Position]) {
        for position in positions {
            if let Some(held) = self.held.remove(position) {
                self.bytes -= size(&held.delivery);
            }
        }
    }
}

pub(super) fn key(delivery: &Delivery) -> LaneKey {
    LaneKey(delivery.envelope.clone())
}

fn size(delivery: &Delivery) -> usize {
    delivery.envelope.content().len()
}

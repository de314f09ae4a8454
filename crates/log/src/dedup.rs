//! The window of ids in which duplicates are recognised.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::batch::Batch;
use crate::sabotage::Safeguard;

/// When this many ids are known, room is made for the whole window: small logs stay small, and
/// large ones do not move a million ids under the lock.
const GROW_AT: usize = 16 * 1024;

/// The last ids and their positions: a ring, and a table of places in it. About 35 bytes an id.
#[derive(Debug)]
pub(crate) struct Dedup {
    window: usize,
    ring: Ring,
    places: HashTable<Place>,
    random: RandomState,
    pub(crate) loaded: bool,
}

/// Which id, counted from the very first, modulo 2^32: the ring is always shorter than that.
type Place = u32;

#[derive(Debug, Default)]
struct Ring {
    known: VecDeque<Known>,
    /// The place of the oldest id.
    oldest: Place,
}

/// An id in halves, which pack better, and where it was appended.
#[derive(Clone, Copy, Debug)]
struct Known {
    low: u64,
    high: u64,
    position: u64,
}

impl Known {
    fn id(self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }
}

impl Ring {
    fn at(&self, place: Place) -> Option<Known> {
        self.known
            .get(place.wrapping_sub(self.oldest) as usize)
            .copied()
    }

    fn next_place(&self) -> Place {
        self.oldest.wrapping_add(self.known.len() as Place)
    }
}

impl Dedup {
    pub(crate) fn new(window: u32) -> Self {
        Self {
            window: window as usize,
            ring: Ring::default(),
            places: HashTable::new(),
            random: RandomState::default(),
            loaded: window == 0,
        }
    }

    pub(crate) fn len(&self) -> u32 {
        self.ring.known.len() as u32
    }

    /// Where `id` was appended, if it is in the window.
    pub(crate) fn get(&self, id: u128) -> Option<u64> {
        let is_it = |place: &Place| self.ring.at(*place).is_some_and(|known| known.id() == id);
        let place = self.places.find(self.random.hash_one(id), is_it)?;
        self.ring.at(*place).map(|known| known.position)
    }

    /// Whether every record of a batch has an id that is in the window.
    pub(crate) fn knows_all(&self, batch: &Batch) -> bool {
        let known = |id: Option<u128>| id.is_some_and(|id| self.get(id).is_some());
        !batch.is_empty() && batch.records().all(|(_, layout, _)| known(layout.id))
    }

    /// Remembers `id` at `position`, unless it is known: then says where.
    pub(crate) fn insert(&mut self, id: u128, position: u64) -> Option<u64> {
        if self.window == 0 || Safeguard::Dedup.is_off() {
            return None;
        }
        if let Some(known) = self.get(id) {
            return Some(known);
        }
        if self.ring.known.len() >= self.window
            && let Some(oldest) = self.ring.known.front().copied()
        {
            self.forget(oldest, self.ring.oldest);
            self.ring.known.pop_front();
            self.ring.oldest = self.ring.oldest.wrapping_add(1);
        }
        let Self {
            ring,
            places,
            random,
            ..
        } = self;
        let rehash = |ring: &Ring, place: Place| {
            ring.at(place)
                .map_or(0, |known| random.hash_one(known.id()))
        };
        if ring.known.len() == GROW_AT {
            ring.known.reserve_exact(self.window - GROW_AT);
            places.reserve(self.window - GROW_AT, |place| rehash(ring, *place));
        }
        let place = ring.next_place();
        ring.known.push_back(Known {
            low: id as u64,
            high: (id >> 64) as u64,
            position,
        });
        places.insert_unique(random.hash_one(id), place, |place| rehash(ring, *place));
        None
    }

    fn forget(&mut self, known: Known, place: Place) {
        let hash = self.random.hash_one(known.id());
        if let Ok(entry) = self.places.find_entry(hash, |other| *other == place) {
            entry.remove();
        }
    }

    /// Forgets the ids at `position` and after.
    pub(crate) fn truncate(&mut self, position: u64) {
        while let Some(newest) = self.ring.known.back().copied() {
            if newest.position < position {
                return;
            }
            self.forget(newest, self.ring.next_place().wrapping_sub(1));
            self.ring.known.pop_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_last_ones_only() {
        let mut dedup = Dedup::new(20_000);
        for id in 0..100_000u64 {
            assert_eq!(dedup.insert(u128::from(id) << 60, id), None);
        }
        assert_eq!(dedup.len(), 20_000);
        assert_eq!(dedup.places.len(), 20_000);
        for id in 0..100_000u64 {
            assert_eq!(
                dedup.get(u128::from(id) << 60),
                (id >= 80_000).then_some(id)
            );
        }
        dedup.truncate(90_000);
        assert_eq!(dedup.len(), 10_000);
        assert_eq!(dedup.get(90_000 << 60), None);
        assert_eq!(dedup.insert(89_999 << 60, 90_000), Some(89_999));
        assert_eq!(dedup.insert(90_000 << 60, 90_000), None);
    }

    #[test]
    fn places_wrap_around() {
        let mut dedup = Dedup::new(3);
        dedup.ring.oldest = u32::MAX - 1;
        for id in 0..10 {
            assert_eq!(dedup.insert(id, id as u64), None);
            assert_eq!(dedup.insert(id, 99), Some(id as u64));
        }
        assert_eq!((dedup.get(6), dedup.get(7)), (None, Some(7)));
    }
}

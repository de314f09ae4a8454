//! The window of ids in which duplicates are recognised.
//!
//! A ring holds the last ids; a table of sets finds them. An id belongs to one set, which is one
//! line of the processor's cache: looking it up and adding it costs one access to memory, and
//! forgetting it none, because a place that the ring has passed counts as free.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::batch::Batch;
use crate::sabotage::Safeguard;

/// The widest window: places have 30 bits at the most, and an eighth of them is in use.
pub(crate) const WINDOW_MAX: u32 = 1 << 27;
/// When this many ids are known, room is made for the whole window: small logs stay small, and
/// large ones do not move a million ids under the lock.
const GROW_AT: usize = 16 * 1024;
/// Places of one set.
const WAYS: usize = 16;
/// How many ids a set has on average when the table is full: one set in 250 then has more than it
/// has places for.
const MEAN: usize = WAYS / 2;
/// The first table's sets.
const SETS_MIN: usize = 64;

/// The last ids and their positions. About 35 bytes an id.
#[derive(Debug)]
pub(crate) struct Dedup {
    window: usize,
    ring: Ring,
    /// A power of two of them.
    sets: Vec<Set>,
    /// Ids whose set was full, and their numbers.
    spilled: HashMap<u128, u64, RandomState>,
    random: RandomState,
    /// The lower bits of a place say which id it is, the upper ones what its hash looks like.
    number_bits: u32,
}

/// One cache line. A place is 0 when it was never used.
#[derive(Clone, Debug, Default)]
#[repr(align(64))]
struct Set([u32; WAYS]);

#[derive(Debug, Default)]
struct Ring {
    known: VecDeque<Known>,
    /// The number of the oldest id: ids are counted from the very first.
    oldest: u64,
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
    fn next(&self) -> u64 {
        self.oldest + self.known.len() as u64
    }

    fn get(&self, number: u64) -> Option<Known> {
        let index = number.checked_sub(self.oldest)?;
        self.known.get(index as usize).copied()
    }
}

/// What a set says of an id.
enum Found {
    At(u64),
    /// Not there, and the first place that is free.
    Missing(Option<usize>),
}

impl Dedup {
    pub(crate) fn new(window: u32) -> Self {
        let bits = u32::BITS - window.leading_zeros();
        Self {
            window: window as usize,
            ring: Ring::default(),
            sets: Vec::new(),
            spilled: HashMap::default(),
            random: RandomState::default(),
            number_bits: (bits + 3).clamp(24, 30),
        }
    }

    pub(crate) fn len(&self) -> u32 {
        self.ring.known.len() as u32
    }

    /// Where `id` was appended, if it is in the window.
    pub(crate) fn get(&self, id: u128) -> Option<u64> {
        match self.look(self.random.hash_one(id), id) {
            Found::At(position) => Some(position),
            Found::Missing(_) => None,
        }
    }

    /// Brings what is needed to look up these ids closer to the processor. One lookup waits for
    /// memory before the next begins; these reads depend on nothing, so that all wait at once.
    pub(crate) fn fetch(&self, ids: impl Iterator<Item = u128>) {
        let first_place = |id| {
            let set = self.set_of(self.random.hash_one(id));
            self.sets.get(set).map_or(0, |Set([place, ..])| *place)
        };
        let read = ids.map(first_place).fold(0, |read, place| read | place);
        // Or the compiler would see that they are not used.
        std::hint::black_box(read);
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
        let hash = self.random.hash_one(id);
        let mut free = match self.look(hash, id) {
            Found::At(known) => return Some(known),
            Found::Missing(free) => free,
        };
        if self.ring.known.len() >= self.window
            && let Some(oldest) = self.ring.known.pop_front()
        {
            self.ring.oldest += 1;
            self.unspill(oldest.id());
        }
        if self.grow() {
            free = match self.look(hash, id) {
                Found::At(_) => None, // Not reached: it was not there a moment ago.
                Found::Missing(free) => free,
            };
        }
        self.place(hash, id, self.ring.next(), free);
        self.ring.known.push_back(Known {
            low: id as u64,
            high: (id >> 64) as u64,
            position,
        });
        None
    }

    /// Forgets the ids at `position` and after.
    pub(crate) fn truncate(&mut self, position: u64) {
        while let Some(newest) = self.ring.known.back().copied() {
            if newest.position < position {
                return;
            }
            self.unspill(newest.id());
            self.ring.known.pop_back();
        }
    }

    fn look(&self, hash: u64, id: u128) -> Found {
        let spilled = || {
            let number = self.spilled.get(&id)?;
            Some(self.ring.get(*number)?.position)
        };
        if !self.spilled.is_empty()
            && let Some(position) = spilled()
        {
            return Found::At(position);
        }
        let Some(Set(places)) = self.sets.get(self.set_of(hash)) else {
            return Found::Missing(None);
        };
        let (tag, mut free) = (self.tag(hash), None);
        for (index, place) in places.iter().enumerate() {
            match self.number(*place) {
                None => free = free.or(Some(index)),
                Some(number) if place >> self.number_bits == tag => {
                    if let Some(known) = self.ring.get(number).filter(|known| known.id() == id) {
                        return Found::At(known.position);
                    }
                }
                Some(_) => {}
            }
        }
        Found::Missing(free)
    }

    /// The number of the id that a place stands for, unless it is free. A place that the ring has
    /// passed long ago may look as if it stood for a later one: the id itself decides.
    fn number(&self, place: u32) -> Option<u64> {
        if place == 0 {
            return None;
        }
        let mask = (1u32 << self.number_bits) - 1;
        let index = place.wrapping_sub(self.ring.oldest as u32) & mask;
        ((index as usize) < self.ring.known.len()).then_some(self.ring.oldest + u64::from(index))
    }

    /// Puts an id into its set, or aside when that is full.
    fn place(&mut self, hash: u64, id: u128, number: u64, free: Option<usize>) {
        let mask = (1u32 << self.number_bits) - 1;
        let place = self.tag(hash) << self.number_bits | number as u32 & mask;
        let set = self.set_of(hash);
        let set = self.sets.get_mut(set);
        match set.zip(free).and_then(|(set, index)| set.0.get_mut(index)) {
            Some(free) => *free = place,
            None => {
                self.spilled.insert(id, number);
            }
        }
    }

    fn set_of(&self, hash: u64) -> usize {
        hash as usize & self.sets.len().wrapping_sub(1)
    }

    /// Never 0, so that no place in use is.
    fn tag(&self, hash: u64) -> u32 {
        let tag = (hash >> 32) as u32 >> self.number_bits;
        tag.max(1)
    }

    /// Makes room for one more id; whether the sets are others now.
    fn grow(&mut self) -> bool {
        let known = self.ring.known.len();
        let most = (self.window / MEAN).next_power_of_two().max(SETS_MIN);
        if known < self.sets.len() * MEAN || self.sets.len() >= most {
            return false;
        }
        let sets = if known >= GROW_AT {
            self.ring.known.reserve_exact(self.window - known);
            most
        } else {
            (self.sets.len() * 2).clamp(SETS_MIN, most)
        };
        self.sets = vec![Set::default(); sets];
        self.spilled.clear();
        for index in 0..known {
            let number = self.ring.oldest + index as u64;
            let Some(known) = self.ring.get(number) else {
                break;
            };
            let hash = self.random.hash_one(known.id());
            let set = self.sets.get(self.set_of(hash));
            let free = set.and_then(|set| set.0.iter().position(|place| *place == 0));
            self.place(hash, known.id(), number, free);
        }
        true
    }

    fn unspill(&mut self, id: u128) {
        if !self.spilled.is_empty() {
            self.spilled.remove(&id);
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
    fn numbers_wrap_around() {
        let mut dedup = Dedup::new(3);
        dedup.ring.oldest = (1 << dedup.number_bits) - 2;
        for id in 0..10 {
            assert_eq!(dedup.insert(id, id as u64), None);
            assert_eq!(dedup.insert(id, 99), Some(id as u64));
        }
        assert_eq!((dedup.get(6), dedup.get(7)), (None, Some(7)));
    }

    /// Against a map that forgets by hand, with full sets, wraps and truncations.
    #[test]
    fn does_what_a_plain_map_does() {
        for (seed, window) in [(1, 1), (2, 7), (3, 100), (4, 1_000), (5, 30_000)] {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut dedup = Dedup::new(window);
            let mut plain: VecDeque<(u128, u64)> = VecDeque::new();
            let mut known: HashMap<u128, u64> = HashMap::default();
            let mut position = 0;
            for step in 0..120_000 {
                let id = u128::from(random.u32(0..window * 3 / 2 + 2)) << 50;
                let found = dedup.insert(id, position);
                assert_eq!(found, known.get(&id).copied(), "seed {seed}, step {step}");
                if found.is_none() {
                    if plain.len() == window as usize
                        && let Some((oldest, _)) = plain.pop_front()
                    {
                        known.remove(&oldest);
                    }
                    plain.push_back((id, position));
                    known.insert(id, position);
                    position += 1;
                }
                if random.u32(..5_000) == 0 {
                    let to = position.saturating_sub(random.u64(0..50));
                    dedup.truncate(to);
                    while plain.back().is_some_and(|(_, at)| *at >= to)
                        && let Some((newest, _)) = plain.pop_back()
                    {
                        known.remove(&newest);
                    }
                    position = to;
                }
            }
            assert_eq!(dedup.len() as usize, plain.len());
        }
    }

    #[test]
    fn a_full_set_spills_and_nothing_is_forgotten() {
        let mut dedup = Dedup::new(1 << 16);
        for id in 0..400_000u64 {
            assert_eq!(dedup.insert(u128::from(id) * 0x9E37_79B9, id), None);
        }
        assert!(!dedup.spilled.is_empty(), "no set was ever full");
        assert!(
            dedup.spilled.len() < 2_000,
            "{} spilled",
            dedup.spilled.len()
        );
        for id in 400_000 - (1 << 16)..400_000u64 {
            assert_eq!(dedup.get(u128::from(id) * 0x9E37_79B9), Some(id));
        }
    }
}

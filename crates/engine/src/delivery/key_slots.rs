//! Which member of a group a key belongs to: keys hash to slots, slots belong to members.
//!
//! When members come and go, slots move so that each has about the same number; a slot with an
//! event in its owner's hands stays until that event is settled, which is what keeps one key in
//! one place.

use std::hash::BuildHasher;

use crate::model::set_aside::LaneRef;
use crate::model::slot_allotment::{SLOTS, allot};

/// What a topic and a key hash to. Random, so that nobody can choose keys that all fall into one
/// slot, and where processes share a log the same in all of them.
#[derive(Clone, Debug)]
pub(crate) enum Hasher {
    /// For this process alone.
    Random(foldhash::fast::RandomState),
    /// For every process of whatever version that knows the seed.
    Seeded(u64),
}

impl Default for Hasher {
    fn default() -> Self {
        Self::Random(foldhash::fast::RandomState::default())
    }
}

/// A slot that no member of this process has.
pub(crate) const NOBODY: u64 = 0;

/// The hash of a topic and a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LaneHash(u32);

impl Hasher {
    pub(crate) fn hash_of(&self, topic: &str, key: &str) -> LaneHash {
        LaneHash(match self {
            Self::Random(state) => state.hash_one(LaneRef(topic, key)) as u32,
            Self::Seeded(seed) => seeded(*seed, topic, key),
        })
    }
}

/// FNV-1a over the topic, a byte that no topic has, and the key, then the finaliser of MurmurHash3.
/// Never to be changed: processes of different versions have to agree.
fn seeded(seed: u64, topic: &str, key: &str) -> u32 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let bytes = topic.bytes().chain([0xff]).chain(key.bytes());
    let mut hash = bytes.fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    });
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    ((hash ^ (hash >> 33)) >> 32) as u32
}

impl LaneHash {
    /// The slot that the lane belongs to.
    pub(crate) fn slot(self) -> u8 {
        // 256 slots: the low byte is one.
        self.0 as u8
    }

    /// What the slot does not say of it.
    pub(crate) fn number(self) -> usize {
        (self.0 >> 8) as usize
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    owner: u64,
    /// Who is to own it once it is free.
    heir: u64,
    /// How many of its events are in the owner's hands.
    out: usize,
}

/// The slots of one group.
#[derive(Debug)]
pub(crate) struct Slots(Box<[Slot; SLOTS]>);

impl Slots {
    /// All of them belong to `owner`.
    pub(crate) fn new(owner: u64) -> Self {
        Self(Box::new(
            [Slot {
                owner,
                heir: owner,
                out: 0,
            }; SLOTS],
        ))
    }

    fn slot(&mut self, slot: u8) -> &mut Slot {
        // In range: there are 256 slots and a byte to count them.
        #[allow(clippy::indexing_slicing)]
        &mut self.0[usize::from(slot)]
    }

    pub(crate) fn owner(&self, slot: u8) -> u64 {
        self.0.get(usize::from(slot)).map_or(0, |slot| slot.owner)
    }

    /// Whether `member` owns any.
    pub(crate) fn has(&self, member: u64) -> bool {
        self.0.iter().any(|slot| slot.owner == member)
    }

    /// An event of the slot goes into its owner's hands.
    pub(crate) fn hand_out(&mut self, slot: u8) {
        self.slot(slot).out += 1;
    }

    /// An event of the slot is no longer in its owner's hands; whether the slot changes hands now.
    pub(crate) fn take_back(&mut self, slot: u8) -> bool {
        let slot = self.slot(slot);
        slot.out -= 1;
        let moves = slot.out == 0 && slot.owner != slot.heir;
        if moves {
            slot.owner = slot.heir;
        }
        moves
    }

    /// How many of the slot's events are in its owner's hands.
    pub(crate) fn out(&self, slot: u8) -> usize {
        self.0.get(usize::from(slot)).map_or(0, |slot| slot.out)
    }

    /// Shares the slots for which `is_here` holds among `members`, moving as few as can be; the
    /// others go to [`NOBODY`]. How many changed hands at once.
    pub(crate) fn share(&mut self, members: &[u64], is_here: impl Fn(u8) -> bool) -> usize {
        if members.is_empty() {
            return 0;
        }
        let members: Vec<(u64, usize)> = members.iter().map(|member| (*member, 1)).collect();
        let mut here = Vec::with_capacity(SLOTS);
        for (number, slot) in (0..=u8::MAX).zip(self.0.iter_mut()) {
            if is_here(number) {
                here.push(&mut slot.heir);
            } else {
                slot.heir = NOBODY;
            }
        }
        allot(here.into_iter(), &members);
        let mut moved = 0;
        for slot in self
            .0
            .iter_mut()
            .filter(|slot| slot.owner != slot.heir && slot.out == 0)
        {
            slot.owner = slot.heir;
            moved += 1;
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(_: u8) -> bool {
        true
    }

    #[test]
    fn what_is_not_here_belongs_to_nobody() {
        let mut slots = Slots::new(1);
        slots.hand_out(3);
        slots.share(&[1, 2], |slot| slot >= 128);
        assert_eq!((owned(&slots, NOBODY), owned(&slots, 2)), (127, 64));
        assert!(slots.take_back(3), "it goes when it is back");
        assert_eq!(slots.owner(3), NOBODY);
    }

    #[test]
    fn a_seeded_hash_never_changes() {
        let hash = |seed, topic, key| Hasher::Seeded(seed).hash_of(topic, key).0;
        assert_eq!(hash(7, "orders", "o-1"), 3_881_980_325);
        assert_ne!(hash(7, "orders", "o-1"), hash(8, "orders", "o-1"));
        assert_ne!(hash(7, "a", "bc"), hash(7, "ab", "c"));
        let mut slots = [0; SLOTS];
        for key in 0..25_600 {
            let hash = Hasher::Seeded(7).hash_of("orders", &format!("o-{key}"));
            slots[usize::from(hash.slot())] += 1;
        }
        assert!(
            slots.iter().all(|count| (50..160).contains(count)),
            "{slots:?}"
        );
    }

    fn owned(slots: &Slots, member: u64) -> usize {
        slots.0.iter().filter(|slot| slot.owner == member).count()
    }

    #[test]
    fn slots_are_shared_evenly_and_stay_where_they_can() {
        let mut slots = Slots::new(1);
        assert_eq!(slots.share(&[1, 2], all), 128);
        let before: Vec<u64> = slots.0.iter().map(|slot| slot.owner).collect();
        slots.share(&[1, 2, 3], all);
        for member in [1, 2, 3] {
            assert!((85..=86).contains(&owned(&slots, member)));
        }
        let moved = slots
            .0
            .iter()
            .zip(&before)
            .filter(|(slot, owner)| slot.owner != **owner);
        assert!(
            moved.clone().all(|(slot, _)| slot.owner == 3),
            "only the new one gets slots"
        );
        slots.share(&[2, 3], all);
        assert_eq!(
            (owned(&slots, 1), owned(&slots, 2), owned(&slots, 3)),
            (0, 128, 128)
        );
    }

    #[test]
    fn a_slot_with_an_event_out_moves_when_it_is_back() {
        let mut slots = Slots::new(1);
        (0..=255).for_each(|slot| slots.hand_out(slot));
        assert_eq!(slots.share(&[2], all), 0);
        assert_eq!(slots.owner(7), 1);
        assert!(slots.take_back(7));
        assert_eq!(slots.owner(7), 2);
        assert!(slots.has(1) && slots.has(2));
    }
}

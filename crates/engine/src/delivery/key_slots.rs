//! Which member of a group a key belongs to: keys hash to slots, slots belong to members.
//!
//! When members come and go, slots move so that each has about the same number; a slot with an
//! event in its owner's hands stays until that event is settled, which is what keeps one key in
//! one place.

use std::hash::{BuildHasher, Hasher as _};

use siphasher::sip::SipHasher13;

use crate::ids::{MemberId, Slot};
use crate::model::slot_allotment::allot;
use crate::model::topic_key::KeyRef;

/// What a topic and a key hash to. Random, so that nobody can choose keys that all fall into one
/// slot, and where processes share a log the same in all of them.
#[derive(Clone, Debug)]
pub(crate) enum KeyHasher {
    /// For this process alone.
    Random(foldhash::fast::RandomState),
    /// For every process of whatever version that knows the seed.
    Seeded(u64),
}

impl Default for KeyHasher {
    fn default() -> Self {
        Self::Random(foldhash::fast::RandomState::default())
    }
}

/// The hash of a topic and a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KeyHash(u32);

impl KeyHasher {
    pub(crate) fn hash_of(&self, topic: &str, key: &str) -> KeyHash {
        KeyHash(match self {
            Self::Random(state) => state.hash_one(KeyRef(topic, key)) as u32,
            Self::Seeded(seed) => seeded(*seed, topic, key),
        })
    }
}

/// SipHash-1-3, with the seed as the first half of its key, over the topic, a byte that no topic has,
/// and the key. Never to be changed: processes of different versions have to agree.
fn seeded(seed: u64, topic: &str, key: &str) -> u32 {
    let mut hasher = SipHasher13::new_with_keys(seed, 0);
    hasher.write(topic.as_bytes());
    hasher.write(&[0xff]);
    hasher.write(key.as_bytes());
    hasher.finish() as u32
}

impl KeyHash {
    /// The slot that the lane belongs to.
    pub(crate) fn slot(self) -> Slot {
        // 256 slots: the low byte is one.
        Slot::new(self.0 as u8)
    }

    /// What the slot does not say of it.
    pub(crate) fn number(self) -> usize {
        (self.0 >> 8) as usize
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct KeySlot {
    /// `None` for one that no member of this process has.
    owner: Option<MemberId>,
    /// Who is to own it once it is free.
    heir: Option<MemberId>,
    /// How many of its events are in the owner's hands.
    out: usize,
}

/// The slots of one group.
#[derive(Debug)]
pub(crate) struct KeySlots(Box<[KeySlot; Slot::COUNT]>);

impl KeySlots {
    /// All of them belong to `owner`.
    pub(crate) fn new(owner: MemberId) -> Self {
        Self(Box::new(
            [KeySlot {
                owner: Some(owner),
                heir: Some(owner),
                out: 0,
            }; Slot::COUNT],
        ))
    }

    fn slot(&mut self, slot: Slot) -> &mut KeySlot {
        #[expect(
            clippy::indexing_slicing,
            reason = "in range: there are 256 slots and a byte to count them"
        )]
        &mut self.0[slot.index()]
    }

    pub(crate) fn owner(&self, slot: Slot) -> Option<MemberId> {
        self.0.get(slot.index()).and_then(|slot| slot.owner)
    }

    /// Whether `member` owns any.
    pub(crate) fn has(&self, member: MemberId) -> bool {
        self.0.iter().any(|slot| slot.owner == Some(member))
    }

    /// An event of the slot goes into its owner's hands.
    pub(crate) fn hand_out(&mut self, slot: Slot) {
        self.slot(slot).out += 1;
    }

    /// An event of the slot is no longer in its owner's hands; whether the slot changes hands now.
    pub(crate) fn take_back(&mut self, slot: Slot) -> bool {
        let slot = self.slot(slot);
        slot.out -= 1;
        let moves = slot.out == 0 && slot.owner != slot.heir;
        if moves {
            slot.owner = slot.heir;
        }
        moves
    }

    /// How many of the slot's events are in its owner's hands.
    pub(crate) fn out(&self, slot: Slot) -> usize {
        self.0.get(slot.index()).map_or(0, |slot| slot.out)
    }

    /// Shares the slots for which `is_here` holds among `members`, moving as few as can be; the
    /// others become free. How many changed hands at once.
    pub(crate) fn share(&mut self, members: &[MemberId], is_here: impl Fn(Slot) -> bool) -> usize {
        if members.is_empty() {
            return 0;
        }
        let members: Vec<(MemberId, usize)> = members.iter().map(|member| (*member, 1)).collect();
        let mut here = Vec::with_capacity(Slot::COUNT);
        for (number, slot) in Slot::all().zip(self.0.iter_mut()) {
            if is_here(number) {
                here.push(&mut slot.heir);
            } else {
                slot.heir = None;
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

    fn all(_: Slot) -> bool {
        true
    }

    fn member(number: u64) -> MemberId {
        MemberId::new(number).unwrap()
    }

    fn members<const N: usize>(numbers: [u64; N]) -> [MemberId; N] {
        numbers.map(member)
    }

    #[test]
    fn what_is_not_here_belongs_to_no_member() {
        let mut slots = KeySlots::new(member(1));
        slots.hand_out(Slot::new(3));
        slots.share(&members([1, 2]), |slot| slot.index() >= 128);
        let free = slots.0.iter().filter(|slot| slot.owner.is_none()).count();
        assert_eq!((free, owned(&slots, 2)), (127, 64));
        assert!(slots.take_back(Slot::new(3)), "it goes when it is back");
        assert_eq!(slots.owner(Slot::new(3)), None);
    }

    #[test]
    fn a_seeded_hash_never_changes() {
        let hash = |seed, topic, key| KeyHasher::Seeded(seed).hash_of(topic, key).0;
        assert_eq!(hash(7, "orders", "o-1"), 3_594_046_866);
        assert_ne!(hash(7, "orders", "o-1"), hash(8, "orders", "o-1"));
        assert_ne!(hash(7, "a", "bc"), hash(7, "ab", "c"));
        let mut slots = [0; Slot::COUNT];
        for key in 0..25_600 {
            let hash = KeyHasher::Seeded(7).hash_of("orders", &format!("o-{key}"));
            slots[hash.slot().index()] += 1;
        }
        assert!(
            slots.iter().all(|count| (50..160).contains(count)),
            "{slots:?}"
        );
    }

    fn owned(slots: &KeySlots, number: u64) -> usize {
        let owner = Some(member(number));
        slots.0.iter().filter(|slot| slot.owner == owner).count()
    }

    #[test]
    fn slots_are_shared_evenly_and_stay_where_they_can() {
        let mut slots = KeySlots::new(member(1));
        assert_eq!(slots.share(&members([1, 2]), all), 128);
        let before: Vec<Option<MemberId>> = slots.0.iter().map(|slot| slot.owner).collect();
        slots.share(&members([1, 2, 3]), all);
        for number in [1, 2, 3] {
            assert!((85..=86).contains(&owned(&slots, number)));
        }
        let moved = slots
            .0
            .iter()
            .zip(&before)
            .filter(|(slot, owner)| slot.owner != **owner);
        assert!(
            moved.clone().all(|(slot, _)| slot.owner == Some(member(3))),
            "only the new one gets slots"
        );
        slots.share(&members([2, 3]), all);
        assert_eq!(
            (owned(&slots, 1), owned(&slots, 2), owned(&slots, 3)),
            (0, 128, 128)
        );
    }

    #[test]
    fn a_slot_with_an_event_out_moves_when_it_is_back() {
        let mut slots = KeySlots::new(member(1));
        Slot::all().for_each(|slot| slots.hand_out(slot));
        assert_eq!(slots.share(&members([2]), all), 0);
        assert_eq!(slots.owner(Slot::new(7)), Some(member(1)));
        assert!(slots.take_back(Slot::new(7)));
        assert_eq!(slots.owner(Slot::new(7)), Some(member(2)));
        assert!(slots.has(member(1)) && slots.has(member(2)));
    }
}

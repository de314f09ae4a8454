//! Which member of a group a key belongs to: keys hash to slots, slots belong to members.
//!
//! When members come and go, slots move so that each has about the same number; a slot with an
//! event in its owner's hands stays until that event is settled, which is what keeps one key in
//! one place.

use std::hash::BuildHasher;

use super::lanes::LaneRef;

/// What a topic and a key hash to. Differs from process to process, so that nobody can choose keys
/// that all fall into one slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Hasher(foldhash::fast::RandomState);

/// The hash of a topic and a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LaneHash(u32);

impl Hasher {
    pub(super) fn hash_of(&self, topic: &str, key: &str) -> LaneHash {
        LaneHash(self.0.hash_one(LaneRef(topic, key)) as u32)
    }
}

impl LaneHash {
    /// The slot that the lane belongs to.
    pub(super) fn slot(self) -> u8 {
        // 256 slots: the low byte is one.
        self.0 as u8
    }
}

/// How many slots a group has.
pub(super) const SLOTS: usize = 256;

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
pub(super) struct Slots(Box<[Slot; SLOTS]>);

impl Slots {
    /// All of them belong to `owner`.
    pub(super) fn new(owner: u64) -> Self {
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

    pub(super) fn owner(&self, slot: u8) -> u64 {
        self.0.get(usize::from(slot)).map_or(0, |slot| slot.owner)
    }

    /// Whether `member` owns any.
    pub(super) fn has(&self, member: u64) -> bool {
        self.0.iter().any(|slot| slot.owner == member)
    }

    /// An event of the slot goes into its owner's hands.
    pub(super) fn hand_out(&mut self, slot: u8) {
        self.slot(slot).out += 1;
    }

    /// An event of the slot is no longer in its owner's hands; whether the slot changes hands now.
    pub(super) fn take_back(&mut self, slot: u8) -> bool {
        let slot = self.slot(slot);
        slot.out -= 1;
        let moves = slot.out == 0 && slot.owner != slot.heir;
        if moves {
            slot.owner = slot.heir;
        }
        moves
    }

    /// Shares the slots among `members`, moving as few as can be; how many changed hands at once.
    pub(super) fn share(&mut self, members: &[u64]) -> usize {
        if members.is_empty() {
            return 0;
        }
        let (each, more) = (SLOTS / members.len(), SLOTS % members.len());
        let mut room: Vec<(u64, usize)> = members
            .iter()
            .enumerate()
            .map(|(index, member)| (*member, each + usize::from(index < more)))
            .collect();
        let mut homeless = Vec::new();
        for slot in self.0.iter_mut() {
            match room
                .iter_mut()
                .find(|(member, room)| *member == slot.heir && *room > 0)
            {
                Some((_, room)) => *room -= 1,
                None => homeless.push(slot),
            }
        }
        for slot in homeless {
            if let Some((member, room)) = room.iter_mut().find(|(_, room)| *room > 0) {
                slot.heir = *member;
                *room -= 1;
            }
        }
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

    fn owned(slots: &Slots, member: u64) -> usize {
        slots.0.iter().filter(|slot| slot.owner == member).count()
    }

    #[test]
    fn slots_are_shared_evenly_and_stay_where_they_can() {
        let mut slots = Slots::new(1);
        assert_eq!(slots.share(&[1, 2]), 128);
        let before: Vec<u64> = slots.0.iter().map(|slot| slot.owner).collect();
        slots.share(&[1, 2, 3]);
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
        slots.share(&[2, 3]);
        assert_eq!(
            (owned(&slots, 1), owned(&slots, 2), owned(&slots, 3)),
            (0, 128, 128)
        );
    }

    #[test]
    fn a_slot_with_an_event_out_moves_when_it_is_back() {
        let mut slots = Slots::new(1);
        (0..=255).for_each(|slot| slots.hand_out(slot));
        assert_eq!(slots.share(&[2]), 0);
        assert_eq!(slots.owner(7), 1);
        assert!(slots.take_back(7));
        assert_eq!(slots.owner(7), 2);
        assert!(slots.has(1) && slots.has(2));
    }
}

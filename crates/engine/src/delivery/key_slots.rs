//! Which member of a group a key belongs to: keys hash to slots, slots belong to members.
//!
//! When members come and go, slots move so that each has about the same number; a slot with an
//! event in its owner's hands stays until that event is settled, which is what keeps one key in
//! one place.

use crate::ids::{MemberId, Slot};
use crate::model::slot_allotment::allot;

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

//! Which process has which slots of a group: part of the fold, so that all processes agree.
//!
//! When members come and go, a slot gets an *heir*. Its owner takes no further events of it, waits
//! until none is in its members' hands, and says so (`Released`); only then does the slot change
//! hands, which is what keeps a key in one place. The slots of a process that is gone go to their
//! heirs at once: nothing it says afterwards counts.

use serde::{Deserialize, Serialize};

use super::slot_allotment::allot;
use crate::ids::{ProcessId, Slot, Turn, process_or_max};

/// The slots of one group; none when one process has the log for itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SlotOwners {
    /// Counts assignments: a release says which one it means.
    turn: Turn,
    slots: Vec<Assignment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Assignment {
    #[serde(with = "process_or_max")]
    owner: Option<ProcessId>,
    #[serde(with = "process_or_max")]
    heir: Option<ProcessId>,
}

/// What a process is to a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotRole {
    /// It has it and keeps it.
    Keeps,
    /// It has it and is to give it away.
    Leaves,
    /// It has nothing to do with it yet.
    None,
}

impl SlotOwners {
    pub(crate) fn turn(&self) -> Turn {
        self.turn
    }

    /// How many slots are owned.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Shares the slots among processes, each with its number of members, moving as few as can be.
    pub(crate) fn assign(&mut self, processes: &[(ProcessId, usize)]) {
        self.turn = self.turn.next();
        if processes.is_empty() {
            self.slots.clear();
            return;
        }
        if self.slots.is_empty() {
            let free = Assignment {
                owner: None,
                heir: None,
            };
            self.slots = vec![free; Slot::COUNT];
        }
        allot(self.slots.iter_mut().map(|it| &mut it.heir), processes);
        for share in &mut self.slots {
            if !processes.iter().any(|(boot, _)| Some(*boot) == share.owner) {
                share.owner = share.heir;
            }
        }
    }

    /// A process gives slots away, as assigned in this very turn.
    pub(crate) fn release(&mut self, boot: ProcessId, turn: Turn, slots: &[Slot]) {
        if turn != self.turn {
            return;
        }
        for slot in slots {
            if let Some(share) = self.slots.get_mut(slot.index())
                && share.owner == Some(boot)
            {
                share.owner = share.heir;
            }
        }
    }

    /// What the process is to each slot.
    pub(crate) fn roles(&self, boot: ProcessId) -> [SlotRole; Slot::COUNT] {
        let mut roles = [SlotRole::None; Slot::COUNT];
        for (role, share) in roles.iter_mut().zip(&self.slots) {
            if share.owner == Some(boot) {
                *role = if share.heir == Some(boot) {
                    SlotRole::Keeps
                } else {
                    SlotRole::Leaves
                };
            }
        }
        roles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(slot_owners: &SlotOwners, boot: u64, role: SlotRole) -> usize {
        slot_owners
            .roles(ProcessId::new(boot))
            .iter()
            .filter(|it| **it == role)
            .count()
    }

    #[test]
    fn a_slot_moves_when_its_owner_gives_it_away() {
        let mut slot_owners = SlotOwners::default();
        slot_owners.assign(&[(ProcessId::new(7), 1)]);
        assert_eq!(count(&slot_owners, 7, SlotRole::Keeps), Slot::COUNT);
        slot_owners.assign(&[(ProcessId::new(7), 1), (ProcessId::new(9), 3)]);
        assert_eq!(count(&slot_owners, 7, SlotRole::Keeps), Slot::COUNT / 4);
        assert_eq!(count(&slot_owners, 9, SlotRole::Keeps), 0);
        let leaves: Vec<Slot> = Slot::all()
            .filter(|slot| slot_owners.roles(ProcessId::new(7))[slot.index()] == SlotRole::Leaves)
            .collect();
        slot_owners.release(ProcessId::new(7), Turn::default().next(), &leaves);
        assert_eq!(
            count(&slot_owners, 9, SlotRole::Keeps),
            0,
            "an old turn counts no more"
        );
        slot_owners.release(ProcessId::new(9), slot_owners.turn(), &leaves);
        assert_eq!(
            count(&slot_owners, 9, SlotRole::Keeps),
            0,
            "not its own to give"
        );
        slot_owners.release(ProcessId::new(7), slot_owners.turn(), &leaves);
        assert_eq!(count(&slot_owners, 9, SlotRole::Keeps), Slot::COUNT * 3 / 4);
    }

    #[test]
    fn what_the_dead_had_moves_at_once() {
        let mut slot_owners = SlotOwners::default();
        slot_owners.assign(&[(ProcessId::new(7), 1), (ProcessId::new(9), 1)]);
        slot_owners.assign(&[(ProcessId::new(9), 1)]);
        assert_eq!(count(&slot_owners, 9, SlotRole::Keeps), Slot::COUNT);
        slot_owners.assign(&[]);
        assert_eq!(count(&slot_owners, 9, SlotRole::Keeps), 0);
    }
}

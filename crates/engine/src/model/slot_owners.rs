//! Which process has which slots of a group: part of the fold, so that all processes agree.
//!
//! When members come and go, a slot gets an *heir*. Its owner takes no further events of it, waits
//! until none is in its members' hands, and says so (`Released`); only then does the slot change
//! hands, which is what keeps a key in one place. The slots of a process that is gone go to their
//! heirs at once: nothing it says afterwards counts.

use serde::{Deserialize, Serialize};

use super::slot_allotment::{SLOTS, allot};

/// Nobody: no log has a record there.
const NOBODY: u64 = u64::MAX;

/// The slots of one group; none when nobody shares the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shares {
    /// Counts assignments: a release says which one it means.
    turn: u64,
    slots: Vec<Share>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Share {
    owner: u64,
    heir: u64,
}

/// What a process is to a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It has it and keeps it.
    Keeps,
    /// It has it and is to give it away.
    Leaves,
    /// It has nothing to do with it yet.
    None,
}

impl Shares {
    pub(crate) fn turn(&self) -> u64 {
        self.turn
    }

    /// Shares the slots among processes, each with its number of members, moving as few as can be.
    pub(crate) fn assign(&mut self, processes: &[(u64, usize)]) {
        self.turn += 1;
        if processes.is_empty() {
            self.slots.clear();
            return;
        }
        if self.slots.is_empty() {
            let nobody = Share {
                owner: NOBODY,
                heir: NOBODY,
            };
            self.slots = vec![nobody; SLOTS];
        }
        allot(self.slots.iter_mut().map(|it| &mut it.heir), processes);
        for share in &mut self.slots {
            if !processes.iter().any(|(boot, _)| *boot == share.owner) {
                share.owner = share.heir;
            }
        }
    }

    /// A process gives slots away, as assigned in this very turn.
    pub(crate) fn release(&mut self, boot: u64, turn: u64, slots: &[u8]) {
        if turn != self.turn {
            return;
        }
        for slot in slots {
            if let Some(share) = self.slots.get_mut(usize::from(*slot))
                && share.owner == boot
            {
                share.owner = share.heir;
            }
        }
    }

    /// What the process is to each slot.
    pub(crate) fn roles(&self, boot: u64) -> [Role; SLOTS] {
        let mut roles = [Role::None; SLOTS];
        for (role, share) in roles.iter_mut().zip(&self.slots) {
            if share.owner == boot {
                *role = match share.heir == boot {
                    true => Role::Keeps,
                    false => Role::Leaves,
                };
            }
        }
        roles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(shares: &Shares, boot: u64, role: Role) -> usize {
        shares.roles(boot).iter().filter(|it| **it == role).count()
    }

    #[test]
    fn a_slot_moves_when_its_owner_gives_it_away() {
        let mut shares = Shares::default();
        shares.assign(&[(7, 1)]);
        assert_eq!(count(&shares, 7, Role::Keeps), SLOTS);
        shares.assign(&[(7, 1), (9, 3)]);
        assert_eq!(count(&shares, 7, Role::Keeps), SLOTS / 4);
        assert_eq!(count(&shares, 9, Role::Keeps), 0);
        let leaves: Vec<u8> = (0..=255)
            .filter(|slot| shares.roles(7)[usize::from(*slot)] == Role::Leaves)
            .collect();
        shares.release(7, shares.turn() - 1, &leaves);
        assert_eq!(
            count(&shares, 9, Role::Keeps),
            0,
            "an old turn counts no more"
        );
        shares.release(9, shares.turn(), &leaves);
        assert_eq!(count(&shares, 9, Role::Keeps), 0, "not its own to give");
        shares.release(7, shares.turn(), &leaves);
        assert_eq!(count(&shares, 9, Role::Keeps), SLOTS * 3 / 4);
    }

    #[test]
    fn what_the_dead_had_moves_at_once() {
        let mut shares = Shares::default();
        shares.assign(&[(7, 1), (9, 1)]);
        shares.assign(&[(9, 1)]);
        assert_eq!(count(&shares, 9, Role::Keeps), SLOTS);
        shares.assign(&[]);
        assert_eq!(count(&shares, 9, Role::Keeps), 0);
    }
}

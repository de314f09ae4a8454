//! Slots that come from other processes and go to them, where several share the log.
//!
//! A slot that is to go is out of bounds at once: what was read of it is forgotten, and when
//! nothing of it is in a member's hands any more, a record gives it away. A slot that comes may
//! have events that its last owner read and did not settle: reading begins anew at the low-water
//! mark.

use crate::delivery::group_session::GroupSession;
use crate::ids::Slot;
use crate::model::group::Group;
use crate::model::record::Released;
use crate::model::slot_owners::SlotRole;
use crate::model::topic_key::TopicKey;
use crate::time::Timestamp;

/// Which slots of a group are this process's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SlotOwnership {
    /// All: nobody shares the log.
    All,
    Some(Box<[bool; Slot::COUNT]>),
}

impl SlotOwnership {
    pub(crate) fn has(&self, slot: Slot) -> bool {
        match self {
            Self::All => true,
            Self::Some(slots) => slots.get(slot.index()).copied().unwrap_or(false),
        }
    }
}

impl GroupSession {
    /// Goes by the group's slot owners from now on.
    pub(crate) fn follow(&mut self, group: &Group, now: Timestamp) {
        let roles = group.slot_owners.roles(self.boot);
        let mut mine = Box::new([false; Slot::COUNT]);
        for (mine, role) in mine.iter_mut().zip(roles) {
            *mine = role == SlotRole::Keeps;
        }
        let mine = SlotOwnership::Some(mine);
        if self.mine == mine {
            return;
        }
        let had = std::mem::replace(&mut self.mine, mine);
        if Slot::all().any(|slot| self.mine.has(slot) && !had.has(slot)) {
            self.rewind(group);
        }
        let lanes: Vec<_> = group.set_aside.keys().cloned().collect();
        for lane in lanes {
            self.refresh(group, &lane, now);
        }
        let (mine, hasher) = (&self.mine, &self.hasher);
        let slot = |lane: &TopicKey| hasher.hash_of(lane.topic(), lane.key()).slot();
        self.aside.retain(|lane| mine.has(slot(lane)));
        self.rebalance();
    }

    /// Reads again from the low-water mark, and forgets what was read for nobody yet.
    fn rewind(&mut self, group: &Group) {
        for seat in &mut self.seats {
            seat.ready.clear();
            seat.ready_bytes = 0;
        }
        self.turns.clear();
        self.aside.rewind();
        self.pages.rewind();
        self.window.forget_ready(|_| true);
        // Whoever had the slots may have been ahead of this process.
        self.replayed = self.replayed.max(self.cursor).max(group.settled_end());
        (self.cursor, self.from) = (group.low, group.low);
        self.rest = None;
        self.is_reading = false;
        self.rewinds += 1;
    }
}

impl GroupSession {
    /// The record that gives slots away of which nothing is in anybody's hands, if there are any
    /// that no record says so of.
    pub(crate) fn release_slots(&mut self, name: &str, group: &Group) -> Option<Released> {
        if self.mine == SlotOwnership::All || self.aside.has_unsaid() {
            return None;
        }
        let turn = group.slot_owners.turn();
        if self.released.0 != turn {
            self.released = (turn, Default::default());
        }
        let roles = group.slot_owners.roles(self.boot);
        let leaving = Slot::all().zip(roles);
        let leaving = leaving.filter(|(_, role)| *role == SlotRole::Leaves);
        let said = &self.released.1;
        let slots: Vec<Slot> = leaving
            .map(|(slot, _)| slot)
            .filter(|slot| self.slots.out(*slot) == 0 && !said.contains(slot))
            .collect();
        if slots.is_empty() {
            return None;
        }
        self.released.1.extend(&slots);
        Some(Released {
            group: name.to_owned(),
            boot: self.boot,
            turn,
            slots,
        })
    }

    /// The record could not be written: it is to be said again.
    pub(crate) fn keep_slots(&mut self, released: &Released) {
        for slot in &released.slots {
            self.released.1.remove(slot);
        }
    }
}

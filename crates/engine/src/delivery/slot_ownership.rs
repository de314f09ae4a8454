//! Which slots of a group are this process's, and what keys hash to them.
//!
//! A slot that is to go is out of bounds at once: what was read of it is forgotten, and when
//! nothing of it is in a member's hands any more, a record gives it away. A slot that comes may
//! have events that its last owner read and did not settle: reading begins again at the low-water
//! mark.

use std::collections::BTreeSet;

use super::key_hash::{KeyHash, KeyHasher};
use crate::ids::{ProcessId, Slot, Turn};
use crate::model::record::Released;
use crate::model::slot_owners::{SlotOwners, SlotRole};
use crate::model::topic_key::{KeyRef, TopicKey};

/// The slots of a group that are this process's.
#[derive(Debug)]
pub(crate) struct SlotOwnership {
    process: ProcessId,
    hasher: KeyHasher,
    slots: Slots,
    /// The slots that this process has said it gives away, and in which turn.
    released: (Turn, BTreeSet<Slot>),
}

#[derive(Debug, PartialEq, Eq)]
enum Slots {
    /// All: no other process shares the log.
    All,
    Some(Box<[bool; Slot::COUNT]>),
}

impl Slots {
    fn has(&self, slot: Slot) -> bool {
        match self {
            Self::All => true,
            Self::Some(slots) => slots.get(slot.index()).copied().unwrap_or(false),
        }
    }
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Nothing,
    /// Slots went, none came.
    Lost,
    /// Slots came.
    Gained,
}

impl SlotOwnership {
    /// `seed` is what all processes that share the log hash with.
    pub(crate) fn new(process: ProcessId, seed: Option<u64>) -> Self {
        Self {
            process,
            hasher: seed.map_or_else(KeyHasher::default, KeyHasher::Seeded),
            slots: Slots::All,
            released: Default::default(),
        }
    }

    pub(crate) fn process(&self) -> ProcessId {
        self.process
    }

    pub(crate) fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }

    pub(crate) fn hash_of(&self, key: KeyRef<'_>) -> KeyHash {
        self.hasher.hash_of(key.0, key.1)
    }

    pub(crate) fn hash_key(&self, key: &TopicKey) -> KeyHash {
        self.hash_of(key.as_ref())
    }

    /// Whether other processes may have slots.
    pub(crate) fn is_partial(&self) -> bool {
        self.slots != Slots::All
    }

    pub(crate) fn has(&self, slot: Slot) -> bool {
        self.slots.has(slot)
    }

    pub(crate) fn has_key(&self, key: &TopicKey) -> bool {
        !self.is_partial() || self.has(self.hash_key(key).slot())
    }

    /// Goes by the group's slot owners from now on.
    pub(crate) fn follow(&mut self, owners: &SlotOwners) -> Change {
        let mut slots = Box::new([false; Slot::COUNT]);
        for (mine, role) in slots.iter_mut().zip(owners.roles(self.process)) {
            *mine = role == SlotRole::Keeps;
        }
        let slots = Slots::Some(slots);
        if self.slots == slots {
            return Change::Nothing;
        }
        let had = std::mem::replace(&mut self.slots, slots);
        if Slot::all().any(|slot| self.slots.has(slot) && !had.has(slot)) {
            Change::Gained
        } else {
            Change::Lost
        }
    }

    /// The record that gives slots of the group `name` away of which nothing is in a member's hands
    /// (`is_free`), if there are any that no record says so of.
    pub(crate) fn release(
        &mut self,
        name: &str,
        owners: &SlotOwners,
        is_free: impl Fn(Slot) -> bool,
    ) -> Option<Released> {
        let turn = owners.turn();
        if self.released.0 != turn {
            self.released = (turn, BTreeSet::new());
        }
        let leaving = Slot::all().zip(owners.roles(self.process));
        let leaving = leaving.filter(|(_, role)| *role == SlotRole::Leaves);
        let said = &self.released.1;
        let slots: Vec<Slot> = leaving
            .map(|(slot, _)| slot)
            .filter(|slot| is_free(*slot) && !said.contains(slot))
            .collect();
        if slots.is_empty() {
            return None;
        }
        self.released.1.extend(&slots);
        Some(Released {
            group: name.to_owned(),
            boot: self.process,
            turn,
            slots,
        })
    }

    /// The record could not be written: it is to be said again.
    pub(crate) fn keep(&mut self, released: &Released) {
        for slot in &released.slots {
            self.released.1.remove(slot);
        }
    }
}

//! Control records that were submitted and are not durable yet, in the order of the log.
//!
//! Three things follow from what is on its way, and are kept in step with it here alone: how much
//! state it adds, what it makes of the schedules, and which record is next to be applied.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ensue_log as log;

use super::pending_schedules::PendingSchedules;
use crate::engine::Position;
use crate::ids::Epoch;
use crate::model::change::Change;
use crate::model::refusal::Refusal;
use crate::pending_write::PendingWrite;
use crate::pending_write::ticket::Ticket;

/// The batches with control records on their way.
#[derive(Debug, Default)]
pub(crate) struct PendingChanges {
    queue: VecDeque<Pending>,
    /// Bytes of state that they add at the most.
    cell_bytes: usize,
    /// What will have become of the schedules once all of them are durable.
    schedules: PendingSchedules,
}

/// One of these batches.
#[derive(Debug)]
pub(crate) struct Pending {
    submitted: PendingWrite,
    /// The control records, and which of the batch they are.
    changes: Vec<(usize, Change)>,
    terms: Terms,
}

/// What goes with a batch's control records.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    /// The group session that a commit was claimed in.
    pub(crate) epoch: Option<Epoch>,
    /// Bytes of state that the records add.
    pub(crate) cell_bytes: usize,
    /// Told the group's generation when the records are applied.
    pub(crate) generation: Option<Arc<AtomicU64>>,
}

impl PendingChanges {
    /// A batch was submitted whose last records, from the `first` on, are `changes`; whether some of
    /// them are about schedules.
    pub(crate) fn push(
        &mut self,
        submitted: &PendingWrite,
        first: usize,
        changes: Vec<Change>,
        terms: Terms,
    ) -> bool {
        let changes: Vec<_> = (first..).zip(changes).collect();
        let mut concerns_schedules = false;
        for (index, change) in &changes {
            concerns_schedules |= self.schedules.submitted(*index, change, submitted);
        }
        self.cell_bytes += terms.cell_bytes;
        self.queue.push_back(Pending {
            submitted: submitted.clone(),
            changes,
            terms,
        });
        concerns_schedules
    }

    /// A batch of `change` alone, which is not about schedules, went before all others.
    pub(crate) fn push_first(&mut self, submitted: PendingWrite, change: Change) {
        self.queue.push_front(Pending {
            submitted,
            changes: vec![(0, change)],
            terms: Terms::default(),
        });
    }

    /// Takes the oldest out: from here on it is not on its way any more.
    pub(crate) fn pop(&mut self) -> Option<Pending> {
        let pending = self.queue.pop_front()?;
        self.cell_bytes -= pending.terms.cell_bytes;
        for (_, change) in &pending.changes {
            self.schedules.concluded(change);
        }
        Some(pending)
    }

    /// Takes the oldest out if it went into this process's own log and its outcome is known: the
    /// receipt, unless it failed.
    pub(crate) fn pop_concluded(&mut self) -> Option<(Pending, Option<log::Receipt>)> {
        let PendingWrite::Log(submitted) = &self.queue.front()?.submitted else {
            return None;
        };
        let receipt = submitted.outcome()?.is_ok();
        let receipt = receipt.then(|| submitted.receipt.clone());
        Some((self.pop()?, receipt))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Where the oldest record on its way is going to be, as far as that is known.
    pub(crate) fn first_position(&self) -> Option<Position> {
        self.queue.iter().find_map(|pending| {
            let (index, _) = pending.changes.first()?;
            pending.submitted.position(*index)
        })
    }

    /// The last batch that concerns a group.
    pub(crate) fn last_of(&self, group: &str) -> Option<PendingWrite> {
        let concerns = |pending: &&Pending| {
            let mut changes = pending.changes.iter();
            changes.any(|(_, change)| change.group() == Some(group))
        };
        let last = self.queue.iter().rev().find(concerns)?;
        Some(last.submitted.clone())
    }

    pub(crate) fn cell_bytes(&self) -> usize {
        self.cell_bytes
    }

    pub(crate) fn schedules(&self) -> &PendingSchedules {
        &self.schedules
    }
}

impl Pending {
    /// The control records, and which of the batch they are.
    pub(crate) fn changes(&self) -> &[(usize, Change)] {
        &self.changes
    }

    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.terms.epoch
    }

    /// Tells the one who waits for the batch which generation its group has.
    pub(crate) fn tell_generation(&self, generation: u64) {
        if let Some(told) = &self.terms.generation {
            told.store(generation, Ordering::Release);
        }
    }

    /// Where its outcome is waited for, if it went out by way of a shared log.
    pub(crate) fn ticket(&self) -> Option<&Ticket> {
        match &self.submitted {
            PendingWrite::Log(_) => None,
            PendingWrite::Shared(ticket) => Some(ticket),
        }
    }

    /// Its outcome is that it was not taken.
    pub(crate) fn refuse(&self, why: &Refusal) {
        if let Some(ticket) = self.ticket() {
            ticket.resolve(Err(why.clone()));
        }
    }
}

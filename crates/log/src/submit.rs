//! Taking batches: sizes, dedup, expectations, positions.

use std::sync::Arc;

use crate::batch::{Batch, Expectation};
use crate::codec::lock;
use crate::error::{Conflict, Error, Result};
use crate::expect::Expect;
use crate::index::Active;
use crate::position::Position;
use crate::queue::State;
use crate::receipt::{Receipt, Submitted};
use crate::shared::{Halt, Shared};
use crate::storage::Lost;
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering;
use crate::wait::{self, Outcome, Ticket};

/// The lock under which a batch was put into the queue, where it went, and what to wait for.
pub(crate) type Placement<'a> = (MutexGuard<'a, State>, Receipt, Option<Arc<Ticket>>);

/// Why a batch was not taken. Nothing of it was appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The byte budget is used up; the batch comes back. Wait for [`Log::room`](crate::Log::room)
    /// and try again.
    #[error("the queue of the log is full; wait for room and submit again")]
    Full(Batch),
    /// An [`Expect`] did not hold.
    #[error(transparent)]
    Conflict(Box<Conflict>),
    /// A record or the batch is larger than its limit.
    #[error("{what} has {bytes} bytes, the limit is {bytes_max}; split it or raise the limit")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// See [`Error::Poisoned`].
    #[error("the log stopped after an I/O failure ({reason}); check the disk, then reopen the log")]
    Poisoned {
        /// The failure.
        reason: String,
    },
    /// See [`Error::OwnershipLost`].
    #[error(
        "{directory} no longer belongs to this log: {what}; nothing more is acknowledged; find \
         out what removed or replaced it, then open the log again"
    )]
    OwnershipLost {
        /// The directory.
        directory: String,
        /// What happened to it.
        what: String,
    },
    /// The log was closed.
    #[error("the log is closed; open it again")]
    Closed,
    /// Reading what an expectation or the dedup window needs from disk failed.
    #[error(transparent)]
    Read(Box<Error>),
}

impl From<SubmitError> for Error {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Full(batch) => Self::TooLarge {
                what: "the queue with this batch",
                bytes: batch.bytes(),
                bytes_max: 0,
            },
            SubmitError::Conflict(conflict) => Self::Conflict(conflict),
            SubmitError::TooLarge {
                what,
                bytes,
                bytes_max,
            } => Self::TooLarge {
                what,
                bytes,
                bytes_max,
            },
            SubmitError::Poisoned { reason } => Self::Poisoned { reason },
            SubmitError::OwnershipLost { directory, what } => {
                Self::OwnershipLost { directory, what }
            }
            SubmitError::Closed => Self::Closed,
            SubmitError::Read(error) => *error,
        }
    }
}

impl Shared {
    /// See [`Log::submit`](crate::Log::submit).
    pub(crate) fn submit(shared: &Arc<Self>, batch: Batch) -> Result<Submitted, SubmitError> {
        let (state, receipt, ticket) = shared.place(batch)?;
        if state.can_commit() && state.writer_idle {
            shared.work.notify_one();
        }
        drop(state);
        Ok(Submitted {
            receipt,
            ticket,
            slot: None,
            shared: Arc::clone(shared),
        })
    }

    /// Puts a batch into the queue. No thread is woken: the caller, who gets the lock, writes it,
    /// waits for it or tells the writer thread. Without a ticket it is durable already.
    pub(crate) fn place(&self, mut batch: Batch) -> Result<Placement<'_>, SubmitError> {
        self.check_sizes(&batch)?;
        batch.hash_keys(self.store.hash_key);
        if batch.ids {
            self.load_dedup()
                .map_err(|error| SubmitError::Read(Box::new(error)))?;
        }
        let mut sealed = Vec::new();
        loop {
            let mut state = lock(&self.state);
            self.check_open()?;
            let bytes = batch.bytes();
            if state.queued_bytes > 0 && state.queued_bytes + bytes > self.options.queue_bytes_max {
                return Err(SubmitError::Full(batch));
            }
            let mut active = lock(&self.store.active);
            if !batch.expects.is_empty() && !state.dedup.knows_all(&batch) {
                // The active index changes its base at every roll: what was looked up in sealed
                // segments is then no longer everything.
                if sealed.len() != batch.expects.len()
                    || sealed
                        .first()
                        .is_some_and(|(base, _)| *base != active.base())
                {
                    let base = active.base();
                    drop((active, state));
                    sealed = self.look_up_sealed(&batch, base)?;
                    continue;
                }
                let first = self.store.first();
                let is_trimmed = first > 0 || self.is_trimmed.load(Ordering::Acquire);
                let places = (first, is_trimmed);
                if let Some(conflict) = find_conflict(&batch, &active, &sealed, places) {
                    let (expectation, found, removed) = conflict;
                    let (topic, key, expected) = (
                        expectation.topic.clone(),
                        expectation.key.clone(),
                        expectation.expect,
                    );
                    let found = found.map(Position::new);
                    return Err(SubmitError::Conflict(Box::new(Conflict {
                        topic,
                        key,
                        expected,
                        found,
                        removed: removed.then(|| Position::new(first)),
                    })));
                }
            }
            let (receipt, ticket) = self.enqueue(&mut state, &mut active, batch);
            drop(active);
            return Ok((state, receipt, ticket));
        }
    }

    pub(crate) fn check_sizes(&self, batch: &Batch) -> Result<(), SubmitError> {
        let checks = [
            ("a record", batch.largest, self.options.record_bytes_max),
            ("the batch", batch.bytes(), self.options.batch_bytes_max),
        ];
        for (what, bytes, bytes_max) in checks {
            if bytes > bytes_max {
                return Err(SubmitError::TooLarge {
                    what,
                    bytes,
                    bytes_max,
                });
            }
        }
        self.check_open()
    }

    fn check_open(&self) -> Result<(), SubmitError> {
        match self.halt.get() {
            Some(Halt::Poisoned(reason)) => Err(SubmitError::Poisoned {
                reason: reason.clone(),
            }),
            Some(Halt::Lost(Lost { directory, what })) => Err(SubmitError::OwnershipLost {
                directory: directory.clone(),
                what: what.clone(),
            }),
            None if self.is_closed() => Err(SubmitError::Closed),
            None => Ok(()),
        }
    }

    /// For each expectation, the key's last position before `base`.
    fn look_up_sealed(
        &self,
        batch: &Batch,
        base: u64,
    ) -> Result<Vec<(u64, Option<u64>)>, SubmitError> {
        let found = batch
            .expects
            .iter()
            .map(|expectation| Ok((base, self.store.last_of_key_before(expectation.hash, base)?)));
        found
            .collect::<Result<_>>()
            .map_err(|error| SubmitError::Read(Box::new(error)))
    }

    /// Gives the batch its positions and puts it into the queue.
    fn enqueue(
        &self,
        state: &mut State,
        active: &mut Active,
        batch: Batch,
    ) -> (Receipt, Option<Arc<Ticket>>) {
        let start = state.end;
        let (end, positions) = state.number(active, &batch);
        let appended = (end - start) as usize;
        let receipt = Receipt {
            start,
            len: batch.len(),
            appended,
            positions: None,
        };
        if appended == 0 {
            return self.nothing_appended(state, receipt, positions);
        }

        let guess = state.last_bytes;
        let frame = state.frame(batch.bytes(), self.options.frame_bytes_max);
        let before = frame.bytes;
        frame.batches += 1;
        let ticket = Arc::clone(&frame.ticket);
        frame.add(batch, positions.as_deref(), start, guess);
        let added = frame.bytes - before;
        state.end = end;
        self.batches.fetch_add(1, Ordering::Release);
        state.queued_bytes += added;
        self.queued_bytes
            .store(state.queued_bytes, Ordering::Release);
        let duplicates = receipt.len - appended;
        self.counters
            .duplicates
            .fetch_add(duplicates as u64, Ordering::Relaxed);
        (
            Receipt {
                positions: positions.map(Into::into),
                ..receipt
            },
            Some(ticket),
        )
    }

    /// An empty batch, or one of duplicates only: done when the last of them is durable.
    fn nothing_appended(
        &self,
        state: &State,
        receipt: Receipt,
        positions: Option<Vec<u64>>,
    ) -> (Receipt, Option<Arc<Ticket>>) {
        let last = positions.iter().flatten().copied().max();
        let ticket = last
            .filter(|last| *last >= self.store.durable())
            .and_then(|last| state.ticket_of(last));
        self.counters
            .duplicates
            .fetch_add(receipt.len as u64, Ordering::Relaxed);
        (
            Receipt {
                positions: positions.map(Into::into),
                ..receipt
            },
            ticket,
        )
    }

    /// Loads the dedup window, unless it is.
    pub(crate) fn load_dedup(&self) -> Result<()> {
        if self.dedup_loaded.load(Ordering::Acquire) {
            return Ok(());
        }
        // Everyone with an id comes through here first, so that none is added meanwhile.
        let _loading = lock(&self.dedup_loading);
        if self.dedup_loaded.load(Ordering::Acquire) {
            return Ok(());
        }
        let ids = self.store.last_ids(self.options.dedup_window as usize)?;
        let mut state = lock(&self.state);
        for (id, position) in ids {
            state.dedup.insert(id, position);
        }
        self.dedup_loaded.store(true, Ordering::Release);
        Ok(())
    }
}

/// The first expectation that does not hold, where its key's last record is, and whether it may
/// have been removed with what was before `first`: a key of which nothing is left need not be new,
/// and a publisher that expects it to be would start a second history.
fn find_conflict<'a>(
    batch: &'a Batch,
    active: &Active,
    sealed: &[(u64, Option<u64>)],
    (first, is_trimmed): (u64, bool),
) -> Option<(&'a Expectation, Option<u64>, bool)> {
    batch
        .expects
        .iter()
        .zip(sealed)
        .find_map(|(expectation, (_, sealed))| {
            let found = active.last_of(expectation.hash).or(*sealed);
            let (holds, may_be_removed) = match expectation.expect {
                Expect::Absent => (found.is_none() && !is_trimmed, is_trimmed),
                Expect::At(position) => (found == Some(position.get()), position.get() < first),
            };
            (!holds).then_some((expectation, found, found.is_none() && may_be_removed))
        })
}

impl Shared {
    /// The error of a frame that did not become durable.
    pub(crate) fn failure(&self, outcome: Outcome) -> Error {
        match self.halt.get() {
            Some(Halt::Poisoned(reason)) => {
                wait::failure(outcome, reason.clone(), self.options.segment_bytes)
            }
            Some(Halt::Lost(lost)) => lost.clone().into(),
            None => wait::failure(
                outcome,
                "the log stopped".to_owned(),
                self.options.segment_bytes,
            ),
        }
    }
}

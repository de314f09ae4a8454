//! Taking batches: dedup, expectations, positions, and the queue of frames that wait for the disk.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::batch::{Batch, Expect};
use crate::codec::lock;
use crate::dedup::Dedup;
use crate::error::{Conflict, Error, Result, SubmitError};
use crate::frame;
use crate::index::{Active, Seed};
use crate::log::{Halt, Shared};
use crate::position::Position;
use crate::receipt::{Receipt, Submitted};
use crate::storage::Lost;
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering;
use crate::sync::thread::Thread;
use crate::tip::Tip;
use crate::wait::{self, Outcome, Ticket};

/// A batch of this size or more is handed to the writer as it is; a smaller one is copied into
/// the frame, which is cheaper than another piece to write.
const MOVE_BYTES_MIN: usize = 64 * 1024;
/// So many records' places in the tables of ids and keys are fetched at once: as many accesses to
/// memory as a processor has under way.
const FETCHED: usize = 16;

/// What one short lock protects: see [`Shared::submit`] and [`Shared::commit`].
#[derive(Debug)]
pub(crate) struct State {
    /// The position of the next record.
    pub(crate) end: u64,
    pub(crate) queue: VecDeque<Pending>,
    /// The buffers of a frame that was written, for the next one.
    idle: Option<Pending>,
    /// Whether somebody is writing; whoever sets it owns `tip` meanwhile.
    pub(crate) committing: bool,
    /// How many want nothing to be written for now.
    pub(crate) held: usize,
    /// The frame being written: the position after it, and its ticket.
    pub(crate) in_flight: Option<(u64, Arc<Ticket>)>,
    /// Bytes in `queue` and in flight.
    pub(crate) queued_bytes: usize,
    pub(crate) tip: Option<Tip>,
    pub(crate) dedup: Dedup,
    /// How many threads wait for `done`.
    pub(crate) blocked: usize,
    pub(crate) writer_idle: bool,
    /// The size of the last frame: a good guess for the next.
    pub(crate) last_bytes: usize,
    /// How many batches will have come when everybody of the last frame has come back.
    pub(crate) wanted_batches: u64,
    /// How many frames are still written without waiting for them.
    pub(crate) gather_rests: u32,
}

/// The lock under which a batch was put into the queue, where it went, and what to wait for.
pub(crate) type Placement<'a> = (MutexGuard<'a, State>, Receipt, Option<Arc<Ticket>>);

/// A frame that is being filled or waits to be written.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) first: u64,
    /// The first one starts with room for the frame's header.
    pub(crate) parts: Vec<Vec<u8>>,
    /// Whether small batches may still be copied into the last part.
    open: bool,
    /// The records' checksums, as on disk.
    pub(crate) crcs: Vec<u8>,
    /// The records' padded lengths.
    pub(crate) lengths: Vec<u32>,
    /// Of the records.
    pub(crate) bytes: usize,
    /// How many batches it holds.
    pub(crate) batches: u64,
    pub(crate) ticket: Arc<Ticket>,
}

impl Pending {
    pub(crate) fn end(&self) -> u64 {
        self.first + self.lengths.len() as u64
    }

    /// An empty frame with the buffers of this one, which was written. What of its parts is still
    /// here nobody reads any more.
    fn emptied(mut self) -> Self {
        self.parts.truncate(1);
        if let Some(part) = self.parts.first_mut() {
            part.truncate(frame::HEADER_BYTES);
        }
        self.crcs.clear();
        self.lengths.clear();
        Self {
            open: !self.parts.is_empty(),
            parts: self.parts,
            crcs: self.crcs,
            lengths: self.lengths,
            ..Self::default()
        }
    }

    /// Adds the records of a batch that starts at `start`: all, or without the duplicates, whose
    /// positions are not the next ones.
    fn add(&mut self, batch: Batch, positions: Option<&[u64]>, start: u64, guess: usize) {
        let Some(positions) = positions else {
            for slot in &batch.slots {
                self.add_record(slot.crc, slot.bytes);
            }
            if batch.bytes() >= MOVE_BYTES_MIN {
                self.take(batch.bytes);
            } else {
                self.copy(&batch.bytes, guess);
            }
            return;
        };
        let mut next = start;
        for ((slot, _, bytes), position) in batch.records().zip(positions) {
            if *position == next {
                self.add_record(slot.crc, slot.bytes);
                self.copy(bytes, guess);
                next += 1;
            }
        }
    }

    fn add_record(&mut self, crc: u32, bytes: u32) {
        self.crcs.extend_from_slice(&crc.to_le_bytes());
        self.lengths.push(bytes);
    }

    fn copy(&mut self, bytes: &[u8], guess: usize) {
        let is_first = self.bytes == 0;
        if !self.open {
            let header = if self.parts.is_empty() {
                frame::HEADER_BYTES
            } else {
                0
            };
            self.parts.push(vec![0; header]);
            self.open = true;
        }
        self.bytes += bytes.len();
        if let Some(last) = self.parts.last_mut() {
            if is_first {
                last.reserve(guess.max(bytes.len()));
            }
            last.extend_from_slice(bytes);
        }
    }

    fn take(&mut self, bytes: Vec<u8>) {
        if self.parts.is_empty() {
            self.parts.push(vec![0; frame::HEADER_BYTES]);
        }
        self.bytes += bytes.len();
        self.parts.push(bytes);
        self.open = false;
    }
}

impl State {
    pub(crate) fn new(end: u64, tip: Tip, dedup: Dedup) -> Self {
        Self {
            end,
            queue: VecDeque::new(),
            idle: None,
            committing: false,
            held: 0,
            in_flight: None,
            queued_bytes: 0,
            tip: Some(tip),
            dedup,
            blocked: 0,
            writer_idle: false,
            last_bytes: 0,
            wanted_batches: 0,
            gather_rests: 0,
        }
    }

    pub(crate) fn can_commit(&self) -> bool {
        !self.committing && self.held == 0 && !self.queue.is_empty()
    }

    /// A thread that waits for a frame of the queue, if any does: it does not leave before that is
    /// written.
    pub(crate) fn successor(&self) -> Option<Thread> {
        self.queue.iter().find_map(|frame| frame.ticket.thread())
    }

    /// Keeps the buffers of a frame that was written.
    pub(crate) fn recycle(&mut self, written: Pending) {
        self.idle = Some(written.emptied());
    }

    /// The frame that takes `bytes` more.
    fn frame(&mut self, bytes: usize, frame_bytes_max: usize) -> &mut Pending {
        let fits = self
            .queue
            .back()
            .is_some_and(|last| last.bytes + bytes <= frame_bytes_max);
        if !fits {
            let idle = self.idle.take().unwrap_or_default();
            self.queue.push_back(Pending {
                first: self.end,
                ..idle
            });
        }
        let last = self.queue.len() - 1;
        #[expect(
            clippy::indexing_slicing,
            reason = "in range: the queue has at least the frame just pushed"
        )]
        &mut self.queue[last]
    }

    /// Gives the records of a batch their positions and adds them to the indexes. Also says where
    /// the next record goes, and, when there are duplicates, where each one is.
    fn number(&mut self, active: &mut Active, batch: &Batch) -> (u64, Option<Vec<u64>>) {
        let start = self.end;
        let mut positions: Option<Vec<u64>> = None;
        let mut end = start;
        let mut slots = batch.slots.chunks(FETCHED);
        let mut ids = batch.records().map(|(_, layout, _)| layout.id);
        for (index, (slot, layout, bytes)) in batch.records().enumerate() {
            if batch.len() > 1 && index.is_multiple_of(FETCHED) {
                self.dedup.fetch(ids.by_ref().take(FETCHED).flatten());
                let hashes = slots.next().into_iter().flatten().map(|slot| slot.hash);
                active.fetch(hashes);
            }
            if let Some(id) = layout.id
                && let Some(known) = self.dedup.insert(id, end)
            {
                let so_far = || (start..).take(index).collect();
                positions.get_or_insert_with(so_far).push(known);
                continue;
            }
            if let Some(positions) = &mut positions {
                positions.push(end);
            }
            // Its topic came in as &str.
            let topic = std::str::from_utf8(layout.topic(bytes)).unwrap_or_default();
            active.push(Seed {
                hash: slot.hash,
                kind: layout.kind,
                topic,
                id: layout.id,
            });
            end += 1;
        }
        (end, positions)
    }

    /// The ticket of the frame with the record at `position`, while it is not durable.
    fn ticket_of(&self, position: u64) -> Option<Arc<Ticket>> {
        if let Some((end, ticket)) = &self.in_flight
            && position < *end
        {
            return Some(Arc::clone(ticket));
        }
        let frame = self.queue.iter().find(|frame| position < frame.end())?;
        Some(Arc::clone(&frame.ticket))
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

    /// Puts a batch into the queue. Nobody is told: the caller, who gets the lock, writes it,
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
                        batch,
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
/// and whoever expects it to be would start a second history.
fn find_conflict<'a>(
    batch: &'a Batch,
    active: &Active,
    sealed: &[(u64, Option<u64>)],
    (first, is_trimmed): (u64, bool),
) -> Option<(&'a crate::batch::Expectation, Option<u64>, bool)> {
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

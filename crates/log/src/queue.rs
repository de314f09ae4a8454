//! The queue of frames that wait for the disk, and all that is under its one short lock.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::batch::Batch;
use crate::dedup::Dedup;
use crate::index::{Active, Seed};
use crate::pending::Pending;
use crate::sync::thread::Thread;
use crate::tip::Tip;
use crate::wait::Ticket;

/// So many records' places in the tables of ids and keys are fetched at once: as many accesses to
/// memory as a processor has under way.
const FETCHED: usize = 16;

/// What one short lock protects: it is taken to submit a batch and around a commit.
#[derive(Debug)]
pub(crate) struct State {
    /// The position of the next record.
    pub(crate) end: u64,
    pub(crate) queue: VecDeque<Pending>,
    /// The buffers of a frame that was written, for the next one.
    idle: Option<Pending>,
    /// Whether a thread is writing; the one that sets it owns `tip` meanwhile.
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
    pub(crate) fn frame(&mut self, bytes: usize, frame_bytes_max: usize) -> &mut Pending {
        let fits = self
            .queue
            .back()
            .is_some_and(|last| last.bytes + bytes <= frame_bytes_max);
        if !fits {
            let mut frame = self.idle.take().unwrap_or_default();
            frame.first = self.end;
            self.queue.push_back(frame);
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
    pub(crate) fn number(&mut self, active: &mut Active, batch: &Batch) -> (u64, Option<Vec<u64>>) {
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
    pub(crate) fn ticket_of(&self, position: u64) -> Option<Arc<Ticket>> {
        if let Some((end, ticket)) = &self.in_flight
            && position < *end
        {
            return Some(Arc::clone(ticket));
        }
        let frame = self.queue.iter().find(|frame| position < frame.end())?;
        Some(Arc::clone(&frame.ticket))
    }
}

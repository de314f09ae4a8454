//! The commit path: one write, one sync, publish, wake once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::codec::lock;
use crate::error::Error;
use crate::frame::{self, Parts};
use crate::index::Placed;
use crate::options::Durability;
use crate::pending::Pending;
use crate::queue::State;
use crate::sabotage::Safeguard;
use crate::shared::Shared;
use crate::storage;
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering;
use crate::sync::thread::{self, Thread};
use crate::tail::{self, Body};
use crate::tip::{Tip, Written};
use crate::wait::Outcome;

/// A frame waits for those who were just answered: this long for the first of them, who must be
/// woken, then this long for each further one, and so long in all, which is less than a sync.
const GATHER_FIRST: Duration = Duration::from_micros(40);
const GATHER_NEXT: Duration = Duration::from_micros(20);
const GATHER_TIME: Duration = Duration::from_micros(80);
/// More than these do not come in that time.
const GATHER_BATCHES_MAX: u64 = 64;
/// When no batch came, so many frames are written without waiting.
const GATHER_RESTS: u32 = 16;

/// Wakes threads other than this one.
fn unpark(threads: impl IntoIterator<Item = Thread>) {
    let own = thread::current().id();
    let others = threads.into_iter().filter(|thread| thread.id() != own);
    others.for_each(|thread| thread.unpark());
}

/// The parts of a written frame as its readers keep them: just as large as they are.
fn kept(parts: Vec<Vec<u8>>) -> Parts {
    let mut skip = frame::HEADER_BYTES;
    let mut all = Vec::with_capacity(parts.len());
    for mut part in parts {
        if part.capacity() > part.len() + part.len() / 8 {
            part.shrink_to_fit();
        }
        let bytes = Bytes::from(part).slice(std::mem::take(&mut skip)..);
        if !bytes.is_empty() {
            all.push(bytes);
        }
    }
    match <[Bytes; 1]>::try_from(all) {
        Ok([one]) => Parts::One(one),
        Err(all) => Parts::Many(all),
    }
}

/// Poisons the log when a commit panics (a clock or a storage of the caller did): no thread may
/// wait forever for one that is gone.
struct Unfinished<'a> {
    shared: &'a Shared,
    ticket: &'a Arc<crate::wait::Ticket>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let error = Error::Indeterminate {
            reason: "a commit panicked".to_owned(),
        };
        let mut state = lock(&self.shared.state);
        let failed = self.shared.fail(&mut state, error, self.ticket);
        state.committing = false;
        state.in_flight = None;
        drop(state);
        self.shared.queued_bytes.store(0, Ordering::Release);
        for (ticket, outcome) in failed {
            unpark(ticket.resolve(outcome));
        }
        self.shared.wake_everyone();
    }
}

impl Shared {
    /// Writes the oldest frame of the queue, which must not be empty while no thread commits.
    pub(crate) fn commit<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.committing = true;
        state = self.gather(state);
        let (Some(mut frame), Some(mut tip)) = (state.queue.pop_front(), state.tip.take()) else {
            state.committing = false;
            return state;
        };
        state.in_flight = Some((frame.end(), Arc::clone(&frame.ticket)));
        state.last_bytes = frame.bytes;
        drop(state);

        let (bytes, batches) = (frame.bytes, frame.batches);
        let ticket = Arc::clone(&frame.ticket);
        let guard = Unfinished {
            shared: self,
            ticket: &ticket,
        };
        let outcome = tip
            .write(&self.store, &self.options, &self.keeper, &mut frame)
            .map(|written| self.publish(&tip, written, &mut frame));
        std::mem::forget(guard);
        let mut answered = match outcome {
            Ok(()) => ticket.resolve(Outcome::Durable),
            Err(_) => Vec::new(),
        };

        let mut state = lock(&self.state);
        state.tip = Some(tip);
        state.recycle(frame);
        state.committing = false;
        state.in_flight = None;
        state.queued_bytes -= bytes;
        state.wanted_batches = self.batches.load(Ordering::Acquire) + batches;
        let mut failed = Vec::new();
        if let Err(error) = outcome {
            failed = self.fail(&mut state, error, &ticket);
        }
        self.queued_bytes
            .store(state.queued_bytes, Ordering::Release);
        self.frames_done.fetch_add(1, Ordering::Release);
        for (ticket, outcome) in failed {
            answered.extend(ticket.resolve(outcome));
        }
        let wakers = lock(&self.wakers).take();
        if state.blocked > 0 {
            self.done.notify_all();
        }
        let mut successor = None;
        if state.can_commit() {
            successor = state.successor();
            if successor.is_none() && state.blocked == 0 && state.writer_idle {
                self.work.notify_one();
            }
        }
        if wakers.is_empty() && answered.is_empty() && successor.is_none() {
            return state;
        }
        drop(state);
        // First of all the next frame: while it is written there is time to wake the others.
        unpark(successor);
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
        unpark(answered);
        lock(&self.state)
    }

    /// Waits a moment for those whose events were in the last frame: they were answered only just
    /// now, and without them frames would hold every other event that is in flight.
    fn gather<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let wanted = state.wanted_batches;
        let came = || self.batches.load(Ordering::Acquire);
        let at_first = came();
        let missing = wanted.saturating_sub(at_first);
        let is_synced = self.options.durability == Durability::Sync;
        // A model checker has no clock, and nothing to gain.
        if !is_synced || !(1..=GATHER_BATCHES_MAX).contains(&missing) || cfg!(any(loom, shuttle)) {
            return state;
        }
        if state.gather_rests > 0 {
            state.gather_rests -= 1;
            return state;
        }
        drop(state);
        let begun = Instant::now();
        let (mut seen, mut until) = (at_first, begun + GATHER_FIRST);
        while seen < wanted {
            thread::yield_now();
            let now = Instant::now();
            if came() != seen {
                seen = came();
                until = (now + GATHER_NEXT).min(begun + GATHER_TIME);
            } else if now >= until {
                break;
            }
        }
        let mut state = lock(&self.state);
        if seen == at_first {
            state.gather_rests = GATHER_RESTS;
        }
        state
    }

    /// Makes a written frame visible; takes its parts unless they were copied.
    fn publish(&self, tip: &Tip, written: Written, frame: &mut Pending) {
        let Some(segment) = tip.segment() else {
            return;
        };
        let (end, count) = (frame.end(), frame.lengths.len());
        let placed = Placed {
            ordinal: (frame.first - segment.first) as u32,
            offset: (written.offset / 8) as u32,
            time: written.time,
        };
        lock(&self.store.active).placed(placed, &frame.lengths);
        segment.advance(end, tip.offset());
        let body = match &*frame.parts {
            [one] if frame.bytes <= tail::SMALL_BYTES_MAX => {
                Body::Small(one.get(frame::HEADER_BYTES..).unwrap_or_default())
            }
            _ => Body::Large(kept(std::mem::take(&mut frame.parts))),
        };
        let head = (frame.first, count as u32, written.time);
        self.store
            .push_tail(head, body, self.options.tail_bytes_max);
        self.store.set_durable(end);
        self.counters.frames.fetch_add(1, Ordering::Relaxed);
        if written.is_synced {
            self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        }
        self.counters
            .records
            .fetch_add(count as u64, Ordering::Relaxed);
        let bytes = frame.bytes + frame::HEADER_BYTES;
        self.counters
            .bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Fails the frame and everything behind it: a full disk takes it all back, anything else
    /// poisons the log.
    fn fail(
        &self,
        state: &mut State,
        error: Error,
        ticket: &Arc<crate::wait::Ticket>,
    ) -> Vec<(Arc<crate::wait::Ticket>, Outcome)> {
        let full = storage::is_full(&error);
        let (first, rest) = if full {
            tracing::warn!(%error, "the disk is full; appends fail until there is room");
            (Outcome::DiskFull, Outcome::DiskFull)
        } else {
            if !Safeguard::Poison.is_off() {
                self.stop(error);
            }
            (Outcome::Indeterminate, Outcome::Poisoned)
        };
        let mut failed = vec![(Arc::clone(ticket), first)];
        for frame in state.queue.drain(..) {
            failed.push((frame.ticket, rest));
        }
        state.queued_bytes = 0;
        state.end = self.store.durable();
        state.dedup.truncate(state.end);
        lock(&self.store.active).truncate(state.end);
        failed
    }
}

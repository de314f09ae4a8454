//! The commit path: one write, one sync, publish, wake once.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::codec::lock;
use crate::error::{Error, Result};
use crate::files;
use crate::frame::{self, Frame};
use crate::index::Placed;
use crate::log::{Halt, Shared};
use crate::options::Durability;
use crate::sabotage::Safeguard;
use crate::segment::{HEADER_BYTES, Header, Opened, Segment};
use crate::space::{Space, create};
use crate::storage::{self, uninterrupted};
use crate::store::Store;
use crate::submit::{Pending, State};
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering;
use crate::sync::thread::{self, Thread};
use crate::wait::Outcome;

/// While no spare segment is ready, segments start with this size and double: opening an empty
/// log and appending a little costs little.
const FIRST_SEGMENT_BYTES: u64 = 256 * 1024;
/// From this size on, a segment that no spare is ready for is reserved: nobody who appends waits
/// for so many zeroes.
const WRITTEN_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Writing zeroes ahead costs every byte twice, reserving costs every sync a commit of the file
/// system's journal. From frames of about this mean size on, the latter is less.
const LARGE_FRAME_BYTES: u64 = 128 * 1024;

/// A frame waits for those who were just answered: this long for the first of them, who must be
/// woken, then this long for each further one, and so long in all, which is less than a sync.
const GATHER_FIRST: Duration = Duration::from_micros(40);
const GATHER_NEXT: Duration = Duration::from_micros(20);
const GATHER_TIME: Duration = Duration::from_micros(80);
/// More than these do not come in that time.
const GATHER_BATCHES_MAX: u64 = 64;
/// When nobody came, so many frames are written without waiting.
const GATHER_RESTS: u32 = 16;

/// The end of the log, owned by whoever commits.
#[derive(Debug)]
pub(crate) struct Tip {
    /// The segment being written; none in an empty log.
    segment: Option<(Arc<Segment>, Arc<Opened>)>,
    /// Where the next frame goes.
    offset: u64,
    /// The position of the next frame.
    position: u64,
    /// The checksum of the last frame.
    chain: u32,
    /// The time of the last frame.
    time: i64,
    /// The size of the next segment when there is no spare.
    small_bytes: u64,
    /// Frames written to this segment since it was opened, and their bytes.
    frames: u64,
    frame_bytes: u64,
}

impl Tip {
    pub(crate) fn new(position: u64) -> Self {
        let small_bytes = FIRST_SEGMENT_BYTES;
        Self {
            segment: None,
            offset: 0,
            position,
            chain: 0,
            time: i64::MIN,
            small_bytes,
            frames: 0,
            frame_bytes: 0,
        }
    }

    /// At the end of `segment`.
    pub(crate) fn at(
        segment: (Arc<Segment>, Arc<Opened>),
        offset: u64,
        position: u64,
        chain: u32,
        time: i64,
    ) -> Self {
        Self {
            segment: Some(segment),
            offset,
            chain,
            time,
            ..Self::new(position)
        }
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn chain(&self) -> u32 {
        self.chain
    }

    /// Makes the last segment durable, for those who relaxed the durability.
    pub(crate) fn sync(&self, store: &Store) -> Result<()> {
        let Some((segment, opened)) = &self.segment else {
            return Ok(());
        };
        storage::sync(&*opened.handle).map_err(Error::io("sync", store.shown(segment)))
    }

    /// Writes one frame and makes it durable. After an error nothing of it was acknowledged, and
    /// unless the disk was full this must not be used again.
    fn write(&mut self, shared: &Shared, frame: &Pending) -> Result<Written> {
        let body_bytes = frame.bytes as u64;
        let needed = frame::HEADER_BYTES as u64 + body_bytes;
        let now = (shared.options.clock)().max(self.time);
        let room = self
            .segment
            .as_ref()
            .map_or(0, |(_, opened)| opened.header.bytes);
        let fits = self.offset + needed <= room && self.ordinals_left(frame);
        if !fits {
            self.roll(shared, frame.first, needed, now)?;
        }
        let Some((segment, opened)) = &self.segment else {
            return Err(Error::Closed); // Not reached: roll leaves a segment or an error.
        };
        let header = frame::Header {
            salt: opened.header.salt,
            first: frame.first,
            time: now,
            count: frame.lengths.len() as u32,
            body_bytes: frame.bytes as u32,
            chain: self.chain,
            records_crc: crc32c::crc32c(&frame.crcs),
        };
        let (header_bytes, chain) = header.encode();
        let mut slices = Vec::with_capacity(1 + frame.parts.len());
        slices.push(IoSlice::new(&header_bytes));
        slices.extend(frame.parts.iter().map(|part| IoSlice::new(part)));
        storage::write_all(&*opened.handle, &mut slices, self.offset)
            .map_err(Error::io("write", store_name(shared, segment)))?;
        if shared.options.durability == Durability::Sync && !Safeguard::FrameSync.is_off() {
            storage::sync(&*opened.handle)
                .map_err(|error| Error::io("sync", shared.store.shown(segment))(error))
                .map_err(not_full)?;
            shared.counters.syncs.fetch_add(1, Ordering::Relaxed);
        }
        let written = Written {
            offset: self.offset,
            time: now,
        };
        self.frames += 1;
        self.frame_bytes += needed;
        self.offset += needed;
        self.position = frame.end();
        self.chain = chain;
        self.time = now;
        Ok(written)
    }

    /// How the space of further segments is best made ready, by what this one was filled with.
    fn space(&self, shared: &Shared) -> Space {
        match shared.options.durability {
            Durability::Os => Space::Growing,
            Durability::Sync
                if self.frames > 0 && self.frame_bytes >= self.frames * LARGE_FRAME_BYTES =>
            {
                Space::Reserved
            }
            Durability::Sync => Space::Written,
        }
    }

    /// The size of a segment that no spare is ready for, and its space.
    fn next(&self, shared: &Shared) -> (u64, Space) {
        let whole = shared.options.segment_bytes;
        match self.space(shared) {
            Space::Written if self.small_bytes > WRITTEN_BYTES_MAX => (whole, Space::Reserved),
            Space::Written => (self.small_bytes.min(whole), Space::Written),
            space => (whole, space),
        }
    }

    /// Records of a segment are counted in 32 bits.
    fn ordinals_left(&self, frame: &Pending) -> bool {
        let first = self
            .segment
            .as_ref()
            .map_or(0, |(segment, _)| segment.first);
        frame.end() - first < u64::from(u32::MAX)
    }

    /// Goes on in a new segment that has room for `needed` bytes.
    fn roll(&mut self, shared: &Shared, first: u64, needed: u64, time: i64) -> Result<()> {
        if shared.options.durability == Durability::Os {
            // Recovery trusts every segment but the last.
            self.sync(&shared.store).map_err(not_full)?;
        }
        let storage = &*shared.store.storage;
        let room = HEADER_BYTES + needed;
        let spare = shared.keeper.take_spare().filter(|bytes| *bytes >= room);
        let (from, bytes) = match spare {
            Some(bytes) => (files::SPARE, bytes),
            None => {
                let (bytes, space) = self.next(shared);
                let bytes = bytes.max(room.next_multiple_of(4096));
                create(storage, files::NEXT, bytes, space)?;
                (files::NEXT, bytes)
            }
        };
        let header = Header {
            uuid: shared.store.uuid,
            first,
            salt: shared.keeper.salt(),
            bytes,
            time,
            chain: self.chain,
        };
        let name = files::segment(first);
        let shown = storage.describe(&name);
        let handle = uninterrupted(|| storage.open(from))
            .map_err(Error::io("open", storage.describe(from)))?;
        storage::write_all(&*handle, &mut [IoSlice::new(&header.encode())], 0)
            .map_err(Error::io("write", &*shown))?;
        if !Safeguard::SegmentSync.is_off() {
            storage::sync(&*handle)
                .map_err(Error::io("sync", &*shown))
                .map_err(not_full)?;
        }
        uninterrupted(|| storage.rename(from, &name))
            .map_err(Error::io("rename", storage.describe(from)))?;
        storage::sync_dir(storage, "log").map_err(not_full)?;

        let opened = Arc::new(Opened { handle, header });
        let segment = Arc::new(Segment::new(
            first,
            first,
            HEADER_BYTES,
            Some(Arc::clone(&opened)),
        ));
        let space = self.space(shared);
        (self.frames, self.frame_bytes) = (0, 0);
        self.small_bytes = self.small_bytes.saturating_mul(2);
        self.offset = HEADER_BYTES;
        let sealed = self
            .segment
            .replace((Arc::clone(&segment), opened))
            .map(|(sealed, _)| sealed);
        shared.store.roll(segment, sealed.as_ref());
        shared.kept(sealed, space);
        Ok(())
    }
}

/// Wakes threads other than this one.
fn unpark(threads: impl IntoIterator<Item = Thread>) {
    let own = thread::current().id();
    let others = threads.into_iter().filter(|thread| thread.id() != own);
    others.for_each(|thread| thread.unpark());
}

fn store_name(shared: &Shared, segment: &Segment) -> String {
    shared.store.shown(segment)
}

/// A failed sync is never a full disk that can be waited out.
fn not_full(error: Error) -> Error {
    match error {
        Error::Io {
            action,
            file,
            source,
        } => Error::Io {
            action,
            file,
            source: std::io::Error::other(source),
        },
        other => other,
    }
}

/// Poisons the log when a commit panics (a clock or a storage of the caller did): nobody may wait
/// forever for a thread that is gone.
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

struct Written {
    offset: u64,
    time: i64,
}

impl Shared {
    /// Writes the oldest frame of the queue, which must not be empty while nobody commits.
    pub(crate) fn commit<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.committing = true;
        state = self.gather(state);
        let (Some(frame), Some(mut tip)) = (state.queue.pop_front(), state.tip.take()) else {
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
            .write(self, &frame)
            .map(|written| self.publish(&tip, written, frame));
        std::mem::forget(guard);
        let mut answered = match outcome {
            Ok(()) => ticket.resolve(Outcome::Durable),
            Err(_) => Vec::new(),
        };

        let mut state = lock(&self.state);
        state.tip = Some(tip);
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

    /// Makes a written frame visible.
    fn publish(&self, tip: &Tip, written: Written, frame: Pending) {
        let Some((segment, _)) = &tip.segment else {
            return;
        };
        let (end, count) = (frame.end(), frame.lengths.len());
        let placed = Placed {
            ordinal: (frame.first - segment.first) as u32,
            offset: (written.offset / 8) as u32,
            time: written.time,
        };
        lock(&self.store.active).placed(placed, &frame.lengths);
        segment.advance(end, tip.offset);
        let bytes = frame.bytes + frame::HEADER_BYTES;
        let frame = Arc::new(Frame {
            first: frame.first,
            count: count as u32,
            time: written.time,
            parts: frame.parts.into_iter().map(Bytes::from).collect(),
        });
        self.store.push_tail(frame, self.options.tail_bytes_max);
        self.store.set_durable(end);
        self.counters.frames.fetch_add(1, Ordering::Relaxed);
        self.counters
            .records
            .fetch_add(count as u64, Ordering::Relaxed);
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
            tracing::error!(%error, "the log is poisoned; it must be opened again");
            if !Safeguard::Poison.is_off() {
                self.halt.get_or_init(|| Halt::Poisoned(error.to_string()));
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

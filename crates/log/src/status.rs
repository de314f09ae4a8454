use crate::codec::lock;
use crate::options::Durability;
use crate::position::Position;
use crate::shared::{Halt, Shared};
use crate::sync::atomic::Ordering;

/// What the log is doing; see [`Log::status`](crate::Log::status). Counters start at 0 when it is opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// The oldest position kept.
    pub first: Position,
    /// The position after the last durable record.
    pub durable: Position,
    /// The position after the last submitted record.
    pub end: Position,
    /// When an append counts as done.
    pub durability: Durability,
    /// The number of segments.
    pub segments: u64,
    /// The bytes of all segment files, zeroes ahead included.
    pub disk_bytes: u64,
    /// Submitted bytes that wait for the disk.
    pub queued_bytes: usize,
    /// How many ids are remembered at most.
    pub dedup_window: u32,
    /// How many ids are remembered now; 0 until the first record with an id is submitted.
    pub dedup_ids: u32,
    /// Why the log stopped, if it did.
    pub poisoned: Option<String>,
    /// Frames written: one write each.
    pub frames: u64,
    /// Syncs of frames.
    pub syncs: u64,
    /// Records appended. Divide by `frames` for the size of a group commit.
    pub records: u64,
    /// Bytes appended, frame headers included.
    pub bytes: u64,
    /// Records that were not appended because their id was known.
    pub duplicates: u64,
}

impl Status {
    pub(crate) fn of(shared: &Shared) -> Self {
        let (end, queued_bytes, dedup_ids) = {
            let state = lock(&shared.state);
            (state.end, state.queued_bytes, state.dedup.len())
        };
        let counters = &shared.counters;
        let segments = shared.store.list().clone();
        let bytes_of = |segment| {
            shared
                .store
                .header(segment)
                .map_or(0, |header| header.bytes)
        };
        Self {
            first: Position::new(shared.store.first()),
            durable: Position::new(shared.store.durable()),
            end: Position::new(end),
            durability: shared.options.durability,
            segments: segments.len() as u64,
            disk_bytes: segments.iter().map(bytes_of).sum(),
            queued_bytes,
            dedup_window: shared.options.dedup_window,
            dedup_ids,
            poisoned: shared.halt.get().map(Halt::reason),
            frames: counters.frames.load(Ordering::Relaxed),
            syncs: counters.syncs.load(Ordering::Relaxed),
            records: counters.records.load(Ordering::Relaxed),
            bytes: counters.bytes.load(Ordering::Relaxed),
            duplicates: counters.duplicates.load(Ordering::Relaxed),
        }
    }
}

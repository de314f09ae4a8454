//! The end of the log: writes frames, and starts segments.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::files;
use crate::frame;
use crate::keeper::Keeper;
use crate::options::{Durability, Options};
use crate::pending::Pending;
use crate::sabotage::Safeguard;
use crate::segment::{HEADER_BYTES, Header, Opened, Segment};
use crate::space::{Space, create};
use crate::storage::{self, uninterrupted};
use crate::store::Store;

/// The first segment has this size, each further one twice that of the one before, up to
/// `segment_bytes`: a log takes about as much room as it has records.
const FIRST_SEGMENT_BYTES: u64 = 256 * 1024;
/// Where a roll found no spare although one was wanted, the segment is as many times larger again.
const OUTRUN_GROWTH: u64 = 2;
/// The spare is made when this share of a segment is used, or before, when at its present pace the
/// log would be through with the segment before so many zeroes are written.
const SPARE_AT: (u64, u64) = (3, 4);
const ZEROES_BYTES_PER_SECOND: u64 = 128 * 1024 * 1024;
/// The pace of a segment is known when it is used by one part in this many.
const PACE_AT: u64 = 16;
/// From this size on, a segment that no spare is ready for is reserved: no append waits
/// for so many zeroes.
const WRITTEN_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Writing zeroes ahead costs every byte twice, reserving costs every sync a commit of the file
/// system's journal. From frames of about this mean size on, the latter is less.
const LARGE_FRAME_BYTES: u64 = 128 * 1024;

/// Before a frame is written the directory is looked at, unless that was done this short a time
/// ago; with syncs also before it is acknowledged. Without syncs this is how long a directory that
/// is lost can go unnoticed.
const CONFIRM_WAIT_SYNC: Duration = Duration::from_millis(1);
const CONFIRM_WAIT_OS: Duration = Duration::from_millis(5);

/// The end of the log, owned by the thread that commits.
#[derive(Debug)]
pub(crate) struct Tip {
    /// The segment being written; none in an empty log.
    segment: Option<(Arc<Segment>, Arc<Opened>)>,
    /// How long its file is at the least.
    bytes: u64,
    /// Where the next frame goes.
    offset: u64,
    /// The position of the next frame.
    position: u64,
    /// The checksum of the last frame.
    chain: u32,
    /// The time of the last frame.
    time: i64,
    /// The size of the next segment.
    next_bytes: u64,
    /// Frames written to this segment since it was opened, and their bytes.
    frames: u64,
    frame_bytes: u64,
    /// When that began.
    begun: Instant,
    /// Whether a spare was asked for since then.
    is_spare_wanted: bool,
    /// When the directory was last seen to be this log's.
    confirmed: Option<Instant>,
}

impl Tip {
    pub(crate) fn new(position: u64) -> Self {
        Self {
            segment: None,
            bytes: 0,
            offset: 0,
            position,
            chain: 0,
            time: i64::MIN,
            next_bytes: FIRST_SEGMENT_BYTES,
            frames: 0,
            frame_bytes: 0,
            begun: Instant::now(),
            is_spare_wanted: false,
            confirmed: None,
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
        let next_bytes = segment.1.header.bytes.saturating_mul(2);
        Self {
            segment: Some(segment),
            bytes: offset,
            offset,
            chain,
            time,
            next_bytes,
            ..Self::new(position)
        }
    }

    /// The segment being written; none in an empty log.
    pub(crate) fn segment(&self) -> Option<&Arc<Segment>> {
        self.segment.as_ref().map(|(segment, _)| segment)
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

    /// Looks whether the directory, and the segment in it, are still this log's, unless that was
    /// done a moment ago.
    fn confirm(&mut self, store: &Store, moment: Duration) -> Result<()> {
        let now = Instant::now();
        let is_known = |at: Instant| now.duration_since(at) < moment;
        if !self.confirmed.is_some_and(is_known) {
            let storage = &*store.storage;
            storage::confirm(storage)?;
            if let Some((segment, opened)) = &self.segment {
                let shown = || store.shown(segment);
                let harm = opened
                    .handle
                    .harm(self.bytes)
                    .map_err(Error::io("look at", shown()))?;
                if let Some(harm) = harm {
                    return Err(Error::OwnershipLost {
                        directory: storage.describe(""),
                        what: format!("the segment that is being written, {}, {harm}", shown()),
                    });
                }
            }
            self.confirmed = Some(now);
        }
        Ok(())
    }

    /// Writes one frame and makes it durable. After an error nothing of it was acknowledged, and
    /// unless the disk was full this must not be used again.
    pub(crate) fn write(
        &mut self,
        store: &Store,
        options: &Options,
        keeper: &Keeper,
        frame: &mut Pending,
    ) -> Result<Written> {
        let is_synced = options.durability == Durability::Sync;
        self.confirm(
            store,
            if is_synced {
                CONFIRM_WAIT_SYNC
            } else {
                CONFIRM_WAIT_OS
            },
        )?;
        let needed = (frame::HEADER_BYTES + frame.bytes) as u64;
        let now = (options.clock)().max(self.time);
        let room = self
            .segment
            .as_ref()
            .map_or(0, |(_, opened)| opened.header.bytes);
        let fits = self.offset + needed <= room && self.ordinals_left(frame);
        if !fits {
            self.roll(store, options, keeper, (frame.first, needed, now))?;
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
        write_parts(opened, &mut frame.parts, &header_bytes, self.offset)
            .map_err(|error| Error::io("write", store.shown(segment))(error))?;
        if is_synced && !Safeguard::FrameSync.is_off() {
            storage::sync(&*opened.handle)
                .map_err(|error| Error::io("sync", store.shown(segment))(error))
                .map_err(not_full)?;
        }
        if is_synced {
            self.confirm(store, Duration::ZERO)?;
        }
        let written = Written {
            offset: self.offset,
            time: now,
            is_synced,
        };
        self.frames += 1;
        self.frame_bytes += needed;
        self.offset += needed;
        self.bytes = self.bytes.max(self.offset);
        self.position = frame.end();
        self.chain = chain;
        self.time = now;
        if is_synced && !self.is_spare_wanted && self.wants_spare() {
            self.is_spare_wanted = true;
            let bytes = self.next_bytes.min(options.segment_bytes);
            keeper.want_spare(self.space(options), bytes);
        }
        Ok(written)
    }

    /// Whether it is time to make the next segment: not long before it is needed, so that a log
    /// that grows slowly stays small.
    fn wants_spare(&self) -> bool {
        let Some((_, opened)) = &self.segment else {
            return false;
        };
        let room = opened.header.bytes;
        let (part, of) = SPARE_AT;
        let left = room.saturating_sub(self.offset);
        if left <= room / of * (of - part) {
            return true;
        }
        if self.frame_bytes < room / PACE_AT {
            return false;
        }
        let seconds = |bytes: u64, bytes_per_second: f64| bytes as f64 / bytes_per_second;
        let pace = self.frame_bytes as f64 / self.begun.elapsed().as_secs_f64().max(1e-6);
        seconds(left, pace) < seconds(self.next_bytes, ZEROES_BYTES_PER_SECOND as f64)
    }

    /// How the space of further segments is best made ready, by what this one was filled with.
    fn space(&self, options: &Options) -> Space {
        match options.durability {
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
    fn next(&self, options: &Options) -> (u64, Space) {
        let whole = options.segment_bytes;
        let bytes = self.next_bytes.min(whole);
        match self.space(options) {
            Space::Growing => (whole, Space::Growing),
            Space::Written if bytes <= WRITTEN_BYTES_MAX => (bytes, Space::Written),
            Space::Written | Space::Reserved => (bytes, Space::Reserved),
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

    /// Goes on in a new segment that begins with the position `first` at `time`, and has room for
    /// `needed` bytes.
    fn roll(
        &mut self,
        store: &Store,
        options: &Options,
        keeper: &Keeper,
        (first, needed, time): (u64, u64, i64),
    ) -> Result<()> {
        if options.durability == Durability::Os {
            // Recovery trusts every segment but the last.
            self.sync(store).map_err(not_full)?;
        }
        let storage = &*store.storage;
        let room = HEADER_BYTES + needed;
        let spare = keeper.take_spare().filter(|bytes| *bytes >= room);
        let (from, bytes) = match spare {
            Some(bytes) => (files::SPARE, bytes),
            None => {
                if self.is_spare_wanted {
                    self.next_bytes = self.next_bytes.saturating_mul(OUTRUN_GROWTH);
                }
                let (bytes, space) = self.next(options);
                let bytes = bytes.max(room.next_multiple_of(4096));
                create(storage, files::NEXT, bytes, space)?;
                (files::NEXT, bytes)
            }
        };
        let header = Header {
            uuid: store.uuid,
            first,
            salt: keeper.salt(),
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
        self.bytes = uninterrupted(|| handle.len()).map_err(Error::io("look at", &*shown))?;

        let opened = Arc::new(Opened { handle, header });
        let segment = Arc::new(Segment::new(
            first,
            first,
            HEADER_BYTES,
            Some(Arc::clone(&opened)),
        ));
        (self.frames, self.frame_bytes) = (0, 0);
        (self.begun, self.is_spare_wanted) = (Instant::now(), false);
        self.next_bytes = self.next_bytes.max(bytes.saturating_mul(2));
        self.offset = HEADER_BYTES;
        let sealed = self
            .segment
            .replace((Arc::clone(&segment), opened))
            .map(|(sealed, _)| sealed);
        store.roll(segment, sealed.as_ref());
        keeper.rolled(sealed);
        Ok(())
    }
}

/// A frame that is on disk.
pub(crate) struct Written {
    pub(crate) offset: u64,
    pub(crate) time: i64,
    pub(crate) is_synced: bool,
}

/// Writes a frame: its header into the room that its first part has for it, and all parts.
fn write_parts(
    opened: &Opened,
    parts: &mut [Vec<u8>],
    header: &[u8; frame::HEADER_BYTES],
    offset: u64,
) -> std::io::Result<()> {
    if let Some(room) = parts
        .first_mut()
        .and_then(|part| part.first_chunk_mut::<{ frame::HEADER_BYTES }>())
    {
        *room = *header;
    }
    match parts {
        [one] => storage::write_all(&*opened.handle, &mut [IoSlice::new(one)], offset),
        many => {
            let mut slices: Vec<_> = many.iter().map(|part| IoSlice::new(part)).collect();
            storage::write_all(&*opened.handle, &mut slices, offset)
        }
    }
}

/// A failed sync is never a full disk that can be waited out.
fn not_full(error: Error) -> Error {
    match error {
        Error::Io {
            action,
            file,
            reason,
        } => Error::Io {
            action,
            file,
            reason: std::io::Error::other(reason),
        },
        other => other,
    }
}

//! A segment file: a header, frames one after the other, zeroes.
//!
//! ```text
//!  0  8 bytes magic "EnsueSeg"
//!  8  u32  version
//! 12  u32  header bytes  4096
//! 16  u128 uuid          the log's
//! 32  u64  first         position of its first record
//! 40  u64  salt          random; its frames carry it
//! 48  u64  bytes         of the file
//! 56  i64  time          of its first frame
//! 64  u32  chain         the crc of the last frame of the segment before, 0 for the first
//! 68  zeroes
//! 4092 u32 crc           CRC32C of bytes 0..4092
//! ```

use std::io;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::codec::{array, i64_at, lock, u32_at, u64_at, u128_at};
use crate::error::{Error, Result};
use crate::files;
use crate::frame::{self, Frame, Parts};
use crate::index::{Active, Sealed};
use crate::sabotage::Safeguard;
use crate::storage::{self, Handle, Reach, Storage};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

pub(crate) const HEADER_BYTES: u64 = 4096;
const MAGIC: [u8; 8] = *b"EnsueSeg";
/// How large a frame may be, in bytes, that is copied and verified where nothing may wait.
const FRAME_AT_HAND_MAX: usize = 256 * 1024;

/// The fields of a segment header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) uuid: u128,
    pub(crate) first: u64,
    pub(crate) salt: u64,
    pub(crate) bytes: u64,
    pub(crate) time: i64,
    pub(crate) chain: u32,
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&files::FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&(HEADER_BYTES as u32).to_le_bytes());
        bytes.extend_from_slice(&self.uuid.to_le_bytes());
        bytes.extend_from_slice(&self.first.to_le_bytes());
        bytes.extend_from_slice(&self.salt.to_le_bytes());
        bytes.extend_from_slice(&self.bytes.to_le_bytes());
        bytes.extend_from_slice(&self.time.to_le_bytes());
        bytes.extend_from_slice(&self.chain.to_le_bytes());
        bytes.resize(HEADER_BYTES as usize - 4, 0);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads and checks a header; `file` names it in errors.
    pub(crate) fn decode(bytes: &[u8], file: &str) -> Result<Self> {
        let damaged = |offset, what| Error::corrupt(file, offset, what);
        let bytes: [u8; HEADER_BYTES as usize] =
            array(bytes, 0).ok_or_else(|| damaged(0, "its header is cut off"))?;
        if array(&bytes, 0) != Some(MAGIC) {
            return Err(damaged(0, "it does not start with its magic bytes"));
        }
        let crc = crc32c::crc32c(&bytes[..4092]);
        if u32_at(&bytes, 4092) != Some(crc) && !Safeguard::FileChecksum.is_off() {
            return Err(damaged(4092, "its header's checksum does not match"));
        }
        let version = u32_at(&bytes, 8).unwrap_or_default();
        if version != files::FORMAT_VERSION {
            let supported = files::FORMAT_VERSION;
            return Err(Error::Version {
                file: file.to_owned(),
                found: version,
                supported,
            });
        }
        let header = || {
            Some(Self {
                uuid: u128_at(&bytes, 16)?,
                first: u64_at(&bytes, 32)?,
                salt: u64_at(&bytes, 40)?,
                bytes: u64_at(&bytes, 48)?,
                time: i64_at(&bytes, 56)?,
                chain: u32_at(&bytes, 64)?,
            })
        };
        header().ok_or_else(|| damaged(0, "its header is cut off"))
    }
}

/// A segment that can be read.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) first: u64,
    pub(crate) name: String,
    /// Position after its last durable record.
    end: AtomicU64,
    /// Byte after its last durable frame; `u64::MAX` when only `end` is known.
    end_offset: AtomicU64,
    opened: Mutex<Option<Arc<Opened>>>,
    /// Kept also when the file is closed again: sizes and times are asked for often.
    header: OnceLock<Header>,
    /// Its index, from the moment it is sealed until the index file is written.
    pub(crate) memory: Mutex<Option<Arc<Active>>>,
    pub(crate) sealed: Mutex<Option<Arc<Sealed>>>,
    /// Held while its index is loaded or rebuilt: one does it, the others find it done.
    pub(crate) loading: Mutex<()>,
}

/// An open segment file with a good header.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) handle: Arc<dyn Handle>,
    pub(crate) header: Header,
}

impl Opened {
    /// Opens segment `first` of log `uuid`.
    pub(crate) fn open(storage: &dyn Storage, uuid: u128, first: u64, write: bool) -> Result<Self> {
        let name = files::segment(first);
        let shown = storage.describe(&name);
        let handle = if write {
            storage.open(&name)
        } else {
            storage.open_read(&name)
        };
        let handle = handle.map_err(Error::io("open", &*shown))?;
        let mut bytes = vec![0; HEADER_BYTES as usize];
        storage::read_full(&*handle, &mut bytes, 0).map_err(Error::io("read", &*shown))?;
        let header = Header::decode(&bytes, &shown)?;
        if header.uuid != uuid {
            return Err(Error::corrupt(
                shown,
                16,
                "the segment belongs to another log",
            ));
        }
        if header.first != first {
            let what = format!(
                "it starts at position {}, its name says {first}",
                header.first
            );
            return Err(Error::corrupt(shown, 32, what));
        }
        Ok(Self { handle, header })
    }
}

/// Frames read in one go, and where the next one starts.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) frames: Vec<Arc<Frame>>,
    pub(crate) next_offset: u64,
    /// The checksum of the last frame: the next one's chain.
    pub(crate) chain: Option<u32>,
}

/// Where a reader is in a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub(crate) offset: u64,
    /// The position of the frame there.
    pub(crate) first: u64,
    /// The checksum of the frame before, when known.
    pub(crate) chain: Option<u32>,
}

impl Segment {
    pub(crate) fn new(first: u64, end: u64, end_offset: u64, opened: Option<Arc<Opened>>) -> Self {
        Self {
            first,
            name: files::segment(first),
            end: AtomicU64::new(end),
            end_offset: AtomicU64::new(end_offset),
            header: opened
                .as_ref()
                .map_or_else(OnceLock::new, |opened| opened.header.into()),
            opened: Mutex::new(opened),
            memory: Mutex::new(None),
            sealed: Mutex::new(None),
            loading: Mutex::default(),
        }
    }

    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub(crate) fn end_offset(&self) -> u64 {
        self.end_offset.load(Ordering::Acquire)
    }

    /// Of the positions from `from` to `to` the durable ones that it holds, counted from its first.
    pub(crate) fn ordinals(&self, from: u64, to: u64) -> Range<u32> {
        let ordinal = |at: u64| (at.min(self.end()).saturating_sub(self.first)) as u32;
        ordinal(from)..ordinal(to)
    }

    /// The offset first: a reader that sees the position can read up to it.
    pub(crate) fn advance(&self, end: u64, end_offset: u64) {
        self.end_offset.store(end_offset, Ordering::Release);
        self.end.store(end, Ordering::Release);
    }

    /// The open file, from the cache or opened now.
    pub(crate) fn opened(&self, storage: &dyn Storage, uuid: u128) -> Result<(Arc<Opened>, bool)> {
        let mut opened = lock(&self.opened);
        if let Some(opened) = &*opened {
            return Ok((Arc::clone(opened), false));
        }
        let fresh = Arc::new(Opened::open(storage, uuid, self.first, false)?);
        *opened = Some(Arc::clone(&fresh));
        self.header.get_or_init(|| fresh.header);
        Ok((fresh, true))
    }

    /// The open file, if it is open.
    pub(crate) fn open_already(&self) -> Option<Arc<Opened>> {
        lock(&self.opened).clone()
    }

    /// The header, when the file was open before.
    pub(crate) fn known_header(&self) -> Option<Header> {
        self.header.get().copied()
    }

    /// Drops the open file and the cached index: they are opened again when needed.
    pub(crate) fn close(&self) {
        *lock(&self.opened) = None;
        *lock(&self.sealed) = None;
    }

    pub(crate) fn start(&self, opened: &Opened) -> Spot {
        Spot {
            offset: HEADER_BYTES,
            first: self.first,
            chain: Some(opened.header.chain),
        }
    }

    /// Past the frame at `spot`, going by its header alone; `None` when that is damaged too, or the
    /// frame reaches `to`.
    pub(crate) fn pass(&self, opened: &Opened, spot: Spot, to: u64) -> Option<Spot> {
        let mut bytes = [0; frame::HEADER_BYTES];
        storage::read_full(&*opened.handle, &mut bytes, spot.offset).ok()?;
        let (header, crc) = frame::Header::decode(&bytes, opened.header.salt)?;
        let follows = spot.chain.is_none_or(|chain| chain == header.chain);
        let next = Spot {
            offset: spot.offset + header.frame_bytes(),
            first: header.first.checked_add(u64::from(header.count))?,
            chain: Some(crc),
        };
        (header.first == spot.first && follows && next.first <= to).then_some(next)
    }

    /// Reads and verifies about `bytes_max` bytes of whole durable frames at `spot`, at least one
    /// frame, none when `spot` is at the end.
    pub(crate) fn read(
        &self,
        opened: &Opened,
        spot: Spot,
        bytes_max: usize,
        reach: Reach,
        shown: &dyn Fn() -> String,
    ) -> Result<Run> {
        let end = self.end();
        let mut run = Run {
            next_offset: spot.offset,
            chain: spot.chain,
            ..Run::default()
        };
        if spot.first >= end {
            return Ok(run);
        }
        let left = self.end_offset().saturating_sub(spot.offset);
        let some = (bytes_max.max(frame::HEADER_BYTES) as u64).min(left) as usize;
        let mut buffer = read_bytes(opened, reach, some, spot.offset, shown)?;
        let mut first = spot.first;
        let mut at = 0;
        while first < end {
            let offset = spot.offset + at as u64;
            let rest = buffer.slice(at.min(buffer.len())..);
            let step = step(opened, rest, first, run.chain, offset, shown);
            let (frame, crc) = match step {
                Ok(Step::Frame(frame, crc)) => (frame, crc),
                // The good frames first: the next read starts at the one that is cut off or bad.
                Ok(Step::Short { .. }) | Err(_) if !run.frames.is_empty() => break,
                Ok(Step::Short { bytes }) => {
                    debug_assert_eq!(at, 0, "the first frame of the piece");
                    if bytes <= buffer.len() {
                        return Err(Error::corrupt(shown(), offset, "a frame is cut off"));
                    }
                    if reach == Reach::Memory && bytes > FRAME_AT_HAND_MAX {
                        return Err(Error::io("read", shown())(Reach::would_block()));
                    }
                    // A frame larger than the piece: read all of it.
                    let known = buffer.len();
                    buffer = read_bytes(opened, reach, bytes, offset, shown)?;
                    if buffer.len() <= known {
                        return Err(Error::corrupt(shown(), offset, "a frame is cut off"));
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            first = frame.end();
            at += frame::HEADER_BYTES + frame.bytes();
            run.frames.push(Arc::new(frame));
            run.chain = Some(crc);
        }
        run.next_offset = spot.offset + at as u64;
        Ok(run)
    }
}

/// What is at the start of some bytes of a segment.
enum Step {
    /// A good frame, and its checksum.
    Frame(Frame, u32),
    /// The start of a frame that has this many bytes.
    Short { bytes: usize },
}

/// Decodes and verifies the frame at the start of `bytes`, which are at `offset` of the file.
fn step(
    opened: &Opened,
    bytes: Bytes,
    first: u64,
    chain: Option<u32>,
    offset: u64,
    shown: &dyn Fn() -> String,
) -> Result<Step> {
    let (header, crc) = decode_at(&bytes, opened, offset, shown)?;
    check_order(&header, first, chain, offset, shown)?;
    // The length is covered by the checksum just verified, and bounded by the file.
    if offset + header.frame_bytes() > opened.header.bytes {
        return Err(Error::corrupt(
            shown(),
            offset,
            "a frame reaches past its segment",
        ));
    }
    let length = header.frame_bytes() as usize;
    if bytes.len() < length {
        return Ok(Step::Short { bytes: length });
    }
    let body = bytes.slice(frame::HEADER_BYTES..length);
    header.verify_body(&body).map_err(|(within, what)| {
        Error::corrupt(shown(), offset + frame::HEADER_BYTES as u64 + within, what)
    })?;
    let (first, count, time) = (header.first, header.count, header.time);
    Ok(Step::Frame(
        Frame {
            first,
            count,
            time,
            parts: Parts::One(body),
        },
        crc,
    ))
}

fn read_bytes(
    opened: &Opened,
    reach: Reach,
    bytes: usize,
    offset: u64,
    shown: &dyn Fn() -> String,
) -> Result<Bytes> {
    let mut buffer = vec![0; bytes];
    let read = storage::read_within(reach, &*opened.handle, &mut buffer, offset)
        .map_err(|error: io::Error| Error::io("read", shown())(error))?;
    buffer.truncate(read);
    Ok(buffer.into())
}

fn decode_at(
    bytes: &[u8],
    opened: &Opened,
    offset: u64,
    shown: &dyn Fn() -> String,
) -> Result<(frame::Header, u32)> {
    frame::Header::decode(bytes, opened.header.salt).ok_or_else(|| {
        Error::corrupt(
            shown(),
            offset,
            "no good frame header where a frame was written",
        )
    })
}

/// Every frame follows the one before it.
fn check_order(
    header: &frame::Header,
    first: u64,
    chain: Option<u32>,
    offset: u64,
    shown: &dyn Fn() -> String,
) -> Result<()> {
    if header.first != first {
        let what = format!(
            "a frame starts at position {}, expected {first}",
            header.first
        );
        return Err(Error::corrupt(shown(), offset, what));
    }
    if chain.is_some_and(|chain| chain != header.chain) && !Safeguard::Chain.is_off() {
        return Err(Error::corrupt(
            shown(),
            offset,
            "a frame does not follow the one before it",
        ));
    }
    Ok(())
}

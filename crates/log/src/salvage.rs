//! Copying what is readable of a damaged log into a new one.
//!
//! Positions stay what they were, because the layer above refers to them: where records are lost,
//! fillers of kind [`LOST_KIND`] take their places.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::batch::Batch;
use crate::checkpoint;
use crate::error::{Error, Result};
use crate::files::{self, Manifest};
use crate::frame;
use crate::log::Log;
use crate::options::{Durability, Options};
use crate::position::Position;
use crate::record::{self, BATCH_BYTES_LIMIT, Layout, Record};
use crate::segment::{HEADER_BYTES, Header};
use crate::storage::{self, Handle, Locking, Storage};
use crate::trimmed;

/// The kind of the records that take the places of lost ones. They have no topic, key, id or body.
pub const LOST_KIND: u8 = u8::MAX;

/// What cannot be read in pieces of this size is taken for zeroes.
const READ_BYTES: usize = 64 * 1024;
/// So many fillers are appended at once.
const FILLERS_MAX: u64 = 4096;

/// What [`salvage`] copied, and what it could not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Salvaged {
    /// The first position of the new log.
    pub first: Position,
    /// The position after its last record.
    pub end: Position,
    /// How many records were copied.
    pub records: u64,
    /// How many checkpoints were copied. A log that was trimmed needs one.
    pub checkpoints: u64,
    /// What is lost, in order of position.
    pub lost: Vec<Loss>,
}

/// Records that could not be copied.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// The first one.
    pub from: Position,
    /// The position after the last one; `None` at the end of the log, where it is not known how
    /// many there were, nor whether they had been acknowledged.
    pub to: Option<Position>,
    /// The file.
    pub file: String,
    /// The byte where what is readable ends.
    pub offset: u64,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, file, offset) = (self.from, &self.file, self.offset);
        match self.to {
            Some(to) => write!(
                f,
                "positions {from} to before {to}, in {file} from byte {offset} on"
            ),
            None => write!(
                f,
                "what followed position {from}, in {file} from byte {offset} on, if anything did"
            ),
        }
    }
}

/// Copies every record of the log in `from` that can be read into a new log in `to`, with its
/// position and time, and says what is lost. Also copies checkpoints, and the ids of trimmed
/// records. Changes nothing in `from`, which no process may have open. Reads one segment at a time into
/// memory; blocks.
///
/// What was written by one append may be copied in part.
///
/// # Errors
///
/// [`Error::Locked`] when a process owns either directory, [`Error::Io`] with `NotFound` when `from`
/// has no segment, with `AlreadyExists` when `to` holds a log, and for what `to` reports.
pub fn salvage(from: &dyn Storage, to: Arc<dyn Storage>) -> Result<Salvaged> {
    let manifest = Manifest::read(from).ok().flatten();
    let trimmed = manifest.map_or(0, |manifest| manifest.first);
    let mut firsts = files::numbers(from, "log", "seg")?;
    firsts.retain(|first| *first >= trimmed);
    let Some(first) = firsts.first().copied() else {
        let none = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(Error::io("find a segment in", from.describe("log"))(none));
    };
    let _lock = own(from)?;
    let mut copy = Copying::begin(to, first)?;
    if manifest.is_some() && trimmed < first {
        copy.lose(
            trimmed,
            Some(first),
            &from.describe(&files::segment(trimmed)),
            0,
        );
    }
    let ends = firsts.iter().skip(1).map(|end| Some(*end)).chain([None]);
    for (first, end) in firsts.iter().zip(ends) {
        Segment::read(from, *first, end)?.salvage(&mut copy)?;
    }
    copy.finish(from, manifest.map(|manifest| manifest.uuid))
}

/// Owns the damaged directory, unless it is one that cannot be written to.
fn own(from: &dyn Storage) -> Result<Option<storage::Lock>> {
    use std::io::ErrorKind;
    match from.lock() {
        Ok(Locking::Acquired(lock)) => Ok(Some(lock)),
        Ok(Locking::Held { pid }) => Err(Error::Locked { pid }),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(Error::io("lock", from.describe("LOCK"))(error)),
    }
}

/// The new log.
struct Copying {
    log: Log,
    /// Of the records that are being copied.
    time: Arc<AtomicI64>,
    salvaged: Salvaged,
}

impl Copying {
    /// A new log whose first record is at `first`.
    fn begin(to: Arc<dyn Storage>, first: u64) -> Result<Self> {
        {
            // Makes the directories that are missing.
            let _lock = own(&*to)?;
            let is_new =
                Manifest::read(&*to)?.is_none() && files::numbers(&*to, "log", "seg")?.is_empty();
            if !is_new {
                let exists = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
                return Err(Error::io("make a new log in", to.describe(""))(exists));
            }
            let manifest = Manifest {
                first,
                ..Manifest::new()
            };
            manifest.write(&*to)?;
        }
        let time = Arc::new(AtomicI64::new(i64::MIN));
        let told = Arc::clone(&time);
        let options = Options {
            // Everything is copied as it is, and synced when it is closed.
            dedup_window: 0,
            durability: Durability::Os,
            record_bytes_max: BATCH_BYTES_LIMIT,
            batch_bytes_max: BATCH_BYTES_LIMIT,
            clock: Arc::new(move || told.load(Ordering::Acquire)),
            ..Options::default()
        };
        let log = Log::open(to, options)?;
        let salvaged = Salvaged {
            first: Position::new(first),
            ..Salvaged::default()
        };
        Ok(Self {
            log,
            time,
            salvaged,
        })
    }

    fn next(&self) -> u64 {
        self.log.end().get()
    }

    /// Appends encoded records that were verified.
    fn append(&mut self, records: &[&[u8]]) -> Result<()> {
        let mut batch = Batch::with_capacity(records.iter().map(|bytes| bytes.len()).sum());
        for bytes in records {
            let Some(layout) = Layout::read(bytes) else {
                continue; // Not reached: it was verified.
            };
            batch.push(&Record {
                kind: layout.kind,
                id: layout.id,
                topic: std::str::from_utf8(layout.topic(bytes)).unwrap_or_default(),
                key: layout.key(bytes),
                body: layout.body(bytes),
            })?;
        }
        self.salvaged.records += batch.len() as u64;
        if !batch.is_empty() {
            self.log.append(batch)?;
        }
        Ok(())
    }

    /// Notes what is lost.
    fn lose(&mut self, from: u64, to: Option<u64>, file: &str, offset: u64) {
        self.salvaged.lost.push(Loss {
            from: Position::new(from),
            to: to.map(Position::new),
            file: file.to_owned(),
            offset,
        });
    }

    /// Takes the places of the records up to `to`, which are lost.
    fn fill(&mut self, to: u64, file: &str, offset: u64) -> Result<()> {
        let from = self.next();
        if from >= to {
            return Ok(());
        }
        self.lose(from, Some(to), file, offset);
        while self.next() < to {
            let mut batch = Batch::new();
            for _ in 0..(to - self.next()).min(FILLERS_MAX) {
                batch.push(&Record {
                    kind: LOST_KIND,
                    id: None,
                    topic: "",
                    key: b"",
                    body: b"",
                })?;
            }
            self.log.append(batch)?;
        }
        Ok(())
    }

    /// Copies what belongs to the log as a whole, and closes the new one.
    fn finish(mut self, from: &dyn Storage, uuid: Option<u128>) -> Result<Salvaged> {
        let end = self.next();
        if let Some(uuid) = uuid {
            let store = self.log.store();
            for first in trimmed::firsts(from, self.salvaged.first.get())? {
                if let Ok(Some(ids)) = trimmed::read(from, uuid, first) {
                    trimmed::write(&*store.storage, store.uuid, first, &ids)?;
                }
            }
            for at in files::numbers(from, "checkpoint", "cp")? {
                if at <= end
                    && let Ok(Some(state)) = checkpoint::read(from, uuid, at)
                {
                    self.log.checkpoint(Position::new(at), &state)?;
                    self.salvaged.checkpoints += 1;
                }
            }
        }
        self.log.close()?;
        self.salvaged.end = Position::new(end);
        Ok(self.salvaged)
    }
}

/// A segment of the damaged log, in memory.
struct Segment {
    file: String,
    bytes: Vec<u8>,
    salt: Option<u64>,
    first: u64,
    /// The position after its last record, except for the last segment.
    end: Option<u64>,
}

impl Segment {
    fn read(from: &dyn Storage, first: u64, end: Option<u64>) -> Result<Self> {
        let name = files::segment(first);
        let file = from.describe(&name);
        let handle = from.open_read(&name).map_err(Error::io("open", &*file))?;
        let bytes = read_what_can_be(&*handle).map_err(Error::io("read", &*file))?;
        let mut segment = Self {
            file,
            bytes,
            salt: None,
            first,
            end,
        };
        segment.salt = match Header::decode(&segment.bytes, &segment.file) {
            Ok(header) => Some(header.salt),
            Err(_) => segment.salt_of_a_frame(),
        };
        Ok(segment)
    }

    /// Every frame carries the salt: one whose position fits tells it where the header does not.
    fn salt_of_a_frame(&self) -> Option<u64> {
        let fits = |header: &frame::Header| {
            header.first >= self.first && self.end.is_none_or(|end| header.first < end)
        };
        (0..self.bytes.len()).step_by(8).find_map(|at| {
            let bytes = self.bytes.get(at..at + frame::HEADER_BYTES)?;
            let salt = crate::codec::u64_at(bytes, 8)?;
            let (header, _) = frame::Header::decode(bytes, salt)?;
            fits(&header).then_some(salt)
        })
    }

    /// The first good frame header at or after `at` of a record at or after `position`.
    fn find(&self, mut at: usize, position: u64) -> Option<(usize, frame::Header)> {
        let salt = self.salt?;
        loop {
            let (offset, header) = frame::find(self.bytes.get(at..)?, salt)?;
            if header.first >= position && self.end.is_none_or(|end| header.first < end) {
                return Some((at + offset, header));
            }
            at += offset + 8;
        }
    }

    fn salvage(&self, copy: &mut Copying) -> Result<()> {
        let mut at = (HEADER_BYTES as usize).min(self.bytes.len());
        loop {
            let Some((found, header)) = self.find(at, copy.next()) else {
                return self.salvage_rest(copy, at);
            };
            if found > at || header.first > copy.next() {
                // What is before it has no good header: its records may still be good.
                let region = (at + frame::HEADER_BYTES).min(found)..found;
                self.rescue(copy, region, Some(header.first))?;
                copy.fill(header.first, &self.file, at as u64)?;
            }
            copy.time.store(header.time, Ordering::Release);
            let start = found + frame::HEADER_BYTES;
            let stop = start.saturating_add(header.body_bytes as usize);
            let end = header.first + u64::from(header.count);
            let region = start.min(self.bytes.len())..stop.min(self.bytes.len());
            self.rescue(copy, region, Some(end))?;
            copy.fill(end, &self.file, found as u64)?;
            at = stop;
        }
    }

    /// Behind the last good header.
    fn salvage_rest(&self, copy: &mut Copying, at: usize) -> Result<()> {
        let rest = self.bytes.get(at..).unwrap_or_default();
        if rest.iter().any(|byte| *byte != 0) || self.end.is_some_and(|end| copy.next() < end) {
            let region = (at + frame::HEADER_BYTES).min(self.bytes.len())..self.bytes.len();
            self.rescue(copy, region, self.end)?;
        }
        match self.end {
            Some(end) => copy.fill(end, &self.file, at as u64),
            None if rest.iter().any(|byte| *byte != 0) => {
                copy.lose(copy.next(), None, &self.file, at as u64);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Copies the good records in `region`, which holds those from the next position to `end`: from
    /// its start as far as they are good, and from where they are good up to its end.
    fn rescue(
        &self,
        copy: &mut Copying,
        region: std::ops::Range<usize>,
        end: Option<u64>,
    ) -> Result<()> {
        let offset = region.start;
        let bytes = self.bytes.get(region).unwrap_or_default();
        let wanted = end.map_or(u64::MAX, |end| end.saturating_sub(copy.next()));
        let (mut front, used) = good_records(bytes);
        front.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
        copy.append(&front)?;
        let (Some(end), missing) = (end, wanted - front.len() as u64) else {
            return Ok(());
        };
        if missing == 0 {
            return Ok(());
        }
        let back = (used + 8..bytes.len()).step_by(8).find_map(|at| {
            let rest = bytes.get(at..)?;
            let (records, used) = good_records(rest);
            let is_last = rest.get(used..)?.iter().all(|byte| *byte == 0);
            (is_last && !records.is_empty() && (records.len() as u64) < missing).then_some(records)
        });
        if let Some(back) = back {
            copy.fill(end - back.len() as u64, &self.file, (offset + used) as u64)?;
            copy.append(&back)?;
        }
        Ok(())
    }
}

/// The good records at the start of `bytes`, and how many bytes they take.
fn good_records(bytes: &[u8]) -> (Vec<&[u8]>, usize) {
    let (mut records, mut at) = (Vec::new(), 0);
    while let Some(rest) = bytes.get(at..)
        && let Ok(layout) = record::verify(rest)
        && let Some(bytes) = rest.get(..layout.padded())
    {
        records.push(bytes);
        at += layout.padded();
    }
    (records, at)
}

/// All bytes of a file, with zeroes where the disk cannot read.
fn read_what_can_be(handle: &dyn Handle) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; handle.len()? as usize];
    let mut offset = 0;
    for piece in bytes.chunks_mut(READ_BYTES) {
        let length = piece.len() as u64;
        if let Err(error) = storage::read_full(handle, piece, offset) {
            tracing::warn!(%error, offset, "a piece of a segment cannot be read");
            piece.fill(0);
        }
        offset += length;
    }
    Ok(bytes)
}

//! The index file of a sealed segment.
//!
//! ```text
//!   0  8 bytes magic "EnsueIdx"
//!   8  u32  version
//!  12  u32  crc        CRC32C of bytes 8..12 and 16..256
//!  16  u128 uuid       the log's
//!  32  u64  first      the segment's
//!  40  u64  salt       the segment's
//!  48  u32  count      records
//!  52  u32  buckets    of the keys section, a power of two
//!  56  4 sections, each: u64 offset, u64 bytes, u32 crc, u32 0
//! 152  zeroes up to 256
//! ```
//!
//! What is in the sections: [`sections`](super::sections).

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::sections::{
    BUCKET_RECORDS, ID_BYTES, Posting, bucket_crc, bucket_of, decode_blocks, decode_topics,
    encode_blocks, encode_ids, encode_keys, encode_topics, find_postings,
};
use super::topics::{self, TopicRecords};
use super::{Active, Placed, Seed};
use crate::codec::{Cursor, array, u32_at, u64_at, u128_at};
use crate::error::{Error, Result};
use crate::files;
use crate::hash::{HashKey, KeyHash};
use crate::record::Layout;
use crate::storage::{self, Handle, Storage};
use crate::writers::Writers;

const MAGIC: [u8; 8] = *b"EnsueIdx";
/// Of index files alone: those of another version are rebuilt from their segments.
const VERSION: u32 = 3;
const HEADER_BYTES: usize = 256;
const SECTIONS: usize = 4;
const BLOCKS: usize = 0;
const TOPICS: usize = 1;
const KEYS: usize = 2;
const IDS: usize = 3;
/// An open index: frames and topics in memory, keys and ids read when asked for.
#[derive(Debug)]
pub(crate) struct Sealed {
    source: Source,
    shown: String,
    first: u64,
    buckets: u32,
    sections: [Section; SECTIONS],
    blocks: Vec<Placed>,
    topics: Vec<TopicRecords>,
}

#[derive(Debug)]
enum Source {
    File(Arc<dyn Handle>),
    /// For readers that must not write.
    Memory(Bytes),
}

#[derive(Clone, Copy, Debug, Default)]
struct Section {
    offset: u64,
    bytes: u64,
    crc: u32,
}

/// Where the index file of a segment is, and what it has to say of itself.
#[derive(Clone, Copy)]
pub(crate) struct IndexFile<'a> {
    pub(crate) storage: &'a dyn Storage,
    pub(crate) writers: &'a Writers,
    /// The log's.
    pub(crate) uuid: u128,
    /// The segment's.
    pub(crate) salt: u64,
    /// The segment's first position.
    pub(crate) first: u64,
    /// The position after its last record.
    pub(crate) end: u64,
}

impl IndexFile<'_> {
    /// Opens the file; with what `scan` finds in the segment it is written again when it is missing or
    /// damaged.
    pub(crate) fn load(&self, scan: impl FnOnce() -> Result<Active>) -> Result<Sealed> {
        match self.open() {
            Ok(Some(sealed)) => Ok(sealed),
            Ok(None) => self.write(&scan()?),
            Err(error @ (Error::Corrupt { .. } | Error::Version { .. })) => {
                tracing::warn!(%error, "an index file cannot be used; it is rebuilt from its segment");
                self.write(&scan()?)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens and checks the file; `None` when there is none.
    pub(crate) fn open(&self) -> Result<Option<Sealed>> {
        let shown = self.shown();
        let handle = match self.storage.open_read(&files::index(self.first)) {
            Ok(handle) => handle,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", shown)(error)),
        };
        Sealed::parse(self, Source::File(handle), shown).map(Some)
    }

    /// Writes the file, unless this process must not.
    pub(crate) fn save(&self, active: &Active) -> Result<()> {
        let bytes = encode(self.uuid, self.salt, active);
        self.put(&bytes).unwrap_or(Ok(()))
    }

    /// Writes the file and opens it; the index stays in memory when this process must not write, or
    /// cannot.
    pub(crate) fn write(&self, active: &Active) -> Result<Sealed> {
        let bytes = encode(self.uuid, self.salt, active);
        match self.put(&bytes) {
            Some(Ok(())) => {
                if let Some(sealed) = self.open()? {
                    return Ok(sealed);
                }
            }
            Some(Err(error)) => tracing::warn!(%error, "an index file could not be written"),
            None => {}
        }
        Sealed::parse(self, Source::Memory(bytes.into()), self.shown())
    }

    fn put(&self, bytes: &[u8]) -> Option<Result<()>> {
        let name = files::index(self.first);
        let write = || storage::replace(self.storage, "idx", &name, bytes);
        self.writers.run(write)
    }

    fn shown(&self) -> String {
        self.storage.describe(&files::index(self.first))
    }
}

impl Sealed {
    fn parse(file: &IndexFile<'_>, source: Source, shown: String) -> Result<Self> {
        let header = source.read(0, HEADER_BYTES as u64, &shown)?;
        let damaged = |offset, what| Error::corrupt(&*shown, offset, what);
        if array(&header, 0) != Some(MAGIC) {
            return Err(damaged(0, "it does not start with its magic bytes"));
        }
        let version = u32_at(&header, 8).unwrap_or_default();
        if header.len() != HEADER_BYTES || u32_at(&header, 12) != Some(header_crc(&header, version))
        {
            return Err(damaged(12, "its header's checksum does not match"));
        }
        if version != VERSION {
            return Err(Error::Version {
                file: shown,
                found: version,
                supported: VERSION,
            });
        }
        let belongs = u128_at(&header, 16) == Some(file.uuid)
            && u64_at(&header, 32) == Some(file.first)
            && u64_at(&header, 40) == Some(file.salt);
        let count = u32_at(&header, 48).unwrap_or_default();
        if !belongs || file.first + u64::from(count) != file.end {
            return Err(damaged(16, "it belongs to another segment"));
        }
        let mut sections = [Section::default(); SECTIONS];
        for (index, section) in sections.iter_mut().enumerate() {
            let at = 56 + index * 24;
            *section = Section {
                offset: u64_at(&header, at).unwrap_or_default(),
                bytes: u64_at(&header, at + 8).unwrap_or_default(),
                crc: u32_at(&header, at + 16).unwrap_or_default(),
            };
        }
        let buckets = u32_at(&header, 52).unwrap_or_default();
        let mut sealed = Self {
            source,
            shown,
            first: file.first,
            buckets,
            sections,
            blocks: Vec::new(),
            topics: Vec::new(),
        };
        let short = |what| Error::corrupt(&*sealed.shown, 0, what);
        let blocks = decode_blocks(&sealed.section(BLOCKS)?)
            .ok_or_else(|| short("its blocks are cut off"))?;
        let topics = decode_topics(&sealed.section(TOPICS)?, count)
            .ok_or_else(|| short("its topics are cut off, or not of this segment"))?;
        sealed.blocks = blocks;
        sealed.topics = topics;
        Ok(sealed)
    }

    /// A whole section, checked.
    fn section(&self, index: usize) -> Result<Bytes> {
        let section = self.sections.get(index).copied().unwrap_or_default();
        let bytes = self
            .source
            .read(section.offset, section.bytes, &self.shown)?;
        if crc32c::crc32c(&bytes) != section.crc {
            let what = "a section's checksum does not match";
            return Err(Error::corrupt(&*self.shown, section.offset, what));
        }
        Ok(bytes)
    }

    /// The last listed frame at or before `position`.
    pub(crate) fn frame_at(&self, position: u64) -> Option<Placed> {
        let ordinal = position.checked_sub(self.first)?;
        let after = self
            .blocks
            .partition_point(|block| u64::from(block.ordinal) <= ordinal);
        self.blocks.get(after.checked_sub(1)?).copied()
    }

    /// The last listed frame written before `time`, or the first of all.
    pub(crate) fn frame_before(&self, time: i64) -> Option<Placed> {
        let after = self.blocks.partition_point(|block| block.time < time);
        self.blocks.get(after.saturating_sub(1)).copied()
    }

    /// The topics that have records among `ordinals`, and which.
    pub(crate) fn topics_in(
        &self,
        ordinals: &Range<u32>,
        wanted: &dyn Fn(u8, &str) -> bool,
    ) -> Vec<TopicRecords> {
        topics::part(&self.topics, ordinals, wanted)
    }

    pub(crate) fn topics_count(&self) -> usize {
        self.topics.len()
    }

    /// How many records of `kind` there are among `ordinals`, in topics for which `wanted` is true.
    pub(crate) fn count(
        &self,
        kind: u8,
        ordinals: &Range<u32>,
        wanted: &dyn Fn(&str) -> bool,
    ) -> u64 {
        let counts = topics::counts(&self.topics, kind, ordinals);
        let wanted = counts.filter(|(name, _)| wanted(name));
        wanted.map(|(_, count)| count).sum()
    }

    /// All records of the key with this hash, ascending.
    pub(crate) fn postings(&self, hash: KeyHash) -> Result<Vec<Posting>> {
        let number = bucket_of(hash, self.buckets);
        let bucket = self.bucket(number)?;
        Ok(find_postings(&bucket, hash).unwrap_or_default())
    }

    /// The bytes of a bucket, checked.
    fn bucket(&self, number: u32) -> Result<Bytes> {
        let keys = self.sections.get(KEYS).copied().unwrap_or_default();
        let at = keys.offset + u64::from(number) * 8;
        let damaged = || Error::corrupt(&*self.shown, at, "a bucket's checksum does not match");
        let entry = self.source.read(at, 16, &self.shown)?;
        let start = u64_at(&entry, 0).ok_or_else(damaged)?;
        let bytes = u64_at(&entry, 8)
            .and_then(|end| end.checked_sub(start))
            .ok_or_else(damaged)?;
        if start.saturating_add(bytes) > keys.bytes {
            return Err(damaged());
        }
        let bucket = self.source.read(keys.offset + start, bytes, &self.shown)?;
        let (body, crc) = bucket.split_last_chunk::<4>().ok_or_else(damaged)?;
        if u32::from_le_bytes(*crc) != bucket_crc(number, body) {
            return Err(damaged());
        }
        let length = body.len();
        Ok(bucket.slice(..length))
    }

    /// How many records have an id.
    pub(crate) fn ids_count(&self) -> usize {
        let bytes = self.sections.get(IDS).map_or(0, |section| section.bytes);
        bytes as usize / ID_BYTES
    }

    /// Every id and its record, in order.
    pub(crate) fn ids(&self) -> Result<Vec<(u128, u32)>> {
        let bytes = self.section(IDS)?;
        let mut cursor = Cursor::new(&bytes);
        let mut ids = Vec::with_capacity(bytes.len() / ID_BYTES);
        while let (Some(id), Some(ordinal)) = (cursor.u128(), cursor.u32()) {
            ids.push((id, ordinal));
        }
        Ok(ids)
    }

    /// Checks every byte of the file.
    pub(crate) fn check(&self) -> Result<()> {
        for section in [BLOCKS, TOPICS, IDS] {
            self.section(section)?;
        }
        let keys = self.sections.get(KEYS).copied().unwrap_or_default();
        let directory =
            self.source
                .read(keys.offset, (u64::from(self.buckets) + 1) * 8, &self.shown)?;
        if crc32c::crc32c(&directory) != keys.crc {
            let what = "the directory of keys does not match its checksum";
            return Err(Error::corrupt(&*self.shown, keys.offset, what));
        }
        (0..self.buckets).try_for_each(|number| self.bucket(number).map(drop))
    }

    /// Checks that it says of every topic what its segment does.
    pub(crate) fn check_topics(&self, found: &[TopicRecords]) -> Result<()> {
        if self.topics == found {
            return Ok(());
        }
        let at = self
            .sections
            .get(TOPICS)
            .map_or(0, |section| section.offset);
        let what = "its topics are not those of its segment: it can be deleted, and is made again";
        Err(Error::corrupt(&*self.shown, at, what))
    }
}

impl Source {
    fn read(&self, offset: u64, bytes: u64, shown: &str) -> Result<Bytes> {
        let short = || Error::corrupt(shown, offset, "it is cut off");
        match self {
            Self::Memory(all) => {
                let range = offset as usize..offset.saturating_add(bytes) as usize;
                all.get(range.clone())
                    .map(|_| all.slice(range))
                    .ok_or_else(short)
            }
            Self::File(handle) => {
                let length = handle.len().map_err(Error::io("read", shown))?;
                if offset.saturating_add(bytes) > length {
                    return Err(short());
                }
                let mut buffer = vec![0; bytes as usize];
                let read = storage::read_full(&**handle, &mut buffer, offset)
                    .map_err(Error::io("read", shown))?;
                if read < buffer.len() {
                    Err(short())
                } else {
                    Ok(buffer.into())
                }
            }
        }
    }
}

/// Adds verified frames, the first of which starts at `offset`, to an index.
pub(crate) fn index_frames(
    hash_key: HashKey,
    active: &mut Active,
    frames: &[Arc<crate::frame::Frame>],
    mut offset: u64,
) {
    let mut lengths = Vec::new();
    for frame in frames {
        lengths.clear();
        let placed = Placed {
            ordinal: (frame.first - active.base()) as u32,
            offset: (offset / 8) as u32,
            time: frame.time,
        };
        for part in frame.parts.iter() {
            let mut rest: &[u8] = part;
            while let Some(layout) = Layout::read(rest) {
                let topic = std::str::from_utf8(layout.topic(rest)).unwrap_or_default();
                let hash = hash_key.hash(layout.topic(rest), layout.key(rest));
                active.push(Seed {
                    hash,
                    kind: layout.kind,
                    topic,
                    id: layout.id,
                });
                lengths.push(layout.padded() as u32);
                rest = rest.get(layout.padded()..).unwrap_or_default();
            }
        }
        active.placed(placed, &lengths);
        offset += (frame.bytes() + crate::frame::HEADER_BYTES) as u64;
    }
}

/// What the header's `crc` must be. Before version 3 it did not cover the version: a flipped bit there
/// looked like a file of an earlier version.
fn header_crc(header: &[u8], version: u32) -> u32 {
    let fields = header.get(16..HEADER_BYTES).unwrap_or_default();
    if version < 3 {
        return crc32c::crc32c(fields);
    }
    crc32c::crc32c_append(crc32c::crc32c(&version.to_le_bytes()), fields)
}

fn encode(uuid: u128, salt: u64, active: &Active) -> Vec<u8> {
    let count = active.hashes().len();
    let buckets = (count / BUCKET_RECORDS).next_power_of_two() as u32;
    let (keys, directory_crc) = encode_keys(active, buckets);
    let blocks = encode_blocks(active);
    let topics = encode_topics(active);
    let ids = encode_ids(active);

    let sections_bytes = blocks.len() + topics.len() + keys.len() + ids.len();
    let mut bytes = Vec::with_capacity(HEADER_BYTES + sections_bytes);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&uuid.to_le_bytes());
    bytes.extend_from_slice(&active.base().to_le_bytes());
    bytes.extend_from_slice(&salt.to_le_bytes());
    bytes.extend_from_slice(&(count as u32).to_le_bytes());
    bytes.extend_from_slice(&buckets.to_le_bytes());
    let mut offset = HEADER_BYTES as u64;
    let crc = |section: &[u8]| crc32c::crc32c(section);
    let sections = [
        (&blocks, crc(&blocks)),
        (&topics, crc(&topics)),
        (&keys, directory_crc),
        (&ids, crc(&ids)),
    ];
    for (section, crc) in sections {
        bytes.extend_from_slice(&offset.to_le_bytes());
        bytes.extend_from_slice(&(section.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        offset += section.len() as u64;
    }
    bytes.resize(HEADER_BYTES, 0);
    let crc = header_crc(&bytes, VERSION);
    if let Some(field) = bytes.get_mut(12..16) {
        field.copy_from_slice(&crc.to_le_bytes());
    }
    for (section, _) in sections {
        bytes.extend_from_slice(section);
    }
    bytes
}

//! Every decoder, for fuzzers: with the bytes as they are and, so that more than the checksum is
//! reached, with the checksum put right. Each says whether the bytes were taken; none may panic or
//! allocate more than the bytes justify.

use std::io::IoSlice;
use std::sync::{Arc, OnceLock};

use crate::batch::Batch;
use crate::codec::{pad8, u32_at, u64_at, u128_at};
use crate::error::Result;
use crate::files::{self, Clean, Manifest};
use crate::log::Log;
use crate::options::Options;
use crate::position::Position;
use crate::record::{self, Record};
use crate::recover;
use crate::scan::Query;
use crate::segment;
use crate::storage::{self, Memory, Storage};
use crate::view::View;
use crate::{checkpoint, frame, trimmed};

/// Says whether it takes the bytes.
pub type Decoder = fn(&[u8]) -> bool;

/// The decoders by name; `fuzz/corpus` has a directory for each.
pub const TARGETS: [(&str, Decoder); 8] = [
    ("segment_header", segment_header),
    ("frame", frame),
    ("record", record),
    ("index", index),
    ("manifest", manifest),
    ("clean", clean),
    ("checkpoint", checkpoint),
    ("ids", ids),
];

/// The bytes with a number put over some of them, as far as they reach.
fn with_crc(bytes: &[u8], at: usize, crc: u32) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some(field) = bytes.get_mut(at..at.saturating_add(4)) {
        field.copy_from_slice(&crc.to_le_bytes());
    }
    bytes
}

/// The checksum of a range, which may be cut off.
fn crc_of(bytes: &[u8], from: usize, to: usize) -> u32 {
    let bytes = bytes.get(from..to.min(bytes.len())).unwrap_or_default();
    crc32c::crc32c(bytes)
}

/// A segment's header.
#[must_use]
pub fn segment_header(bytes: &[u8]) -> bool {
    let decode = |bytes: &[u8]| segment::Header::decode(bytes, "fuzz").is_ok();
    decode(bytes) | decode(&with_crc(bytes, 4092, crc_of(bytes, 0, 4092)))
}

/// A frame with its records.
#[must_use]
pub fn frame(bytes: &[u8]) -> bool {
    let salt = u64_at(bytes, 8).unwrap_or_default();
    let decode = |bytes: &[u8]| {
        let _ = frame::find(bytes, salt);
        let Some((header, _)) = frame::Header::decode(bytes, salt) else {
            return false;
        };
        let body = bytes.get(frame::HEADER_BYTES..).unwrap_or_default();
        let body = body.get(..header.body_bytes as usize).unwrap_or(body);
        header.verify_body(body).is_ok()
    };
    decode(bytes) | decode(&with_crc(bytes, 4, crc_of(bytes, 8, frame::HEADER_BYTES)))
}

/// A record.
#[must_use]
pub fn record(bytes: &[u8]) -> bool {
    let decode = |bytes: &[u8]| {
        let unchecked = record::Layout::read(bytes);
        for layout in unchecked.into_iter().chain(record::verify(bytes).ok()) {
            let _ = (layout.topic(bytes), layout.key(bytes), layout.body(bytes));
        }
        record::verify(bytes).is_ok()
    };
    let padded = pad8(u32_at(bytes, 4).unwrap_or_default() as usize);
    decode(bytes) | decode(&with_crc(bytes, 0, crc_of(bytes, 4, padded)))
}

fn write(storage: &Memory, name: &str, bytes: &[u8]) -> Result<()> {
    let failed = |error| crate::Error::io("write", name)(error);
    let file = storage.create(name).map_err(failed)?;
    storage::write_all(&*file, &mut [IoSlice::new(bytes)], 0)
        .map_err(crate::Error::io("write", name))
}

/// A small file: its checksum is its end.
fn small(name: &str, bytes: &[u8], read: fn(&dyn Storage) -> bool) -> bool {
    let end = bytes.len().saturating_sub(4);
    let mended = with_crc(bytes, end, crc_of(bytes, 0, end));
    [bytes, &mended].into_iter().any(|bytes| {
        let storage = Memory::new();
        write(&storage, name, bytes).is_ok() && read(&storage)
    })
}

/// MANIFEST.
#[must_use]
pub fn manifest(bytes: &[u8]) -> bool {
    small(files::MANIFEST, bytes, |storage| {
        matches!(Manifest::read(storage), Ok(Some(_)))
    })
}

/// CLEAN.
#[must_use]
pub fn clean(bytes: &[u8]) -> bool {
    small(files::CLEAN, bytes, |storage| {
        matches!(Clean::read(storage), Ok(Some(_)))
    })
}

/// A checkpoint.
#[must_use]
pub fn checkpoint(bytes: &[u8]) -> bool {
    let uuid = u128_at(bytes, 16).unwrap_or_default();
    let at = u64_at(bytes, 32).unwrap_or_default();
    let mended = with_crc(bytes, 12, crc_of(bytes, 16, bytes.len()));
    [bytes, &mended].into_iter().any(|bytes| {
        let storage = Memory::new();
        write(&storage, &files::checkpoint(at), bytes).is_ok()
            && matches!(checkpoint::read(&storage, uuid, at), Ok(Some(_)))
    })
}

/// The ids of a trimmed segment.
#[must_use]
pub fn ids(bytes: &[u8]) -> bool {
    let uuid = u128_at(bytes, 16).unwrap_or_default();
    let first = u64_at(bytes, 32).unwrap_or_default();
    let mended = with_crc(bytes, 12, crc_of(bytes, 16, bytes.len()));
    [bytes, &mended].into_iter().any(|bytes| {
        let storage = Memory::new();
        write(&storage, &files::ids(first), bytes).is_ok()
            && matches!(trimmed::read(&storage, uuid, first), Ok(Some(_)))
    })
}

/// A log of two segments, whose first one has an index file.
fn example() -> Option<(Memory, Vec<u8>)> {
    let storage = Memory::new();
    let options = Options {
        segment_bytes: 64 * 1024,
        background: false,
        clock: Arc::new(|| 1_700_000_000_000_000),
        ..Options::default()
    };
    fastrand::seed(7);
    let log = Log::open(Arc::new(storage.clone()), options).ok()?;
    for number in 0..130_u128 {
        let mut batch = Batch::new();
        let record = Record {
            kind: (number % 2) as u8,
            id: Some(number),
            topic: if number.is_multiple_of(3) { "a" } else { "b" },
            key: &[(number % 5) as u8],
            body: &[7; 600],
        };
        batch.push(&record).ok()?;
        log.append(batch).ok()?;
    }
    log.close().ok()?;
    drop(log);
    let index = storage::read_file(&storage, &files::index(0), 1 << 20).ok()??;
    Some((storage, index))
}

/// The index of a segment, read in every way there is. Which log and segment it belongs to is
/// put right, and its checksums.
#[must_use]
pub fn index(bytes: &[u8]) -> bool {
    static EXAMPLE: OnceLock<Option<(Memory, Vec<u8>)>> = OnceLock::new();
    let Some((storage, good)) = EXAMPLE.get_or_init(example) else {
        return false;
    };
    let mended = mend_index(bytes, good);
    [bytes, &mended].into_iter().any(|bytes| {
        let storage = storage.fork();
        write(&storage, &files::index(0), bytes).is_ok() && read_all(storage).is_ok()
    })
}

fn mend_index(bytes: &[u8], good: &[u8]) -> Vec<u8> {
    let mut mended = bytes.to_vec();
    if let (Some(fields), Some(good)) = (mended.get_mut(16..48), good.get(16..48)) {
        fields.copy_from_slice(good);
    }
    for section in 0..4 {
        let at = 56 + section * 24;
        let (Some(offset), Some(length)) = (u64_at(&mended, at), u64_at(&mended, at + 8)) else {
            break;
        };
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        // The checksum of the keys covers their directory only.
        let covered = match section {
            2 => u32_at(&mended, 52).map_or(0, |buckets| (u64::from(buckets) + 1) * 8),
            _ => length,
        };
        let end = offset.saturating_add(usize::try_from(covered).unwrap_or(usize::MAX));
        let crc = crc_of(&mended, offset, end);
        mended = with_crc(&mended, at + 16, crc);
    }
    let crc = crc_of(&mended, 16, 256);
    with_crc(&mended, 12, crc)
}

fn read_all(storage: Memory) -> Result<()> {
    let found = recover::recover(Arc::new(storage), &Options::default())?;
    let store = Arc::new(found.store);
    let _ = store.last_ids(1000);
    let view = View::new(Arc::clone(&store));
    let _ = view.topics();
    let _ = view.position_at(1_700_000_000_000_000);
    let _ = view.last_of_key("a", &[1]);
    let _ = view.read(Position::new(20), 1000);
    for key in [None, Some(("b".to_owned(), vec![1]))] {
        let mut scan = view.scan(Query {
            key,
            topics: Some(Arc::new(|topic| topic == "b")),
            ..Query::default()
        });
        while let Ok(Some(chunk)) = scan.next_chunk() {
            let _ = chunk.iter().count();
        }
    }
    view.check(&mut |_| ()).map(drop)
}

/// A good input for each decoder, by name.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let Some((storage, index)) = example() else {
        return Vec::new();
    };
    let read = |name: &str| storage::read_file(&storage, name, 1 << 20).ok().flatten();
    let mut seeds = vec![("index", index)];
    seeds.extend(read(files::MANIFEST).map(|bytes| ("manifest", bytes)));
    seeds.extend(read(files::CLEAN).map(|bytes| ("clean", bytes)));
    let uuid = Manifest::read(&storage)
        .ok()
        .flatten()
        .map_or(0, |m| m.uuid);
    if checkpoint::write(&storage, uuid, 5, b"a state").is_ok() {
        seeds.extend(read(&files::checkpoint(5)).map(|bytes| ("checkpoint", bytes)));
    }
    if trimmed::write(&storage, uuid, 5, &[(7, 0), (u128::MAX, 3)]).is_ok() {
        seeds.extend(read(&files::ids(5)).map(|bytes| ("ids", bytes)));
    }
    if let Some(segment) = read(&files::segment(0)) {
        let start = segment::HEADER_BYTES as usize;
        let body = u32_at(&segment, start + 36).unwrap_or_default() as usize;
        let records = start + frame::HEADER_BYTES;
        let pieces = [
            ("segment_header", 0, start),
            ("frame", start, records + body),
            ("record", records, records + body),
        ];
        for (name, from, to) in pieces {
            seeds.extend(segment.get(from..to).map(|bytes| (name, bytes.to_vec())));
        }
    }
    seeds
}

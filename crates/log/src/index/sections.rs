//! What is in the sections of an index file.
//!
//! - blocks: a frame at least every 64 KiB: u32 ordinal, u32 offset / 8, i64 time.
//! - topics, for each kind and name: u8 kind, u8 name length, u32 granules, the name; then each
//!   granule of 64 ordinals in which it has records: u32 its number, u64 a bit for each record.
//! - keys: a directory of u64 bucket offsets (one more than buckets), relative to the section,
//!   then the buckets, by the top bits of the hash: u32 keys; for each key two u64 of hash, u32
//!   records; for each record u32 ordinal, u32 frame offset / 8, u32 record offset / 8; u32
//!   CRC32C of the bucket's number and its bytes. The section's crc covers the directory.
//! - ids: u128 id, u32 ordinal, in order of position.

use super::bitmap::Bitmap;
use super::topics::TopicRecords;
use super::{Active, Placed};
use crate::codec::Cursor;
use crate::hash::KeyHash;

/// A frame is listed when it starts at least this far after the last one listed.
const BLOCK_BYTES: u64 = 64 * 1024;
pub(super) const ID_BYTES: usize = 20;
/// A granule of a topic and which records of it are the topic's.
const GRANULE_BYTES: usize = 12;
/// Records a bucket, about.
pub(super) const BUCKET_RECORDS: usize = 32;
/// What a bucket says of a key, and of each of its records.
const KEY_BYTES: usize = 20;
const POSTING_BYTES: usize = 12;

/// A record of a key: counted from the segment's first; offsets divided by 8.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Posting {
    pub(crate) ordinal: u32,
    pub(crate) frame: u32,
    pub(crate) record: u32,
}

pub(super) fn encode_blocks(active: &Active) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut next = 0;
    for frame in active.frames() {
        let offset = u64::from(frame.offset) * 8;
        if offset >= next {
            bytes.extend_from_slice(&frame.ordinal.to_le_bytes());
            bytes.extend_from_slice(&frame.offset.to_le_bytes());
            bytes.extend_from_slice(&frame.time.to_le_bytes());
            next = offset + BLOCK_BYTES;
        }
    }
    bytes
}

pub(super) fn decode_blocks(bytes: &[u8]) -> Option<Vec<Placed>> {
    let mut cursor = Cursor::new(bytes);
    let mut blocks = Vec::with_capacity(bytes.len() / 16);
    while !cursor.is_empty() {
        let (ordinal, offset) = (cursor.u32()?, cursor.u32()?);
        blocks.push(Placed {
            ordinal,
            offset,
            time: cursor.i64()?,
        });
    }
    Some(blocks)
}

pub(super) fn encode_topics(active: &Active) -> Vec<u8> {
    let mut bytes = Vec::new();
    for topic in active.topics(&(0..u32::MAX)) {
        // Fits: a topic has at most 255 bytes.
        bytes.extend_from_slice(&[topic.kind, topic.name.len() as u8]);
        let granules = topic.records.granules();
        bytes.extend_from_slice(&(granules.len() as u32).to_le_bytes());
        bytes.extend_from_slice(topic.name.as_bytes());
        for (number, records) in granules {
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.extend_from_slice(&records.to_le_bytes());
        }
    }
    bytes
}

/// The topics of a segment of `count` records.
pub(super) fn decode_topics(bytes: &[u8], count: u32) -> Option<Vec<TopicRecords>> {
    let mut cursor = Cursor::new(bytes);
    let mut topics = Vec::new();
    while !cursor.is_empty() {
        let (kind, length, granules) = (cursor.u8()?, cursor.u8()?, cursor.u32()? as usize);
        let name = std::str::from_utf8(cursor.take(usize::from(length))?)
            .ok()?
            .into();
        let mut granules = Cursor::new(cursor.take(granules.checked_mul(GRANULE_BYTES)?)?);
        let granules = std::iter::from_fn(|| Some((granules.u32()?, granules.u64()?)));
        let records = Bitmap::of_granules(granules)?;
        // A topic is listed because it has records, and these are the segment's.
        if records.last()? >= count {
            return None;
        }
        topics.push(TopicRecords {
            kind,
            name,
            records,
        });
    }
    Some(topics)
}

/// The section, and the checksum of its directory.
pub(super) fn encode_keys(active: &Active, buckets: u32) -> (Vec<u8>, u32) {
    let mut sorted: Vec<(KeyHash, u32)> = active.hashes().iter().copied().zip(0..).collect();
    sorted.sort_unstable();
    let places = active.places();
    let directory_bytes = (buckets as usize + 1) * 8;
    let mut directory = Vec::with_capacity(directory_bytes);
    // The buckets follow the directory, which is filled in when it is known.
    let most = buckets as usize * 8 + sorted.len() * (KEY_BYTES + POSTING_BYTES);
    let mut section = Vec::with_capacity(directory_bytes + most);
    section.resize(directory_bytes, 0);
    let mut rest = sorted.as_slice();
    for number in 0..buckets {
        directory.extend_from_slice(&(section.len() as u64).to_le_bytes());
        let length = rest.partition_point(|(hash, _)| bucket_of(*hash, buckets) <= number);
        let (records, after) = rest.split_at(length);
        rest = after;
        let start = section.len();
        encode_bucket(&places, records, &mut section);
        let crc = bucket_crc(number, section.get(start..).unwrap_or_default());
        section.extend_from_slice(&crc.to_le_bytes());
    }
    directory.extend_from_slice(&(section.len() as u64).to_le_bytes());
    if let Some(start) = section.get_mut(..directory_bytes) {
        start.copy_from_slice(&directory);
    }
    (section, crc32c::crc32c(&directory))
}

/// `places` says of each record where its frame is and where it is itself.
fn encode_bucket(places: &[(u32, u32)], records: &[(KeyHash, u32)], out: &mut Vec<u8>) {
    let keys = || records.chunk_by(|left, right| left.0 == right.0);
    out.extend_from_slice(&(keys().count() as u32).to_le_bytes());
    for key in keys() {
        let hash = key.first().map(|(hash, _)| *hash).unwrap_or_default();
        out.extend_from_slice(&hash.0.to_le_bytes());
        out.extend_from_slice(&hash.1.to_le_bytes());
        out.extend_from_slice(&(key.len() as u32).to_le_bytes());
    }
    for (_, ordinal) in records {
        // Every record of a sealed segment was placed, so that none is ever missing.
        let place = places.get(*ordinal as usize).copied();
        let (frame, offset) = place.unwrap_or_default();
        out.extend_from_slice(&ordinal.to_le_bytes());
        out.extend_from_slice(&frame.to_le_bytes());
        out.extend_from_slice(&offset.to_le_bytes());
    }
}

pub(super) fn find_postings(bucket: &[u8], hash: KeyHash) -> Option<Vec<Posting>> {
    let mut cursor = Cursor::new(bucket);
    let keys = cursor.u32()?;
    let (mut before, mut found) = (0, None);
    for _ in 0..keys {
        let this = KeyHash(cursor.u64()?, cursor.u64()?);
        let records = cursor.u32()? as usize;
        if this == hash {
            found = Some(records);
        } else if found.is_none() {
            before += records;
        }
    }
    cursor.take(before.checked_mul(12)?)?;
    let posting = |_| {
        Some(Posting {
            ordinal: cursor.u32()?,
            frame: cursor.u32()?,
            record: cursor.u32()?,
        })
    };
    (0..found?).map(posting).collect()
}

/// The top bits of the hash.
pub(super) fn bucket_of(hash: KeyHash, buckets: u32) -> u32 {
    ((u128::from(hash.0) * u128::from(buckets)) >> 64) as u32
}

pub(super) fn bucket_crc(number: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), bytes)
}

pub(super) fn encode_ids(active: &Active) -> Vec<u8> {
    let mut ids = Vec::with_capacity(active.ids().len() * ID_BYTES);
    for (id, ordinal) in active.ids() {
        ids.extend_from_slice(&id.to_le_bytes());
        ids.extend_from_slice(&ordinal.to_le_bytes());
    }
    ids
}

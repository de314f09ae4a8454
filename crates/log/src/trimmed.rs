//! The ids of trimmed segments, kept as long as the window of ids reaches back to them: otherwise
//! retention would narrow the window, and a restart would forget what it must recognise.
//!
//! ```text
//!  0  8 bytes magic "EnsueIds"
//!  8  u32  version
//! 12  u32  crc       CRC32C of bytes 16 to the end
//! 16  u128 uuid      the log's
//! 32  u64  first     the segment's
//! 40  u64  count     of ids
//! 48  u128 id, u32 ordinal of its record in the segment; in order of position
//! ```

use std::sync::Arc;

use crate::codec::{Cursor, array, u32_at, u64_at, u128_at};
use crate::error::{Error, Result};
use crate::files;
use crate::sabotage::Safeguard;
use crate::segment::Segment;
use crate::storage::{self, Storage};
use crate::store::Store;

const MAGIC: [u8; 8] = *b"EnsueIds";
const HEADER_BYTES: usize = 48;
const ID_BYTES: usize = 20;

/// Before `removed`, which are the oldest segments of `store`, are removed: writes the ids of those
/// that the window reaches back to.
pub(crate) fn keep(store: &Store, removed: &[Arc<Segment>], window: usize) -> Result<()> {
    let mut newer = newer_ids(store, removed.len(), window)?;
    for segment in removed.iter().rev() {
        if newer >= window || Safeguard::TrimmedIds.is_off() {
            break;
        }
        let ids = store.ids_of(segment)?;
        write(&*store.storage, store.uuid, segment.first, &ids)?;
        newer += ids.len();
    }
    Ok(())
}

/// Removes the files that the window has passed.
pub(crate) fn prune(store: &Store, window: usize) -> Result<()> {
    let storage = &*store.storage;
    let mut newer = newer_ids(store, 0, window)?;
    for first in firsts(storage, store.first())?.into_iter().rev() {
        if newer >= window {
            storage::remove(storage, &files::ids(first))?;
        } else {
            newer += count(storage, first)?;
        }
    }
    Ok(())
}

/// How many ids the segments of `store` but the first `skip` hold, or `enough`.
fn newer_ids(store: &Store, skip: usize, enough: usize) -> Result<usize> {
    let segments = store.list().clone();
    let mut count = 0;
    for segment in segments.iter().skip(skip).rev() {
        if count >= enough {
            break;
        }
        count += store.ids_count(segment)?;
    }
    Ok(count)
}

/// The segments before `end` whose ids are kept, ascending.
pub(crate) fn firsts(storage: &dyn Storage, end: u64) -> Result<Vec<u64>> {
    let mut firsts = files::numbers(storage, "log", "ids")?;
    // A trim that was interrupted leaves those of segments that are still there.
    firsts.retain(|first| *first < end);
    Ok(firsts)
}

pub(crate) fn write(
    storage: &dyn Storage,
    uuid: u128,
    first: u64,
    ids: &[(u128, u32)],
) -> Result<()> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + ids.len() * ID_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&files::FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&uuid.to_le_bytes());
    bytes.extend_from_slice(&first.to_le_bytes());
    bytes.extend_from_slice(&(ids.len() as u64).to_le_bytes());
    for (id, ordinal) in ids {
        bytes.extend_from_slice(&id.to_le_bytes());
        bytes.extend_from_slice(&ordinal.to_le_bytes());
    }
    let crc = crc32c::crc32c(bytes.get(16..).unwrap_or_default());
    if let Some(field) = bytes.get_mut(12..16) {
        field.copy_from_slice(&crc.to_le_bytes());
    }
    storage::replace(storage, "log", &files::ids(first), &bytes)
}

/// The number of ids, by the length of the file; those of a damaged one are told when it is read.
fn count(storage: &dyn Storage, first: u64) -> Result<usize> {
    let name = files::ids(first);
    let length = storage
        .open_read(&name)
        .and_then(|file| file.len())
        .map_err(Error::io("read", storage.describe(&name)))?;
    Ok((length as usize).saturating_sub(HEADER_BYTES) / ID_BYTES)
}

/// The ids of a trimmed segment, checked; `None` when they are not kept.
pub(crate) fn read(
    storage: &dyn Storage,
    uuid: u128,
    first: u64,
) -> Result<Option<Vec<(u128, u32)>>> {
    let name = files::ids(first);
    let Some(bytes) = storage::read_file(storage, &name, usize::MAX)? else {
        return Ok(None);
    };
    let damaged = |offset, what| Err(Error::corrupt(storage.describe(&name), offset, what));
    if array(&bytes, 0) != Some(MAGIC) {
        return damaged(0, "it does not start with its magic bytes");
    }
    match u32_at(&bytes, 8) {
        Some(files::FORMAT_VERSION) => {}
        found => {
            return Err(Error::Version {
                file: storage.describe(&name),
                found: found.unwrap_or_default(),
                supported: files::FORMAT_VERSION,
            });
        }
    }
    let rest = bytes.get(16..).unwrap_or_default();
    if u32_at(&bytes, 12) != Some(crc32c::crc32c(rest)) && !Safeguard::FileChecksum.is_off() {
        return damaged(
            12,
            "its checksum does not match (without this file, duplicates of trimmed records \
             would not be recognised; remove it to accept that)",
        );
    }
    if u128_at(&bytes, 16) != Some(uuid) || u64_at(&bytes, 32) != Some(first) {
        return damaged(16, "it belongs to another log or segment");
    }
    let mut cursor = Cursor::new(bytes.get(HEADER_BYTES..).unwrap_or_default());
    let mut ids = Vec::with_capacity(bytes.len() / ID_BYTES);
    while let (Some(id), Some(ordinal)) = (cursor.u128(), cursor.u32()) {
        ids.push((id, ordinal));
    }
    if u64_at(&bytes, 40) != Some(ids.len() as u64) {
        return damaged(40, "it does not hold as many ids as it says");
    }
    Ok(Some(ids))
}

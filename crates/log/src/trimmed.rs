//! The ids of trimmed segments, kept as long as the window of ids reaches back to them: otherwise
//! retention would narrow the window, and a restart would forget what it must recognise.
//!
//! The file's body has for each record, in order of position, its id as u128 and its ordinal in the
//! segment as u32; `count` is the number of ids.

use crate::codec::Cursor;
use crate::error::{Error, Result};
use crate::files;
use crate::storage::{self, Storage};
use crate::whole::{HEADER_BYTES, Kind};

const ID_BYTES: usize = 20;
const KIND: Kind = Kind {
    magic: *b"EnsueIds",
    unit_bytes: ID_BYTES,
    advice: " (without this file, duplicates of trimmed records would not be recognised; remove it to \
             accept that)",
};

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
    let bytes = KIND.encode(uuid, first, ids.len() * ID_BYTES, |bytes| {
        for (id, ordinal) in ids {
            bytes.extend_from_slice(&id.to_le_bytes());
            bytes.extend_from_slice(&ordinal.to_le_bytes());
        }
    });
    storage::replace(storage, "log", &files::ids(first), &bytes)
}

/// The number of ids, by the length of the file; those of a damaged one are told when it is read.
pub(crate) fn count(storage: &dyn Storage, first: u64) -> Result<usize> {
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
    let Some(body) = KIND.read(storage, &name, uuid, first, usize::MAX)? else {
        return Ok(None);
    };
    let mut cursor = Cursor::new(&body);
    let mut ids = Vec::with_capacity(body.len() / ID_BYTES);
    while let (Some(id), Some(ordinal)) = (cursor.u128(), cursor.u32()) {
        ids.push((id, ordinal));
    }
    Ok(Some(ids))
}

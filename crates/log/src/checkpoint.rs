//! Checkpoints: an opaque state of the layer above, as of a position.
//!
//! The file's body is the state; `count` its length in bytes.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::files;
use crate::storage::{self, Storage};
use crate::whole::Kind;

const KIND: Kind = Kind {
    magic: *b"EnsueChk",
    unit_bytes: 1,
    advice: "",
};
/// The largest state.
pub(crate) const STATE_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// How often they are listed again when those that were listed are gone.
const LOOKS_MAX: usize = 16;
/// How many are kept: one to use, one to fall back to.
const KEPT: usize = 2;

/// Writes the state at `at`, then removes all but the last two.
pub(crate) fn write(storage: &dyn Storage, uuid: u128, at: u64, state: &[u8]) -> Result<()> {
    if state.len() > STATE_BYTES_MAX {
        let (bytes, bytes_max) = (state.len(), STATE_BYTES_MAX);
        return Err(Error::TooLarge {
            what: "the checkpoint",
            bytes,
            bytes_max,
        });
    }
    let bytes = KIND.encode(uuid, at, state.len(), |bytes| {
        bytes.extend_from_slice(state)
    });
    storage::replace(storage, "checkpoint", &files::checkpoint(at), &bytes)?;

    let kept = files::numbers(storage, "checkpoint", "cp")?;
    for old in kept.iter().rev().skip(KEPT) {
        storage::remove(storage, &files::checkpoint(*old))?;
    }
    Ok(())
}

/// Reads and checks the one at `at`.
pub(crate) fn read(storage: &dyn Storage, uuid: u128, at: u64) -> Result<Option<Bytes>> {
    KIND.read(storage, &files::checkpoint(at), uuid, at, STATE_BYTES_MAX)
}

/// The newest one that can be read and is not past `end`; falls back to an older one.
pub(crate) fn newest(storage: &dyn Storage, uuid: u128, end: u64) -> Result<Option<(u64, Bytes)>> {
    for _ in 0..LOOKS_MAX {
        match look(storage, uuid, end)? {
            Looked::Found(at, state) => return Ok(Some((at, state))),
            Looked::None => return Ok(None),
            // Newer ones took the place of all that were listed.
            Looked::Gone => {}
        }
    }
    let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
    Err(Error::io("read", storage.describe("checkpoint"))(gone))
}

enum Looked {
    Found(u64, Bytes),
    None,
    /// One that was listed is there no more.
    Gone,
}

fn look(storage: &dyn Storage, uuid: u128, end: u64) -> Result<Looked> {
    let (mut failed, mut gone) = (None, false);
    for at in files::numbers(storage, "checkpoint", "cp")?
        .into_iter()
        .rev()
    {
        if at > end {
            tracing::warn!(
                at,
                end,
                "a checkpoint is past the end of the log; it is not used"
            );
            continue;
        }
        match read(storage, uuid, at) {
            Ok(Some(state)) => return Ok(Looked::Found(at, state)),
            Ok(None) => gone = true,
            Err(error) => {
                tracing::warn!(at, %error, "a checkpoint cannot be used; trying an older one");
                failed = failed.or(Some(error));
            }
        }
    }
    match failed {
        _ if gone => Ok(Looked::Gone),
        Some(error) => Err(error),
        None => Ok(Looked::None),
    }
}

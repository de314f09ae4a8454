//! Checkpoints: an opaque state of the layer above, as of a position.
//!
//! ```text
//!  0  8 bytes magic "EnsueChk"
//!  8  u32  version
//! 12  u32  crc       CRC32C of bytes 16 to the end
//! 16  u128 uuid      the log's
//! 32  u64  position
//! 40  u64  length    of the state
//! 48  the state
//! ```

use bytes::Bytes;

use crate::codec::{array, u32_at, u64_at, u128_at};
use crate::error::{Error, Result};
use crate::files;
use crate::sabotage::Safeguard;
use crate::storage::{self, Storage};

const MAGIC: [u8; 8] = *b"EnsueChk";
const HEADER_BYTES: usize = 48;
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
    let mut bytes = Vec::with_capacity(HEADER_BYTES + state.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&files::FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&uuid.to_le_bytes());
    bytes.extend_from_slice(&at.to_le_bytes());
    bytes.extend_from_slice(&(state.len() as u64).to_le_bytes());
    bytes.extend_from_slice(state);
    let crc = crc32c::crc32c(bytes.get(16..).unwrap_or_default());
    if let Some(field) = bytes.get_mut(12..16) {
        field.copy_from_slice(&crc.to_le_bytes());
    }
    storage::replace(storage, "checkpoint", &files::checkpoint(at), &bytes)?;

    let kept = files::numbers(storage, "checkpoint", "cp")?;
    for old in kept.iter().rev().skip(KEPT) {
        storage::remove(storage, &files::checkpoint(*old))?;
    }
    Ok(())
}

/// Reads and checks the one at `at`.
pub(crate) fn read(storage: &dyn Storage, uuid: u128, at: u64) -> Result<Option<Bytes>> {
    let name = files::checkpoint(at);
    let Some(bytes) = storage::read_file(storage, &name, HEADER_BYTES + STATE_BYTES_MAX)? else {
        return Ok(None);
    };
    let damaged = |offset, what| Err(Error::corrupt(storage.describe(&name), offset, what));
    if array(&bytes, 0) != Some(MAGIC) {
        return damaged(0, "it does not start with its magic bytes");
    }
    match u32_at(&bytes, 8) {
        Some(files::FORMAT_VERSION) => {}
        found => {
            let (file, found) = (storage.describe(&name), found.unwrap_or_default());
            return Err(Error::Version {
                file,
                found,
                supported: files::FORMAT_VERSION,
            });
        }
    }
    let rest = bytes.get(16..).unwrap_or_default();
    if u32_at(&bytes, 12) != Some(crc32c::crc32c(rest)) && !Safeguard::FileChecksum.is_off() {
        return damaged(12, "its checksum does not match");
    }
    if u128_at(&bytes, 16) != Some(uuid) {
        return damaged(16, "it belongs to another log");
    }
    let length = (bytes.len() - HEADER_BYTES.min(bytes.len())) as u64;
    if u64_at(&bytes, 32) != Some(at) || u64_at(&bytes, 40) != Some(length) {
        return damaged(32, "its position or length does not match");
    }
    Ok(Some(Bytes::from(bytes).slice(HEADER_BYTES..)))
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

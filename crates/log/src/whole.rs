//! Files that are written and read as a whole: a header and a body under one checksum.
//!
//! ```text
//!  0  8 bytes magic
//!  8  u32  version
//! 12  u32  crc       CRC32C of bytes 16 to the end
//! 16  u128 uuid      the log's
//! 32  u64  position  the one the file is named after
//! 40  u64  count     what the body holds of its unit
//! 48  the body
//! ```

use bytes::Bytes;

use crate::codec::{array, u32_at, u64_at, u128_at};
use crate::error::{Error, Result};
use crate::files;
use crate::sabotage::Safeguard;
use crate::storage::{self, Storage};

pub(crate) const HEADER_BYTES: usize = 48;

/// What one kind of these files has of its own.
pub(crate) struct Kind {
    pub(crate) magic: [u8; 8],
    /// The size of what `count` counts, in bytes.
    pub(crate) unit_bytes: usize,
    /// What to do about a damaged one.
    pub(crate) advice: &'static str,
}

impl Kind {
    /// The file for `position`, whose body `fill` appends to the header.
    pub(crate) fn encode(
        &self,
        uuid: u128,
        position: u64,
        body_bytes: usize,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body_bytes);
        bytes.extend_from_slice(&self.magic);
        bytes.extend_from_slice(&files::FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&uuid.to_le_bytes());
        bytes.extend_from_slice(&position.to_le_bytes());
        bytes.extend_from_slice(&((body_bytes / self.unit_bytes) as u64).to_le_bytes());
        fill(&mut bytes);
        let crc = crc32c::crc32c(bytes.get(16..).unwrap_or_default());
        if let Some(field) = bytes.get_mut(12..16) {
            field.copy_from_slice(&crc.to_le_bytes());
        }
        bytes
    }

    /// The body of `name`, checked; `None` when there is no such file.
    pub(crate) fn read(
        &self,
        storage: &dyn Storage,
        name: &str,
        uuid: u128,
        position: u64,
        body_bytes_max: usize,
    ) -> Result<Option<Bytes>> {
        let bytes_max = HEADER_BYTES.saturating_add(body_bytes_max);
        let Some(bytes) = storage::read_file(storage, name, bytes_max)? else {
            return Ok(None);
        };
        let damaged = |offset, what: &str| {
            let what = format!("{what}{}", self.advice);
            Err(Error::corrupt(storage.describe(name), offset, what))
        };
        if array(&bytes, 0) != Some(self.magic) {
            return damaged(0, "it does not start with its magic bytes");
        }
        match u32_at(&bytes, 8) {
            Some(files::FORMAT_VERSION) => {}
            found => {
                return Err(Error::Version {
                    file: storage.describe(name),
                    found: found.unwrap_or_default(),
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
        if u64_at(&bytes, 32) != Some(position) {
            return damaged(32, "its position is not the one in its name");
        }
        let body_bytes = bytes.len().saturating_sub(HEADER_BYTES);
        let units = (body_bytes / self.unit_bytes) as u64;
        if u64_at(&bytes, 40) != Some(units) || body_bytes % self.unit_bytes != 0 {
            return damaged(40, "its length is not what it says");
        }
        Ok(Some(Bytes::from(bytes).slice(HEADER_BYTES..)))
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::storage::Memory;

    const NAME: &str = "checkpoint/00000000000000000007.cp";
    const KIND: Kind = Kind {
        magic: *b"EnsueTst",
        unit_bytes: 4,
        advice: " (remove it)",
    };

    fn read(bytes: &[u8], uuid: u128, position: u64) -> Result<Option<Bytes>> {
        let storage = Memory::new();
        storage::replace(&storage, "checkpoint", NAME, bytes).unwrap();
        KIND.read(&storage, NAME, uuid, position, 8)
    }

    #[test]
    fn a_body_comes_back_and_every_changed_byte_is_found() {
        let bytes = KIND.encode(5, 7, 8, |all| all.extend_from_slice(b"12345678"));
        assert_eq!(read(&bytes, 5, 7).unwrap().unwrap(), &b"12345678"[..]);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(read(&flipped, 5, 7).is_err(), "byte {at}");
        }
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut], 5, 7).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_file_of_another_log_or_position_is_refused_with_advice() {
        let bytes = KIND.encode(5, 7, 4, |all| all.extend_from_slice(b"1234"));
        let other_log = read(&bytes, 6, 7).unwrap_err().to_string();
        assert!(other_log.contains("another log (remove it)"), "{other_log}");
        let other_name = read(&bytes, 5, 8).unwrap_err().to_string();
        assert!(
            other_name.contains("not the one in its name"),
            "{other_name}"
        );
    }
}

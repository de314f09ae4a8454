//! A frame: what one write and one sync cover.
//!
//! ```text
//!  0  u32  magic          "EFr1"
//!  4  u32  crc            CRC32C of bytes 8..64
//!  8  u64  salt           the segment's
//! 16  u64  first          position of the first record
//! 24  i64  time           microseconds since the epoch, never less than the frame before
//! 32  u32  count          records
//! 36  u32  body bytes     a multiple of 8
//! 40  u32  chain          the crc of the frame before (of the segment header: see there)
//! 44  u32  records crc    CRC32C of the records' crc fields, in order
//! 48  u32  flags          0
//! 52  12 zero bytes
//! 64  the records
//! ```

use std::ops::Deref;

use bytes::Bytes;

use crate::codec::{array, i64_at, u32_at, u64_at};
use crate::record;
use crate::sabotage::Safeguard;

pub(crate) const HEADER_BYTES: usize = 64;
const MAGIC: [u8; 4] = *b"EFr1";

/// The fields of a frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) salt: u64,
    pub(crate) first: u64,
    pub(crate) time: i64,
    pub(crate) count: u32,
    pub(crate) body_bytes: u32,
    pub(crate) chain: u32,
    pub(crate) records_crc: u32,
}

impl Header {
    /// The bytes on disk, and their checksum: the next frame's chain.
    pub(crate) fn encode(&self) -> ([u8; HEADER_BYTES], u32) {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.salt.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.time.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.count.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.chain.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.records_crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }

    /// Reads and checks the header at the start of `bytes`; also gives its checksum.
    pub(crate) fn decode(bytes: &[u8], salt: u64) -> Option<(Self, u32)> {
        let bytes: [u8; HEADER_BYTES] = array(bytes, 0)?;
        let is_of_segment = u64_at(&bytes, 8)? == salt || Safeguard::Salt.is_off();
        if bytes[0..4] != MAGIC || !is_of_segment {
            return None;
        }
        let crc = u32_at(&bytes, 4)?;
        let holds = crc32c::crc32c(&bytes[8..]) == crc || Safeguard::FrameChecksum.is_off();
        if !holds || bytes[48..] != [0; 16] {
            return None;
        }
        let header = Self {
            salt,
            first: u64_at(&bytes, 16)?,
            time: i64_at(&bytes, 24)?,
            count: u32_at(&bytes, 32)?,
            body_bytes: u32_at(&bytes, 36)?,
            chain: u32_at(&bytes, 40)?,
            records_crc: u32_at(&bytes, 44)?,
        };
        (header.body_bytes.is_multiple_of(8) && header.count > 0).then_some((header, crc))
    }

    /// The bytes of header and records.
    pub(crate) fn frame_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.body_bytes)
    }

    /// Checks every record of the body against itself and against this header.
    pub(crate) fn verify_body(&self, body: &[u8]) -> Result<(), (u64, &'static str)> {
        let mut at = 0;
        let mut crcs = 0;
        for _ in 0..self.count {
            let rest = body.get(at..).unwrap_or_default();
            let layout = record::verify(rest).map_err(|what| (at as u64, what))?;
            crcs = crc32c::crc32c_append(crcs, &layout.crc.to_le_bytes());
            at += layout.padded();
        }
        if at != body.len() {
            return Err((at as u64, "a frame has bytes after its last record"));
        }
        if crcs != self.records_crc {
            return Err((0, "a frame's records are not the ones it was written with"));
        }
        Ok(())
    }
}

/// Where a frame with this salt and a good checksum starts in `bytes`, which start at a multiple
/// of 8 in the file.
pub(crate) fn find(bytes: &[u8], salt: u64) -> Option<(usize, Header)> {
    /// Searched one by one; pieces of zeroes, which most are, are skipped at once.
    const ZEROES: [u8; 4096] = [0; 4096];
    let salt_bytes = salt.to_le_bytes();
    for (number, piece) in bytes.chunks(ZEROES.len()).enumerate() {
        if ZEROES.get(..piece.len()) == Some(piece) {
            continue;
        }
        // Headers start at multiples of 8, with the salt in the second 8 bytes.
        for (index, word) in piece.chunks_exact(8).enumerate() {
            if (word == salt_bytes || Safeguard::Salt.is_off())
                && let Some(start) = (number * ZEROES.len() + index * 8).checked_sub(8)
                && let Some((header, _)) = Header::decode(bytes.get(start..)?, salt)
            {
                return Some((start, header));
            }
        }
    }
    None
}

/// A verified frame, or a part of one, in memory.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) first: u64,
    pub(crate) count: u32,
    pub(crate) time: i64,
    /// Encoded records; none spans two parts.
    pub(crate) parts: Parts,
}

/// The pieces of a frame; most have one.
#[derive(Clone, Debug)]
pub(crate) enum Parts {
    One(Bytes),
    Many(Vec<Bytes>),
}

impl Deref for Parts {
    type Target = [Bytes];

    fn deref(&self) -> &[Bytes] {
        match self {
            Self::One(part) => std::slice::from_ref(part),
            Self::Many(parts) => parts,
        }
    }
}

impl Frame {
    pub(crate) fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }
}

//! One record and its bytes.
//!
//! ```text
//!  0  u32  crc        CRC32C of every byte from 4 to the end of the padding
//!  4  u32  length     bytes from 0 to the end of the body, without padding
//!  8  u8   kind
//!  9  u8   flags      bit 0: an id follows the header
//! 10  u8   topic length
//! 11  u8   0
//! 12  u16  key length
//! 14  u16  0
//! 16  u128 id         only with bit 0
//!     topic, key, body, then zeroes up to a multiple of 8
//! ```

use crate::codec::{array, pad8, u16_at, u32_at, u128_at};
use crate::error::{Error, Result};
use crate::sabotage::Safeguard;

/// The longest topic, in bytes.
pub const TOPIC_BYTES_MAX: usize = 255;
/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;

/// The most bytes of a batch's records: a frame's body length is a 32-bit number.
pub(crate) const BATCH_BYTES_LIMIT: usize = 1024 * 1024 * 1024;

/// The bytes of a record before its id or topic.
pub(crate) const HEADER_BYTES: usize = 16;
const ID_BYTES: usize = 16;
const FLAG_ID: u8 = 1;

/// What is appended: the log stores these fields and gives them back unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Meaning is up to the layer above; indexes and queries tell kinds apart.
    pub kind: u8,
    /// With an id, a record is appended at most once within the dedup window.
    pub id: Option<u128>,
    /// At most [`TOPIC_BYTES_MAX`] bytes.
    pub topic: &'a str,
    /// At most [`KEY_BYTES_MAX`] bytes; may be empty.
    pub key: &'a [u8],
    /// The payload; the encoded record is limited by
    /// [`Options::record_bytes_max`](crate::Options::record_bytes_max).
    pub body: &'a [u8],
}

impl Record<'_> {
    /// Appends the encoded record to `out` and returns its checksum.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<u32> {
        let id_bytes = if self.id.is_some() { ID_BYTES } else { 0 };
        let (topic, key, body) = (self.topic.len(), self.key.len(), self.body.len());
        let too_large = |what, bytes, bytes_max| Error::TooLarge {
            what,
            bytes,
            bytes_max,
        };
        let topic_length =
            u8::try_from(topic).map_err(|_| too_large("the topic", topic, TOPIC_BYTES_MAX))?;
        if key > KEY_BYTES_MAX {
            return Err(too_large("the key", key, KEY_BYTES_MAX));
        }
        if body > BATCH_BYTES_LIMIT {
            return Err(too_large("the body", body, BATCH_BYTES_LIMIT));
        }
        let length = HEADER_BYTES + id_bytes + topic + key + body;

        let start = out.len();
        out.reserve(pad8(length));
        out.extend_from_slice(&[0; 4]);
        // Both fit: the parts were just checked to add up to little more than BATCH_BYTES_LIMIT.
        out.extend_from_slice(&(length as u32).to_le_bytes());
        let flags = if self.id.is_some() { FLAG_ID } else { 0 };
        out.extend_from_slice(&[self.kind, flags, topic_length, 0]);
        out.extend_from_slice(&(key as u16).to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        if let Some(id) = self.id {
            out.extend_from_slice(&id.to_le_bytes());
        }
        out.extend_from_slice(self.topic.as_bytes());
        out.extend_from_slice(self.key);
        out.extend_from_slice(self.body);
        out.resize(start + pad8(length), 0);

        let crc = crc32c::crc32c(out.get(start + 4..).unwrap_or_default());
        if let Some(field) = out.get_mut(start..start + 4) {
            field.copy_from_slice(&crc.to_le_bytes());
        }
        Ok(crc)
    }
}

/// Where the fields of an encoded record lie, relative to its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) kind: u8,
    pub(crate) id: Option<u128>,
    pub(crate) crc: u32,
    /// Where the topic starts; key and body follow it directly.
    pub(crate) content: usize,
    pub(crate) topic_bytes: usize,
    pub(crate) key_bytes: usize,
    /// Where the body ends.
    pub(crate) end: usize,
}

impl Layout {
    /// Reads the header of the record at the start of `bytes`. `None` when it cannot be one.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let header: [u8; HEADER_BYTES] = array(bytes, 0)?;
        let length = u32_at(&header, 4)? as usize;
        let [kind, flags, topic, zero] = array::<4>(&header, 8)?;
        let key_bytes = usize::from(u16_at(&header, 12)?);
        if flags & !FLAG_ID != 0 || zero != 0 || u16_at(&header, 14)? != 0 {
            return None;
        }
        let id = if flags & FLAG_ID == 0 {
            None
        } else {
            Some(u128_at(bytes, HEADER_BYTES)?)
        };
        let content = HEADER_BYTES + if id.is_some() { ID_BYTES } else { 0 };
        let topic_bytes = usize::from(topic);
        if length < content + topic_bytes + key_bytes || length > bytes.len() {
            return None;
        }
        let crc = u32_at(&header, 0)?;
        Some(Self {
            kind,
            id,
            crc,
            content,
            topic_bytes,
            key_bytes,
            end: length,
        })
    }

    /// The bytes it takes, padding included.
    pub(crate) fn padded(&self) -> usize {
        pad8(self.end)
    }

    pub(crate) fn topic<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes
            .get(self.content..self.content + self.topic_bytes)
            .unwrap_or_default()
    }

    pub(crate) fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let start = self.content + self.topic_bytes;
        bytes.get(start..start + self.key_bytes).unwrap_or_default()
    }

    pub(crate) fn body<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes
            .get(self.content + self.topic_bytes + self.key_bytes..self.end)
            .unwrap_or_default()
    }
}

/// Checks the record at the start of `bytes`: its checksum, its lengths, its topic. Says what is
/// wrong.
pub(crate) fn verify(bytes: &[u8]) -> Result<Layout, &'static str> {
    let length = u32_at(bytes, 4).ok_or("a record header is cut off")? as usize;
    let padded = bytes
        .get(..pad8(length))
        .ok_or("a record reaches past its frame")?;
    let crc = u32_at(padded, 0).ok_or("a record is shorter than its header")?;
    let found = crc32c::crc32c(padded.get(4..).unwrap_or_default());
    if found != crc && !Safeguard::RecordChecksum.is_off() {
        return Err("a record's checksum does not match");
    }
    let layout = Layout::read(padded).ok_or("a record's lengths do not add up")?;
    if std::str::from_utf8(layout.topic(padded)).is_err() {
        return Err("a record's topic is not UTF-8");
    }
    Ok(layout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_noticed() {
        for id in [None, Some(7)] {
            let record = Record {
                kind: 3,
                id,
                topic: "t",
                key: b"key",
                body: b"0123456789",
            };
            let mut bytes = Vec::new();
            record.encode(&mut bytes).unwrap();
            assert!(verify(&bytes).is_ok());
            for bit in 0..bytes.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(verify(&bytes).is_err(), "bit {bit}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn limits_are_named() {
        let long = "x".repeat(256);
        let record = Record {
            kind: 0,
            id: None,
            topic: &long,
            key: b"",
            body: b"",
        };
        let error = record.encode(&mut Vec::new()).unwrap_err().to_string();
        assert!(
            error.contains("the topic has 256 bytes, the limit is 255"),
            "{error}"
        );
    }
}

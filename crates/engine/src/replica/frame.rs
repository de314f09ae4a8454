//! The messages of a shared log: frames of batches, in one message or several, and beats.
//!
//! ```text
//!  0  u32   "ENSU"
//!  4  u8    version, 3
//!  5  u8    kind: 0 a frame or a part of one, 1 a beat
//!  6  u16   which part
//!  8  u16   of how many
//! 10  u16   0
//! 12  u32   CRC32C of everything but these four bytes
//! 16  u64   writer, two halves
//! 32  u64   counter: frames of one writer count from 1
//! 40  i64   when it was written, in microseconds since the Unix epoch (`clocks`)
//! 48  i64   what the writer's clock showed then
//! 56        body: of all parts together, batches (`Batch::write_to`), one after the other
//! ```
//!
//! A beat says only that its writer lives; it has the counter of the writer's last frame.

use bytes::{BufMut, Bytes, BytesMut};
use ensue_log as log;

use crate::error::{EngineError, Error, LimitError, Result};
use crate::ids::{FrameNumber, WriterId};

/// The bytes before the body.
pub(super) const HEADER_BYTES: usize = 56;
const MAGIC: &[u8; 4] = b"ENSU";
/// Raised also when processes have to agree on something else, as on what keys hash to: one of another
/// version stops at the first message that it does not know, instead of taking others' keys.
const VERSION: u8 = 3;
const CHECKSUM: std::ops::Range<usize> = 12..16;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Frame,
    Beat,
}

/// What a message says of time, in microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The time that its writer goes by.
    pub(super) time: i64,
    /// What its writer's clock shows.
    pub(super) clock: i64,
}

/// One message, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) kind: Kind,
    pub(super) writer: WriterId,
    pub(super) counter: FrameNumber,
    pub(super) part: u16,
    pub(super) parts: u16,
    pub(super) stamp: Stamp,
    pub(super) checksum: u32,
    pub(super) body: Bytes,
}

/// What the messages of one frame have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) writer: WriterId,
    pub(super) counter: FrameNumber,
    pub(super) stamp: Stamp,
}

impl Head {
    /// The messages of a frame with this body, none larger than `bytes_max`.
    pub(super) fn frame(self, body: &[u8], bytes_max: usize) -> Result<Vec<Bytes>> {
        let room = bytes_max.saturating_sub(HEADER_BYTES).max(1);
        let parts = body.len().div_ceil(room).max(1);
        let Ok(count) = u16::try_from(parts) else {
            return Err(Error::Limit(LimitError {
                what: "the size of the batch in bytes".into(),
                value: body.len() as u64,
                limit: "the server's largest message, 65,535 times",
                max: (room * usize::from(u16::MAX)) as u64,
                advice: "append less at a time",
            }));
        };
        if body.is_empty() {
            return Ok(vec![self.message(Kind::Frame, 0, 1, body)]);
        }
        let pieces = body.chunks(room).zip(0..);
        let message = |(piece, part)| self.message(Kind::Frame, part, count, piece);
        Ok(pieces.map(message).collect())
    }

    /// A message that says that its writer lives.
    pub(super) fn beat(self) -> Bytes {
        self.message(Kind::Beat, 0, 1, &[])
    }

    fn message(self, kind: Kind, part: u16, parts: u16, body: &[u8]) -> Bytes {
        let mut message = BytesMut::with_capacity(HEADER_BYTES + body.len());
        message.put_slice(MAGIC);
        message.put_u8(VERSION);
        message.put_u8(u8::from(kind == Kind::Beat));
        message.put_u16_le(part);
        message.put_u16_le(parts);
        message.put_u16_le(0);
        message.put_u32_le(0);
        let (high, low) = self.writer.halves();
        message.put_u64_le(high);
        message.put_u64_le(low);
        message.put_u64_le(self.counter.get());
        message.put_i64_le(self.stamp.time);
        message.put_i64_le(self.stamp.clock);
        message.put_slice(body);
        let checksum = checksum(&message).to_le_bytes();
        if let Some(field) = message.get_mut(CHECKSUM) {
            field.copy_from_slice(&checksum);
        }
        message.freeze()
    }
}

impl Part {
    /// Takes a message apart.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`] when it is no message of this version, or not what was written.
    pub(super) fn read(sequence: u64, message: &Bytes) -> Result<Self> {
        let corrupt = |what: &str| {
            Error::Engine(EngineError::Corrupt(format!(
                "message {sequence} of the shared log {what}"
            )))
        };
        let Some((header, _)) = message.split_first_chunk::<HEADER_BYTES>() else {
            return Err(corrupt("is too short to be one of Ensue's"));
        };
        let [magic @ .., _, _, _, _] = header.first_chunk::<8>().ok_or_else(|| corrupt("?"))?;
        if magic != MAGIC {
            return Err(corrupt(
                "is not one of Ensue's: something else writes there",
            ));
        }
        let [_, _, _, _, version, kind, rest @ ..] = *header;
        if version != VERSION {
            return Err(corrupt(&format!(
                "has version {version}, this build reads {VERSION}; let all processes of the namespace run \
                 the Ensue that began it, or migrate it"
            )));
        }
        let mut numbers = Numbers(&rest);
        let (part, parts, _) = (numbers.u16(), numbers.u16(), numbers.u16());
        let stored = numbers.u32();
        if checksum(message) != stored {
            return Err(corrupt("is damaged: its checksum does not fit"));
        }
        let kind = match kind {
            0 => Kind::Frame,
            1 => Kind::Beat,
            _ => return Err(corrupt("has an unknown kind")),
        };
        if part >= parts {
            return Err(corrupt(&format!(
                "says that it is part {part} of {parts}; parts are numbered from 0"
            )));
        }
        let writer = WriterId::new(numbers.u64(), numbers.u64());
        let counter = FrameNumber::new(numbers.u64());
        if kind == Kind::Frame && counter < FrameNumber::FIRST {
            return Err(corrupt(
                "has frame 0; the frames of a process are numbered from 1",
            ));
        }
        Ok(Self {
            kind,
            writer,
            counter,
            part,
            parts,
            stamp: Stamp {
                time: numbers.u64() as i64,
                clock: numbers.u64() as i64,
            },
            checksum: stored,
            body: message.slice(HEADER_BYTES..),
        })
    }
}

/// The batches of a frame's body.
pub(super) fn batches(mut body: &[u8]) -> Option<Vec<log::Batch>> {
    let mut batches = Vec::new();
    while !body.is_empty() {
        let (batch, rest) = log::Batch::read_from(body)?;
        batches.push(batch);
        body = rest;
    }
    Some(batches)
}

/// CRC32C of all but the checksum's own bytes.
fn checksum(message: &[u8]) -> u32 {
    let before = message.get(..CHECKSUM.start).unwrap_or_default();
    let after = message.get(CHECKSUM.end..).unwrap_or_default();
    crc32c::crc32c_append(crc32c::crc32c(before), after)
}

/// Little-endian numbers, one after the other; 0 past the end, which no header has.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((bytes, rest)) => {
                self.0 = rest;
                *bytes
            }
            None => [0; N],
        }
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: Head = Head {
        writer: WriterId::new(1, 2),
        counter: FrameNumber::new(3),
        stamp: Stamp {
            time: -4,
            clock: -5,
        },
    };

    proptest! {
        #[test]
        fn a_frame_is_read_as_written(body: Vec<u8>, room in 1_usize..64) {
            let messages = HEAD.frame(&body, HEADER_BYTES + room).unwrap();
            let mut read = Vec::new();
            for (index, message) in messages.iter().enumerate() {
                prop_assert!(message.len() <= HEADER_BYTES + room);
                let part = Part::read(9, message).unwrap();
                prop_assert_eq!(usize::from(part.part), index);
                prop_assert_eq!(usize::from(part.parts), messages.len());
                prop_assert_eq!((part.writer, part.counter), (WriterId::new(1, 2), FrameNumber::new(3)));
                prop_assert_eq!(part.stamp, HEAD.stamp);
                read.extend_from_slice(&part.body);
            }
            prop_assert_eq!(read, body);
        }

        #[test]
        fn a_changed_bit_is_noticed(body: Vec<u8>, at: prop::sample::Index, bit in 0..8_u32) {
            let mut bytes = HEAD.frame(&body, 1 << 20).unwrap().remove(0).to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert!(Part::read(9, &bytes.into()).is_err());
        }

        #[test]
        fn anything_else_is_refused(bytes: Vec<u8>) {
            prop_assert!(Part::read(9, &bytes.clone().into()).is_err());
            let _ = batches(&bytes);
        }
    }

    #[test]
    fn a_message_whose_numbers_cannot_be_is_refused() {
        let refused = |message: Bytes| Part::read(9, &message).unwrap_err().to_string();
        for (part, parts) in [(0, 0), (1, 1), (5, 3)] {
            let error = refused(HEAD.message(Kind::Frame, part, parts, b"body"));
            assert!(
                error.contains(&format!("part {part} of {parts}")),
                "{error}"
            );
        }
        let unnumbered = Head {
            counter: FrameNumber::START,
            ..HEAD
        };
        let error = refused(unnumbered.message(Kind::Frame, 0, 1, b"body"));
        assert!(error.contains("numbered from 1"), "{error}");
        // One that has sent no frame yet says that it lives.
        assert!(Part::read(9, &unnumbered.beat()).is_ok());
    }

    #[test]
    fn a_beat_has_no_body() {
        let part = Part::read(9, &HEAD.beat()).unwrap();
        assert_eq!(
            (part.kind, part.counter, part.body.len()),
            (Kind::Beat, FrameNumber::new(3), 0)
        );
    }
}

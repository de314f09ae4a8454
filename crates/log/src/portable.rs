//! A batch as bytes that another process can append to its own log.
//!
//! ```text
//! u32  bytes of the records
//!      the records, as in a frame (each with its checksum)
//! u16  number of expectations, then of each:
//!        u8 topic length, topic, u16 key length, key, u8 1 when a position follows, u64 position
//! ```

use crate::batch::{Batch, Expectation, Slot};
use crate::codec::{array, u16_at, u32_at, u64_at};
use crate::error::{Error, Result};
use crate::expect::Expect;
use crate::hash::KeyHash;
use crate::position::Position;
use crate::record::{KEY_BYTES_MAX, Layout, TOPIC_BYTES_MAX};

impl Batch {
    /// Appends the batch's portable form to `out`: records, ids and expectations.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] when it has more than 65,535 expectations, or one whose topic or key
    /// passes its limit.
    pub fn write_to(&self, out: &mut Vec<u8>) -> Result<()> {
        let too_large = |what, bytes, bytes_max| Error::TooLarge {
            what,
            bytes,
            bytes_max,
        };
        // Fits: it is at most BATCH_BYTES_LIMIT.
        out.extend_from_slice(&(self.bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.bytes);
        let count = u16::try_from(self.expects.len())
            .map_err(|_| too_large("the expectations", self.expects.len(), u16::MAX.into()))?;
        out.extend_from_slice(&count.to_le_bytes());
        for Expectation {
            topic, key, expect, ..
        } in &self.expects
        {
            let length = u8::try_from(topic.len())
                .map_err(|_| too_large("the topic", topic.len(), TOPIC_BYTES_MAX))?;
            out.push(length);
            out.extend_from_slice(topic.as_bytes());
            if key.len() > KEY_BYTES_MAX {
                return Err(too_large("the key", key.len(), KEY_BYTES_MAX));
            }
            // Fits: KEY_BYTES_MAX does.
            out.extend_from_slice(&(key.len() as u16).to_le_bytes());
            out.extend_from_slice(key);
            match expect {
                Expect::Absent => out.push(0),
                Expect::At(position) => {
                    out.push(1);
                    out.extend_from_slice(&position.get().to_le_bytes());
                }
            }
        }
        Ok(())
    }

    /// Reads what [`write_to`](Self::write_to) wrote, verifying every record's checksum; gives the
    /// batch and the bytes that follow it. `None` when `bytes` is anything else.
    #[must_use]
    pub fn read_from(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let length = u32_at(bytes, 0)? as usize;
        let (records, rest) = bytes.get(4..)?.split_at_checked(length)?;
        let mut batch = Self::of_records(records)?;
        let count = u16_at(rest, 0)?;
        let mut rest = rest.get(2..)?;
        for _ in 0..count {
            let (expectation, after) = read_expectation(rest)?;
            batch.expects.push(expectation);
            rest = after;
        }
        Some((batch, rest))
    }

    fn of_records(records: &[u8]) -> Option<Self> {
        let mut batch = Self {
            bytes: records.to_vec(),
            ..Self::default()
        };
        let mut rest = records;
        while !rest.is_empty() {
            let layout = Layout::read(rest)?;
            let (record, after) = rest.split_at_checked(layout.padded())?;
            let crc = crc32c::crc32c(record.get(4..)?);
            let content = record.get(layout.content..layout.end)?;
            let topic = content.get(..layout.topic_bytes)?;
            if crc != layout.crc
                || layout.key_bytes > KEY_BYTES_MAX
                || std::str::from_utf8(topic).is_err()
            {
                return None;
            }
            batch.slots.push(Slot {
                bytes: u32::try_from(record.len()).ok()?,
                crc,
                hash: KeyHash::default(),
            });
            batch.largest = batch.largest.max(record.len());
            batch.ids |= layout.id.is_some();
            rest = after;
        }
        Some(batch)
    }

    /// The kind and the body of each record.
    pub fn bodies(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.records().map(|(_, layout, bytes)| {
            let start = layout.content + layout.topic_bytes + layout.key_bytes;
            (
                layout.kind,
                bytes.get(start..layout.end).unwrap_or_default(),
            )
        })
    }
}

fn read_expectation(bytes: &[u8]) -> Option<(Expectation, &[u8])> {
    let [length] = array(bytes, 0)?;
    let (topic, rest) = bytes.get(1..)?.split_at_checked(usize::from(length))?;
    let length = usize::from(u16_at(rest, 0)?);
    let (key, rest) = rest.get(2..)?.split_at_checked(length)?;
    let [tag] = array(rest, 0)?;
    let rest = rest.get(1..)?;
    let (expect, rest) = match tag {
        0 => (Expect::Absent, rest),
        1 => (Expect::At(Position::new(u64_at(rest, 0)?)), rest.get(8..)?),
        _ => return None,
    };
    let expectation = Expectation {
        topic: String::from_utf8(topic.to_vec()).ok()?,
        key: key.to_vec(),
        expect,
        hash: KeyHash::default(),
    };
    Some((expectation, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::Record;

    fn batch(bodies: &[Vec<u8>]) -> Batch {
        let mut batch = Batch::new();
        batch.expect("t", b"k", Expect::Absent);
        batch.expect("t", b"", Expect::At(Position::new(7)));
        for (index, body) in bodies.iter().enumerate() {
            let record = Record {
                kind: 3,
                id: (index % 2 == 0).then_some(index as u128),
                topic: "t",
                key: b"k",
                body,
            };
            batch.push(&record).unwrap();
        }
        batch
    }

    proptest! {
        #[test]
        fn a_batch_is_read_as_written(bodies in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
            let written = batch(&bodies);
            let mut bytes = Vec::new();
            written.write_to(&mut bytes).unwrap();
            bytes.extend_from_slice(b"rest");
            let (read, rest) = Batch::read_from(&bytes).unwrap();
            prop_assert_eq!(rest, b"rest");
            prop_assert_eq!(&read.bytes, &written.bytes);
            prop_assert_eq!(read.len(), written.len());
            prop_assert_eq!((read.largest, read.ids), (written.largest, written.ids));
            let found: Vec<_> = read.bodies().map(|(_, body)| body.to_vec()).collect();
            prop_assert_eq!(found, bodies);
            let expects: Vec<_> = read.expects.iter().map(|it| (it.expect, it.key.clone())).collect();
            prop_assert_eq!(expects[1].0, Expect::At(Position::new(7)));
            prop_assert_eq!(expects.len(), 2);
        }

        #[test]
        fn anything_else_is_refused(bytes in any::<Vec<u8>>(), at in any::<prop::sample::Index>()) {
            let _ = Batch::read_from(&bytes);
            let mut whole = Vec::new();
            batch(&[b"body".to_vec()]).write_to(&mut whole).unwrap();
            let cut = at.index(whole.len());
            prop_assert!(Batch::read_from(&whole[..cut]).is_none());
            // A flipped bit within the records is noticed.
            let records = 4 + (cut % (batch(&[b"body".to_vec()]).bytes()));
            whole[records] ^= 1;
            prop_assert!(Batch::read_from(&whole).is_none());
        }
    }
}

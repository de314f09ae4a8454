//! Record batches (magic 2): how messages are sent, stored and read.

use bytes::{BufMut, Bytes};

use super::wire::{Garbled, Read, Reader, put_varint, varint_bytes};
use crate::shared_log::Message;
use crate::time::Timestamp;

/// From the first offset to the number of records.
pub(super) const HEADER_BYTES: usize = 61;
/// What a record needs beside its message, at most.
pub(super) const RECORD_BYTES_MAX: usize = 32;
const MAGIC: i8 = 2;
/// Offset and length, which the length does not count.
const PREFIX_BYTES: usize = 12;
/// Where what the checksum covers begins.
const CHECKED_FROM: usize = 21;
const COMPRESSION: i16 = 0b111;
const CONTROL: i16 = 0b10_0000;

/// How many bytes a message needs in a batch, at most.
pub(super) fn record_bytes(message: &Bytes) -> usize {
    message.len().saturating_add(RECORD_BYTES_MAX)
}

/// A batch of `messages`, of which there is at least one.
pub(super) fn encode(messages: &[Bytes], now: Timestamp) -> Vec<u8> {
    let bytes: usize = messages.iter().map(record_bytes).sum();
    let mut checked = Vec::with_capacity(bytes + HEADER_BYTES);
    let millis = now.as_micros() / 1000;
    let count = i32::try_from(messages.len()).unwrap_or(i32::MAX);
    checked.put_i16(0);
    checked.put_i32(count.saturating_sub(1));
    checked.put_i64(millis);
    checked.put_i64(millis);
    // No producer's id, epoch and sequence: what is appended again is recognised elsewhere.
    checked.put_i64(-1);
    checked.put_i16(-1);
    checked.put_i32(-1);
    checked.put_i32(count);
    for (delta, message) in (0_i64..).zip(messages) {
        put_record(&mut checked, delta, message);
    }
    let mut batch = Vec::with_capacity(checked.len() + CHECKED_FROM);
    batch.put_i64(0);
    super::wire::put_length(&mut batch, checked.len() + CHECKED_FROM - PREFIX_BYTES);
    batch.put_i32(-1);
    batch.put_i8(MAGIC);
    batch.put_u32(crc32c::crc32c(&checked));
    batch.append(&mut checked);
    batch
}

fn put_record(out: &mut Vec<u8>, delta: i64, message: &[u8]) {
    // No vector has more than `isize::MAX` bytes.
    let length = message.len() as i64;
    // Attributes, the time's delta, no key and no headers: a byte each.
    let fixed = 4;
    let bytes = fixed + varint_bytes(delta) + varint_bytes(length) + message.len();
    put_varint(out, bytes as i64);
    out.put_i8(0);
    put_varint(out, 0);
    put_varint(out, delta);
    put_varint(out, -1);
    put_varint(out, length);
    out.put_slice(message);
    put_varint(out, 0);
}

/// What is in the batches of a fetch.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    pub(super) messages: Vec<Message>,
    /// The offset after the last whole batch, whether it held messages or not.
    pub(super) next: u64,
}

/// Why a batch cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("{0}")]
    Garbled(#[from] Garbled),
    #[error("the checksum of the batch at offset {0} is wrong")]
    Checksum(i64),
    #[error("the batch at offset {0} is compressed")]
    Compressed(i64),
}

/// Reads the messages from offset `from` on. The last batch may be cut off.
pub(super) fn decode(batches: Bytes, from: u64) -> std::result::Result<Fetched, Broken> {
    let mut fetched = Fetched {
        messages: Vec::new(),
        next: from,
    };
    let mut reader = Reader::new(batches);
    while let Some((first, mut batch)) = next_batch(&mut reader)? {
        let _epoch = batch.i32()?;
        if batch.i8()? != MAGIC {
            return Err(Garbled("a batch is of another format").into());
        }
        let checksum = batch.u32()?;
        let rest = batch.rest();
        if crc32c::crc32c(&rest) != checksum {
            return Err(Broken::Checksum(first));
        }
        decode_batch(first, Reader::new(rest), &mut fetched)?;
    }
    Ok(fetched)
}

/// The offset and the rest of the next whole batch.
fn next_batch(reader: &mut Reader) -> Read<Option<(i64, Reader)>> {
    if reader.remaining() < PREFIX_BYTES {
        return Ok(None);
    }
    let first = reader.i64()?;
    let length = usize::try_from(reader.i32()?).map_err(|_| Garbled("a length is negative"))?;
    if reader.remaining() < length {
        return Ok(None);
    }
    Ok(Some((first, Reader::new(reader.bytes(length)?))))
}

fn decode_batch(
    first: i64,
    mut batch: Reader,
    fetched: &mut Fetched,
) -> std::result::Result<(), Broken> {
    let attributes = batch.i16()?;
    let last_delta = batch.i32()?;
    // Two times, and a producer's id, epoch and sequence.
    batch.bytes(8 + 8 + 8 + 2 + 4)?;
    let count = batch.i32()?;
    let offset = |delta: i64| {
        let offset = first.checked_add(delta);
        let offset = offset.and_then(|offset| u64::try_from(offset).ok());
        offset.ok_or(Garbled("an offset is negative"))
    };
    if attributes & COMPRESSION != 0 {
        return Err(Broken::Compressed(first));
    }
    let from = fetched.next;
    let count = if attributes & CONTROL != 0 { 0 } else { count };
    for _ in 0..count {
        let length = length_of(batch.varint()?)?;
        let (delta, body) = decode_record(Reader::new(batch.bytes(length)?))?;
        let sequence = offset(delta)?;
        if sequence >= from {
            fetched.messages.push(Message { sequence, body });
        }
    }
    fetched.next = from.max(offset(i64::from(last_delta))?.saturating_add(1));
    Ok(())
}

fn decode_record(mut record: Reader) -> Read<(i64, Bytes)> {
    let _attributes = record.i8()?;
    let _time = record.varint()?;
    let delta = record.varint()?;
    let key = record.varint()?;
    record.bytes(usize::try_from(key).unwrap_or(0))?;
    let length = record.varint()?;
    Ok((delta, record.bytes(usize::try_from(length).unwrap_or(0))?))
}

fn length_of(number: i64) -> Read<usize> {
    usize::try_from(number).map_err(|_| Garbled("a length is negative"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bodies(fetched: Fetched) -> Vec<Bytes> {
        fetched.messages.into_iter().map(|it| it.body).collect()
    }

    proptest! {
        #[test]
        fn messages_come_back(messages in prop::collection::vec(any::<Vec<u8>>(), 1..50)) {
            let messages: Vec<Bytes> = messages.into_iter().map(Bytes::from).collect();
            let batch = encode(&messages, Timestamp::EPOCH);
            let bytes: usize = messages.iter().map(record_bytes).sum();
            prop_assert!(batch.len() <= HEADER_BYTES + bytes);
            let fetched = decode(batch.clone().into(), 0).unwrap();
            prop_assert_eq!(fetched.next, messages.len() as u64);
            prop_assert_eq!(bodies(fetched), messages.clone());
            let cut = batch.len() - 1;
            prop_assert!(bodies(decode(Bytes::from(batch).slice(..cut), 0).unwrap()).is_empty());
        }

        #[test]
        fn changed_bytes_are_noticed(at in CHECKED_FROM..80_usize, bit in 0..8_u32) {
            let mut batch = encode(&[Bytes::from(vec![7; 40])], Timestamp::EPOCH);
            batch[at] ^= 1_u8 << bit;
            prop_assert!(matches!(decode(batch.into(), 0), Err(Broken::Checksum(0))));
        }

        #[test]
        fn whatever_comes_is_no_panic(bytes: Vec<u8>) {
            let _ = decode(bytes.into(), 0);
        }
    }

    #[test]
    fn what_was_read_before_is_left_out() {
        let messages = ["a", "b", "c"].map(Bytes::from);
        let batch = encode(&messages, Timestamp::EPOCH);
        let fetched = decode(batch.into(), 2).unwrap();
        assert_eq!(fetched.messages[0].sequence, 2);
        assert_eq!(bodies(fetched), ["c"]);
    }
}

//! The bytes of Kafka's protocol: big-endian numbers, and strings, arrays and blobs that begin with
//! their length.

use bytes::{Buf, BufMut, Bytes};

/// What came cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("it is not what the protocol says: {0}")]
pub(super) struct Garbled(pub(super) &'static str);

pub(super) type Read<T> = std::result::Result<T, Garbled>;

pub(super) fn put_string(out: &mut Vec<u8>, text: &str) {
    // Names and tokens of ours, far below the 32 KiB that fit.
    let length = i16::try_from(text.len()).unwrap_or(i16::MAX);
    out.put_i16(length);
    out.put_slice(text.as_bytes());
}

/// The length of an array or a blob.
pub(super) fn put_length(out: &mut Vec<u8>, length: usize) {
    // The caller's limits keep every request far below 2 GiB.
    out.put_i32(i32::try_from(length).unwrap_or(i32::MAX));
}

/// A number of variable length, small when its magnitude is.
pub(super) fn put_varint(out: &mut Vec<u8>, number: i64) {
    let mut rest = (number << 1 ^ number >> 63).cast_unsigned();
    while rest >= 0x80 {
        out.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

/// How many bytes [`put_varint`] needs.
pub(super) fn varint_bytes(number: i64) -> usize {
    let zigzag = (number << 1 ^ number >> 63).cast_unsigned();
    (64 - zigzag.max(1).leading_zeros() as usize).div_ceil(7)
}

/// Reads what a server sent, and never beyond it.
#[derive(Debug)]
pub(super) struct Reader {
    rest: Bytes,
}

impl Reader {
    pub(super) fn new(rest: Bytes) -> Self {
        Self { rest }
    }

    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// All that is left.
    pub(super) fn rest(self) -> Bytes {
        self.rest
    }

    pub(super) fn i8(&mut self) -> Read<i8> {
        self.rest.try_get_i8().map_err(|_| Garbled("it ends early"))
    }

    pub(super) fn i16(&mut self) -> Read<i16> {
        self.rest
            .try_get_i16()
            .map_err(|_| Garbled("it ends early"))
    }

    pub(super) fn i32(&mut self) -> Read<i32> {
        self.rest
            .try_get_i32()
            .map_err(|_| Garbled("it ends early"))
    }

    pub(super) fn u32(&mut self) -> Read<u32> {
        self.rest
            .try_get_u32()
            .map_err(|_| Garbled("it ends early"))
    }

    pub(super) fn i64(&mut self) -> Read<i64> {
        self.rest
            .try_get_i64()
            .map_err(|_| Garbled("it ends early"))
    }

    pub(super) fn bytes(&mut self, length: usize) -> Read<Bytes> {
        if length <= self.rest.len() {
            Ok(self.rest.split_to(length))
        } else {
            Err(Garbled("it ends early"))
        }
    }

    /// A blob; null is an empty one.
    pub(super) fn blob(&mut self) -> Read<Bytes> {
        let length = self.i32()?;
        self.bytes(usize::try_from(length).unwrap_or(0))
    }

    pub(super) fn string(&mut self) -> Read<Option<String>> {
        let length = self.i16()?;
        let Ok(length) = usize::try_from(length) else {
            return Ok(None);
        };
        text(&self.bytes(length)?).map(Some)
    }

    /// An array; null is an empty one.
    pub(super) fn array<T>(&mut self, mut item: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let length = self.i32()?;
        // Grows with what is there, whatever the length says.
        let mut items = Vec::new();
        for _ in 0..length {
            items.push(item(self)?);
        }
        Ok(items)
    }

    pub(super) fn varint(&mut self) -> Read<i64> {
        let zigzag = self.unsigned_varint()?;
        Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    pub(super) fn unsigned_varint(&mut self) -> Read<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.i8()?.cast_unsigned();
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Garbled("a number is too long"))
    }

    /// The length of what newer messages carry: one more than it is, and 0 for null.
    pub(super) fn compact_length(&mut self) -> Read<usize> {
        let length = self.unsigned_varint()?.saturating_sub(1);
        usize::try_from(length).map_err(|_| Garbled("a length is too large"))
    }

    pub(super) fn compact_string(&mut self) -> Read<String> {
        let length = self.compact_length()?;
        text(&self.bytes(length)?)
    }
}

fn text(bytes: &[u8]) -> Read<String> {
    let text = std::str::from_utf8(bytes);
    text.map(str::to_owned)
        .map_err(|_| Garbled("a string is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn varints_come_back(number: i64) {
            let mut out = Vec::new();
            put_varint(&mut out, number);
            prop_assert_eq!(out.len(), varint_bytes(number));
            prop_assert_eq!(Reader::new(out.into()).varint().unwrap(), number);
        }

        #[test]
        fn nothing_is_read_beyond_the_end(bytes: Vec<u8>) {
            let mut reader = Reader::new(bytes.into());
            while reader.array(|it| it.string()).is_ok() {}
            prop_assert!(reader.bytes(usize::MAX).is_err());
        }
    }

    #[test]
    fn small_numbers_are_as_the_protocol_has_them() {
        for (number, bytes) in [(0, &[0][..]), (-1, &[1]), (1, &[2]), (64, &[0x80, 1])] {
            let mut out = Vec::new();
            put_varint(&mut out, number);
            assert_eq!(out, bytes);
        }
    }
}

//! An entry as the bytes that servers keep.

use std::sync::Arc;
use std::time::Duration;

use ensue_core::engine::Position;
use ensue_core::error::{Error, LimitError, Result};
use ensue_core::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::entry::{Content, Entry};

/// A position with 20 digits comes first: scripts compare texts.
pub(super) const POSITION_BYTES: usize = 20;
/// Then what it is, and two times in microseconds.
const HEAD_BYTES: usize = POSITION_BYTES + 1 + 8 + 8;

/// The bytes of an entry, of which the value is JSON.
pub(super) fn encode<T: Serialize>(entry: &Entry<T>, bytes_max: usize) -> Result<Vec<u8>> {
    let kind = match entry.content {
        Content::Present(_) => b'v',
        Content::Absent => b'a',
        Content::Outdated => b'o',
    };
    let mut bytes = format!("{:020}", entry.position.get()).into_bytes();
    bytes.push(kind);
    bytes.extend(entry.fresh_until.as_micros().to_be_bytes());
    bytes.extend(entry.stale_until.as_micros().to_be_bytes());
    if let Content::Present(value) = &entry.content {
        serde_json::to_writer(&mut bytes, &**value).map_err(|error| {
            Error::Engine(ensue_core::error::EngineError::Io {
                what: "could not write a value of a cache as JSON".to_owned(),
                reason: error.into(),
            })
        })?;
    }
    if bytes.len() <= bytes_max {
        return Ok(bytes);
    }
    Err(Error::Limit(LimitError {
        what: "the size of an entry of a cache in bytes".to_owned(),
        value: bytes.len() as u64,
        limit: "VALUE_BYTES_MAX",
        max: bytes_max as u64,
        advice: "cache less of it, or do not cache it",
    }))
}

/// The entry in bytes; `None` if they are not one of ours, or the value is not a `T`.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<Entry<T>> {
    let (head, value) = bytes.split_at_checked(HEAD_BYTES)?;
    let (position, times) = head.split_at_checked(POSITION_BYTES)?;
    let (kind, times) = times.split_first()?;
    let (fresh, stale) = times.split_first_chunk::<8>()?;
    let content = match kind {
        b'v' => Content::Present(Arc::new(serde_json::from_slice(value).ok()?)),
        b'a' => Content::Absent,
        b'o' => Content::Outdated,
        _ => return None,
    };
    Some(Entry {
        position: position_of(position)?,
        content,
        fresh_until: Timestamp::from_micros(i64::from_be_bytes(*fresh)),
        stale_until: Timestamp::from_micros(i64::from_be_bytes(stale.try_into().ok()?)),
        // Said when it is put.
        keep: Duration::ZERO,
    })
}

/// The position that an entry begins with.
pub(super) fn position_of(bytes: &[u8]) -> Option<Position> {
    let digits = bytes.get(..POSITION_BYTES)?;
    let text = std::str::from_utf8(digits).ok()?;
    text.parse().ok().map(Position::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_as_it_was() {
        for content in [
            Content::Present(Arc::new("ä".to_owned())),
            Content::Absent,
            Content::Outdated,
        ] {
            let entry = Entry {
                position: Position::new(u64::MAX),
                content,
                fresh_until: Timestamp::from_micros(-1),
                stale_until: Timestamp::from_micros(7),
                keep: Duration::ZERO,
            };
            assert_eq!(decode(&encode(&entry, 100).unwrap()), Some(entry));
        }
    }

    #[test]
    fn what_is_not_ours_is_nothing() {
        let entry = Entry {
            position: Position::new(1),
            content: Content::Present(Arc::new(7_u8)),
            fresh_until: Timestamp::EPOCH,
            stale_until: Timestamp::EPOCH,
            keep: Duration::ZERO,
        };
        let bytes = encode(&entry, 100).unwrap();
        assert_eq!(decode::<String>(&bytes), None, "another type");
        for length in 0..HEAD_BYTES {
            assert_eq!(decode::<u8>(&bytes[..length]), None);
        }
        assert!(matches!(encode(&entry, 37), Err(Error::Limit(_))));
    }
}

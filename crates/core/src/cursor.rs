//! Where a reader is.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::position::Position;

/// The longest text of a cursor, in bytes: one position for each of a few thousand partitions.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// A place in a log: what comes before it was read, what comes after it was not.
///
/// A read gives one to go on from, and takes one. It is opaque: keep it, hand it back, compare it. It holds
/// a position for each partition of the log, and prints and parses as a short text, as which it is
/// stored too.
///
/// A cursor is before another one if it is in no partition behind it and in one before it; of two that
/// are neither, `partial_cmp` is `None`. Nothing says which of two events in different partitions came first.
///
/// ```
/// use ensue_core::Cursor;
///
/// let cursor: Cursor = "4711".parse()?;
/// assert_eq!(cursor.to_string(), "4711");
/// assert!(Cursor::START < cursor);
/// # Ok::<(), ensue_core::InvalidCursor>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Cursor {
    /// Of the first partition, which is the only one of a log with one.
    first: Position,
    /// Of the others, without those at the end that are at their beginning. Most logs have none, which
    /// allocates nothing.
    others: Vec<Position>,
}

/// A text that is not a [`Cursor`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a cursor: it is a position for each partition, joined by dots, such as `4711`; give \
     what a read printed"
)]
pub struct InvalidCursor {
    text: String,
}

impl Cursor {
    /// The beginning of every log.
    pub const START: Self = Self {
        first: Position::ZERO,
        others: Vec::new(),
    };

    /// The position in the first partition.
    #[doc(hidden)]
    pub fn position(&self) -> Position {
        self.first
    }

    fn of(mut positions: impl Iterator<Item = Position>) -> Self {
        let first = positions.next().unwrap_or_default();
        let mut others: Vec<Position> = positions.collect();
        while others.pop_if(|last| *last == Position::ZERO).is_some() {}
        Self { first, others }
    }

    fn positions(&self) -> impl Iterator<Item = Position> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }
}

impl From<Position> for Cursor {
    /// At an event of a log with one partition.
    fn from(position: Position) -> Self {
        Self {
            first: position,
            others: Vec::new(),
        }
    }
}

impl PartialOrd for Cursor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let partitions = self.others.len().max(other.others.len()) + 1;
        let padded = |cursor: &Self| {
            let rest = std::iter::repeat(Position::ZERO);
            let all: Vec<_> = cursor.positions().chain(rest).take(partitions).collect();
            all
        };
        let each = padded(self).into_iter().zip(padded(other));
        each.map(|(ours, theirs)| ours.cmp(&theirs))
            .try_fold(Ordering::Equal, |all, one| match (all, one) {
                (all, Ordering::Equal) => Some(all),
                (Ordering::Equal, one) => Some(one),
                (all, one) => (all == one).then_some(all),
            })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.first, f)?;
        self.others
            .iter()
            .try_for_each(|position| write!(f, ".{position}"))
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let invalid = || InvalidCursor {
            text: text.chars().take(80).collect(),
        };
        if text.len() > TEXT_BYTES_MAX {
            return Err(invalid());
        }
        let number = |part: &str| {
            let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| part.parse().ok()).flatten()
        };
        let positions: Option<Vec<_>> = text.split('.').map(number).collect();
        let positions = positions.ok_or_else(invalid)?;
        Ok(Self::of(positions.into_iter().map(Position::new)))
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.to_string()
    }
}

impl TryFrom<String> for Cursor {
    type Error = InvalidCursor;

    fn try_from(text: String) -> Result<Self, InvalidCursor> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(text: &str) -> Cursor {
        text.parse().unwrap()
    }

    #[test]
    fn a_cursor_is_read_as_it_was_printed_and_stored() {
        for text in ["0", "17", "17.4", "0.0.9", "18446744073709551615.1"] {
            assert_eq!(cursor(text).to_string(), text);
            let stored = serde_json::to_string(&cursor(text)).unwrap();
            assert_eq!(stored, format!("\"{text}\""));
            assert_eq!(
                serde_json::from_str::<Cursor>(&stored).unwrap(),
                cursor(text)
            );
        }
        assert_eq!(cursor("17.0.0"), cursor("17"), "unread is the beginning");
        assert_eq!(cursor("17"), Position::new(17).into());
        assert_eq!(cursor("0"), Cursor::START);
    }

    #[test]
    fn what_is_not_a_cursor_is_refused_with_what_one_is() {
        for text in [
            "",
            ".",
            "17.",
            "-1",
            "+1",
            "17m",
            "1.x",
            "18446744073709551616",
        ] {
            let error = text.parse::<Cursor>().unwrap_err().to_string();
            assert!(
                error.contains("not a cursor") && error.contains("4711"),
                "{error}"
            );
        }
    }

    #[test]
    fn cursors_are_ordered_only_where_no_partition_contradicts_another() {
        use Ordering::{Equal, Greater, Less};
        for (one, other, expected) in [
            ("3", "4", Some(Less)),
            ("4", "4", Some(Equal)),
            ("4.1", "4", Some(Greater)),
            ("3.1", "4", None),
            ("3.1.5", "4.2.5", Some(Less)),
            ("9.1", "4.2", None),
        ] {
            assert_eq!(
                cursor(one).partial_cmp(&cursor(other)),
                expected,
                "{one} {other}"
            );
        }
    }
}

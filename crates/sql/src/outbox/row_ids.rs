//! Numbers of rows, in few letters.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Rows by their numbers, ascending; written as ranges, `1-5,7`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(super) struct RowIds(Vec<(i64, i64)>);

/// A text that is not one of [`RowIds`].
#[derive(Debug, thiserror::Error)]
#[error("`{0}` are no numbers of rows")]
pub(super) struct NoRowIds(String);

impl RowIds {
    /// Adds a number, which is larger than those before.
    pub(super) fn push(&mut self, id: i64) {
        match self.0.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(id) => *last = id,
            _ => self.0.push((id, id)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        let counts = self.0.iter().map(|(first, last)| last.abs_diff(*first) + 1);
        counts.sum()
    }

    /// First and last of each unbroken sequence.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (i64, i64)> {
        self.0.iter().copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = i64> {
        self.ranges().flat_map(|(first, last)| first..=last)
    }
}

impl FromIterator<i64> for RowIds {
    fn from_iter<T: IntoIterator<Item = i64>>(ids: T) -> Self {
        let mut rows = Self::default();
        ids.into_iter().for_each(|id| rows.push(id));
        rows
    }
}

impl fmt::Display for RowIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.ranges().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for RowIds {
    type Err = NoRowIds;

    fn from_str(text: &str) -> Result<Self, NoRowIds> {
        let wrong = || NoRowIds(text.chars().take(80).collect());
        let number = |text: &str| text.parse::<i64>().map_err(|_| wrong());
        let mut ranges: Vec<(i64, i64)> = Vec::new();
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let range = (number(first)?, number(last)?);
            let is_behind = ranges.last().is_none_or(|(_, before)| *before < range.0);
            if !is_behind || range.0 > range.1 {
                return Err(wrong());
            }
            ranges.push(range);
        }
        Ok(Self(ranges))
    }
}

impl From<RowIds> for String {
    fn from(rows: RowIds) -> Self {
        rows.to_string()
    }
}

impl TryFrom<String> for RowIds {
    type Error = NoRowIds;

    fn try_from(text: String) -> Result<Self, NoRowIds> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_written_as_ranges_and_read_back() {
        for (ids, text) in [
            (vec![], ""),
            (vec![7], "7"),
            (vec![1, 2, 3, 5, 7, 8], "1-3,5,7-8"),
        ] {
            let rows: RowIds = ids.iter().copied().collect();
            assert_eq!(rows.to_string(), text);
            assert_eq!(rows.count(), ids.len() as u64);
            let read: RowIds = text.parse().unwrap();
            assert_eq!(read.iter().collect::<Vec<_>>(), ids);
        }
    }

    #[test]
    fn what_is_not_ascending_is_refused() {
        for text in ["x", "1-", "3-1", "1,1", "5,2", "1-3,3", ","] {
            assert!(text.parse::<RowIds>().is_err(), "{text}");
        }
    }
}

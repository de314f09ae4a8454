//! Sets of positions that lie close together: ranges.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::engine::Position;

/// PositionSet of positions, each with an inclusive start and an exclusive end: sorted, disjoint, with
/// a gap between any two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PositionSet(BTreeMap<Position, Position>);

impl PositionSet {
    /// Adds `start..end`, merging it with what it touches.
    pub(crate) fn insert(&mut self, start: Position, end: Position) {
        if start >= end {
            return;
        }
        let (mut start, mut end) = (start, end);
        if let Some((&before, &stop)) = self.0.range(..=start).next_back()
            && stop >= start
        {
            start = before;
            end = end.max(stop);
        }
        while let Some((&next, &stop)) = self.0.range(start..=end).next() {
            self.0.remove(&next);
            end = end.max(stop);
        }
        self.0.insert(start, end);
    }

    /// Whether `position` is in one of them.
    pub(crate) fn contains(&self, position: Position) -> bool {
        let at_or_before = self.0.range(..=position).next_back();
        at_or_before.is_some_and(|(_, end)| position < *end)
    }

    /// Takes away everything that touches `low` or lies before it; gives where that ends.
    pub(crate) fn absorb(&mut self, low: Position) -> Position {
        let mut low = low;
        while let Some((&start, &end)) = self.0.first_key_value()
            && start <= low
        {
            self.0.remove(&start);
            low = low.max(end);
        }
        low
    }

    /// Takes one position out.
    pub(crate) fn remove(&mut self, position: Position) {
        let at_or_before = self.0.range(..=position).next_back();
        let Some((&start, &end)) = at_or_before.filter(|(_, end)| position < **end) else {
            return;
        };
        self.0.remove(&start);
        if start < position {
            self.0.insert(start, position);
        }
        if position.next() < end {
            self.0.insert(position.next(), end);
        }
    }

    /// What of it is not in `other`.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut left = Self::default();
        for (mut start, end) in self.iter() {
            let at_or_before = other.0.range(..=start).next_back();
            let first = at_or_before.map_or(start, |(first, _)| *first);
            for (from, to) in other.0.range(first..end) {
                left.insert(start, *from);
                start = start.max(*to);
            }
            left.insert(start, end);
        }
        left
    }

    /// What of it lies before `end`.
    pub(crate) fn before(&self, end: Position) -> Self {
        let mut before = Self::default();
        for (from, to) in self.0.range(..end) {
            before.insert(*from, end.min(*to));
        }
        before
    }

    /// After the last position.
    pub(crate) fn end(&self) -> Option<Position> {
        self.0.last_key_value().map(|(_, end)| *end)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Position, Position)> {
        self.0.iter().map(|(start, end)| (*start, *end))
    }
}

impl Serialize for PositionSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Settled(self.iter().collect()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PositionSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut ranges = Self::default();
        for (start, end) in Settled::deserialize(deserializer)?.0 {
            ranges.insert(start, end);
        }
        Ok(ranges)
    }
}

/// What one commit settles: ranges in ascending order, written as gaps and lengths, so that a
/// range takes two or three bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled(Vec<(Position, Position)>);

impl Settled {
    /// Adds `start..end`, which mostly follows the last one.
    pub(crate) fn push(&mut self, start: Position, end: Position) {
        match self.0.last_mut() {
            Some((_, last)) if *last == start => *last = end,
            _ => self.0.push((start, end)),
        }
    }

    /// The ranges, in ascending order unless some were pushed since [`normalise`](Self::normalise).
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Position, Position)> {
        self.0.iter().copied()
    }

    /// Sorts and merges after pushes in any order.
    pub(crate) fn normalise(&mut self) {
        if self.0.is_sorted() {
            return;
        }
        self.0.sort_unstable();
        let sorted = std::mem::take(&mut self.0);
        for (start, end) in sorted {
            self.push(start, end);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Position, Position)> for Settled {
    fn from_iter<T: IntoIterator<Item = (Position, Position)>>(ranges: T) -> Self {
        let mut settled = Self::default();
        for (start, end) in ranges {
            settled.push(start, end);
        }
        settled
    }
}

impl Serialize for Settled {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut at = 0;
        serializer.collect_seq(self.0.iter().flat_map(|(start, end)| {
            let (start, end) = (start.get(), end.get());
            let pair = [start.wrapping_sub(at), end.wrapping_sub(start)];
            at = end;
            pair
        }))
    }
}

impl<'de> Deserialize<'de> for Settled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let numbers = Vec::<u64>::deserialize(deserializer)?;
        let mut at = 0_u64;
        let mut ranges = Vec::with_capacity(numbers.len() / 2);
        for pair in numbers.chunks(2) {
            let [gap, length] = *pair else {
                return Err(de::Error::custom("a range has no length"));
            };
            let range = at
                .checked_add(gap)
                .and_then(|start| Some((start, start.checked_add(length)?)));
            let (start, end) = range.ok_or_else(|| de::Error::custom("a range passes the end"))?;
            ranges.push((Position::new(start), Position::new(end)));
            at = end;
        }
        Ok(Self(ranges))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn at(number: u64) -> Position {
        Position::new(number)
    }

    proptest! {
        #[test]
        fn ranges_are_a_set(
            pieces in proptest::collection::vec((0_u64..64, 0_u64..8), 0..32),
            removed in proptest::collection::vec(0_u64..64, 0..8),
        ) {
            let mut ranges = PositionSet::default();
            let mut set = BTreeSet::new();
            for (start, length) in pieces {
                ranges.insert(at(start), at(start + length));
                set.extend(start..start + length);
            }
            for position in removed {
                ranges.remove(at(position));
                set.remove(&position);
            }
            prop_assert_eq!(ranges.end(), set.last().map(|last| at(last + 1)));
            for position in 0..80 {
                prop_assert_eq!(ranges.contains(at(position)), set.contains(&position));
            }
            let starts = (0..80).filter(|p| set.contains(p) && (*p == 0 || !set.contains(&(p - 1))));
            prop_assert_eq!(ranges.iter().count(), starts.count(), "touching ranges are one");
            let low = ranges.absorb(at(0)).get();
            prop_assert_eq!(low, (0..).find(|p| !set.contains(p)).unwrap_or(0));
        }

        #[test]
        fn what_is_taken_away_is_not_there(
            all in proptest::collection::vec((0_u64..64, 0_u64..20), 0..6),
            taken in proptest::collection::vec((0_u64..64, 0_u64..20), 0..6),
            end in 0_u64..80,
        ) {
            let ranges = |pieces: Vec<(u64, u64)>| {
                let mut ranges = PositionSet::default();
                pieces.iter().for_each(|(start, length)| ranges.insert(at(*start), at(start + length)));
                ranges
            };
            let (all, taken) = (ranges(all), ranges(taken));
            let (left, before) = (all.without(&taken), all.before(at(end)));
            for position in 0..90 {
                let is_left = all.contains(at(position)) && !taken.contains(at(position));
                prop_assert_eq!(left.contains(at(position)), is_left);
                let is_before = all.contains(at(position)) && position < end;
                prop_assert_eq!(before.contains(at(position)), is_before);
            }
        }

        #[test]
        fn settled_ranges_are_read_as_written(mut starts in proptest::collection::vec(0_u64..1 << 40, 0..16)) {
            starts.sort_unstable();
            let mut settled = Settled::default();
            for start in starts {
                settled.push(at(start), at(start + 1));
            }
            let bytes = rmp_serde::to_vec_named(&settled).unwrap();
            prop_assert_eq!(rmp_serde::from_slice::<Settled>(&bytes).unwrap(), settled);
        }
    }
}

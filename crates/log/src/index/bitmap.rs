//! Which records of a segment something is true of.

use std::ops::Range;

/// Records are noted in granules of this many ordinals, each a word.
const GRANULE: u32 = u64::BITS;

/// A set of ordinals, as a sparse bitmap: only the granules are kept that have one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bitmap {
    /// The granules, ascending.
    numbers: Vec<u32>,
    /// For each granule its ordinals, the lowest bit first; never 0.
    words: Vec<u64>,
    /// How many ordinals there are in all.
    len: u64,
}

impl Bitmap {
    /// Adds an ordinal behind all that it holds.
    pub(crate) fn push(&mut self, ordinal: u32) {
        debug_assert!(self.last().is_none_or(|last| last < ordinal), "ascending");
        let (granule, bit) = (ordinal / GRANULE, 1 << (ordinal % GRANULE));
        match self.words.last_mut() {
            Some(word) if self.numbers.last() == Some(&granule) => *word |= bit,
            _ => {
                self.numbers.push(granule);
                self.words.push(bit);
            }
        }
        self.len += 1;
    }

    /// The bitmap of granules with their words; `None` when they do not ascend or a word is 0.
    pub(crate) fn of_granules(granules: impl IntoIterator<Item = (u32, u64)>) -> Option<Self> {
        let mut bitmap = Self::default();
        for (number, word) in granules {
            if word == 0 || bitmap.numbers.last().is_some_and(|last| *last >= number) {
                return None;
            }
            // Or it would hold what is no ordinal.
            number.checked_mul(GRANULE)?;
            bitmap.numbers.push(number);
            bitmap.words.push(word);
            bitmap.len += u64::from(word.count_ones());
        }
        Some(bitmap)
    }

    /// The granules and their words, ascending.
    pub(crate) fn granules(&self) -> impl ExactSizeIterator<Item = (u32, u64)> {
        self.numbers.iter().copied().zip(self.words.iter().copied())
    }

    /// How many ordinals it holds.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn first(&self) -> Option<u32> {
        let (number, word) = (self.numbers.first()?, self.words.first()?);
        Some(number * GRANULE + word.trailing_zeros())
    }

    pub(crate) fn last(&self) -> Option<u32> {
        let (number, word) = (self.numbers.last()?, self.words.last()?);
        Some(number * GRANULE + (GRANULE - 1 - word.leading_zeros()))
    }

    /// How many ordinals of `range` it holds.
    pub(crate) fn count(&self, range: &Range<u32>) -> u64 {
        let (Some(first), Some(last)) = (self.first(), self.last()) else {
            return 0;
        };
        if range.start <= first && last < range.end {
            return self.len;
        }
        let ones = self.within(range).map(|(_, word)| word.count_ones());
        ones.map(u64::from).sum()
    }

    /// Those of `range`.
    pub(crate) fn part(&self, range: &Range<u32>) -> Self {
        let is_all = |first, last| range.start <= first && last < range.end;
        if self
            .first()
            .zip(self.last())
            .is_some_and(|(first, last)| is_all(first, last))
        {
            return self.clone();
        }
        // Granules of a bitmap, in their order.
        Self::of_granules(self.within(range)).unwrap_or_default()
    }

    /// The granules that have ordinals of `range`, and which.
    fn within(&self, range: &Range<u32>) -> impl Iterator<Item = (u32, u64)> {
        let from = self
            .numbers
            .partition_point(|number| *number < range.start / GRANULE);
        let to = self
            .numbers
            .partition_point(|number| *number < range.end.div_ceil(GRANULE));
        let numbers = self.numbers.get(from..to).unwrap_or_default();
        let words = self.words.get(from..to).unwrap_or_default();
        let cut = {
            let range = range.clone();
            move |(number, word): (&u32, &u64)| (*number, word & mask(*number, &range))
        };
        numbers.iter().zip(words).map(cut).filter(|it| it.1 != 0)
    }

    /// Ranges of ordinals that hold all of several bitmaps: two that are at most `gap` apart are one.
    pub(crate) fn ranges(bitmaps: &[Self], gap: u32) -> Vec<Range<u32>> {
        let mut granules: Vec<_> = bitmaps.iter().flat_map(Self::granules).collect();
        granules.sort_unstable_by_key(|(number, _)| *number);
        let mut ranges: Vec<Range<u32>> = Vec::new();
        for same in granules.chunk_by(|left, right| left.0 == right.0) {
            let word = same.iter().fold(0, |all, (_, word)| all | word);
            let start = same.first().map_or(0, |(number, _)| number * GRANULE);
            let end = start.saturating_add(GRANULE - word.leading_zeros());
            let start = start + word.trailing_zeros();
            match ranges.last_mut() {
                Some(last) if start <= last.end.saturating_add(gap) => last.end = end,
                _ => ranges.push(start..end),
            }
        }
        ranges
    }
}

/// The bits of a granule that lie in `range`.
fn mask(granule: u32, range: &Range<u32>) -> u64 {
    let start = granule * GRANULE;
    let below = |ordinal: u32| match ordinal.saturating_sub(start) {
        bits if bits >= GRANULE => u64::MAX,
        bits => (1 << bits) - 1,
    };
    below(range.end) & !below(range.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDINALS: [u32; 9] = [0, 1, 63, 64, 127, 200, 255, 256, 1000];

    fn bitmap(ordinals: &[u32]) -> Bitmap {
        let mut bitmap = Bitmap::default();
        ordinals.iter().for_each(|ordinal| bitmap.push(*ordinal));
        bitmap
    }

    #[test]
    fn every_range_counts_what_lies_in_it() {
        let all = bitmap(&ORDINALS);
        assert_eq!(
            (all.first(), all.last(), all.len()),
            (Some(0), Some(1000), 9)
        );
        let bounds = || (0..=260).chain([999, 1000, 1001, 2000]);
        for (from, to) in bounds().flat_map(|from| bounds().map(move |to| (from, to))) {
            let within: Vec<u32> = ORDINALS
                .into_iter()
                .filter(|it| (from..to).contains(it))
                .collect();
            assert_eq!(all.count(&(from..to)), within.len() as u64, "{from}..{to}");
            assert_eq!(all.part(&(from..to)), bitmap(&within), "{from}..{to}");
        }
    }

    #[test]
    fn granules_that_are_none_are_refused() {
        let whole = bitmap(&ORDINALS);
        assert_eq!(Bitmap::of_granules(whole.granules()), Some(whole));
        assert_eq!(Bitmap::of_granules([(1, 1), (1, 2)]), None, "twice");
        assert_eq!(Bitmap::of_granules([(2, 1), (1, 2)]), None, "descending");
        assert_eq!(Bitmap::of_granules([(1, 0)]), None, "nothing in it");
        assert_eq!(
            Bitmap::of_granules([(u32::MAX, 1)]),
            None,
            "beyond all ordinals"
        );
    }

    #[test]
    fn ranges_hold_all_and_join_what_is_close() {
        let both = [bitmap(&[3, 70, 500]), bitmap(&[5, 64, 900])];
        assert_eq!(Bitmap::ranges(&both, 0), [3..6, 64..71, 500..501, 900..901]);
        assert_eq!(Bitmap::ranges(&both, 58), [3..71, 500..501, 900..901]);
        assert_eq!(Bitmap::ranges(&both, 1000), vec![3..901; 1]);
        assert_eq!(Bitmap::ranges(&[], 0), []);
    }
}

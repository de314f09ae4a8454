//! Medians, ranges and percentiles.

use std::time::Duration;

use serde::Serialize;

/// The values of all rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Summary {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or_default();
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(at(middle.saturating_sub(1)), at(middle))
        } else {
            at(middle)
        };
        Self {
            median,
            least: at(0),
            most: at(values.len().saturating_sub(1)),
        }
    }

    /// How many times the least the most is.
    pub(crate) fn spread(&self) -> f64 {
        if self.least > 0.0 {
            self.most / self.least
        } else {
            f64::INFINITY
        }
    }
}

/// Times of single operations, in nanoseconds; a difference of two times may be negative.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies {
    nanoseconds: Vec<i64>,
    is_sorted: bool,
}

impl Latencies {
    pub(crate) fn push(&mut self, time: Duration) {
        self.push_nanoseconds(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
    }

    pub(crate) fn push_nanoseconds(&mut self, time: i64) {
        self.nanoseconds.push(time);
        self.is_sorted = false;
    }

    pub(crate) fn clear(&mut self) {
        self.nanoseconds.clear();
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.nanoseconds.append(&mut other.nanoseconds);
        self.is_sorted = false;
    }

    pub(crate) fn len(&self) -> usize {
        self.nanoseconds.len()
    }

    /// The mean, in seconds.
    pub(crate) fn mean(&self) -> f64 {
        let sum: i128 = self.nanoseconds.iter().map(|time| i128::from(*time)).sum();
        sum as f64 / 1e9 / self.nanoseconds.len().max(1) as f64
    }

    /// The time that this share of all operations took at most, in microseconds.
    pub(crate) fn microseconds(&mut self, share: f64) -> f64 {
        if !self.is_sorted {
            self.nanoseconds.sort_unstable();
            self.is_sorted = true;
        }
        let rank = (self.nanoseconds.len() as f64 * share).ceil() as usize;
        let time = self.nanoseconds.get(rank.saturating_sub(1));
        time.copied().unwrap_or_default() as f64 / 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_rounds_lies_between_the_middle_two() {
        let summary = Summary::of([4.0, 1.0, 3.0, 2.0]);
        assert_eq!(
            (summary.median, summary.least, summary.most),
            (2.5, 1.0, 4.0)
        );
        assert_eq!(summary.spread(), 4.0);
    }

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let mut latencies = Latencies::default();
        for microseconds in 1..=100 {
            latencies.push(Duration::from_micros(microseconds));
        }
        assert_eq!(latencies.microseconds(0.5), 50.0);
        assert_eq!(latencies.microseconds(0.99), 99.0);
        assert_eq!(latencies.microseconds(1.0), 100.0);
    }
}

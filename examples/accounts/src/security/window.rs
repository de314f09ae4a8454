//! A window of time over the failures of one address.

use std::time::Duration;

use ensue::Timestamp;
use serde::{Deserialize, Serialize};

/// How many failures within [`WINDOW`] are too many.
pub const FAILURES: usize = 5;
/// The time between the first and the last of them, both included.
pub const WINDOW: Duration = Duration::from_secs(60);
/// How many failures of an address are remembered that were not too many, for those that are told
/// late. Where more are, the earliest are forgotten: what is told in order of time is always
/// judged exactly.
pub const KEPT_MAX: usize = 1_024;

/// When the failures of an address happened, in ascending order; no [`FAILURES`] of them within
/// [`WINDOW`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failures(Vec<i64>);

impl Failures {
    /// Adds so many failures at this time, in whatever order they are told. Says when the first of
    /// too many happened, and begins anew then.
    pub(crate) fn add(&mut self, at: Timestamp, times: u64) -> Option<Timestamp> {
        let place = self.0.partition_point(|earlier| *earlier <= at.as_micros());
        // More than are too many by themselves tell nothing more.
        let times = usize::try_from(times).map_or(FAILURES, |times| times.min(FAILURES));
        self.0
            .splice(place..place, std::iter::repeat_n(at.as_micros(), times));
        let window = WINDOW.as_micros() as i64;
        let first = self.0.windows(FAILURES).find_map(|run| match run {
            [first, .., last] if last.saturating_sub(*first) <= window => Some(*first),
            _ => None,
        });
        if first.is_some() {
            self.0.clear();
        }
        let surplus = self.0.len().saturating_sub(KEPT_MAX);
        self.0.drain(..surplus);
        first.map(Timestamp::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    /// The seconds at which failures happened, in the order in which they are told.
    fn is_too_many(seconds: &[i64]) -> bool {
        let mut failures = Failures::default();
        let mut told = seconds.iter();
        told.any(|at| failures.add(second(*at), 1).is_some())
    }

    #[test]
    fn five_within_a_minute_are_too_many_and_the_minute_includes_its_end() {
        assert!(is_too_many(&[0, 15, 30, 45, 60]));
        assert!(!is_too_many(&[0, 15, 30, 45, 61]));
        assert!(!is_too_many(&[0, 0, 0, 0]));
        assert!(is_too_many(&[0, 0, 0, 0, 0]));
        assert!(is_too_many(&[0, 50, 100, 150, 200, 201, 202, 203, 204]));
    }

    #[test]
    fn what_is_told_late_counts_at_its_time() {
        assert!(is_too_many(&[60, 0, 45, 15, 30]));
        assert!(is_too_many(&[0, 1, 2, 3, 500, 600, 60]));
        assert!(!is_too_many(&[61, 0, 45, 15, 30]));
    }

    #[test]
    fn in_whatever_order_they_are_told_it_is_the_same_as_looking_at_all() {
        let mut random = 7_u64;
        let mut next = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % below
        };
        let mut found = [0; 2];
        for _ in 0..2_000 {
            let seconds: Vec<_> = (0..12).map(|_| next(400) as i64).collect();
            let mut sorted = seconds.clone();
            sorted.sort_unstable();
            let expected = sorted.windows(FAILURES).any(|run| run[4] - run[0] <= 60);
            assert_eq!(is_too_many(&seconds), expected, "{seconds:?}");
            found[usize::from(expected)] += 1;
        }
        assert!(found[0] > 100 && found[1] > 100, "{found:?}");
    }

    #[test]
    fn one_that_stands_for_five_is_too_many_and_says_since_when() {
        let mut failures = Failures::default();
        assert_eq!(failures.add(second(0), 4), None);
        assert_eq!(failures.add(second(40), u64::MAX), Some(second(0)));
        assert_eq!(failures, Failures::default());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_newest() {
        let mut failures = Failures::default();
        for minute in 0..2_000 {
            assert_eq!(failures.add(second(minute * 60), 1), None);
        }
        assert_eq!(failures.0.len(), KEPT_MAX);
        assert_eq!(failures.0.last(), Some(&(1_999 * 60_000_000)));
    }
}

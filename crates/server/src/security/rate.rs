//! How often something may happen: so many times a second, and as many at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A rate, kept without a lock: what is over it is refused, nothing waits.
#[derive(Debug)]
pub(super) struct Rate {
    start: Instant,
    /// How far apart things are at this rate, in nanoseconds.
    apart: u64,
    /// How far ahead of the rate they may be: a second's worth.
    ahead: u64,
    /// When the next one would be due, in nanoseconds since the start.
    due: AtomicU64,
}

impl Rate {
    pub(super) fn per_second(count: u32) -> Self {
        const SECOND: u64 = 1_000_000_000;
        let apart = SECOND / u64::from(count.max(1));
        Self {
            start: Instant::now(),
            apart,
            ahead: SECOND.max(apart),
            due: AtomicU64::new(0),
        }
    }

    /// Whether it may happen now; it counts if it may.
    pub(super) fn admits(&self) -> bool {
        self.admits_at(self.start.elapsed())
    }

    fn admits_at(&self, now: Duration) -> bool {
        let now = nanoseconds(now);
        let taken = self
            .due
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| {
                let next = due.max(now).saturating_add(self.apart);
                (next <= now.saturating_add(self.ahead)).then_some(next)
            });
        taken.is_ok()
    }

    /// Whether it is as if nothing had ever happened.
    pub(super) fn is_rested(&self) -> bool {
        self.due.load(Ordering::Relaxed) <= nanoseconds(self.start.elapsed())
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seconds_worth_may_come_at_once_and_then_the_rate() {
        let rate = Rate::per_second(10);
        let at = |ms| rate.admits_at(Duration::from_millis(ms));
        assert_eq!((0..20).filter(|_| at(5000)).count(), 10);
        assert!(!at(5099));
        assert!(at(5100) && !at(5100));
        assert_eq!((0..20).filter(|_| at(5400)).count(), 3);
        assert_eq!((0..20).filter(|_| at(60_000)).count(), 10);
    }
}

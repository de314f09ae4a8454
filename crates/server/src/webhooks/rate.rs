//! A limit on how often something may happen.

use std::time::Duration;

use tokio::time::Instant;

/// So much of the time that has passed unused may be made up for at once.
const BURST: Duration = Duration::from_millis(100);

/// Turns, evenly spaced.
#[derive(Debug)]
pub(super) struct Rate {
    interval: Duration,
    burst: Duration,
    /// The earliest turn that is not taken.
    next: Instant,
}

impl Rate {
    /// So many in a second.
    pub(super) fn per_second(many: u32) -> Self {
        Self::new(Duration::from_secs(1), many, BURST)
    }

    /// So many in a minute, all of them at once if nothing came for one.
    pub(super) fn per_minute(many: u32) -> Self {
        let minute = Duration::from_secs(60);
        Self::new(minute, many, minute)
    }

    fn new(time: Duration, many: u32, burst: Duration) -> Self {
        let interval = time / many.max(1);
        Self {
            interval,
            burst: burst.saturating_sub(interval),
            next: Instant::now(),
        }
    }

    /// Takes a turn, or says when there is one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let earliest = now.checked_sub(self.burst).unwrap_or(now);
        let turn = self.next.max(earliest);
        if turn > now {
            return Err(turn);
        }
        self.next = turn + self.interval;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_are_evenly_spaced_and_a_pause_is_made_up_for_within_the_burst() {
        let mut rate = Rate::per_second(100);
        let start = Instant::now();
        let mut now = start;
        for _ in 0..100 {
            while let Err(turn) = rate.take(now) {
                now = turn;
            }
        }
        assert_eq!(now - start, Duration::from_millis(990));
        let later = now + Duration::from_secs(60);
        let at_once = (0..1_000).take_while(|_| rate.take(later).is_ok()).count();
        assert_eq!(at_once, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_minutes_turns_may_come_at_once_and_no_more() {
        let mut rate = Rate::per_minute(30);
        let later = Instant::now() + Duration::from_secs(3600);
        assert_eq!(
            (0..100).take_while(|_| rate.take(later).is_ok()).count(),
            30
        );
        assert_eq!(rate.take(later), Err(later + Duration::from_secs(2)));
    }
}

//! How long to wait before something is tried again.

use std::time::Duration;

/// How long to wait before each further attempt: doubling from `min` to `max`, with jitter.
///
/// The wait before attempt *n* + 1 is drawn evenly from the upper half of
/// `min(max, min × 2ⁿ⁻¹)` ("equal jitter"; Marc Brooker, *Exponential Backoff And Jitter*, 2015).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first attempt, before jitter.
    pub min: Duration,
    /// The longest wait, before jitter.
    pub max: Duration,
}

impl Backoff {
    /// Doubling from `min` to `max`.
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max }
    }

    /// The wait after `attempt` (from 1) failed; `random` in 0..1 decides the jitter.
    pub fn wait(&self, attempt: u32, random: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let ceiling = self
            .min
            .saturating_mul(1 << doublings)
            .min(self.max.max(self.min));
        ceiling.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }
}

impl Default for Backoff {
    /// From 200 ms to 30 s.
    fn default() -> Self {
        Self::new(Duration::from_millis(200), Duration::from_secs(30))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_between_its_bounds_and_jitters_within_the_upper_half() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for (attempt, ceiling_ms) in [
            (1, 100),
            (2, 200),
            (3, 400),
            (4, 800),
            (5, 1000),
            (99, 1000),
        ] {
            let ceiling = Duration::from_millis(ceiling_ms);
            assert_eq!(backoff.wait(attempt, 0.0), ceiling / 2);
            assert_eq!(backoff.wait(attempt, 1.0), ceiling);
        }
    }
}

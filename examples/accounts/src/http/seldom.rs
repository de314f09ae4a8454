//! Lines of a log that say the same again and again while something is away.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a line is written at the most.
pub(super) const EVERY: Duration = Duration::from_secs(10);

/// Lets a line through now and then, and counts those that it does not.
#[derive(Debug)]
pub(super) struct Seldom(Mutex<Said>);

#[derive(Debug)]
struct Said {
    last: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    pub(super) const fn new() -> Self {
        let nothing = Said {
            last: None,
            unsaid: 0,
        };
        Self(Mutex::new(nothing))
    }

    /// Whether it is time for a line: with how many there were none of since the last one.
    pub(super) fn due(&self, now: Instant) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said
            .last
            .is_some_and(|last| now.duration_since(last) < EVERY)
        {
            said.unsaid += 1;
            return None;
        }
        said.last = Some(now);
        Some(std::mem::take(&mut said.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_due_in_a_while_and_says_how_many_are_not() {
        let (seldom, start) = (Seldom::new(), Instant::now());
        assert_eq!(seldom.due(start), Some(0));
        for _ in 0..1_000 {
            assert_eq!(seldom.due(start + EVERY / 2), None);
        }
        assert_eq!(seldom.due(start + EVERY), Some(1_000));
        assert_eq!(seldom.due(start + EVERY), None);
        assert_eq!(seldom.due(start + 2 * EVERY), Some(1));
    }
}

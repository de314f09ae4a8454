//! How long entries last.

use std::time::Duration;

use ensue_core::engine::Position;
use ensue_core::time::{Clock, Timestamp};

use super::entry::{Content, Entry};

/// By how much a time is shortened at random, at the most: entries that were made together do not end
/// together.
const JITTER: f64 = 0.1;
/// For how many of the slowest loads an entry is kept at least.
const LOADS_KEPT: u32 = 4;

/// How long entries last.
#[derive(Clone, Debug)]
pub(super) struct Times {
    pub(super) fresh: Duration,
    pub(super) stale: Duration,
    pub(super) absent: Duration,
    pub(super) load_timeout: Duration,
    pub(super) clock: Clock,
}

impl Times {
    /// The entry of what was loaded or told.
    pub(super) fn entry<T>(&self, position: Position, content: Content<T>) -> Entry<T> {
        let now = self.clock.now();
        let (fresh, stale) = match content {
            Content::Present(_) => (jittered(self.fresh), self.stale),
            Content::Absent => (jittered(self.absent), Duration::ZERO),
            Content::Outdated => (Duration::ZERO, Duration::ZERO),
        };
        let until: Timestamp = now + fresh;
        let given = match content {
            Content::Outdated => self.fresh,
            _ => fresh + stale,
        };
        // Whatever it says, it refuses what came before for as long as a loader could bring that back.
        let keep = given.max(self.load_timeout * LOADS_KEPT);
        Entry {
            position,
            content,
            fresh_until: until,
            stale_until: until + stale,
            keep,
        }
    }
}

fn jittered(time: Duration) -> Duration {
    time.mul_f64(1.0 - JITTER * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_outlives_the_loads_that_could_bring_back_what_came_before() {
        let times = Times {
            fresh: Duration::from_secs(1),
            stale: Duration::ZERO,
            absent: Duration::from_secs(1),
            load_timeout: Duration::from_secs(10),
            clock: Clock::system(),
        };
        for content in [
            Content::Present(().into()),
            Content::Absent,
            Content::Outdated,
        ] {
            let entry = times.entry(Position::new(8), content.clone());
            assert!(entry.keep > times.load_timeout, "{content:?}: {entry:?}");
            assert!(entry.stale_until <= times.clock.now() + times.fresh);
        }
    }
}

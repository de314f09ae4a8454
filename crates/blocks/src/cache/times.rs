//! How long entries last.

use std::time::Duration;

use ensue_core::engine::Position;
use ensue_core::time::{Clock, Timestamp};

use super::entry::{Content, Entry};

/// By how much a time is shortened at random, at the most: entries that were made together do not end
/// together.
const JITTER: f64 = 0.1;

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
            // As long as a loader could bring back what came before, and a while longer.
            Content::Outdated => (Duration::ZERO, Duration::ZERO),
        };
        let until: Timestamp = now + fresh;
        let keep = match content {
            Content::Outdated => self.fresh.max(self.load_timeout * 4),
            _ => fresh + stale,
        };
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

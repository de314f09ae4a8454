//! What each cycle is like, derived from the seed.

use std::time::Duration;

use ensue::engine::embedded::Settings;
use ensue_log::Durability;
use serde::{Deserialize, Serialize};

/// A cycle writes far less than this, so that nothing is removed before it was looked at.
const RETENTION_BYTES: u64 = 48 * 1024 * 1024;
/// Everything ever published again is among this many.
const DEDUP_WINDOW: u32 = 200_000;

/// How a child opens its engine, and what goes on in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Terms {
    segment_bytes: u64,
    checkpoint_bytes: u64,
    retention_bytes: Option<u64>,
    /// Acknowledge what is in the page cache, which outlives the process.
    is_relaxed: bool,
    /// Write checkpoints all the time.
    pub(crate) is_checkpointing: bool,
    /// Discard dead letters, which would keep their segments for ever.
    pub(crate) is_discarding: bool,
}

/// When a child is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instant {
    /// This long after it was started, open or not.
    Opening(Duration),
    /// This long after it said that it is open.
    Working(Duration),
    /// Not at all.
    Never,
}

/// One cycle.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) terms: Terms,
    pub(crate) instant: Instant,
}

impl Plan {
    /// The plan of a cycle; opening takes about `opening`.
    pub(crate) fn of(seed: u64, cycle: u64, opening: Duration) -> Self {
        let mut random =
            fastrand::Rng::with_seed(seed ^ (cycle + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let terms = Terms::random(&mut random);
        let instant = match random.u8(..12) {
            0 | 1 => Instant::Opening(opening.mul_f64(random.f64() * 1.2)),
            2..6 => Instant::Working(Duration::from_micros(random.u64(1_000..40_000))),
            _ => Instant::Working(Duration::from_micros(random.u64(40_000..600_000))),
        };
        Self { terms, instant }
    }

    /// The plan of the child that ends in peace.
    pub(crate) fn last(seed: u64) -> Self {
        let instant = Instant::Never;
        Self {
            instant,
            ..Self::of(seed, u64::MAX - 1, Duration::ZERO)
        }
    }
}

impl Terms {
    fn random(random: &mut fastrand::Rng) -> Self {
        let segments = [64 * 1024, 256 * 1024, 1024 * 1024];
        let checkpoints = [64 * 1024, 512 * 1024, 64 * 1024 * 1024];
        Self {
            segment_bytes: random.choice(segments).unwrap_or(segments[0]),
            checkpoint_bytes: random.choice(checkpoints).unwrap_or(checkpoints[0]),
            retention_bytes: random.bool().then_some(RETENTION_BYTES),
            is_relaxed: random.u8(..4) == 0,
            is_checkpointing: random.u8(..4) == 0,
            is_discarding: random.u8(..3) == 0,
        }
    }

    /// The engine's settings.
    pub(crate) fn settings(&self, directory: &str) -> Settings {
        let mut settings = Settings::default();
        settings.url = format!("embedded:{directory}");
        settings.segment_bytes = self.segment_bytes;
        settings.checkpoint_bytes = self.checkpoint_bytes;
        settings.retention_bytes = self.retention_bytes;
        settings.dedup_window = DEDUP_WINDOW;
        if self.is_relaxed {
            settings.durability = Durability::Os;
        }
        settings
    }
}

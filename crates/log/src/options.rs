use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::record::BATCH_BYTES_LIMIT;

/// When an append counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When its bytes are on stable storage: one `fdatasync` a frame. Survives a power cut.
    #[default]
    Sync,
    /// When the operating system has its bytes. Survives `kill -9`, not a power cut.
    Os,
}

/// What [`Log::trim`](crate::Log::trim) may remove. Whole segments only; both limits `None`
/// (the default) keep everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Remove segments whose last record is older than this.
    pub age: Option<Duration>,
    /// Remove the oldest segments while the log takes more than this many bytes on disk.
    pub bytes: Option<u64>,
}

/// How a log works. Every limit is in bytes unless its name says otherwise.
///
/// ```
/// use ensue_log::{Durability, Options};
/// let options = Options { segment_bytes: 1024 * 1024, durability: Durability::Os, ..Options::default() };
/// # assert_eq!(options.queue_bytes_max, 8 * 1024 * 1024);
/// ```
#[derive(Clone)]
pub struct Options {
    /// The size of a segment file. At least 64 KiB, at most 16 GiB. Default 64 MiB. A frame that
    /// is larger gets a segment of its own size.
    pub segment_bytes: u64,
    /// How many encoded bytes may wait for the disk before a submit is refused as
    /// [`Full`](crate::SubmitError::Full). Default 8 MiB. A single larger batch is taken when
    /// nothing waits.
    pub queue_bytes_max: usize,
    /// How many bytes one write and sync covers. Default 4 MiB. A single larger batch goes alone.
    pub frame_bytes_max: usize,
    /// How many bytes of the newest durable records stay in memory for readers. Default 32 MiB.
    pub tail_bytes_max: usize,
    /// How many of the last records with an id are remembered to recognise duplicates. Default
    /// 1,048,576 (about 35 bytes of memory each), at most 134,217,728. 0 turns it off.
    pub dedup_window: u32,
    /// When an append counts as done. Default [`Durability::Sync`].
    pub durability: Durability,
    /// What trimming may remove. Default: nothing.
    pub retention: Retention,
    /// Microseconds since the Unix epoch. Default: the system clock. Frame times never go back:
    /// a clock that does is held at the last time written.
    pub clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// The largest encoded record: its 16 or 32 byte header, topic, key and body. Default 16 MiB.
    pub record_bytes_max: usize,
    /// The largest encoded batch. Default 64 MiB.
    pub batch_bytes_max: usize,
    /// Whether spare segments and indexes are made on a background thread (the default) or, for
    /// reproducible tests, by the appending thread.
    #[doc(hidden)]
    pub background: bool,
}

/// The smallest segment: a header and room for a few frames.
pub(crate) const SEGMENT_BYTES_MIN: u64 = 64 * 1024;
/// Offsets in the index are 32-bit counts of 8 bytes.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 * 1024 * 1024,
            queue_bytes_max: 8 * 1024 * 1024,
            frame_bytes_max: 4 * 1024 * 1024,
            tail_bytes_max: 32 * 1024 * 1024,
            dedup_window: 1 << 20,
            durability: Durability::Sync,
            retention: Retention::default(),
            clock: Arc::new(system_micros),
            record_bytes_max: 16 * 1024 * 1024,
            batch_bytes_max: 64 * 1024 * 1024,
            background: true,
        }
    }
}

impl Options {
    /// Refuses settings that cannot work, and names the one that is wrong.
    pub(crate) fn validate(&self) -> Result<()> {
        let out = |name, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                Err(Error::Option {
                    name,
                    value,
                    min,
                    max,
                })
            }
        };
        let batch_max = BATCH_BYTES_LIMIT as u64;
        out(
            "segment_bytes",
            self.segment_bytes,
            SEGMENT_BYTES_MIN,
            SEGMENT_BYTES_MAX,
        )?;
        out(
            "dedup_window",
            u64::from(self.dedup_window),
            0,
            u64::from(crate::dedup::WINDOW_MAX),
        )?;
        out(
            "queue_bytes_max",
            self.queue_bytes_max as u64,
            4096,
            batch_max,
        )?;
        out(
            "frame_bytes_max",
            self.frame_bytes_max as u64,
            4096,
            batch_max,
        )?;
        out(
            "batch_bytes_max",
            self.batch_bytes_max as u64,
            64,
            batch_max,
        )?;
        out(
            "record_bytes_max",
            self.record_bytes_max as u64,
            64,
            batch_max,
        )
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("segment_bytes", &self.segment_bytes)
            .field("queue_bytes_max", &self.queue_bytes_max)
            .field("frame_bytes_max", &self.frame_bytes_max)
            .field("tail_bytes_max", &self.tail_bytes_max)
            .field("dedup_window", &self.dedup_window)
            .field("durability", &self.durability)
            .field("retention", &self.retention)
            .field("record_bytes_max", &self.record_bytes_max)
            .field("batch_bytes_max", &self.batch_bytes_max)
            .finish_non_exhaustive()
    }
}

fn system_micros() -> i64 {
    // A clock before 1970 reads as 0; one past the year 294,000 as the last microsecond.
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

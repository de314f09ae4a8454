//! When the next checkpoint is due: once the log has grown by enough since the last one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// When the next checkpoint is due.
#[derive(Debug)]
pub(crate) struct CheckpointSchedule {
    /// Bytes of log between two checkpoints at the least.
    bytes_min: u64,
    /// Bytes submitted since the last one.
    grown: AtomicU64,
    /// How many are enough.
    enough: AtomicU64,
    due: Arc<Notify>,
    /// Held while one is written: the background, an operator and closing may want to at once.
    writing: Mutex<()>,
}

impl CheckpointSchedule {
    /// `last_bytes` is the size of the last checkpoint.
    pub(crate) fn new(bytes_min: u64, last_bytes: usize) -> Self {
        let schedule = Self {
            bytes_min,
            grown: AtomicU64::new(0),
            enough: AtomicU64::new(0),
            due: Arc::default(),
            writing: Mutex::default(),
        };
        schedule.written(last_bytes);
        schedule
    }

    /// The log grew.
    pub(crate) fn grew(&self, bytes: usize) {
        let grown = self.grown.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if grown >= self.enough.load(Ordering::Relaxed) {
            self.due.notify_one();
        }
    }

    /// A checkpoint of so many bytes was written: a large one is not written again soon.
    pub(crate) fn written(&self, bytes: usize) {
        let enough = self.bytes_min.max(2 * bytes as u64);
        self.enough.store(enough, Ordering::Relaxed);
        self.grown.store(0, Ordering::Relaxed);
    }

    /// Told when one is due.
    pub(crate) fn due(&self) -> Arc<Notify> {
        self.due.clone()
    }

    /// Waits until no other one is being written, and keeps it so. Blocks.
    pub(crate) fn exclusive(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

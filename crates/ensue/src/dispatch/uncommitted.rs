//! How much handlers have returned that is not committed yet: beyond a limit, none begins.

use std::sync::atomic::{AtomicUsize, Ordering};

/// No further handler begins while what others returned and is not committed has more bytes.
const UNCOMMITTED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What the workers of one session have reported and the engine has not committed, in bytes.
#[derive(Debug, Default)]
pub(super) struct Uncommitted(AtomicUsize);

impl Uncommitted {
    /// Whether it is too much, together with `more` that is not reported yet.
    pub(super) fn is_full(&self, more: usize) -> bool {
        self.0.load(Ordering::Relaxed).saturating_add(more) > UNCOMMITTED_BYTES_MAX
    }

    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Something is committed, or dropped. Whether it was too much and is no longer. Only what was
    /// added counts: a worker that found it full with more of its own looks again when that is added.
    pub(super) fn remove(&self, bytes: usize) -> bool {
        let before = self.0.fetch_sub(bytes, Ordering::Relaxed);
        before > UNCOMMITTED_BYTES_MAX && before - bytes <= UNCOMMITTED_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_that_comes_before_more_is_added_is_seen_only_by_looking_again() {
        let (half, more) = (UNCOMMITTED_BYTES_MAX / 2, UNCOMMITTED_BYTES_MAX / 2 + 1);
        let uncommitted = Uncommitted::default();
        uncommitted.add(half);
        assert!(uncommitted.is_full(more));
        assert!(!uncommitted.remove(half), "no worker is told");
        uncommitted.add(more);
        assert!(!uncommitted.is_full(0), "there is room all the same");
        uncommitted.add(half);
        assert!(uncommitted.is_full(0));
        assert!(uncommitted.remove(half), "now the workers are");
    }
}

//! Takes away what makes the log safe, one line at a time, so that a test can see whether the
//! attacks on it would notice. Only builds with the feature `sabotage` can, and all is in place
//! until a test says otherwise; in every other build the questions are constant.

#[cfg(feature = "sabotage")]
use std::sync::atomic::{AtomicU32, Ordering};

/// A line that makes the log safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safeguard {
    /// A frame is synced before it is acknowledged.
    FrameSync,
    /// A new segment is synced before its name is given.
    SegmentSync,
    /// A small file is synced before it replaces the one before.
    FileSync,
    /// Names are made durable.
    DirectorySync,
    /// Checksums of records are compared.
    RecordChecksum,
    /// Checksums of frame headers are compared.
    FrameChecksum,
    /// Checksums of segment headers and small files are compared.
    FileChecksum,
    /// The frames of another segment are told apart.
    Salt,
    /// Each frame follows the one before it.
    Chain,
    /// A good frame behind a bad one is damage.
    SearchBeyond,
    /// The remains of a torn write are cleared.
    TornClear,
    /// What recovery found is written and synced again.
    RecoveredTail,
    /// What recovery found has its names made durable.
    RecoveredNames,
    /// A log that was closed ends where it said.
    CleanMarker,
    /// A failed write or sync stops the log.
    Poison,
    /// An id is appended once.
    Dedup,
    /// The manifest says what is trimmed before it is.
    TrimOrder,
    /// The ids of what is trimmed are kept.
    TrimmedIds,
}

impl Safeguard {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::FrameSync,
        Self::SegmentSync,
        Self::FileSync,
        Self::DirectorySync,
        Self::RecordChecksum,
        Self::FrameChecksum,
        Self::FileChecksum,
        Self::Salt,
        Self::Chain,
        Self::SearchBeyond,
        Self::TornClear,
        Self::RecoveredTail,
        Self::RecoveredNames,
        Self::CleanMarker,
        Self::Poison,
        Self::Dedup,
        Self::TrimOrder,
        Self::TrimmedIds,
    ];

    /// Whether it is taken away.
    #[cfg(not(feature = "sabotage"))]
    pub(crate) const fn is_off(self) -> bool {
        false
    }

    /// Whether it is taken away.
    #[cfg(feature = "sabotage")]
    pub(crate) fn is_off(self) -> bool {
        OFF.load(Ordering::Relaxed) & (1 << self as u32) != 0
    }

    /// Takes it away in this process, and puts all others back.
    #[cfg(feature = "sabotage")]
    pub fn take_away(self) {
        OFF.store(1 << self as u32, Ordering::Relaxed);
    }

    /// Puts all of them back.
    #[cfg(feature = "sabotage")]
    pub fn put_back() {
        OFF.store(0, Ordering::Relaxed);
    }
}

#[cfg(feature = "sabotage")]
static OFF: AtomicU32 = AtomicU32::new(0);

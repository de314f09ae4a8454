//! Where batches go: into this process's own log, or into the queue of a log that several processes
//! share. The runtime submits to either without knowing which.

use ensue_log as log;

use crate::pending_write::{PendingWrite, Room};

/// Takes batches, in the order in which they are submitted.
pub(crate) trait WriteSink {
    /// Puts a batch into the queue.
    ///
    /// # Errors
    /// `Full` with the batch when there is no room for it; anything else is final.
    fn submit(&self, batch: log::Batch) -> Result<PendingWrite, log::SubmitError>;

    /// Resolves when a batch that was refused as full is worth submitting again. Asked for before the
    /// submit, so that no room is missed.
    fn room(&self) -> Room;
}

impl WriteSink for log::Log {
    fn submit(&self, batch: log::Batch) -> Result<PendingWrite, log::SubmitError> {
        Self::submit(self, batch).map(PendingWrite::Log)
    }

    fn room(&self) -> Room {
        Room::Log(Self::room(self))
    }
}

//! The mark in a log that another one is, or was, copied into.

use serde::{Deserialize, Serialize};

use crate::ids::ProcessId;
use crate::model::record::Migrating;

/// Where a log came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Migration {
    /// The URL of the log that is copied, without secrets.
    from: String,
    /// The process that copies.
    boot: ProcessId,
    /// Whether everything is there.
    is_complete: bool,
    /// Whether that log had lost events to retention: what a key had before is then unknown.
    is_trimmed: bool,
}

impl Migration {
    pub(crate) fn of(migrating: &Migrating) -> Self {
        Self {
            from: migrating.from.clone(),
            boot: migrating.boot,
            is_complete: false,
            is_trimmed: migrating.is_trimmed,
        }
    }

    /// The URL of the log that is copied, without secrets.
    pub(crate) fn from(&self) -> &str {
        &self.from
    }

    /// The process that copies.
    pub(crate) fn boot(&self) -> ProcessId {
        self.boot
    }

    /// Everything is there.
    pub(super) fn complete(&mut self) {
        self.is_complete = true;
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether that log had lost events to retention: what a key had before is then unknown.
    pub(super) fn is_trimmed(&self) -> bool {
        self.is_trimmed
    }
}

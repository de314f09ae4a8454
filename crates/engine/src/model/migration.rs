//! The mark in a log that another one is, or was, copied into.

use serde::{Deserialize, Serialize};

use crate::ids::ProcessId;
use crate::model::record::Migrating;

/// Where a log came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Migration {
    /// The URL of the log that is copied, without secrets.
    pub(crate) from: String,
    /// The process that copies.
    pub(crate) boot: ProcessId,
    /// Whether everything is there.
    pub(crate) is_complete: bool,
    /// Whether that log had lost events to retention: what a key had before is then unknown.
    pub(super) is_trimmed: bool,
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

    /// Why nobody may work on the log yet.
    pub(crate) fn unfinished(&self) -> String {
        format!(
            "the log holds a part of `{}`: run `ensue migrate` with the same URLs again, it goes \
             on where it was",
            self.from
        )
    }
}

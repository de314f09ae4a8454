//! The mark in a log that another one is, or was, copied into.

use serde::{Deserialize, Serialize};

use crate::engine::embedded::record::Migrating;
use crate::engine::embedded::state::State;

/// Where a log came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct Migration {
    /// The URL of the log that is copied, without secrets.
    pub(super) from: String,
    /// The process that copies.
    pub(in super::super) boot: u64,
    /// Whether everything is there.
    pub(in super::super) is_complete: bool,
}

impl Migration {
    pub(in super::super) fn of(migrating: &Migrating) -> Self {
        Self {
            from: migrating.from.clone(),
            boot: migrating.boot,
            is_complete: false,
        }
    }

    /// Why nobody may work on the log yet.
    pub(in super::super) fn unfinished(&self) -> String {
        format!(
            "the log holds a part of `{}`: run `ensue migrate` with the same URLs again, it goes \
             on where it was",
            self.from
        )
    }
}

impl State {
    /// The migration that is under way, or was interrupted.
    pub(in super::super) fn unfinished_migration(&self) -> Option<&Migration> {
        self.migration.as_ref().filter(|it| !it.is_complete)
    }

    /// Whether there are neither groups nor schedules.
    pub(in super::super) fn holds_nothing(&self) -> bool {
        self.groups.is_empty() && self.schedules.len() == 0
    }
}

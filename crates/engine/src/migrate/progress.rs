//! How far a migration is, for people who wait for it.

use serde::Serialize;

/// What a migration does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Comparing what the target has already.
    Comparing,
    /// Copying events.
    Copying,
    /// Comparing both sides.
    Verifying,
    /// Copying schedules and groups.
    Restoring,
}

/// How far a migration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// What it does.
    pub step: Step,
    /// How many events (when restoring: schedules and groups) of this step are done.
    pub done: u64,
    /// How many there are.
    pub total: u64,
}

/// Where a progress is told.
pub(super) type Tell<'a> = &'a (dyn Fn(Progress) + Send + Sync);

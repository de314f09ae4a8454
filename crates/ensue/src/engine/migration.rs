//! `migrate`: which engines the two URLs name, and that they are two.

use ensue_engine::migrate::{Migrated, Progress};

use super::table::place_of;
use crate::engine::Url;
use crate::error::{Error, MigrateError, Result};

/// Copies the log at `from` to `to`: events with their ids, times and keys, in order, and of each
/// group its position, retries, parked events, dead letters and state, and the schedules.
///
/// Offline: no program may work on either side; the source is only read (a process that copies from a
/// server comes and goes there). Positions are the target's own. Interrupted at any moment, it
/// goes on where it was when it is called again; until it is complete, no engine opens the target.
/// Called again after that, it compares both sides and changes nothing.
///
/// `tell` is called often.
///
/// # Errors
/// [`MigrateError`] when a process works on one side, when the target holds something else, or when
/// both sides are not the same at the end; [`OpenError::Locked`](crate::error::OpenError::Locked)
/// when a directory is owned, [`LimitError`](crate::error::LimitError) when the target may not hold
/// as much, and what the engines report.
pub async fn migrate(
    from: &str,
    to: &str,
    tell: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Migrated> {
    if from == to {
        return Err(Error::Migrate(MigrateError::Unfit {
            url: Url::parse(to)?.to_string(),
            found: "source and target are the same",
            expected: "another log",
        }));
    }
    ensue_engine::migrate::migrate(place_of(from)?, place_of(to)?, tell).await
}

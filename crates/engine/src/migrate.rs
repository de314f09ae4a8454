//! Copying a whole log to another engine, while no program works on either.
//!
//! ```text
//! source ─> events, in order ──────────────────────────┐
//!    │                                                 v
//!    │      walk both, side by side ─> which position became which
//!    v                                                 │
//! groups, schedules ─> mapped to the new positions ────┴─> target
//! ```
//!
//! Events go first, in batches, as they are. What is there of them is what an interrupted copy has
//! to go on from: it is compared with the source's, byte by byte, and the copy goes on behind it.
//! Then schedules and groups are written, with the positions that the events have now, and
//! last of all that the copy is complete. Until then no engine opens the target (`marker`).
//!
//! Control records are not copied: what they come to is.

mod compare;
mod events;
mod exclusive;
mod place;
mod positions;
mod progress;
mod restore;
mod source;
mod target;

use serde::Serialize;

use self::progress::Tell;
use self::source::Source;
use self::target::Target;
use crate::error::{Error, MigrateError, Result};
use crate::runtime::inside::is_inside;

pub use self::place::Place;
pub use self::progress::{Progress, Step};

/// What a migration did, after both sides were compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Migrated {
    /// The source's URL, without secrets.
    pub from: String,
    /// The target's.
    pub to: String,
    /// How many events both sides hold.
    pub events: u64,
    /// The bytes of their topics, keys and bodies.
    pub bytes: u64,
    /// CRC32C over all of them, in order; that of both sides is the same.
    pub checksum: u32,
    /// How many of the events the target had already.
    pub resumed_at: u64,
    /// How many groups.
    pub groups: usize,
    /// How many dead letters they have.
    pub dead: usize,
    /// How many of their events wait for another attempt.
    pub retrying: usize,
    /// How many of their events are parked.
    pub parked: usize,
    /// How many cells of state they have.
    pub cells: usize,
    /// How many events wait for their time.
    pub scheduled: usize,
    /// Whether the target has the times at which the source appended. Where not, they are the
    /// times of the copy; the events' own times are never changed.
    pub keeps_append_times: bool,
    /// Whether an earlier run had copied everything, so that this one only compared.
    pub was_complete: bool,
}

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
/// [`MigrateError`] when a program works on one side, when the target holds something else, or when
/// both sides are not the same at the end; [`OpenError::Locked`](crate::error::OpenError::Locked)
/// when a directory is owned, [`LimitError`](crate::error::LimitError) when the target may not hold
/// as much, and what the engines report.
pub async fn migrate(
    from: Place,
    to: Place,
    tell: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Migrated> {
    check_apart(&from, &to)?;
    let source = Source::open(from).await?;
    let outcome = with_source(&source, to, tell).await;
    let closed = source.close().await;
    let migrated = outcome?;
    closed.map(|()| migrated)
}

/// Refuses a copy that would lie in the log that is copied.
fn check_apart(from: &Place, to: &Place) -> Result<()> {
    match (from, to) {
        (Place::Directory(from), Place::Directory(to))
            if is_inside(&to.directory()?, &from.directory()?) =>
        {
            Err(Error::Migrate(MigrateError::Unfit {
                url: to.to_string(),
                found: "it lies in the directory of the source, or is the same",
                expected: "another directory",
            }))
        }
        _ => Ok(()),
    }
}

async fn with_source(source: &Source, to: Place, tell: Tell<'_>) -> Result<Migrated> {
    source.check_whole()?;
    let target = Target::open(to, source).await?;
    let outcome = copy(source, &target, tell).await;
    let closed = target.close().await;
    let migrated = outcome?;
    closed.map(|()| migrated)
}

async fn copy(source: &Source, target: &Target, tell: Tell<'_>) -> Result<Migrated> {
    let total = source.count().await?;
    let was_complete = target.check_fit(source).await?;
    let (there, _) = compare::walk(source, target, Step::Comparing, total, tell).await?;
    if !was_complete {
        target.begin(source).await?;
        target.append_rest(source, &there, total, tell).await?;
    } else if there.events != total {
        return Err(target.moved_on());
    }
    let (both, positions) = compare::walk(source, target, Step::Verifying, total, tell).await?;
    if both.events != total {
        return Err(Error::Migrate(MigrateError::Incomplete {
            url: target.url(),
            expected: format!("{total} events"),
            found: format!("{} events", both.events),
        }));
    }
    let groups = positions.of_groups(&source.state)?;
    if !was_complete {
        target.restore(source, &groups, tell).await?;
    }
    if !target.has_groups(&groups) || !target.has_schedules(source).await? {
        if was_complete {
            return Err(target.moved_on());
        }
        return Err(Error::Migrate(MigrateError::Incomplete {
            url: target.url(),
            expected: "the groups and schedules of the source".to_owned(),
            found: "others".to_owned(),
        }));
    }
    source.check_unchanged().await?;
    if !was_complete {
        target.complete(total).await?;
    }
    let all = || groups.values();
    Ok(Migrated {
        from: source.url.clone(),
        to: target.url(),
        events: both.events,
        bytes: both.bytes,
        checksum: both.checksum,
        resumed_at: there.events,
        groups: groups.len(),
        dead: all().map(|it| it.set_aside().dead()).sum(),
        retrying: all().map(|it| it.set_aside().retrying()).sum(),
        parked: all().map(|it| it.set_aside().parked()).sum(),
        cells: all().map(|it| it.cells().iter().count()).sum(),
        scheduled: source.state.schedules().len(),
        keeps_append_times: target.keeps_times(),
        was_complete,
    })
}

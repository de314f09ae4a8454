//! The embedded engine: a durable log in a directory (or in memory), inside this process.
//!
//! ```text
//! append ──────────────────────────────┐
//! commit: claim ─> one batch ──────────┤            ┌─> state (what is durable: replayed at open)
//!         (events, schedules, record)  ├─> the log ─┤
//! operators, joins, leaves: records ───┘            └─> members: read, filter, deliver
//! ```
//!
//! What is durable beside the events is a fold of *control records* in the same log (`record`
//! describes them, `state` folds them): groups and their positions, what they put aside, their
//! state, schedules. A checkpoint of the fold is written now and then, so that opening replays
//! little. What is not durable (members, what they hold, what was read ahead) is `group_session`, and is
//! gone with the process.
//!
//! # What retention keeps
//!
//! Retention removes whole segments that are too old or too many, but never one that somebody
//! still needs. A position is pinned by: a group that has not settled it, its retries, parked
//! events and dead letters, a scheduled event, the last two checkpoints. A group that nobody
//! consumes any more pins the log until it is deleted.
//!
//! # Order
//!
//! A key hashes to one of 256 slots; a slot belongs to one member at a time and moves only while
//! none of its events is in its owner's hands. An event that fails blocks its key: later events of
//! the key are *parked* behind it, durably, before the group's low-water mark passes them.
//!
//! # No key holds up another
//!
//! Of a key that is slow only so much is in a member's hands and read ahead (`turns`), of one that
//! is blocked only so much is kept one by one (`set_aside`). What is beyond that is the key's *backlog*:
//! all of it from a position on waits in the log alone, and a record says so before the low-water
//! mark passes it. When the key's lane has run empty, it takes up the next events (`page`).
//!
//! What that takes of memory has two limits. With `parked_max` events put aside, a dead letter that
//! is to be skipped stops its key instead, so that a key adds one and no more; with as many keys
//! waiting, the group reads nothing further. Status says both.
//!
//! # Events that end their process
//!
//! A member that joined and never left was killed, or killed its process. If the group has not
//! moved since that member joined, the next one is careful: events are delivered a few at a time,
//! after a durable record that their attempts begin, and one at a time if they had begun when the
//! process ended again. What began and has no outcome counts as an attempt. A process that is
//! killed while it makes progress leaves no such trace.

#[cfg(test)]
pub(crate) mod tests;

use crate::log_error;
use crate::model::refusal::Refusal;
use crate::runtime::admin;
use crate::runtime::inside;
use crate::runtime::locked_state;
use crate::runtime::query;
use crate::runtime::read_only;
use crate::runtime::status;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use ensue_log as log;
use futures_util::future::BoxFuture;

use crate::background;
use crate::engine::Url;
use crate::engine::{
    Append, Appended, DeadLetter, DeadLetterFilter, Driver, EngineStatus, Guarantees, Member, Page,
    Position, Query, Reset, ResetPlan, Scheduled, SharedEngine, Subscription,
};
use crate::error::{EngineError, Error, OpenError, Result};
use crate::event::EventId;
use crate::model::change::Change;
use crate::model::record::Left;
use crate::pending_write::Submission;
use crate::runtime::engine_inner::{Handle, Shared};
use crate::runtime::lookup::blocking;
use crate::runtime::member::EmbeddedMember;
use crate::runtime::settings::Settings;
use crate::time::Clock;

use ensue_log::{Error as Damage, Progress, Report, Salvaged};

/// Opens the directory of `url`.
#[doc(hidden)]
pub async fn open_directory(url: Url, clock: Clock) -> Result<SharedEngine> {
    let settings = Settings::of(&url, clock)?;
    let directory = directory(&url)?;
    let storage = Arc::new(log::storage::File::new(&directory));
    match Embedded::open(storage, settings).await {
        Ok(engine) => Ok(Arc::new(engine)),
        Err(Error::Open(OpenError::Locked { pid, .. })) => {
            Err(Error::Open(OpenError::Locked { directory, pid }))
        }
        Err(error) => Err(Settings::refused(&url, error)),
    }
}

/// Opens a log in memory.
#[doc(hidden)]
pub async fn open_memory(url: Url, clock: Clock) -> Result<SharedEngine> {
    let settings = Settings::of(&url, clock)?;
    let storage = Arc::new(log::storage::Memory::new());
    let engine = Embedded::open(storage, settings).await;
    Ok(Arc::new(
        engine.map_err(|error| Settings::refused(&url, error))?,
    ))
}

/// Opens the directory of `url` for reading, whoever owns it.
#[doc(hidden)]
pub async fn open_reader(url: Url, clock: Clock) -> Result<SharedEngine> {
    let settings = Settings::of(&url, clock)?;
    let directory = directory(&url)?;
    Ok(Arc::new(
        read_only::Reader::open(directory, settings).await?,
    ))
}

pub(crate) fn directory(url: &Url) -> Result<String> {
    Ok(url.directory()?.display().to_string())
}

/// Verifies every byte of the log in `directory`: checksums, the chain of writes, indexes,
/// checkpoints. Reads everything, and blocks; `progress` is called after every piece. Works while
/// another process owns the directory.
///
/// # Errors
/// [`EngineError::Io`] when the files cannot be read. Damage is not an error but a line of the
/// report.
pub fn check(directory: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Report> {
    let storage = Arc::new(log::storage::File::new(directory));
    match log::Follower::open(storage) {
        Ok(follower) => follower.view().check(progress).map_err(log_error::of_log),
        // Where the log ends cannot be told: no more than this can be.
        Err(damage @ (Damage::Corrupt { .. } | Damage::Version { .. })) => {
            let mut report = Report::default();
            report.damage.push(damage);
            Ok(report)
        }
        Err(error) => Err(log_error::of_log(error)),
    }
}

/// Copies every record that can be read of the damaged log in `from` into a new log in `to`, with
/// its position and time, and says what is lost. Changes nothing in `from`, which no process may
/// have open. Blocks.
///
/// What is lost is skipped: an event that was not handled is not handled, and a position, a retry or
/// a dead letter whose record is lost is as it was recorded before.
///
/// # Errors
/// [`OpenError::Locked`] when a process has one of them open, [`EngineError::Io`] with `NotFound`
/// when there is nothing to copy, with `AlreadyExists` when `to` holds a log already,
/// [`OpenError::InsideSource`] when `to` lies in `from`.
pub fn salvage(from: &Path, to: &Path) -> Result<Salvaged> {
    if inside::is_inside(to, from) {
        return Err(Error::Open(OpenError::InsideSource {
            directory: to.display().to_string(),
        }));
    }
    let target = Arc::new(log::storage::File::new(to));
    let salvaged = log::salvage(&log::storage::File::new(from), target);
    salvaged.map_err(|error| match log_error::of_log(error) {
        Error::Open(OpenError::Locked { pid, .. }) => Error::Open(OpenError::Locked {
            directory: from.display().to_string(),
            pid,
        }),
        error => error,
    })
}

/// The embedded engine. Mostly made by `ensue::connect`; directly by tests that bring
/// their own storage.
#[derive(Debug)]
pub struct Embedded {
    pub(crate) shared: Handle,
}

impl Embedded {
    /// Opens the log in `storage`, or creates it.
    ///
    /// # Errors
    /// [`OpenError::Locked`] when somebody else owns it, [`EngineError::Corrupt`] when it is
    /// damaged.
    pub async fn open(storage: Arc<dyn log::Storage>, settings: Settings) -> Result<Self> {
        background::run(async move {
            let shared = Arc::new(blocking(move || Shared::open(storage, settings)).await?);
            let engine = Self {
                shared: Handle::new(shared),
            };
            engine.shared.check_whole()?;
            engine.shared.start();
            Ok(engine)
        })
        .await
    }

    /// Writes a checkpoint now, and lets retention remove what nobody needs. Happens by itself as
    /// the log grows.
    ///
    /// # Errors
    /// What the disk reports.
    pub async fn checkpoint(&self) -> Result<()> {
        let shared = self.shared.clone();
        blocking(move || shared.write_checkpoint()).await
    }

    /// How many events are in members' hands, if nothing will happen here before the clock moves,
    /// something is appended or one of these ends.
    #[doc(hidden)]
    pub fn at_rest(&self) -> Option<usize> {
        let mut core = self.shared.core();
        core.advance();
        core.at_rest(self.shared.log.durable().get())
    }

    /// Ends like a killed process: nobody leaves, nothing is said.
    #[cfg(test)]
    fn crash(self, members: Vec<Box<dyn Member>>) {
        self.abandon();
        drop(members);
        drop(self);
    }
}

impl Shared {
    /// Says that all members left, writes a checkpoint, lets go of the log. Blocks.
    pub(crate) fn close(&self) -> Result<()> {
        self.stop_tasks();
        let mut left = Vec::new();
        {
            let mut core = self.core();
            core.advance();
            for (group, member) in core.members_here() {
                left.push(Change::Left(Left {
                    group: group.clone(),
                    member,
                }));
                core.fence(&group);
            }
        }
        let recorded = self.record_now(left);
        let checkpoint = recorded.and_then(|()| self.write_checkpoint());
        let closed = self.log.close().map_err(log_error::of_log);
        self.core().advance();
        match checkpoint {
            // The log says better what happened.
            Err(
                Error::Engine(EngineError::Closed)
                | Error::Engine(EngineError::Stopped(_))
                | Error::Engine(EngineError::OwnershipLost { .. }),
            )
            | Ok(()) => closed,
            Err(error) => closed.and(Err(error)),
        }
    }

    /// Submits control records and waits until they are durable. Blocks.
    fn record_now(&self, changes: Vec<Change>) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut batch = log::Batch::new();
        for change in &changes {
            change.push_to(&mut batch)?;
        }
        loop {
            let room = self.log.room();
            let outcome = self.core().submit(
                &self.log,
                batch,
                changes.clone(),
                locked_state::Terms::default(),
            );
            match outcome {
                Ok(Submission::Log(submitted)) => {
                    return submitted.wait().map(drop).map_err(log_error::of_log);
                }
                // What goes by way of a shared log was said before the log was closed.
                Ok(Submission::Shared(_)) => return Ok(()),
                Err(log::SubmitError::Full(refused)) => batch = refused,
                Err(error) => return Err(log_error::of_submit(error)),
            }
            room.wait();
        }
    }
}

impl Driver for Embedded {
    fn url(&self) -> &str {
        &self.shared.settings.url
    }

    fn abandon(&self) {
        self.shared.is_closed.store(true, Ordering::Release);
        self.shared.stop_tasks();
        let here = self.shared.core().members_here();
        for (group, _) in here {
            self.shared.core().fence(&group);
        }
        if self.shared.replica.is_some() {
            self.shared.halt(Refusal::Closed);
        }
    }

    fn guarantees(&self) -> &Guarantees {
        &self.shared.guarantees
    }

    fn clock(&self) -> &Clock {
        &self.shared.settings.clock
    }

    fn append(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Vec<Appended>>> {
        Box::pin(self.shared.clone().append(batch))
    }

    fn join(&self, subscription: Subscription) -> BoxFuture<'_, Result<Box<dyn Member>>> {
        Box::pin(async move {
            let member = EmbeddedMember::join(&self.shared, subscription).await?;
            Ok(Box::new(member) as Box<dyn Member>)
        })
    }

    fn read(&self, query: Query) -> BoxFuture<'_, Result<Page>> {
        Box::pin(async move {
            self.shared.check_open()?;
            query::read(&self.shared.view, query).await
        })
    }

    fn wait(&self, position: Position) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let past = log::Position::new(position.get());
            let changed = self.shared.log.changed(past);
            let changed = async { changed.await.map(drop).map_err(log_error::of_log) };
            if let Some(replica) = &self.shared.replica {
                let halted = replica.halted(&self.shared);
                return tokio::select! {
                    biased;
                    changed = changed => changed,
                    why = halted => Err(why),
                };
            }
            changed.await
        })
    }

    fn cancel(&self, names: Vec<EventId>) -> BoxFuture<'_, Result<usize>> {
        Box::pin(self.shared.cancel(names))
    }

    fn scheduled(&self, limit: usize) -> BoxFuture<'_, Result<Vec<Scheduled>>> {
        Box::pin(async move {
            self.shared.check_open()?;
            let due = {
                let mut core = self.shared.core();
                core.advance();
                admin::find_scheduled(&core.state, limit)
            };
            admin::scheduled(&self.shared.view, due).await
        })
    }

    fn state<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
        key: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Bytes>>> {
        let read = || {
            self.shared.check_open()?;
            let mut core = self.shared.core();
            core.advance();
            let group = core.state.groups.get(group);
            Ok(group
                .and_then(|group| group.cells().get(topic, key, name))
                .cloned())
        };
        Box::pin(std::future::ready(read()))
    }

    fn dead_letters<'a>(
        &'a self,
        group: Option<&'a str>,
        filter: DeadLetterFilter,
    ) -> BoxFuture<'a, Result<Vec<DeadLetter>>> {
        Box::pin(async move {
            self.shared.check_open()?;
            let found = {
                let mut core = self.shared.core();
                core.advance();
                admin::find_dead(&core.state, group, &filter)
            };
            admin::dead_letters(&self.shared.view, found).await
        })
    }

    fn redrive<'a>(
        &'a self,
        group: &'a str,
        filter: DeadLetterFilter,
    ) -> BoxFuture<'a, Result<usize>> {
        Box::pin(self.shared.redrive(group, filter))
    }

    fn discard<'a>(
        &'a self,
        group: &'a str,
        filter: DeadLetterFilter,
    ) -> BoxFuture<'a, Result<usize>> {
        Box::pin(self.shared.discard(group, filter))
    }

    fn reset<'a>(&'a self, group: &'a str, reset: Reset) -> BoxFuture<'a, Result<ResetPlan>> {
        Box::pin(self.shared.reset(group, reset))
    }

    fn plan_reset<'a>(&'a self, group: &'a str, reset: Reset) -> BoxFuture<'a, Result<ResetPlan>> {
        Box::pin(async move {
            self.shared.check_open()?;
            self.shared.plan_reset(group, reset).await
        })
    }

    fn delete_group<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.shared.delete_group(group))
    }

    fn status(&self) -> BoxFuture<'_, Result<EngineStatus>> {
        Box::pin(async move {
            self.shared.check_open()?;
            let shared = self.shared.clone();
            blocking(move || status::of_engine(&shared)).await
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            if self.shared.replica.is_some() {
                return self.shared.close_replica().await;
            }
            // One after the other: whoever is second finds everything done.
            let _turn = self.shared.turn.lock().await;
            if self.shared.is_closed.swap(true, Ordering::AcqRel) {
                return Ok(());
            }
            let shared = self.shared.clone();
            blocking(move || shared.close()).await
        })
    }
}

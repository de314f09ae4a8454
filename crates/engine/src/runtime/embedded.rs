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
//! Retention removes whole segments that are too old or too many, but never one that is
//! still needed. A position is pinned by: a group that has not settled it, its retries, parked
//! events and dead letters, a scheduled event, the last two checkpoints. A group without members pins the log until it is deleted.
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
use crate::log_position::to_log;
use crate::model::keyed_state::KeyedState;
use crate::runtime::admin;
use crate::runtime::event_progress;
use crate::runtime::inside;
use crate::runtime::maintenance;
use crate::runtime::query;
use crate::runtime::read_only;
use crate::runtime::reset;
use crate::runtime::status;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ensue_log as log;
use futures_util::future::BoxFuture;

use crate::background;
use crate::engine::Url;
use crate::engine::{
    Append, Appended, Cursor, DeadLetter, DeadLetterFilter, Driver, EngineStatus, EventProgress,
    GroupStatus, Guarantees, Health, Member, Page, Position, Query, Recorded, Reset, ResetPlan,
    Scheduled, SharedEngine, Subscription,
};
use crate::error::{Error, OpenError, Result};
use crate::event::EventId;
use crate::runtime::append;
use crate::runtime::checkpoint;
use crate::runtime::closing;
use crate::runtime::engine_handle::EngineHandle;
use crate::runtime::engine_inner::EngineInner;
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

/// Opens the directory of `url` for reading, whichever process owns it.
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
/// [`EngineError::Io`](crate::error::EngineError::Io) when the files cannot be read. Damage is not an error but a line of the
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
/// [`OpenError::Locked`] when a process has one of them open, [`EngineError::Io`](crate::error::EngineError::Io) with `NotFound`
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
    inner: EngineHandle,
}

impl Embedded {
    /// The engine over an open log: a handle more.
    pub(crate) fn of(inner: Arc<EngineInner>) -> Self {
        Self {
            inner: EngineHandle::new(inner),
        }
    }

    pub(crate) fn inner(&self) -> &Arc<EngineInner> {
        &self.inner
    }

    /// Opens the log in `storage`, or creates it.
    ///
    /// # Errors
    /// [`OpenError::Locked`] when another process owns it, [`EngineError::Corrupt`](crate::error::EngineError::Corrupt) when it is
    /// damaged.
    pub async fn open(storage: Arc<dyn log::Storage>, settings: Settings) -> Result<Self> {
        background::run(async move {
            let inner = blocking(move || EngineInner::open(storage, settings)).await?;
            let engine = Self::of(Arc::new(inner));
            engine.inner.check_whole()?;
            maintenance::start(&engine.inner);
            Ok(engine)
        })
        .await
    }

    /// Writes a checkpoint now, and lets retention remove what is not needed. Happens by itself as
    /// the log grows.
    ///
    /// # Errors
    /// What the disk reports.
    pub async fn checkpoint(&self) -> Result<()> {
        let inner = self.inner.clone();
        blocking(move || checkpoint::write(&inner)).await
    }

    /// How many events are in members' hands, if nothing will happen here before the clock moves,
    /// something is appended or one of these ends.
    #[doc(hidden)]
    pub fn at_rest(&self) -> Option<usize> {
        self.inner.advanced().at_rest(self.inner.end())
    }

    /// Ends like a killed process: no member leaves, nothing is recorded.
    #[cfg(test)]
    fn crash(self, members: Vec<Box<dyn Member>>) {
        self.abandon();
        drop(members);
        drop(self);
    }
}

impl Driver for Embedded {
    fn url(&self) -> &str {
        &self.inner.settings().url
    }

    fn abandon(&self) {
        closing::abandon(&self.inner);
    }

    fn guarantees(&self) -> &Guarantees {
        self.inner.guarantees()
    }

    fn clock(&self) -> &Clock {
        &self.inner.settings().clock
    }

    fn append(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Vec<Appended>>> {
        Box::pin(append::append(self.inner.clone(), batch))
    }

    fn join(&self, subscription: Subscription) -> BoxFuture<'_, Result<Box<dyn Member>>> {
        Box::pin(async move {
            let member = EmbeddedMember::join(&self.inner, subscription).await?;
            Ok(Box::new(member) as Box<dyn Member>)
        })
    }

    fn read(&self, query: Query) -> BoxFuture<'_, Result<Page>> {
        Box::pin(async move {
            self.inner.check_open()?;
            query::read(self.inner.view(), query).await
        })
    }

    fn last<'a>(&'a self, topic: &'a str, key: &'a str) -> BoxFuture<'a, Result<Option<Recorded>>> {
        Box::pin(async move {
            self.inner.check_open()?;
            query::last(self.inner.view(), topic, key).await
        })
    }

    fn progress<'a>(
        &'a self,
        group: &'a str,
        position: Position,
    ) -> BoxFuture<'a, Result<EventProgress>> {
        Box::pin(async move {
            self.inner.check_open()?;
            event_progress::of(&self.inner, group, position).await
        })
    }

    fn wait(&self, cursor: Cursor) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let past = to_log(cursor.position());
            let changed = self.inner.log().changed(past);
            let changed = async { changed.await.map(drop).map_err(log_error::of_log) };
            let Some(upstream) = self.inner.upstream() else {
                return changed.await;
            };
            tokio::select! {
                biased;
                changed = changed => changed,
                why = upstream.until_halted() => Err(why),
            }
        })
    }

    fn cancel(&self, names: Vec<EventId>) -> BoxFuture<'_, Result<usize>> {
        Box::pin(admin::cancel(&self.inner, names))
    }

    fn scheduled(&self, limit: usize) -> BoxFuture<'_, Result<Vec<Scheduled>>> {
        Box::pin(async move {
            self.inner.check_open()?;
            let due = admin::find_scheduled(self.inner.advanced().state(), limit);
            admin::scheduled(self.inner.view(), due).await
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
            self.inner.check_open()?;
            let locked = self.inner.advanced();
            let group = admin::existing(locked.state(), group)?;
            Ok(group.cells().get(topic, key, name).cloned())
        };
        Box::pin(std::future::ready(read()))
    }

    fn states<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
        name: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(String, Bytes)>>> {
        let cells = || -> Result<KeyedState> {
            self.inner.check_open()?;
            let locked = self.inner.advanced();
            Ok(admin::existing(locked.state(), group)?.cells().clone())
        };
        Box::pin(async move {
            let cells = cells()?;
            let [topic, name] = [topic, name].map(str::to_owned);
            let after = after.map(str::to_owned);
            // All of the group's cells are looked at, and not under the lock.
            let page = move || Ok(cells.page(&topic, &name, after.as_deref(), limit));
            blocking(page).await
        })
    }

    fn dead_letters<'a>(
        &'a self,
        group: Option<&'a str>,
        filter: DeadLetterFilter,
    ) -> BoxFuture<'a, Result<Vec<DeadLetter>>> {
        Box::pin(async move {
            self.inner.check_open()?;
            let found = admin::find_dead(self.inner.advanced().state(), group, &filter)?;
            admin::dead_letters(self.inner.view(), found).await
        })
    }

    fn redrive<'a>(
        &'a self,
        group: &'a str,
        filter: DeadLetterFilter,
    ) -> BoxFuture<'a, Result<usize>> {
        Box::pin(admin::redrive(&self.inner, group, filter))
    }

    fn discard<'a>(
        &'a self,
        group: &'a str,
        filter: DeadLetterFilter,
    ) -> BoxFuture<'a, Result<usize>> {
        Box::pin(admin::discard(&self.inner, group, filter))
    }

    fn reset<'a>(&'a self, group: &'a str, reset: Reset) -> BoxFuture<'a, Result<ResetPlan>> {
        Box::pin(reset::reset(&self.inner, group, reset))
    }

    fn plan_reset<'a>(&'a self, group: &'a str, reset: Reset) -> BoxFuture<'a, Result<ResetPlan>> {
        Box::pin(async move {
            self.inner.check_open()?;
            reset::plan(&self.inner, group, reset).await
        })
    }

    fn delete_group<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(admin::delete_group(&self.inner, group))
    }

    fn health(&self) -> BoxFuture<'_, Result<Health>> {
        let health = self.inner.check_open();
        Box::pin(std::future::ready(
            health.map(|()| status::health(&self.inner)),
        ))
    }

    fn group<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<GroupStatus>> {
        Box::pin(async move {
            self.inner.check_open()?;
            let (inner, name) = (self.inner.clone(), name.to_owned());
            blocking(move || status::group_of_engine(&inner, &name)).await
        })
    }

    fn status(&self) -> BoxFuture<'_, Result<EngineStatus>> {
        Box::pin(async move {
            self.inner.check_open()?;
            let inner = self.inner.clone();
            blocking(move || status::of_engine(&inner)).await
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(closing::close(&self.inner))
    }
}

//! What the engine, its members and its background tasks share: the log, the lock over the state, and
//! how a batch gets into the log.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ensue_log as log;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use super::checkpoint_schedule::CheckpointSchedule;
use super::locked_state::LockedState;
use super::lookup::blocking;
use super::pending_changes::Terms;
use super::refusals::Refusals;
use super::replay;
use super::settings::Settings;
use super::upstream::Upstream;
use super::write_sink::WriteSink;
use crate::engine::{Guarantees, Position};
use crate::error::{EngineError, Error, MigrateError, Result};
use crate::ids::ProcessId;
use crate::log_error;
use crate::log_position::from_log;
use crate::model::change::Change;
use crate::model::refusal::Refusal;
use crate::pending_write::{PendingWrite, Room};
use crate::time::Timestamp;

/// How long a member or a process that ends waits for a server that is away: what was not recorded
/// by then is left to the lease.
pub(crate) const FAREWELL_WAIT_MAX: Duration = Duration::from_secs(5);

/// An open log with everything around it.
#[derive(Debug)]
pub(crate) struct EngineInner {
    settings: Settings,
    guarantees: Guarantees,
    log: log::Log,
    view: log::View,
    state: Mutex<LockedState>,
    /// Joins and what operators do happen one at a time.
    admin: tokio::sync::Mutex<()>,
    is_closed: AtomicBool,
    warm: OnceCell<()>,
    checkpoints: CheckpointSchedule,
    /// What is refused at present, for the status.
    refusals: Refusals,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// How many handles a program has of it.
    handles: AtomicUsize,
    /// The shared log that this one is the replica of, if it is.
    upstream: Option<Arc<dyn Upstream>>,
}

/// Opening, and what there is.
impl EngineInner {
    /// Opens the log and replays its control records. Blocks.
    pub(crate) fn open(storage: Arc<dyn log::Storage>, settings: Settings) -> Result<Self> {
        let options = settings.log_options();
        Self::open_with(storage, settings, options)
    }

    /// [`open`](Self::open), with options of the log that the settings do not give.
    pub(crate) fn open_with(
        storage: Arc<dyn log::Storage>,
        settings: Settings,
        options: log::Options,
    ) -> Result<Self> {
        let guarantees = settings.guarantees(storage.outlives_process());
        let log = log::Log::open(storage, options).map_err(log_error::of_log)?;
        let recovery = log.recovery();
        if let Some(file) = &recovery.torn_file {
            tracing::warn!(
                file,
                offset = recovery.torn_offset,
                bytes = recovery.torn_bytes,
                "removed the torn end of a write that was never acknowledged"
            );
        }
        let view = log.view();
        let (state, end, checkpoint_bytes) = replay::load(&view)?;
        if state.is_of_trimmed() {
            log.assume_trimmed();
        }
        let boot = ProcessId::new(end.get());
        let state = LockedState::new(state, settings.clock.clone(), boot, settings.bounds());
        let checkpoints = CheckpointSchedule::new(settings.checkpoint_every(), checkpoint_bytes);
        Ok(Self {
            settings,
            guarantees,
            log,
            view,
            state: Mutex::new(state),
            admin: tokio::sync::Mutex::default(),
            is_closed: AtomicBool::new(false),
            warm: OnceCell::new(),
            checkpoints,
            refusals: Refusals::default(),
            tasks: Mutex::default(),
            handles: AtomicUsize::new(0),
            upstream: None,
        })
    }

    /// Makes an engine on a log of its own one on the replica of a shared log.
    pub(crate) fn with_upstream(
        mut self,
        upstream: Arc<dyn Upstream>,
        guarantees: Guarantees,
    ) -> Self {
        self.guarantees = guarantees;
        self.upstream = Some(upstream);
        self.locked().become_replica();
        self
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.settings.clock.now()
    }

    pub(crate) fn guarantees(&self) -> &Guarantees {
        &self.guarantees
    }

    pub(crate) fn log(&self) -> &log::Log {
        &self.log
    }

    pub(crate) fn view(&self) -> &log::View {
        &self.view
    }

    /// The durable end of the log.
    pub(crate) fn end(&self) -> Position {
        from_log(self.log.durable())
    }

    pub(crate) fn checkpoints(&self) -> &CheckpointSchedule {
        &self.checkpoints
    }

    pub(crate) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    pub(crate) fn upstream(&self) -> Option<&dyn Upstream> {
        self.upstream.as_deref()
    }

    /// The state, as it was left.
    pub(crate) fn locked(&self) -> MutexGuard<'_, LockedState> {
        // A panic while it was held would be a bug in the state machine; what is durable is right.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, with everything applied that is durable by now.
    pub(crate) fn advanced(&self) -> MutexGuard<'_, LockedState> {
        let mut locked = self.locked();
        locked.advance();
        locked
    }

    /// Waits for the turn of a join, or of what an operator does: one at a time.
    pub(crate) async fn admin_turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.admin.lock().await
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_closed.load(Ordering::Acquire) {
            Err(Error::Engine(EngineError::Closed))
        } else {
            Ok(())
        }
    }

    /// Refuses everything from here on; whether it did before.
    pub(crate) fn mark_closed(&self) -> bool {
        self.is_closed.swap(true, Ordering::AcqRel)
    }

    /// Refuses a log that another one was copied into in part.
    pub(crate) fn check_whole(&self) -> Result<()> {
        match self.locked().state().unfinished_migration() {
            Some(migration) => Err(Error::Migrate(MigrateError::Unfinished {
                url: Some(self.settings.url.clone()),
                from: migration.from().to_owned(),
            })),
            None => Ok(()),
        }
    }

    /// Completes when the ids of the dedup window are in memory, so that no append reads them.
    pub(crate) async fn warm(self: &Arc<Self>) -> Result<()> {
        let load = || async {
            let inner = self.clone();
            blocking(move || inner.log.warm().map_err(log_error::of_log)).await
        };
        self.warm.get_or_try_init(load).await.map(drop)
    }

    /// Whether nothing is taken any more, for good, because the shared log is not what it was.
    pub(crate) fn is_halted(&self) -> bool {
        let upstream = self.upstream.as_ref();
        upstream.is_some_and(|upstream| upstream.halted().is_some())
    }

    /// Takes nothing any more, for good: whatever waits for the shared log is refused with `why`.
    pub(crate) fn halt(&self, why: &Refusal) {
        let Some(upstream) = &self.upstream else {
            return;
        };
        let mut locked = self.locked();
        upstream.halt(why.clone());
        locked.refuse_pending(why);
    }
}

/// Submitting.
impl EngineInner {
    fn sink(&self) -> &dyn WriteSink {
        match &self.upstream {
            None => &self.log,
            Some(upstream) => upstream.sink(),
        }
    }

    /// Resolves when there is room for a batch that was refused.
    pub(crate) fn room(&self) -> Room {
        self.sink().room()
    }

    /// Submits `batch`, whose last records are those of `changes`, under the lock.
    pub(crate) fn submit_locked(
        &self,
        locked: &mut LockedState,
        batch: log::Batch,
        changes: Vec<Change>,
        terms: Terms,
    ) -> Result<PendingWrite, log::SubmitError> {
        if self.upstream.is_some() {
            // What this process's own log would refuse must not get into the shared one.
            self.log.check(&batch)?;
        }
        locked.submit(self.sink(), batch, changes, terms)
    }

    /// Submits a batch of events alone.
    pub(crate) fn submit_events(
        &self,
        batch: log::Batch,
    ) -> Result<PendingWrite, log::SubmitError> {
        if self.upstream.is_none() {
            // No record of it is applied here: the log keeps the order by itself.
            return WriteSink::submit(&self.log, batch);
        }
        self.submit_locked(&mut self.locked(), batch, Vec::new(), Terms::default())
    }

    /// Runs `submit` until the queue has room for its batch. It gets the batch back each time.
    pub(crate) async fn submit(
        &self,
        mut batch: log::Batch,
        mut submit: impl FnMut(log::Batch) -> Result<PendingWrite, NotSubmitted>,
    ) -> Result<PendingWrite> {
        self.grew(batch.bytes());
        loop {
            let room = self.room();
            match submit(batch) {
                Ok(submitted) => return Ok(submitted),
                Err(NotSubmitted::Log(log::SubmitError::Full(refused))) => batch = refused,
                Err(NotSubmitted::Log(error)) => return Err(self.refused(error)),
                Err(NotSubmitted::Engine(error)) => return Err(error),
            }
            room.wait().await;
        }
    }

    /// The error of a batch that was not taken.
    pub(crate) fn refused(&self, error: log::SubmitError) -> Error {
        if let log::SubmitError::Poisoned { .. } = error
            && let Some(upstream) = &self.upstream
            && let Some(why) = upstream.halted()
        {
            return why;
        }
        log_error::of_submit(error)
    }

    /// Submits control records alone, and waits until they are durable and applied.
    pub(crate) async fn record(self: &Arc<Self>, changes: Vec<Change>) -> Result<()> {
        let submitted = self.submit_changes(changes).await?;
        submitted.await?;
        self.locked().advance();
        Ok(())
    }

    /// As [`Self::record`], for those who must not wait for a server that does not answer: then
    /// the records are on their way, or never come there, and the lease says what they say.
    pub(crate) async fn record_timely(self: &Arc<Self>, changes: Vec<Change>) -> Result<()> {
        if self.upstream.is_none() {
            return self.record(changes).await;
        }
        match tokio::time::timeout(FAREWELL_WAIT_MAX, self.record(changes)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                tracing::warn!("could not record that a member left: its lease will expire");
                Ok(())
            }
        }
    }

    /// Submits control records alone, unless the queue is full.
    pub(crate) fn try_record(&self, changes: &[Change]) -> Result<Option<PendingWrite>> {
        let batch = batch_of(changes)?;
        self.grew(batch.bytes());
        let mut locked = self.advanced();
        match self.submit_locked(&mut locked, batch, changes.to_vec(), Terms::default()) {
            Ok(submitted) => Ok(Some(submitted)),
            Err(log::SubmitError::Full(_)) => Ok(None),
            Err(error) => Err(log_error::of_submit(error)),
        }
    }

    /// Submits control records alone.
    async fn submit_changes(self: &Arc<Self>, changes: Vec<Change>) -> Result<PendingWrite> {
        self.submit(batch_of(&changes)?, |batch| {
            self.check_open()?;
            let mut locked = self.advanced();
            Ok(self.submit_locked(&mut locked, batch, changes.clone(), Terms::default())?)
        })
        .await
    }

    /// Records what `said` gives under the lock, also when the engine takes nothing else any more:
    /// waits for room, and until it is durable.
    pub(crate) async fn record_last(
        &self,
        mut said: impl FnMut(&LockedState) -> Vec<Change>,
    ) -> Result<()> {
        let submitted = self.submit(log::Batch::new(), |_| {
            let mut locked = self.locked();
            let changes = said(&locked);
            let batch = batch_of(&changes)?;
            Ok(self.submit_locked(&mut locked, batch, changes, Terms::default())?)
        });
        submitted.await?.await.map(drop)
    }

    /// Notes that the log grew.
    pub(crate) fn grew(&self, bytes: usize) {
        self.checkpoints.grew(bytes);
    }
}

/// Tasks, handles and the end.
impl EngineInner {
    pub(crate) fn keep_task(&self, task: JoinHandle<()>) {
        self.tasks().push(task);
    }

    pub(crate) fn stop_tasks(&self) {
        let tasks = std::mem::take(&mut *self.tasks());
        tasks.iter().for_each(JoinHandle::abort);
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A program has one handle more.
    pub(super) fn add_handle(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// A program has one handle less: with the last one the directory is given up.
    pub(super) fn remove_handle(&self) {
        if self.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.release();
        }
    }

    /// Gives up the directory, as a process does that is killed: nothing is recorded. What is still at
    /// work in the background finds the log closed.
    pub(crate) fn release(&self) {
        self.mark_closed();
        self.stop_tasks();
        self.log.release();
    }
}

impl Drop for EngineInner {
    fn drop(&mut self) {
        self.stop_tasks();
    }
}

/// A batch of control records alone.
pub(crate) fn batch_of(changes: &[Change]) -> Result<log::Batch> {
    let mut batch = log::Batch::new();
    for change in changes {
        change.push_to(&mut batch)?;
    }
    Ok(batch)
}

/// Why a batch was not submitted.
pub(crate) enum NotSubmitted {
    Log(log::SubmitError),
    Engine(Error),
}

impl From<log::SubmitError> for NotSubmitted {
    fn from(error: log::SubmitError) -> Self {
        Self::Log(error)
    }
}

impl From<Error> for NotSubmitted {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

//! What the engine, its members and its background tasks share.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ensue_log as log;
use tokio::sync::{Notify, OnceCell};
use tokio::task::JoinHandle;

use super::refusals::Refusals;
use super::settings::Settings;
use crate::engine::Guarantees;
use crate::error::{EngineError, Error, MigrateError, Result};
use crate::ids::ProcessId;
use crate::log_error;
use crate::model::change::Change;
use crate::model::group::Group;
use crate::pending_write::{Room, Submission};
use crate::replica::{Outbox, Replica};
use crate::runtime::locked_state::{Core, Terms};
use crate::runtime::lookup::blocking;
use crate::runtime::replay;

/// An open log with everything around it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) guarantees: Guarantees,
    pub(crate) log: log::Log,
    pub(crate) view: log::View,
    core: Mutex<Core>,
    /// Joins and what operators do happen one at a time.
    pub(crate) turn: tokio::sync::Mutex<()>,
    pub(crate) is_closed: AtomicBool,
    warm: OnceCell<()>,
    pub(crate) checkpoint: Checkpoint,
    /// What is refused at present, for the status.
    pub(crate) refusals: Refusals,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// How many handles a program has of it.
    handles: AtomicUsize,
    /// What there is beside the log if it is the replica of a shared one.
    pub(crate) replica: Option<Replica>,
}

/// When the next checkpoint is due.
#[derive(Debug, Default)]
pub(crate) struct Checkpoint {
    /// Bytes submitted since the last one.
    grown: AtomicU64,
    /// How many are enough.
    enough: AtomicU64,
    pub(crate) due: Arc<Notify>,
    /// Held while one is written: the keeper, an operator and closing may want to at once.
    writing: Mutex<()>,
}

impl Shared {
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
        let guarantees = settings.guarantees();
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
        let core = Core::new(
            state,
            settings.clock.clone(),
            ProcessId::new(end),
            settings.bounds(),
        );
        let shared = Self {
            settings,
            guarantees,
            log,
            view,
            core: Mutex::new(core),
            turn: tokio::sync::Mutex::default(),
            is_closed: AtomicBool::new(false),
            warm: OnceCell::new(),
            checkpoint: Checkpoint::default(),
            refusals: Refusals::default(),
            tasks: Mutex::default(),
            handles: AtomicUsize::new(0),
            replica: None,
        };
        shared.next_checkpoint(checkpoint_bytes);
        Ok(shared)
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        // A panic while it was held would be a bug in the state machine; what is durable is right.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_closed.load(Ordering::Acquire) {
            Err(Error::Engine(EngineError::Closed))
        } else {
            Ok(())
        }
    }

    /// Refuses a log that another one was copied into in part.
    pub(crate) fn check_whole(&self) -> Result<()> {
        match self.core().state.unfinished_migration() {
            Some(migration) => Err(Error::Migrate(MigrateError::Unfinished(
                migration.unfinished(),
            ))),
            None => Ok(()),
        }
    }

    /// Completes when the ids of the dedup window are in memory, so that no append reads them.
    pub(crate) async fn warm(self: &Arc<Self>) -> Result<()> {
        let load = || async {
            let shared = self.clone();
            blocking(move || shared.log.warm().map_err(log_error::of_log)).await
        };
        self.warm.get_or_try_init(load).await.map(drop)
    }

    /// Resolves when there is room for a batch that was refused.
    pub(crate) fn room(&self) -> Room {
        match &self.replica {
            None => Room::Log(self.log.room()),
            Some(replica) => Room::Shared(replica.drained()),
        }
    }

    /// Submits a batch of events alone.
    pub(crate) fn submit_batch(&self, batch: log::Batch) -> Result<Submission, log::SubmitError> {
        match &self.replica {
            None => self.log.submit(batch).map(Submission::Log),
            Some(_) => self
                .core()
                .submit(&self.log, batch, Vec::new(), Terms::default()),
        }
    }

    /// Runs `submit` until the queue has room for its batch. It gets the batch back each time.
    pub(crate) async fn submit(
        &self,
        mut batch: log::Batch,
        mut submit: impl FnMut(log::Batch) -> Result<Submission, Refusal>,
    ) -> Result<Submission> {
        self.grew(batch.bytes());
        loop {
            let room = self.room();
            match submit(batch) {
                Ok(submitted) => return Ok(submitted),
                Err(Refusal::Log(log::SubmitError::Full(refused))) => batch = refused,
                Err(Refusal::Log(error)) => return Err(self.refused(error)),
                Err(Refusal::Engine(error)) => return Err(error),
            }
            room.wait().await;
        }
    }

    /// Whether nothing is taken any more, for good, because the shared log is not what it was.
    pub(crate) fn is_halted(&self) -> bool {
        let core = self.core();
        core.outbox.as_ref().is_some_and(Outbox::is_halted)
    }

    /// The error of a batch that was not taken.
    pub(crate) fn refused(&self, error: log::SubmitError) -> Error {
        if let log::SubmitError::Poisoned { .. } = error
            && let Some(outbox) = &self.core().outbox
            && let Some(why) = outbox.halted()
        {
            return why.clone().into();
        }
        log_error::of_submit(error)
    }

    /// Submits control records alone, and waits until they are durable and applied.
    pub(crate) async fn record(self: &Arc<Self>, changes: Vec<Change>) -> Result<()> {
        let submitted = self.submit_changes(changes).await?;
        submitted.await?;
        self.core().advance();
        Ok(())
    }

    /// As [`Self::record`], for those who must not wait for a server that does not answer: then
    /// the records are on their way, or never come there, and the lease says what they say.
    pub(crate) async fn record_timely(self: &Arc<Self>, changes: Vec<Change>) -> Result<()> {
        if self.replica.is_none() {
            return self.record(changes).await;
        }
        match tokio::time::timeout(crate::replica::FAREWELL, self.record(changes)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                tracing::warn!("could not say that a member left: its lease will end");
                Ok(())
            }
        }
    }

    /// Submits control records alone, unless the queue is full.
    pub(crate) fn try_record(&self, changes: &[Change]) -> Result<Option<Submission>> {
        let mut batch = log::Batch::new();
        for change in changes {
            change.push_to(&mut batch)?;
        }
        self.grew(batch.bytes());
        let mut core = self.core();
        core.advance();
        match core.submit(&self.log, batch, changes.to_vec(), Terms::default()) {
            Ok(submitted) => Ok(Some(submitted)),
            Err(log::SubmitError::Full(_)) => Ok(None),
            Err(error) => Err(log_error::of_submit(error)),
        }
    }

    /// Submits control records alone.
    pub(crate) async fn submit_changes(
        self: &Arc<Self>,
        changes: Vec<Change>,
    ) -> Result<Submission> {
        let mut batch = log::Batch::new();
        for change in &changes {
            change.push_to(&mut batch)?;
        }
        self.submit(batch, |batch| {
            self.check_open()?;
            let mut core = self.core();
            core.advance();
            Ok(core.submit(&self.log, batch, changes.clone(), Terms::default())?)
        })
        .await
    }

    /// Notes that the log grew.
    pub(crate) fn grew(&self, bytes: usize) {
        let grown = self
            .checkpoint
            .grown
            .fetch_add(bytes as u64, Ordering::Relaxed)
            + bytes as u64;
        if grown >= self.checkpoint.enough.load(Ordering::Relaxed) {
            self.checkpoint.due.notify_one();
        }
    }

    fn next_checkpoint(&self, last_bytes: usize) {
        let enough = self.settings.checkpoint_bytes.max(2 * last_bytes as u64);
        self.checkpoint.enough.store(enough, Ordering::Relaxed);
        self.checkpoint.grown.store(0, Ordering::Relaxed);
    }

    /// Writes the state as of the last durable record, then removes what retention no longer
    /// keeps and nobody needs. Blocks.
    pub(crate) fn write_checkpoint(&self) -> Result<()> {
        let writing = &self.checkpoint.writing;
        let _turn = writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, state) = {
            let mut core = self.core();
            core.advance();
            self.pass_all(&mut core);
            // Cells are shared, not copied: the lock is held for a moment only.
            (core.applied(self.log.durable().get()), core.state.clone())
        };
        let (bytes, floor) = (state.encode()?, state.floor().min(at));
        self.log
            .checkpoint(log::Position::new(at), &bytes)
            .map_err(log_error::of_log)?;
        tracing::debug!(at, bytes = bytes.len(), "wrote a checkpoint");
        self.next_checkpoint(bytes.len());
        if self.settings.retention_age.is_some() || self.settings.retention_bytes.is_some() {
            let trimmed = self
                .log
                .trim(log::Position::new(floor))
                .map_err(log_error::of_log)?;
            if trimmed.segments > 0 {
                let (segments, bytes) = (trimmed.segments, trimmed.bytes);
                tracing::info!(segments, bytes, first = %trimmed.first, "retention removed segments");
            }
        }
        Ok(())
    }

    /// Records how far groups are that have nothing to settle: otherwise they would pin the log.
    fn pass_all(&self, core: &mut Core) {
        let names: Vec<String> = core.sessions.keys().cloned().collect();
        for name in names {
            let group = core.state.groups.get(&name).map(Group::low);
            if let (Some(live), Some(low)) = (core.sessions.get_mut(&name), group) {
                live.pass(low, 1);
            }
            if let Err(error) = self.record_own(core, &name) {
                tracing::debug!(%error, group = name, "could not record how far a group is");
            }
        }
    }

    /// Records what was met of blocked keys and what was passed. Nobody waits for it: until it is
    /// durable, the low-water mark stays before it.
    pub(crate) fn record_own(&self, core: &mut Core, name: &str) -> Result<()> {
        while self.record_part(core, name)? {}
        Ok(())
    }

    /// Records as much of that as fits into one record; whether there may be more.
    fn record_part(&self, core: &mut Core, name: &str) -> Result<bool> {
        let now = core.clock.now();
        let (live, group) = (core.sessions.get_mut(name), core.state.groups.get(name));
        let (Some(live), Some(group)) = (live, group) else {
            return Ok(false);
        };
        let Some(committed) = live.park(name, group, now) else {
            return Ok(false);
        };
        let epoch = live.epoch();
        let change = Change::Committed(Box::new(committed));
        let mut batch = log::Batch::new();
        change.push_to(&mut batch)?;
        self.grew(batch.bytes());
        let terms = Terms {
            epoch: Some(epoch),
            ..Terms::default()
        };
        let outcome = core.submit(&self.log, batch, vec![change], terms);
        if let Some((live, _)) = core.live(name, epoch) {
            match &outcome {
                Ok(submitted) => live.parking(Some(submitted.clone())),
                Err(_) => live.parking_refused(),
            }
        }
        match outcome {
            Ok(_) => Ok(true),
            Err(log::SubmitError::Full(_)) => Ok(false),
            Err(error) => Err(log_error::of_submit(error)),
        }
    }

    pub(crate) fn keep_task(&self, task: JoinHandle<()>) {
        self.tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(task);
    }

    pub(crate) fn stop_tasks(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Shared {
    /// Gives up the directory, as a process does that is killed: nothing is said. What is still at
    /// work in the background finds the log closed.
    pub(crate) fn release(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.stop_tasks();
        self.log.release();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop_tasks();
    }
}

/// What a program holds: an engine or a member of a group. When the last one is dropped, the
/// directory can be opened again at once, whatever the background still works on.
#[derive(Debug)]
pub(crate) struct Handle(Arc<Shared>);

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        shared.handles.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Deref for Handle {
    type Target = Arc<Shared>;

    fn deref(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.0.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.release();
        }
    }
}

/// Why a batch was not submitted.
pub(crate) enum Refusal {
    Log(log::SubmitError),
    Engine(Error),
}

impl From<log::SubmitError> for Refusal {
    fn from(error: log::SubmitError) -> Self {
        Self::Log(error)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

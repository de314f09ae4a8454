use std::fmt;
use std::sync::Arc;

use crate::batch::Batch;
use crate::changes::{Changed, Room};
use crate::checkpoint;
use crate::codec::lock;
use crate::error::{Error, Result};
use crate::files::Clean;
use crate::hold::Hold;
use crate::options::Options;
use crate::position::Position;
use crate::receipt::{Receipt, Submitted};
use crate::recover::{self, Recovery};
use crate::shared::{Halt, Shared};
use crate::status::Status;
use crate::storage::{self, Lock, Lost, Storage};
use crate::store::Store;
use crate::submit::SubmitError;
use crate::sync::Mutex;
use crate::sync::atomic::Ordering;
use crate::sync::thread::{self, JoinHandle};
use crate::trim::{self, Trimmed};
use crate::view::View;
use crate::wait::Outcome;

/// The log of one directory: the only writer of its files.
///
/// Appending is [`append`](Log::append) (blocking) or [`submit`](Log::submit) (never blocks);
/// reading is [`view`](Log::view). All methods take `&self` and may be called from any thread.
///
/// Dropping it writes what was submitted and stops its threads, but leaves no clean-shutdown
/// marker: to the next open that is a crash, and a crash is not special. [`close`](Log::close)
/// leaves the marker.
pub struct Log {
    shared: Arc<Shared>,
    recovery: Recovery,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Given up when the log is closed or dropped.
    lock: Mutex<Option<Lock>>,
    /// Checkpoints are written one at a time.
    checkpoints: Mutex<()>,
}

impl Log {
    /// Opens the log in `storage`, or creates it. Takes the directory's lock, finds the end of
    /// the log, removes the torn remains of an unacknowledged write, makes what it found durable.
    /// Reads the last segment only, so that the time does not depend on the size of the log.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] when another process owns it, [`Error::Corrupt`] when acknowledged records
    /// are damaged or missing, [`Error::Version`] when a newer version wrote it, [`Error::Option`]
    /// when a setting is out of range, [`Error::Io`].
    pub fn open(storage: Arc<dyn Storage>, options: Options) -> Result<Self> {
        options.validate()?;
        let lock = match storage.lock() {
            Ok(storage::Locking::Acquired(lock)) => lock,
            Ok(storage::Locking::Held { pid }) => return Err(Error::Locked { pid }),
            Err(error) => return Err(Error::io("lock", storage.describe("LOCK"))(error)),
        };
        let found = recover::recover(storage, &options)?;
        let recovery = found.recovery.clone();
        let shared = Arc::new(Shared::new(found, options));
        let log = Self {
            shared,
            recovery,
            threads: Mutex::default(),
            lock: Mutex::new(Some(lock)),
            checkpoints: Mutex::default(),
        };
        log.start_threads()?;
        Ok(log)
    }

    fn start_threads(&self) -> Result<()> {
        let spawn = |name: &str, run: fn(&Shared)| {
            let shared = Arc::clone(&self.shared);
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || run(&shared))
                .map_err(Error::io(
                    "start a thread for",
                    self.shared.store.storage.describe(""),
                ))
        };
        let mut threads = lock(&self.threads);
        threads.push(spawn("ensue-log-write", Shared::write_loop)?);
        if self.shared.options.background {
            threads.push(spawn("ensue-log-keep", |shared| shared.keeper.run())?);
        }
        Ok(())
    }

    pub(crate) fn store(&self) -> &Store {
        &self.shared.store
    }

    /// What opening found and repaired.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Appends a batch: returns when it is durable. Waits while the queue is full. When no
    /// other thread is writing, the calling one writes and syncs itself.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`], [`Error::TooLarge`], [`Error::DiskFull`], [`Error::Poisoned`],
    /// [`Error::Closed`]: nothing was appended. [`Error::Indeterminate`]: it may or may not be on
    /// disk.
    pub fn append(&self, mut batch: Batch) -> Result<Receipt> {
        loop {
            match self.shared.place(batch) {
                Ok((state, receipt, Some(ticket))) => {
                    return match self.shared.wait_for(&ticket, state) {
                        Outcome::Durable => Ok(receipt),
                        failed => Err(self.shared.failure(failed)),
                    };
                }
                Ok((_, receipt, None)) => return Ok(receipt),
                Err(SubmitError::Full(refused)) => {
                    batch = refused;
                    self.room().wait();
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Hands over a batch without waiting for the disk: the result resolves when it is durable.
    /// The batch gets its positions now, and is written also when the result is dropped.
    ///
    /// Never blocks on the disk, with two exceptions: a batch with an [`Expect`](crate::Expect)
    /// may read index files, and the first batch with an id after opening loads the dedup window
    /// (call [`warm`](Log::warm) to have that done before).
    ///
    /// # Errors
    ///
    /// [`SubmitError::Full`] when [`Options::queue_bytes_max`] is used up: wait for
    /// [`room`](Log::room). The others: see there. Nothing was appended.
    pub fn submit(&self, batch: Batch) -> Result<Submitted, SubmitError> {
        Shared::submit(&self.shared, batch)
    }

    /// Holds back what is submitted from now on, until the returned value is dropped. Batches that
    /// were submitted meanwhile are one write, as long as they fit into
    /// [`Options::frame_bytes_max`]: after a crash all of them are there, or none.
    ///
    /// The holder must not wait meanwhile, neither with [`append`](Self::append) nor for
    /// [`room`](Self::room): nothing is written before the hold is over.
    pub fn hold(&self) -> Hold {
        Hold::new(Arc::clone(&self.shared))
    }

    /// Whether [`submit`](Self::submit) would refuse `batch` whatever the log holds.
    ///
    /// # Errors
    ///
    /// [`SubmitError::TooLarge`], [`SubmitError::Poisoned`], [`SubmitError::Closed`].
    pub fn check(&self, batch: &Batch) -> Result<(), SubmitError> {
        self.shared.check_sizes(batch)
    }

    /// From now on, and until it is closed, the log answers as if older records had been trimmed: of
    /// a key without records it is not known whether it had any ([`Expect::Absent`](crate::Expect)).
    /// For one that was filled with what another log had left.
    pub fn assume_trimmed(&self) {
        self.shared.is_trimmed.store(true, Ordering::Release);
    }

    /// Resolves when a submit that was refused as full is worth trying again.
    pub fn room(&self) -> Room {
        Room::new(Arc::clone(&self.shared))
    }

    /// Loads the dedup window now rather than with the first record that has an id. Reads the
    /// index files of the last segments.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Corrupt`] when they cannot be read.
    pub fn warm(&self) -> Result<()> {
        self.shared.load_dedup()
    }

    /// Where the record with this id was appended, if that is within the dedup window; it may not be
    /// durable yet. What was appended before the log was opened is known once it is
    /// [`warm`](Self::warm).
    #[must_use]
    pub fn find(&self, id: u128) -> Option<Position> {
        lock(&self.shared.state).dedup.get(id).map(Position::new)
    }

    /// The position after the last durable record: what readers see.
    #[must_use]
    pub fn durable(&self) -> Position {
        Position::new(self.shared.store.durable())
    }

    /// The position after the last submitted record, which may not be durable yet.
    #[must_use]
    pub fn end(&self) -> Position {
        Position::new(lock(&self.shared.state).end)
    }

    /// The oldest position kept.
    #[must_use]
    pub fn first(&self) -> Position {
        Position::new(self.shared.store.first())
    }

    /// Resolves when records past `past` are durable, that is when `durable() > past`, with the
    /// durable position; with an error when the log stops.
    pub fn changed(&self, past: Position) -> Changed {
        Changed::new(Arc::clone(&self.shared), past)
    }

    /// All reading goes through a view. Cheap; works on after the log is closed.
    #[must_use]
    pub fn view(&self) -> View {
        View::new(Arc::clone(&self.shared.store))
    }

    /// Stores `state`, which the layer above computed from all records before `at`, durably and
    /// in one step. The last two are kept. Blocks.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] above 1 GiB, [`Error::OwnershipLost`], [`Error::Closed`],
    /// [`Error::Io`]. The checkpoints before stay as they were.
    pub fn checkpoint(&self, at: Position, state: &[u8]) -> Result<()> {
        let _turn = lock(&self.checkpoints);
        self.by_name(|| {
            let store = &self.shared.store;
            checkpoint::write(&*store.storage, store.uuid, at.get(), state)
        })
    }

    /// Runs `write`, which writes files by name, while the directory is this log's.
    fn by_name<T>(&self, write: impl FnOnce() -> Result<T>) -> Result<T> {
        // What was lost need not be the directory: it may be the segment.
        if let Some(Halt::Lost(lost)) = self.shared.halt.get() {
            return Err(lost.clone().into());
        }
        let store = &self.shared.store;
        let outcome = store.writers.run(|| {
            storage::confirm(&*store.storage)?;
            write()
        });
        match outcome {
            Some(Err(Error::OwnershipLost { directory, what })) => {
                let lost = Lost { directory, what };
                self.shared.stop(lost.clone().into());
                self.shared.wake_everyone();
                Err(lost.into())
            }
            Some(outcome) => outcome,
            None => Err(self.shared.stopped().unwrap_or(Error::Closed)),
        }
    }

    /// Removes the oldest segments as far as [`Options::retention`] allows; whole segments only,
    /// none with a position at or after `floor`, none after the older checkpoint, never the last.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// [`Error::OwnershipLost`], [`Error::Closed`], [`Error::Io`]. What was removed by then stays
    /// removed.
    pub fn trim(&self, floor: Position) -> Result<Trimmed> {
        self.by_name(|| trim::trim(&self.shared, floor.get()))
    }

    /// Why the log stopped, if it did: [`Status::poisoned`] without the rest, which has to be gathered.
    #[must_use]
    pub fn poisoned(&self) -> Option<String> {
        self.shared.halt.get().map(Halt::reason)
    }

    /// What the log is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(&self.shared)
    }

    /// Writes what was submitted, syncs, leaves the clean-shutdown marker, gives up the
    /// directory. Later appends fail with [`Error::Closed`]; views go on reading. Closing twice
    /// is fine.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`] or [`Error::OwnershipLost`] when the log stopped before, or does now:
    /// there is no marker then. [`Error::Io`].
    pub fn close(&self) -> Result<()> {
        // The first to take the lock closes; it is kept until everything is on disk.
        let Some(_lock) = lock(&self.lock).take() else {
            return Ok(());
        };
        self.wind_down();
        let shared = &self.shared;
        let outcome = match shared.halt.get() {
            Some(halt) => Err(halt.error()),
            None => self.leave_marker(),
        };
        shared.store.writers.shut();
        outcome
    }

    fn leave_marker(&self) -> Result<()> {
        let shared = &self.shared;
        let state = lock(&shared.state);
        if let Some(tip) = &state.tip {
            tip.sync(&shared.store)?;
            let clean = Clean {
                uuid: shared.store.uuid,
                end: tip.position(),
                chain: tip.chain(),
            };
            storage::confirm(&*shared.store.storage)?;
            clean.write(&*shared.store.storage)?;
        }
        Ok(())
    }

    /// Does at once what dropping the log does: writes what was submitted, stops its threads and
    /// gives up the directory, without a clean-shutdown marker. When it returns the directory can
    /// be opened again, even while this value is still held. Does nothing when the log was closed.
    pub fn release(&self) {
        let Some(_lock) = lock(&self.lock).take() else {
            return;
        };
        self.wind_down();
        self.shared.store.writers.shut();
    }

    /// Takes nothing more, writes what was submitted.
    fn wind_down(&self) {
        self.shared.close();
        self.shared.drain();
        self.stop_threads();
    }

    fn stop_threads(&self) {
        let shared = &self.shared;
        shared.stopping.store(true, Ordering::Release);
        {
            // Under the lock, so that a thread about to wait sees the flag or the signal.
            let _state = lock(&shared.state);
            shared.work.notify_all();
        }
        shared.keeper.stop();
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            if thread.join().is_err() {
                tracing::error!("a thread of the log panicked");
            }
        }
        shared.wake_everyone();
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.release();
    }
}

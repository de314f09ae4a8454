//! What the log, its threads and its waiters have in common.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::dedup::Dedup;
use crate::error::Error;
use crate::keeper::Keeper;
use crate::options::Options;
use crate::queue::State;
use crate::recover::Found;
use crate::storage::Lost;
use crate::store::Store;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex};
use crate::wait::Wakers;

/// Shared by the log, its threads and its waiters.
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) options: Options,
    pub(crate) state: Mutex<State>,
    pub(crate) dedup_loading: Mutex<()>,
    /// Whether the ids of the dedup window are in memory.
    pub(crate) dedup_loaded: AtomicBool,
    /// Signalled when a frame is done; paired with `state`.
    pub(crate) done: Condvar,
    /// Signalled when the writer thread has something to do; paired with `state`.
    pub(crate) work: Condvar,
    pub(crate) wakers: Mutex<Wakers>,
    /// Why nothing can be appended any more, if the log was not simply closed.
    pub(crate) halt: OnceLock<Halt>,
    is_closed: AtomicBool,
    /// Whether keys may have had records before the first one: see [`Log::assume_trimmed`](crate::Log::assume_trimmed).
    pub(crate) is_trimmed: AtomicBool,
    pub(crate) keeper: Keeper,
    /// Copies of fields of `state`, for those who must not take its lock.
    pub(crate) frames_done: AtomicU64,
    /// Batches put into the queue so far.
    pub(crate) batches: AtomicU64,
    pub(crate) queued_bytes: AtomicUsize,
    pub(crate) counters: Counters,
    pub(crate) stopping: AtomicBool,
}

/// What stopped the log.
#[derive(Debug)]
pub(crate) enum Halt {
    /// A write or sync failed.
    Poisoned(String),
    /// The directory is no longer this log's.
    Lost(Lost),
}

impl Halt {
    pub(crate) fn error(&self) -> Error {
        match self {
            Self::Poisoned(reason) => Error::Poisoned {
                reason: reason.clone(),
            },
            Self::Lost(lost) => lost.clone().into(),
        }
    }

    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Poisoned(reason) => reason.clone(),
            Self::Lost(lost) => lost.to_string(),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) frames: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) duplicates: AtomicU64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(found: Found, options: Options) -> Self {
        let store = Arc::new(found.store);
        let keeper = Keeper::new(
            Arc::clone(&store),
            found.manifest,
            found.spare,
            options.background,
        );
        let state = State::new(store.durable(), found.tip, Dedup::new(options.dedup_window));
        Self {
            store,
            state: Mutex::new(state),
            dedup_loading: Mutex::default(),
            dedup_loaded: AtomicBool::new(options.dedup_window == 0),
            done: Condvar::new(),
            work: Condvar::new(),
            wakers: Mutex::default(),
            halt: OnceLock::new(),
            is_closed: AtomicBool::new(false),
            is_trimmed: AtomicBool::new(false),
            keeper,
            frames_done: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            queued_bytes: AtomicUsize::new(0),
            counters: Counters::default(),
            stopping: AtomicBool::new(false),
            options,
        }
    }

    /// Why nothing more will become durable, if so. While a closed log still drains, nothing has
    /// stopped yet.
    pub(crate) fn stopped(&self) -> Option<Error> {
        match self.halt.get() {
            Some(halt) => Some(halt.error()),
            None => (self.is_closed() && self.is_queue_empty()).then_some(Error::Closed),
        }
    }

    /// Takes nothing more, and says no reason.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Takes nothing more, because of `error`: it must be opened again.
    pub(crate) fn stop(&self, error: Error) {
        self.halt.get_or_init(|| {
            tracing::error!(%error, "the log stopped; it must be opened again");
            match error {
                Error::OwnershipLost { directory, what } => Halt::Lost(Lost { directory, what }),
                error => Halt::Poisoned(error.to_string()),
            }
        });
    }

    pub(crate) fn frames_done(&self) -> u64 {
        self.frames_done.load(Ordering::Acquire)
    }

    pub(crate) fn is_queue_empty(&self) -> bool {
        self.queued_bytes.load(Ordering::Acquire) == 0
    }
}

//! What the devices of a fleet know together, and whose turn it is to connect.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// How many devices connect at the same time: more than a broker accepts would only wait until they give up.
const CONNECTING_MAX: usize = 64;

/// What devices have sent, as they know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The readings that the broker has acknowledged: device and number.
    pub acknowledged: BTreeSet<(String, u64)>,
    /// The devices that were told how far they are stored.
    pub told: HashSet<String>,
    /// The devices whose readings are all stored.
    pub done: HashSet<String>,
}

/// What all devices of a fleet tell.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    sent: Arc<Mutex<Sent>>,
    connecting: Arc<Semaphore>,
    told: watch::Sender<usize>,
    done: watch::Sender<usize>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            sent: Arc::default(),
            connecting: Arc::new(Semaphore::new(CONNECTING_MAX)),
            told: watch::Sender::new(0),
            done: watch::Sender::new(0),
        }
    }
}

impl Progress {
    /// Waits for its turn to connect; it is over when this is dropped. The turns are never closed.
    pub(super) async fn connecting(&self) -> Option<OwnedSemaphorePermit> {
        self.connecting.clone().acquire_owned().await.ok()
    }

    pub(super) fn acknowledged(&self, device: &str, number: u64) {
        let acknowledged = (device.to_owned(), number);
        self.sent().acknowledged.insert(acknowledged);
    }

    pub(super) fn stored(&self, device: &str, is_done: bool) {
        let mut sent = self.sent();
        if sent.told.insert(device.to_owned()) {
            self.told.send_replace(sent.told.len());
        }
        if is_done {
            sent.done.insert(device.to_owned());
            self.done.send_replace(sent.done.len());
        }
    }

    /// How many devices were told how far they are.
    pub(super) fn told(&self) -> watch::Receiver<usize> {
        self.told.subscribe()
    }

    /// How many devices have everything stored.
    pub(super) fn done(&self) -> watch::Receiver<usize> {
        self.done.subscribe()
    }

    /// What the devices know.
    pub(super) fn known(&self) -> Sent {
        self.sent().clone()
    }

    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! A configuration, as programs hold it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ensue_core::time::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a configuration is now. Cloning is cheap; when all clones are dropped, it is not followed any more.
pub struct Config<T> {
    now: watch::Receiver<Arc<T>>,
    following: Arc<Following>,
}

/// Ends with the last handle.
pub(super) struct Following {
    pub(super) task: JoinHandle<()>,
    pub(super) status: Arc<Mutex<ConfigStatus>>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How it is with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigStatus {
    /// Since when this process uses what counts now.
    pub since: Timestamp,
    /// Whether that is the last good one of an earlier run, because the sources had none.
    pub is_last_good: bool,
    /// How many times it has changed since the start.
    pub changes: u64,
    /// Why a newer one is not used, or a source cannot be asked; nothing if all is well.
    pub problem: Option<String>,
}

impl<T> Config<T> {
    pub(super) fn new(now: watch::Receiver<Arc<T>>, following: Following) -> Self {
        Self {
            now,
            following: Arc::new(following),
        }
    }

    /// What counts now. Ask once for a piece of work that needs more than one setting: they belong together.
    pub fn get(&self) -> Arc<T> {
        self.now.borrow().clone()
    }

    /// Tells of every change.
    pub fn subscribe(&self) -> watch::Receiver<Arc<T>> {
        self.now.clone()
    }

    /// How it is with it.
    pub fn status(&self) -> ConfigStatus {
        let status = self.following.status.lock();
        status.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<T> Clone for Config<T> {
    fn clone(&self) -> Self {
        Self {
            now: self.now.clone(),
            following: self.following.clone(),
        }
    }
}

/// Without the settings: there may be secrets among them.
impl<T> fmt::Debug for Config<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

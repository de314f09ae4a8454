//! The runtime for what goes on by itself: schedules, checkpoints, leases, connections.
//!
//! Engines are opened on a runtime of the program's, and used from others: that one of them ends,
//! or is kept busy by a handler that blocks, must not stop what every user of the engine relies on. So it goes on
//! on threads of its own, which all engines of the process share.

use std::future::Future;
use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use crate::error::{EngineError, Error, Result};

/// Few: hardly anything here computes.
const THREADS: usize = 2;

static RUNTIME: OnceLock<Runtime> = OnceLock::new();
/// Held while it is made.
static MAKING: Mutex<()> = Mutex::new(());

fn handle() -> Result<&'static Handle> {
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime.handle());
    }
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime.handle());
    }
    let runtime = make().map_err(|error| Error::Engine(EngineError::Threads { reason: error }))?;
    Ok(RUNTIME.get_or_init(|| runtime).handle())
}

fn make() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("ensue")
        .enable_all()
        .build()
}

/// Starts a task that outlives the caller's runtime.
///
/// # Errors
/// [`EngineError::Threads`] when there can be no threads for it.
#[doc(hidden)]
pub fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> Result<JoinHandle<T>> {
    Ok(handle()?.spawn(task))
}

/// Runs `work` so that whatever it starts outlives the caller's runtime. Dropping the future cancels
/// it.
///
/// # Errors
/// As for [`spawn`], and what `work` reports.
#[doc(hidden)]
pub async fn run<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    /// Ends the task with the future that waits for it.
    struct Cancel<T>(JoinHandle<T>);
    impl<T> Drop for Cancel<T> {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let mut task = Cancel(spawn(work)?);
    match (&mut task.0).await {
        Ok(outcome) => outcome,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Nothing else cancels it.
            Err(_) => Err(Error::Engine(EngineError::Closed)),
        },
    }
}

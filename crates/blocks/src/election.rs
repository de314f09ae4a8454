//! Something that one process does at a time: leader election, on a lock.
//!
//! ```no_run
//! use ensue_blocks::election::lead;
//! use ensue_blocks::lock::Locks;
//!
//! # async fn f(locks: Locks) -> Result<(), ensue_blocks::lock::LockError> {
//! // In every process; it runs in one of them, and in another when that one dies.
//! lead(&locks, "reports", async |lock| {
//!     loop {
//!         write_report(lock.token().get()).await; // through a guard, as the holder of a lock does
//!     }
//! })
//! .await
//! # }
//! # async fn write_report(_token: u64) {}
//! ```

use std::ops::AsyncFnMut;

use crate::lock::{Lock, LockError, Locks};

/// Stands for election until `work` is done: who holds the lock `name` is the leader and does the work.
///
/// `work` is called when this process becomes the leader, with the lock, and dropped at its next `await` when it is
/// not any more; then this process stands again. What `work` returns ends the standing, and the lock is released.
/// A server that is away is waited for. Dropping the future resigns.
///
/// That a leader is cancelled takes effect when it runs: one that was paused may do a little more, as every
/// holder of a lock. The guards of [`lock`](crate::lock) keep that from doing harm.
///
/// # Errors
/// As for [`Locks::try_acquire`], but for a server that is away.
pub async fn lead<T>(
    locks: &Locks,
    name: &str,
    mut work: impl AsyncFnMut(&Lock) -> T,
) -> Result<T, LockError> {
    loop {
        let lock = locks.acquire_ever(name).await?;
        tracing::info!(election = name, token = lock.token().get(), "leads");
        let done = tokio::select! {
            done = work(&lock) => Some(done),
            () = lock.lost() => None,
        };
        if let Some(done) = done {
            // The work is done: a server that does not hear of it ends the lease.
            if let Err(error) = lock.release().await {
                tracing::debug!(election = name, %error, "the leader's lock ends with its lease");
            }
            return Ok(done);
        }
        tracing::warn!(election = name, "does not lead any more, and stands again");
    }
}

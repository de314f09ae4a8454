//! Why a lock was not acquired, or a guard refused.

use std::time::Duration;

/// Why a lock was not acquired, or a guarded write was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Others held it the whole time. Nothing of ours waits for it any more.
    #[error(
        "the lock `{name}` was held by others for {waited:?}; wait longer, or see what its holder does"
    )]
    Deadline {
        /// The lock.
        name: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The guard refused a write: the lock belongs to another holder by now, or to none. Nothing was written.
    #[error(
        "the lock `{name}` is not held with the token {token} any more: nothing was written; stop what \
         the lock was for, and acquire it again"
    )]
    Fenced {
        /// The lock.
        name: String,
        /// The token that is too old.
        token: u64,
    },
    /// A lock cannot have this name, or this lease.
    #[error("`{what}` is {value}; it must be {expected}")]
    Invalid {
        /// What was given.
        what: &'static str,
        /// What it was.
        value: String,
        /// What it must be.
        expected: String,
    },
    /// The server that keeps the locks is away, refuses, or is not what the URL says.
    #[error(transparent)]
    Server(#[from] ensue_core::error::Error),
}

/// The result of everything about locks.
pub(crate) type Result<T, E = LockError> = std::result::Result<T, E>;

//! What stops a run.

use std::path::PathBuf;

use crate::world::RecordedError;

/// Why a run did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine or a service.
    #[error(transparent)]
    Engine(#[from] ensue::Error),
    /// The file with the orders.
    #[error(transparent)]
    Input(#[from] RecordedError),
    /// The gateway's books.
    #[error("the gateway's books {}: {source}", path.display())]
    Ledger {
        /// Where they are.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// A service takes no further events.
    #[error("the service `{service}` is paused: {reason}")]
    Paused {
        /// Which service.
        service: String,
        /// Why.
        reason: String,
    },
}

//! Conditions of the engine itself, which any operation can meet.

use std::io;

use super::Outlook;

/// Why the engine cannot do what was asked, whatever that was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The engine was closed. Nothing happened.
    #[error("the engine is closed")]
    Closed,
    /// The engine stopped after an error that leaves the last appends in doubt: they may or may
    /// not be there after a restart.
    #[error("the engine has stopped: {0}; restart to recover, the last appends are in doubt")]
    Stopped(String),
    /// The server is away or does not answer. What was under way may or may not have happened.
    #[error("the server at `{server}` is not available: {reason}")]
    Unavailable {
        /// The server's URL, without secrets.
        server: String,
        /// What happened.
        reason: String,
    },
    /// What was stored is not what was written. Nothing corrupt was delivered.
    #[error("{0}")]
    Corrupt(String),
    /// The directory was removed, renamed or replaced while the engine was open, or its lock file
    /// was. Nothing was acknowledged since that was noticed.
    #[error(
        "`{directory}` no longer belongs to this engine: {what}; nothing more is acknowledged; \
         find out what removed or replaced it, then restart"
    )]
    OwnershipLost {
        /// The directory.
        directory: String,
        /// What happened to it.
        what: String,
    },
    /// The engine was opened for reading only. Nothing happened.
    #[error("the log in `{directory}` was opened for reading only; connect to it to write")]
    ReadOnly {
        /// The directory.
        directory: String,
    },
    /// The disk is full. Nothing was appended and nothing lost; appends resume when there is space.
    #[error("the disk is full: {0}; free some space, appends resume by themselves")]
    DiskFull(String),
    /// Another process changed the same thing at the same time. Nothing happened.
    #[error("overtaken by another process: {what}; read the state again and retry")]
    Overtaken {
        /// What it changed.
        what: &'static str,
    },
    /// A record of the engine's own could not be written as bytes. Nothing happened.
    #[error("{record} could not be encoded: {reason}; this is a fault of Ensue, report it")]
    Encode {
        /// Which record.
        record: &'static str,
        /// Why.
        reason: String,
    },
    /// There can be no threads for the engine's own work. Nothing happened.
    #[error(
        "the threads for the engine's own work could not be started: {reason}; is there a limit on \
         threads?"
    )]
    Threads {
        /// What the operating system answered.
        reason: io::Error,
    },
    /// The operating system refused something. An append that was under way may have happened.
    #[error("{what}: {reason}")]
    Io {
        /// What was attempted, and on which file.
        what: String,
        /// What the operating system answered.
        reason: io::Error,
    },
}

impl EngineError {
    pub(super) fn outlook(&self) -> Outlook {
        match self {
            Self::DiskFull(_)
            | Self::Unavailable { .. }
            | Self::Overtaken { .. }
            | Self::Threads { .. }
            | Self::Io { .. } => Outlook::Passes,
            Self::Encode { .. } => Outlook::Content,
            Self::Closed
            | Self::Stopped(_)
            | Self::Corrupt(_)
            | Self::OwnershipLost { .. }
            | Self::ReadOnly { .. } => Outlook::Engine,
        }
    }
}

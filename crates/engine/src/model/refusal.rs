//! Why the fold of a shared log does not take a batch.

use ensue_log as log;

use crate::error::{EngineError, Error, GroupError, MigrateError, OpenError};
use crate::log_error;

/// Why the fold did not take a batch. Nothing of it happened.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    Conflict(Box<log::Conflict>),
    /// The member has been replaced, or its process was taken for dead.
    Fenced(String),
    /// Another process did it first.
    Overtaken(&'static str),
    /// A log cannot be copied to where another process works, and what was found.
    NotAlone {
        found: String,
    },
    /// The group was deleted.
    Deleted(String),
    /// The group cannot be deleted while it has members.
    HasMembers(String),
    /// The server has something else than it had.
    Corrupt(String),
    /// The server does not let this process do what it needs.
    Unfit {
        server: String,
        reason: String,
        advice: String,
    },
    /// Another log is being copied into this one: nothing else may be written.
    Migrating {
        from: String,
    },
    /// The engine stopped.
    Stopped(String),
    Closed,
}

impl Refusal {
    /// What an engine refuses that stopped for `error`: everything, with the same kind of error.
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::Engine(EngineError::Corrupt(why)) => Self::Corrupt(why.clone()),
            Error::Open(OpenError::Unfit {
                server,
                reason,
                advice,
            }) => Self::Unfit {
                server: server.clone(),
                reason: reason.clone(),
                advice: advice.clone(),
            },
            Error::Engine(EngineError::Closed) => Self::Closed,
            Error::Engine(EngineError::Stopped(why)) => Self::Stopped(why.clone()),
            other => Self::Stopped(other.to_string()),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Conflict(conflict) => log_error::of_log(log::Error::Conflict(conflict)),
            Refusal::Fenced(group) => GroupError::Fenced { group }.into(),
            Refusal::Overtaken(what) => EngineError::Overtaken { what }.into(),
            Refusal::NotAlone { found } => {
                let url = "the target".to_owned();
                MigrateError::InUse { url, found }.into()
            }
            Refusal::Deleted(group) => GroupError::Deleted(group).into(),
            Refusal::HasMembers(group) => GroupError::HasMembers { group }.into(),
            Refusal::Corrupt(why) => EngineError::Corrupt(why).into(),
            Refusal::Unfit {
                server,
                reason,
                advice,
            } => OpenError::Unfit {
                server,
                reason,
                advice,
            }
            .into(),
            Refusal::Migrating { from } => MigrateError::Unfinished { url: None, from }.into(),
            Refusal::Stopped(why) => EngineError::Stopped(why).into(),
            Refusal::Closed => EngineError::Closed.into(),
        }
    }
}

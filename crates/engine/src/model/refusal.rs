//! Why the fold of a shared log does not take a batch.

use ensue_log as log;

use crate::error::Error;
use crate::log_error;

/// Why the fold did not take a batch. Nothing of it happened.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    Conflict(Box<log::Conflict>),
    /// The member has been replaced, or its process was taken for dead.
    Fenced(String),
    /// Another process did it first.
    Overtaken(&'static str),
    /// It cannot be, and why.
    Impossible(String),
    /// The server has something else than it had.
    Corrupt(String),
    /// The server does not let this process do what it needs.
    Unfit {
        server: String,
        reason: String,
        advice: String,
    },
    /// Another log is being copied into this one: nothing else may be written.
    Migrating(String),
    /// The engine stopped.
    Stopped(String),
    Closed,
}

impl Refusal {
    /// What an engine refuses that stopped for `error`: everything, with the same kind of error.
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::Corrupt(why) => Self::Corrupt(why.clone()),
            Error::Unfit {
                server,
                reason,
                advice,
            } => Self::Unfit {
                server: server.clone(),
                reason: reason.clone(),
                advice: advice.clone(),
            },
            Error::Closed => Self::Closed,
            Error::Stopped(why) => Self::Stopped(why.clone()),
            other => Self::Stopped(other.to_string()),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Conflict(conflict) => log_error::of_log(log::Error::Conflict(conflict)),
            Refusal::Fenced(group) => Self::Fenced { group },
            Refusal::Overtaken(what) => Self::Overtaken { what },
            Refusal::Impossible(why) => Self::Configuration(why),
            Refusal::Corrupt(why) => Self::Corrupt(why),
            Refusal::Unfit {
                server,
                reason,
                advice,
            } => Self::Unfit {
                server,
                reason,
                advice,
            },
            Refusal::Migrating(why) => Self::Migration(why),
            Refusal::Stopped(why) => Self::Stopped(why),
            Refusal::Closed => Self::Closed,
        }
    }
}

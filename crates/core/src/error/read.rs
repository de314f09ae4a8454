//! Why events could not be read.

use super::Outlook;
use crate::event::DecodeError;
use crate::position::Position;
use crate::time::Timestamp;
use crate::topic::InvalidTopic;

/// Why the log could not be read, or a place in it not be found. Nothing happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A topic or a pattern breaks a rule.
    #[error(transparent)]
    Topic(#[from] InvalidTopic),
    /// A payload is not what its reader expects; the source says what was found.
    #[error("the payload is not what its reader expects")]
    Decode(#[from] DecodeError),
    /// What was asked for was removed by retention.
    #[error(
        "position {position} was removed by retention; the oldest kept is {first}: use that, or \
         `earliest`"
    )]
    Trimmed {
        /// The position that was asked for.
        position: Position,
        /// The oldest one that is kept.
        first: Position,
    },
    /// The log has no such position yet.
    #[error(
        "position {position} is beyond the end of the log, which is {end}; use `latest` to start \
         with what comes next"
    )]
    BeyondEnd {
        /// The position.
        position: Position,
        /// The position of the next event.
        end: Position,
    },
    /// A time that has not come cannot be found in the log.
    #[error(
        "{at} is in the future, the clock shows {now}; use `latest` to start with what comes next"
    )]
    InTheFuture {
        /// The time.
        at: Timestamp,
        /// What the engine's clock showed.
        now: Timestamp,
    },
}

impl ReadError {
    pub(super) fn outlook(&self) -> Outlook {
        match self {
            Self::Topic(_)
            | Self::Decode(_)
            | Self::BeyondEnd { .. }
            | Self::InTheFuture { .. } => Outlook::Content,
            Self::Trimmed { .. } => Outlook::Engine,
        }
    }
}

//! What can go wrong with a read model.

use crate::engine::Position;
use crate::error::Error;

/// Why a read model cannot be started, read or waited for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadModelError {
    /// The engine refused, or cannot be reached.
    #[error(transparent)]
    Engine(#[from] Error),
    /// The model contradicts itself. Nothing runs.
    #[error("the read model `{model}`: {problem}")]
    Invalid {
        /// Its name.
        model: String,
        /// What is wrong, and what is right.
        problem: String,
    },
    /// The value does not have an event yet.
    #[error(
        "the read model `{model}` is at position {at} after {waited_ms} ms, and not beyond {position}: wait \
         longer, or see `ensue status` for its lag"
    )]
    NotApplied {
        /// The model.
        model: String,
        /// The event that was waited for.
        position: Position,
        /// Everything before this is in the value.
        at: Position,
        /// How long was waited, in milliseconds.
        waited_ms: u64,
    },
    /// There is no value at present: a method has panicked, or the log was put back to an older state.
    #[error(
        "the read model `{model}` is being built again, and is at position {at} of {until}: ask again, or wait \
         with `wait_until_applied`"
    )]
    Rebuilding {
        /// The model.
        model: String,
        /// Where it is.
        at: Position,
        /// From where on it can be read.
        until: Position,
    },
    /// It cannot go on. The value is not kept up to date, and not shown any more.
    #[error("the read model `{model}` has ended: {reason}; start it again when that is mended")]
    Ended {
        /// The model.
        model: String,
        /// Why.
        reason: String,
    },
}

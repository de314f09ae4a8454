//! The log's positions as the engine's, and back: the same numbers.

use ensue_log as log;

use crate::engine::Position;

/// Where the log says that something is.
#[inline]
pub(crate) const fn from_log(at: log::Position) -> Position {
    Position::new(at.get())
}

/// Where the log is to look.
#[inline]
pub(crate) const fn to_log(at: Position) -> log::Position {
    log::Position::new(at.get())
}

//! How far a group is with one event.

use serde::Serialize;

use super::{GroupStatus, Position};
use crate::cursor::Cursor;

/// What a group has done with one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Handling {
    /// Nothing that is committed.
    Ahead,
    /// It is put aside: it waits for another attempt, or behind an event of its key that does, or is
    /// a dead letter.
    PutAside,
    /// It is settled, or not for this group.
    Done,
}

/// How far a group was with an event, and up to where the log was then: what changes it is appended
/// there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventProgress {
    /// What the group has done with it.
    pub handling: Handling,
    /// The end of the log.
    pub end: Cursor,
}

impl EventProgress {
    /// What a group's status tells: its position, which events that were put aside do not hold.
    pub(super) fn by_group(group: &GroupStatus, position: Position, end: Cursor) -> Self {
        let handling = match Cursor::from(position) < group.position {
            true => Handling::Done,
            false => Handling::Ahead,
        };
        Self { handling, end }
    }
}

//! What a process is stuck at: the dead letter that blocks its key.

use serde::Serialize;

use crate::engine::{DeadLetter, DeathCause, Position};
use crate::time::Timestamp;

/// Why a process does not go on by itself: one of its events is a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SagaStuck {
    /// Where the event is.
    pub position: Position,
    /// Its type.
    pub event_type: String,
    /// Why it died.
    pub cause: DeathCause,
    /// The last failure, for people.
    pub reason: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// When it died.
    pub died: Timestamp,
    /// How many later events of the process wait behind it.
    pub parked: usize,
    /// How often it was handed back before.
    pub redriven: u32,
}

impl SagaStuck {
    pub(super) fn of(letter: &DeadLetter) -> Self {
        Self {
            position: letter.position,
            event_type: letter.event_type.clone(),
            cause: letter.cause,
            reason: letter.reason.clone(),
            attempts: letter.attempts,
            died: letter.died,
            parked: letter.parked,
            redriven: letter.redriven,
        }
    }
}

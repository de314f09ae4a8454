//! Dead letters, and which of them are meant.

use super::{DeathCause, Position};
use crate::event::{Envelope, EventId};
use crate::time::Timestamp;

/// Which dead letters of a group are meant; what is `None` or empty does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Positions of the events: those letters and no others.
    pub positions: Vec<Position>,
    /// Ids of the events.
    pub ids: Vec<String>,
    /// The events' source.
    pub source: Option<String>,
    /// Types of the events.
    pub types: Vec<String>,
    /// The events' key.
    pub key: Option<String>,
    /// A part of the reason.
    pub reason: Option<String>,
    /// Dead since this time.
    pub since: Option<Timestamp>,
    /// How many at the most, those that died first; 0 is no limit.
    pub limit: usize,
}

impl DeadLetterFilter {
    /// Whether it means all dead letters.
    pub fn is_unrestricted(&self) -> bool {
        *self == Self::default()
    }
}

/// A dead letter, with its history.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The group that could not handle the event.
    pub group: String,
    /// Which event: its source and id.
    pub event: EventId,
    /// Its topic.
    pub topic: String,
    /// Its type.
    pub event_type: String,
    /// Its key.
    pub key: String,
    /// The event, or why it cannot be read: its record is damaged.
    pub envelope: std::result::Result<Envelope, String>,
    /// Where it is.
    pub position: Position,
    /// How many attempts were made.
    pub attempts: u32,
    /// Why it died.
    pub cause: DeathCause,
    /// The last failure, for people.
    pub reason: String,
    /// When it died.
    pub died: Timestamp,
    /// How many later events of its key are parked behind it.
    pub parked: usize,
    /// How often it was redriven before.
    pub redriven: u32,
}

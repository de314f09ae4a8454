//! What is appended later.

use crate::event::{Envelope, EventId};
use crate::time::Timestamp;

/// When an event is to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Append at this time; a past time is now.
    pub at: Timestamp,
    /// The timer that this sets: its event takes the place of what the timer would have appended.
    /// A name within the event's source, which can be used again, while an id names one event.
    /// Without a timer the schedule goes by the event's id: scheduling one that is pending, or that
    /// was appended before, is a duplicate and changes nothing.
    pub timer: Option<String>,
}

impl Schedule {
    /// At this time, by the event's id.
    pub fn at(at: Timestamp) -> Self {
        Self { at, timer: None }
    }
}

/// An event that waits for its time.
#[derive(Clone, Debug)]
pub struct Scheduled {
    /// What cancels it: its source, with the name of its timer or, without one, its id.
    pub name: EventId,
    /// When it will be appended.
    pub at: Timestamp,
    /// The event, or why it cannot be read, and so will not be appended: its record is damaged.
    pub envelope: std::result::Result<Envelope, String>,
}

//! Reading without a group: what is asked for, and what comes back.

use crate::cursor::Cursor;
use crate::event::Envelope;
use crate::position::Position;
use crate::time::Timestamp;
use crate::topic::TopicPattern;

/// Which events to read, without a group.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Topics; `None` is every topic of the users'.
    pub topics: Option<TopicPattern>,
    /// One key.
    pub key: Option<String>,
    /// Types; empty is every type.
    pub types: Vec<String>,
    /// From here on; [`Cursor::START`] is the oldest that there is.
    pub from: Cursor,
    /// Up to, not including, this place.
    pub until: Option<Cursor>,
    /// Appended at or after this time.
    pub since: Option<Timestamp>,
    /// Appended before this time.
    pub before: Option<Timestamp>,
    /// How many events to return at the most; 0 means [`READ_EVENTS_MAX`](super::READ_EVENTS_MAX).
    pub limit: usize,
    /// How many bytes of events to return at the most, but for one event that has more by itself; 0 means as many as
    /// the engine returns at a time (16 MiB, embedded).
    pub bytes_max: usize,
}

/// An event with where and when it was appended.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Where it is.
    pub position: Position,
    /// When the engine appended it.
    pub appended: Timestamp,
    /// The event.
    pub envelope: Envelope,
}

/// One page of a read.
#[derive(Clone, Debug)]
pub struct Page {
    /// The events; those of a topic and key are in append order.
    pub events: Vec<Recorded>,
    /// Where to go on.
    pub next: Cursor,
    /// Whether everything durable was read.
    pub is_end: bool,
}

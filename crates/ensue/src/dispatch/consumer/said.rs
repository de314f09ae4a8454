//! What a handler elsewhere asks for and says, and what it is answered.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::suspects::Suspects;
use crate::effect::Effects;
use crate::engine::{DeathCause, Delivery, OnDead, Position};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::outgoing::EventTracer;
use crate::time::Timestamp;

/// What a consumer is made with.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// How many events of a key its handler gets at a time, one at least.
    pub key_events_max: usize,
    /// Those of its group, which all its consumers in a process share.
    pub suspects: Suspects,
    /// Where it counts.
    pub metrics: Metrics,
    /// What records spans of the events that its handler returns, if something does.
    pub tracer: Option<Arc<dyn EventTracer>>,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            key_events_max: 1,
            suspects: Suspects::default(),
            metrics: Metrics::default(),
            tracer: None,
        }
    }
}

/// How much a handler wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// How many events at the most, one at least.
    pub events_max: usize,
    /// How many bytes of events at the most; one event is always possible.
    pub bytes_max: usize,
    /// Which cells of the state of each event's key.
    pub cells: Vec<String>,
    /// Begin with what was handed out and is not committed: the handler does not know of it.
    pub again: bool,
}

/// An event for a handler.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The event.
    pub delivery: Delivery,
    /// The cells that were asked for and that there are, as of the last commit.
    pub cells: Vec<(String, Bytes)>,
}

/// What a handler says of an event.
#[derive(Debug)]
pub struct Handled {
    /// Which event.
    pub position: Position,
    /// [`Delivery::generation`], as it was given.
    pub generation: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an event.
#[derive(Debug)]
pub enum Outcome {
    /// It is done, and this follows.
    Settled(Effects),
    /// It is to be tried again; its key waits for it.
    Retry {
        /// When; now if it is not said.
        due: Option<Timestamp>,
        /// Why it failed.
        reason: String,
    },
    /// It cannot be handled.
    Dead {
        /// Why, in one word.
        cause: DeathCause,
        /// Why, for people.
        reason: String,
        /// What it means to later events of its key.
        on_dead: OnDead,
    },
}

/// A commit that is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// The generation of the group after it.
    pub generation: u64,
    /// How many effects were not appended, because other events have their ids.
    pub dropped: usize,
    /// What the handler has of keys that are blocked now: it is handed back and comes again.
    pub handed_back: Vec<Position>,
    /// It was committed before, under the same name.
    pub is_repeated: bool,
}

/// Why a commit was refused. Nothing of it happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Refused {
    /// Events are not this consumer's, or not of this generation any more.
    Stale {
        /// The first of them.
        first: Position,
        /// All of them.
        positions: Vec<Position>,
    },
    /// An event is there twice.
    Twice(Position),
    /// An earlier event of its key has no outcome, or one that blocks the key.
    OutOfOrder {
        /// The event.
        position: Position,
        /// The earlier one.
        before: Position,
    },
    /// What follows from an event cannot be committed.
    Effects {
        /// The event.
        position: Position,
        /// Why.
        reason: String,
    },
    /// The engine refused it.
    Engine(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale { first, .. } => write!(
                f,
                "the consumer does not hold the event at position {first} at the generation that was \
                 given: it was committed, handed back, or went to another; forget it"
            ),
            Self::Twice(position) => write!(
                f,
                "the event at position {position} is there twice; say once what became of it"
            ),
            Self::OutOfOrder { position, before } => write!(
                f,
                "the event at position {position} follows the one at {before} of its key, which is not \
                 done: handle the events of a key in order"
            ),
            Self::Effects { position, reason } => {
                write!(f, "the event at position {position}: {reason}")
            }
            Self::Engine(error) => error.fmt(f),
        }
    }
}

impl StdError for Refused {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Engine(error) => error.source(),
            _ => None,
        }
    }
}

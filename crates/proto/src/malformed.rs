//! A message that means nothing.

use std::fmt;

use ensue_core::{InvalidCursor, InvalidEvent, InvalidTopic};

/// A message that means nothing: a part of it is missing, or breaks a rule.
#[derive(Clone, Debug)]
pub enum Malformed {
    /// An event breaks a rule.
    Event(InvalidEvent),
    /// A topic or a pattern breaks a rule.
    Topic(InvalidTopic),
    /// A place is not a cursor.
    Cursor(InvalidCursor),
    /// A part that has to be there is missing, or has a value that it cannot have.
    Field {
        /// The field.
        name: &'static str,
        /// What is wrong with it, and what is expected.
        problem: &'static str,
    },
}

impl Malformed {
    /// A part that has to be there is not.
    pub const fn missing(name: &'static str) -> Self {
        Self::Field {
            name,
            problem: "is missing",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(error) => error.fmt(f),
            Self::Topic(error) => error.fmt(f),
            Self::Cursor(error) => error.fmt(f),
            Self::Field { name, problem } => write!(f, "the field `{name}` {problem}"),
        }
    }
}

impl std::error::Error for Malformed {}

impl From<InvalidEvent> for Malformed {
    fn from(error: InvalidEvent) -> Self {
        Self::Event(error)
    }
}

impl From<InvalidTopic> for Malformed {
    fn from(error: InvalidTopic) -> Self {
        Self::Topic(error)
    }
}

impl From<InvalidCursor> for Malformed {
    fn from(error: InvalidCursor) -> Self {
        Self::Cursor(error)
    }
}

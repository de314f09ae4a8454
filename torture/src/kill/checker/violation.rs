//! What can be wrong.

use std::fmt;

use serde::Serialize;

/// A promise that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// What was acknowledged is not there.
    Lost,
    /// It is there, in another order or at another position.
    Reordered,
    /// It is there, and is not what it was.
    Altered,
    /// It is there twice.
    Twice,
    /// A group got again what it had settled.
    Redelivered,
    /// It is there, and no child did it.
    Invented,
    /// A part of a batch or of a commit is there.
    Torn,
    /// A cell of state is not what was committed.
    State,
    /// A dead letter is missing, or is there and must not be.
    Dead,
    /// The engine or a child failed.
    Failed,
}

impl Kind {
    pub(crate) const ALL: [Self; 10] = [
        Self::Lost,
        Self::Reordered,
        Self::Altered,
        Self::Twice,
        Self::Redelivered,
        Self::Invented,
        Self::Torn,
        Self::State,
        Self::Dead,
        Self::Failed,
    ];

    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Reordered => "reordered",
            Self::Altered => "altered",
            Self::Twice => "twice",
            Self::Redelivered => "redelivered",
            Self::Invented => "invented",
            Self::Torn => "torn",
            Self::State => "state",
            Self::Dead => "dead letters",
            Self::Failed => "failed",
        }
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Violation {
    pub(crate) kind: Kind,
    pub(crate) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.what)
    }
}

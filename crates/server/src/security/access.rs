//! What a request needs: an action, on topics.

use std::fmt;

/// What a caller may do with topics; [`Action::Admin`] is about the server itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// Append events, now or later.
    Publish,
    /// See events, and that a topic is there.
    Read,
    /// Take events as a member of a group, and commit.
    Consume,
    /// Reset and delete groups, redrive and discard dead letters, cancel what is scheduled.
    Operate,
    /// See the server as a whole: its metrics, every topic and every group, but no events.
    Admin,
}

/// Who may use a route. What the request is about is checked by its handler, which knows the topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everyone who reaches the server.
    Public,
    /// Every caller that is known: the answer has what the caller may see.
    Known,
    /// Callers that may do this with some topic.
    May(Action),
}

impl Action {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Read => "read",
            Self::Consume => "consume",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

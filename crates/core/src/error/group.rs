//! Why something could not be done with a group.

use super::Outlook;
use crate::position::Position;

/// Why a group could not be joined, committed for, or changed. Nothing of it happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The member no longer owns what it wanted to commit: it left, or was replaced.
    #[error("this member of group `{group}` was replaced or has left; its events went to another")]
    Fenced {
        /// The group.
        group: String,
    },
    /// The group does not exist.
    #[error(
        "there is no group `{group}`, {}; `ensue groups` lists all",
        those(known)
    )]
    Unknown {
        /// The group.
        group: String,
        /// Some of those that exist, by name: [`GroupError::unknown`].
        known: Vec<String>,
    },
    /// The group was deleted while something was done with it.
    #[error("the group `{0}` was deleted at the same time; `ensue groups` lists those there are")]
    Deleted(String),
    /// A subscription has no name, or no topic.
    #[error("the group `{group}` needs a name and at least one topic")]
    Subscription {
        /// The group.
        group: String,
    },
    /// A group has handled what the log does not hold: the log was cut, or is an older copy.
    #[error(
        "group `{group}` is at position {position}, beyond the end of the log, which is {end}: the \
         log was cut or restored from an older backup; reset the group to `latest`, or to where it \
         is to go on"
    )]
    BeyondEnd {
        /// The group.
        group: String,
        /// Its position.
        position: Position,
        /// The position of the next event.
        end: Position,
    },
    /// A group has not handled an event in time. It may still.
    #[error(
        "the group `{group}` has not handled the event at position {position} within {waited_ms} ms: {why}"
    )]
    NotHandled {
        /// The group.
        group: String,
        /// Where the event is.
        position: Position,
        /// How long was waited, in milliseconds.
        waited_ms: u64,
        /// What the group has done with it, and what to do.
        why: &'static str,
    },
    /// A group that is worked for cannot be deleted.
    #[error(
        "the group `{group}` has members; stop them before it is deleted (those of a process that \
         was killed count until its lease ends)"
    )]
    HasMembers {
        /// The group.
        group: String,
    },
    /// A commit gives the number of an attempt that cannot be: that of the delivery is expected.
    #[error(
        "a commit for group `{group}` gives {number} as the number of an attempt at the event at position \
         {position}; give that of its delivery"
    )]
    AttemptNumber {
        /// The group.
        group: String,
        /// Where the event is.
        position: Position,
        /// The number.
        number: u32,
    },
    /// A reset that has events handled again must say what becomes of the group's state.
    #[error(
        "the group `{group}` keeps state (cells: {cells}) and would handle events again ({again}): \
         say whether its state is kept, so that they change it a second time, or cleared, so that \
         it knows only what follows position {to}"
    )]
    StateUndecided {
        /// The group.
        group: String,
        /// How many cells it has.
        cells: usize,
        /// How many events it would handle again.
        again: u64,
        /// Where it would go on.
        to: Position,
    },
}

/// So many groups an error names.
const KNOWN_MAX: usize = 16;

impl GroupError {
    /// That `group` is not among those that exist, of which the first few are named.
    #[doc(hidden)]
    pub fn unknown<'a>(group: &str, existing: impl IntoIterator<Item = &'a str>) -> Self {
        let known = existing.into_iter().take(KNOWN_MAX).map(str::to_owned);
        Self::Unknown {
            group: group.to_owned(),
            known: known.collect(),
        }
    }

    pub(super) fn outlook(&self) -> Outlook {
        match self {
            Self::Fenced { .. } => Outlook::Member,
            Self::BeyondEnd { .. } => Outlook::Engine,
            Self::NotHandled { .. } => Outlook::Passes,
            Self::Unknown { .. }
            | Self::Deleted(_)
            | Self::Subscription { .. }
            | Self::HasMembers { .. }
            | Self::AttemptNumber { .. }
            | Self::StateUndecided { .. } => Outlook::Content,
        }
    }
}

/// The groups that exist, within a sentence.
fn those(known: &[String]) -> String {
    if known.is_empty() {
        return "and no other either: an app makes those of its services when it starts".to_owned();
    }
    let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    format!("there are {}", known.join(", "))
}

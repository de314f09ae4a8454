//! Why events could not be appended.

use crate::event::InvalidEvent;
use crate::position::Position;

/// Why events could not be appended. Nothing of the batch was appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// An event breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidEvent),
    /// A conditional append found another last event.
    #[error(
        "the key `{key}` of topic `{topic}` has changed: expected its last event {}, found {}; \
         read the key and decide again",
        describe(*.expected), describe(*.found)
    )]
    Conflict {
        /// The topic.
        topic: String,
        /// The key.
        key: String,
        /// What was expected: `None` is no event.
        expected: Option<Position>,
        /// What is there: `None` is no event.
        found: Option<Position>,
    },
    /// A conditional append cannot be decided: retention has removed what its key may have had.
    #[error(
        "whether the key `{key}` of topic `{topic}` has the expected version is not known: \
         retention has removed events before position {first}, or had where this log was copied from, \
         and none of the key is left; \
         append without an expectation if that does not matter, and keep conditional topics in a \
         log without retention"
    )]
    VersionRemoved {
        /// The topic.
        topic: String,
        /// The key.
        key: String,
        /// The oldest position that is kept.
        first: Position,
    },
}

fn describe(position: Option<Position>) -> String {
    position.map_or_else(
        || "absent".to_owned(),
        |position| format!("at position {position}"),
    )
}

//! Why an aggregate cannot be loaded, or a decision not be recorded.

use super::Outlook;
use crate::event::DecodeError;
use crate::position::Position;

/// Why an aggregate cannot be loaded, or a decision not be recorded. Nothing was appended. What the rules of
/// an aggregate refuse is not among it: that is a value, which the decision returned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AggregateError {
    /// Others changed the aggregate each time before the decision could be recorded.
    #[error(
        "the {aggregate} `{key}` was changed by others each of {attempts} times before the decision was \
         recorded; try again, or let one service decide for it"
    )]
    Contended {
        /// The aggregate's name.
        aggregate: &'static str,
        /// Its key.
        key: String,
        /// How often was decided.
        attempts: u32,
    },
    /// The aggregate does not have the version that the caller expected.
    #[error(
        "the {aggregate} `{key}` has version {found}, expected was {expected}: it has changed; load it and \
         decide again"
    )]
    OtherVersion {
        /// The aggregate's name.
        aggregate: &'static str,
        /// Its key.
        key: String,
        /// What was expected.
        expected: u64,
        /// What it has.
        found: u64,
    },
    /// The first events of the aggregate are gone.
    #[error(
        "the history of the {aggregate} `{key}` is not whole: its first event, at position {position}, is \
         not its version 1; retention has removed what came before. Keep the events of aggregates in a log \
         without retention"
    )]
    HistoryRemoved {
        /// The aggregate's name.
        aggregate: &'static str,
        /// Its key.
        key: String,
        /// Where the oldest event is that is left.
        position: Position,
    },
    /// An event does not follow the one before: somebody wrote without looking.
    #[error(
        "the event of the {aggregate} `{key}` at position {position} says that it is version {found}, and \
         is version {expected}: two decided at the same time without knowing of each other. Let either one \
         service or programs that expect a version decide for an aggregate; what was recorded has to be \
         looked at by people"
    )]
    Diverged {
        /// The aggregate's name.
        aggregate: &'static str,
        /// Its key.
        key: String,
        /// Where the event is.
        position: Position,
        /// The version that it would have.
        expected: u64,
        /// The version that it says.
        found: u64,
    },
    /// An event is of a type that the aggregate does not know.
    #[error(
        "the {aggregate} `{key}` has an event of the type `{event_type}` at position {position}, which it \
         does not apply: a newer program wrote it, or a method with `#[apply]` is missing; what means nothing \
         to the aggregate is listed in `ignore`"
    )]
    UnknownEvent {
        /// The aggregate's name.
        aggregate: &'static str,
        /// Its key.
        key: String,
        /// The type.
        event_type: String,
        /// Where the event is.
        position: Position,
    },
    /// An event cannot be read.
    #[error("the {aggregate} `{key}` has an event at position {position} that cannot be read")]
    Undecodable {
        /// The aggregate's name.
        aggregate: &'static str,
        /// Its key.
        key: String,
        /// Where the event is.
        position: Position,
        /// Why.
        #[source]
        error: DecodeError,
    },
    /// A service decides for this aggregate, and no one else may.
    #[error(
        "the service `{service}` decides for the {aggregate} `{key}`: send it a command instead of deciding \
         here"
    )]
    DecidedByService {
        /// The aggregate's name.
        aggregate: &'static str,
        /// Its key.
        key: String,
        /// The service.
        service: String,
    },
    /// A decision returned an event that does not belong to the aggregate.
    #[error(
        "a decision for the {aggregate} `{key}` returned the event `{event_type}`, which does not belong to \
         it: {problem}"
    )]
    Foreign {
        /// The aggregate's name.
        aggregate: &'static str,
        /// Its key.
        key: String,
        /// The event's type.
        event_type: String,
        /// Why it does not.
        problem: String,
    },
}

impl AggregateError {
    /// Whether another program may be able to go on where this one cannot.
    #[doc(hidden)]
    pub fn waits_for_another_program(&self) -> bool {
        matches!(self, Self::UnknownEvent { .. } | Self::Undecodable { .. })
    }

    pub(super) fn outlook(&self) -> Outlook {
        match self {
            Self::Contended { .. } => Outlook::Passes,
            Self::OtherVersion { .. }
            | Self::HistoryRemoved { .. }
            | Self::Diverged { .. }
            | Self::UnknownEvent { .. }
            | Self::Undecodable { .. }
            | Self::DecidedByService { .. }
            | Self::Foreign { .. } => Outlook::Content,
        }
    }
}

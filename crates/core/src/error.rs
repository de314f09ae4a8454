//! What can go wrong between a program and its engine.
//!
//! There is one type, [`Error`], which `?` takes everywhere. Its variants say what was being done;
//! each holds an enum that says what went wrong there, and whether something may have happened.
//! What any operation can meet, whatever it does, is an [`EngineError`] or a [`LimitError`].

mod aggregate;
mod app;
mod append;
mod engine;
mod group;
mod limit;
mod migrate;
mod open;
mod personal;
mod read;
mod request;
mod test;
#[cfg(test)]
mod tests;

use crate::event::{DecodeError, InvalidEvent};
use crate::topic::InvalidTopic;

pub use self::aggregate::AggregateError;
pub use self::app::AppError;
pub use self::append::AppendError;
pub use self::engine::EngineError;
pub use self::group::GroupError;
pub use self::limit::LimitError;
pub use self::migrate::MigrateError;
pub use self::open::OpenError;
pub use self::personal::PersonalError;
pub use self::read::ReadError;
pub use self::request::RequestError;
pub use self::test::TestError;

/// The text of an error and of its causes, each once: `cannot connect: connection refused`.
///
/// ```
/// use ensue_core::error::{EngineError, Error, with_causes};
///
/// let error = Error::from(EngineError::Closed);
/// assert_eq!(with_causes(&error), error.to_string());
/// ```
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// The result of everything that talks to an engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What was being done, and in it what went wrong, what was expected and what to do about it.
///
/// Errors are values to match on:
///
/// ```
/// use ensue_core::error::{AppendError, EngineError, Error};
///
/// fn is_worth_another_look(error: &Error) -> bool {
///     match error {
///         Error::Append(AppendError::Conflict { .. }) => true,
///         Error::Engine(EngineError::Unavailable { .. }) => true,
///         _ => false,
///     }
/// }
/// assert!(!is_worth_another_look(&EngineError::Closed.into()));
/// ```
///
/// The text of an error names its cause where the cause has no text of its own in the chain of
/// [`source`](std::error::Error::source): whether a program prints the error or the chain, each
/// cause is said once.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Opening an engine, or connecting to one. Nothing happened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Appending events. Nothing of the batch was appended.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// Reading the log, or finding a place in it. Nothing happened.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Joining, committing for, or administering a group. Nothing of it happened.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// Asking a question of a service. The request may have been handled.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Deciding for an aggregate, or loading one. Nothing was appended.
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    /// Starting or running the services of an app.
    #[error(transparent)]
    App(#[from] AppError),
    /// Copying a log to another engine. The log that is copied is as it was.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// Sealing, opening or forgetting what is personal. Nothing was appended.
    #[error(transparent)]
    Personal(#[from] PersonalError),
    /// Testing services with the test kit.
    #[error(transparent)]
    Test(#[from] TestError),
    /// Something is beyond a limit that has a name, whatever was being done. Nothing happened.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The engine itself cannot go on, or not now, whatever was being done. Each variant says
    /// whether something may have happened.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<InvalidEvent> for Error {
    fn from(error: InvalidEvent) -> Self {
        AppendError::from(error).into()
    }
}

impl From<InvalidTopic> for Error {
    fn from(error: InvalidTopic) -> Self {
        ReadError::from(error).into()
    }
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        ReadError::from(error).into()
    }
}

/// What becomes of something that was refused when it is asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub enum Outlook {
    /// It may succeed later, as it is: there is no room, or no answer.
    Passes,
    /// It will not: what was asked breaks a rule or a limit. Something else may succeed.
    Content,
    /// It will not for this member, which has to join again.
    Member,
    /// Nothing will, for this engine.
    Engine,
}

impl Error {
    /// Whether, and for what, this is final.
    #[doc(hidden)]
    pub fn outlook(&self) -> Outlook {
        match self {
            Self::Open(_) | Self::Migrate(_) => Outlook::Engine,
            Self::Append(_) | Self::Test(_) | Self::Limit(_) => Outlook::Content,
            Self::Personal(PersonalError::Keys { .. }) => Outlook::Passes,
            Self::Personal(_) => Outlook::Content,
            Self::Read(error) => error.outlook(),
            Self::Group(error) => error.outlook(),
            Self::Request(error) => error.outlook(),
            Self::Aggregate(error) => error.outlook(),
            Self::App(error) => error.outlook(),
            Self::Engine(error) => error.outlook(),
        }
    }
}

//! Why a handler failed: two kinds, because dispatch has two branches.

use std::error::Error as StdError;
use std::fmt;

use crate::event::DecodeError;

/// What dispatch does about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Try again later, up to the handler's attempts; then the event is a dead letter.
    Retry,
    /// Trying again cannot help: the event is a dead letter at once.
    Reject,
}

/// Why a handler failed, and whether trying again may help.
///
/// Every [`std::error::Error`] turns into a retry, so `?` works on anything. Say
/// [`or_reject`](ResultExt::or_reject) where trying again is pointless. An error type that knows
/// better than that implements `From<MyError> for Failure` and not `std::error::Error`.
///
/// ```
/// use ensue::prelude::*;
///
/// fn parse(amount: &str) -> Result<u64, Failure> {
///     let amount = amount.parse().or_reject()?; // the text will not change
///     Ok(amount)
/// }
/// assert!(parse("x").unwrap_err().is_reject());
/// ```
pub struct Failure {
    kind: FailureKind,
    is_undecodable: bool,
    reason: Reason,
}

enum Reason {
    Error(Box<dyn StdError + Send + Sync>),
    Text(String),
}

impl Failure {
    /// A failure that may go away: try again later.
    pub fn retry(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(FailureKind::Retry, Reason::Error(error.into()))
    }

    /// A failure that will not go away: no further attempt.
    pub fn reject(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(FailureKind::Reject, Reason::Error(error.into()))
    }

    /// A payload that no attempt can read.
    pub(crate) fn undecodable(error: DecodeError) -> Self {
        Self {
            is_undecodable: true,
            ..Self::reject(error)
        }
    }

    fn new(kind: FailureKind, reason: Reason) -> Self {
        Self {
            kind,
            is_undecodable: false,
            reason,
        }
    }

    /// The kind.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    pub(crate) fn is_undecodable(&self) -> bool {
        self.is_undecodable
    }

    /// Whether trying again cannot help.
    pub fn is_reject(&self) -> bool {
        self.kind == FailureKind::Reject
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::retry(error)
    }
}

impl Clone for Failure {
    fn clone(&self) -> Self {
        Self {
            reason: Reason::Text(self.to_string()),
            ..*self
        }
    }
}

impl fmt::Display for Failure {
    /// The error and its causes, joined by `: `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Text(text) => f.write_str(text),
            Reason::Error(error) => {
                write!(f, "{error}")?;
                let mut cause = error.source();
                while let Some(error) = cause {
                    write!(f, ": {error}")?;
                    cause = error.source();
                }
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.kind)
    }
}

/// Says on a `Result` what its error means to dispatch.
pub trait ResultExt<T> {
    /// The error will not go away: no further attempt.
    ///
    /// # Errors
    /// The error, as a rejection.
    fn or_reject(self) -> Result<T, Failure>;

    /// The error may go away: try again later. What `?` does by itself.
    ///
    /// # Errors
    /// The error, as a retry.
    fn or_retry(self) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> ResultExt<T> for Result<T, E> {
    fn or_reject(self) -> Result<T, Failure> {
        self.map_err(Failure::reject)
    }

    fn or_retry(self) -> Result<T, Failure> {
        self.map_err(Failure::retry)
    }
}

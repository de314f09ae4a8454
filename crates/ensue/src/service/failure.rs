//! Why a handler failed: two kinds, because dispatch has two branches.

use std::error::Error as StdError;
use std::fmt;

use crate::contained::{Contained, describe, shorten};
use crate::event::DecodeError;

/// The longest text of an error that is shown, in bytes.
const TEXT_BYTES_MAX: usize = 64 * 1024;

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
    origin: Origin,
    reason: Reason,
}

/// Where a failure comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The handler, or what stands for it.
    Handler,
    /// A payload that no attempt can read.
    Undecodable,
    /// What the handler returned cannot be committed.
    Refused,
    /// The app stopped before the handler's turn came: no attempt was made.
    NotBegun,
}

enum Reason {
    Error(Contained<Box<dyn StdError + Send + Sync>>),
    Text(String),
}

impl Failure {
    /// A failure that may go away: try again later.
    pub fn retry(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let error = Contained::new(error.into());
        Self::new(FailureKind::Retry, Reason::Error(error))
    }

    /// A failure that will not go away: no further attempt.
    pub fn reject(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let error = Contained::new(error.into());
        Self::new(FailureKind::Reject, Reason::Error(error))
    }

    /// A payload that no attempt can read.
    pub(crate) fn undecodable(error: DecodeError) -> Self {
        Self {
            origin: Origin::Undecodable,
            ..Self::reject(error)
        }
    }

    /// An outcome that no commit can hold.
    pub(crate) fn refused(reason: String) -> Self {
        Self {
            origin: Origin::Refused,
            ..Self::new(FailureKind::Reject, Reason::Text(reason))
        }
    }

    /// No attempt was made, because the app stops.
    pub(crate) fn not_begun() -> Self {
        let reason = Reason::Text("the app stopped first".to_owned());
        Self {
            origin: Origin::NotBegun,
            ..Self::new(FailureKind::Retry, reason)
        }
    }

    fn new(kind: FailureKind, reason: Reason) -> Self {
        Self {
            kind,
            origin: Origin::Handler,
            reason,
        }
    }

    /// The kind.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    pub(crate) fn is_undecodable(&self) -> bool {
        self.origin == Origin::Undecodable
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.origin == Origin::Refused
    }

    pub(crate) fn has_not_begun(&self) -> bool {
        self.origin == Origin::NotBegun
    }

    /// The error and its causes, joined by `: `; cut at `bytes_max` bytes. Whatever the error does
    /// when it is asked, this neither panics nor goes on for ever.
    pub(crate) fn text(&self, bytes_max: usize) -> String {
        match &self.reason {
            Reason::Text(text) => shorten(text, bytes_max),
            Reason::Error(error) => error
                .get()
                .map_or_else(String::new, |error| describe(&**error, bytes_max)),
        }
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
            reason: Reason::Text(self.text(TEXT_BYTES_MAX)),
            ..*self
        }
    }
}

impl fmt::Display for Failure {
    /// The error and its causes, joined by `: `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(TEXT_BYTES_MAX))
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

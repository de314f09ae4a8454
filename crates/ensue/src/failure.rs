//! Why a handler failed: two kinds, because dispatch has two branches.

use std::error::Error as StdError;
use std::fmt;

use crate::contained::{Contained, describe, has_cause, shorten};
use crate::error::{AggregateError, Error, PersonalError};
use crate::event::DecodeError;
use crate::state::Unreadable;

/// Any error: what `anyhow::Error`, a `String` and every [`std::error::Error`] turn into.
type BoxError = Box<dyn StdError + Send + Sync>;

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
/// Every error turns into one, so `?` works on anything, and a handler may return a `Result` with
/// any error: its own type, `anyhow::Error`, a boxed error, a `String`. All of them mean *retry*.
/// Where trying again is pointless, say so with [`Failure::reject`], or, in functions with another
/// type of error, with [`or_reject`](ResultExt::or_reject) and [`Rejection`]. A [`DecodeError`]
/// among the causes is a rejection as well: the bytes will not change. An error type that knows by
/// itself which of the two it is implements `From<MyError> for Failure` and not
/// `std::error::Error`.
///
/// ```
/// use ensue::prelude::*;
///
/// fn parse(amount: &str) -> Result<u64, Failure> {
///     let amount = amount.parse().or_reject()?; // the text will not change
///     Ok(amount)
/// }
/// assert!(parse("x").unwrap_err().is_reject());
///
/// fn read(path: &str) -> Result<String, Failure> {
///     Ok(std::fs::read_to_string(path)?) // the file may appear
/// }
/// assert!(!read("/no/such/file").unwrap_err().is_reject());
/// ```
///
/// With `anyhow`, or any type of error that takes others in:
///
/// ```
/// use anyhow::{Context as _, ensure};
/// use ensue::prelude::*;
/// # #[derive(Event, Serialize, Deserialize)]
/// # #[event(type = "order.created", topic = "orders", key = order_id)]
/// # struct OrderCreated { order_id: String, cents: String }
/// # #[derive(Event, Serialize, Deserialize)]
/// # #[event(type = "order.paid", topic = "orders", key = order_id)]
/// # struct OrderPaid { order_id: String, cents: u64 }
/// # struct Payments;
///
/// #[service]
/// impl Payments {
///     #[on]
///     async fn charge(&self, order: OrderCreated) -> anyhow::Result<OrderPaid> {
///         let cents = order.cents.parse().or_reject().context("the amount of the order")?;
///         ensure!(cents < 100_000, Rejection::new("beyond the limit"));
///         Ok(OrderPaid { order_id: order.order_id, cents })
///     }
/// }
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
    /// State that this program cannot read, and another one can; or keys that cannot be reached.
    UnreadableState,
    /// The app stopped before the handler's turn came: no attempt was made.
    NotBegun,
}

enum Reason {
    Error(Contained<BoxError>),
    Text(String),
}

impl Failure {
    /// A failure that may go away: try again later.
    pub fn retry(error: impl Into<BoxError>) -> Self {
        let error = Contained::new(error.into());
        Self::new(FailureKind::Retry, Reason::Error(error))
    }

    /// A failure that will not go away: no further attempt.
    pub fn reject(error: impl Into<BoxError>) -> Self {
        let error = Contained::new(error.into());
        Self::new(FailureKind::Reject, Reason::Error(error))
    }

    /// A payload that no attempt can read.
    #[doc(hidden)]
    pub fn undecodable(error: DecodeError) -> Self {
        Self {
            origin: Origin::Undecodable,
            ..Self::reject(error)
        }
    }

    /// What is personal in an event and cannot be opened: no attempt can, unless the keys cannot be reached.
    pub(crate) fn unopened(error: PersonalError) -> Self {
        match error {
            keys @ PersonalError::Keys { .. } => Self::from(keys),
            other => Self {
                origin: Origin::Undecodable,
                ..Self::reject(other)
            },
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

    /// Whether no attempt of this program helps, but one of another may: it is no dead letter.
    pub(crate) fn waits_for_another_program(&self) -> bool {
        self.origin == Origin::UnreadableState
    }

    pub(crate) fn has_not_begun(&self) -> bool {
        self.origin == Origin::NotBegun
    }

    /// The error and its causes, joined by `: `; cut at `bytes_max` bytes. Whatever the error does
    /// when it is asked, this neither panics nor goes on for ever.
    pub(crate) fn text(&self, bytes_max: usize) -> String {
        match &self.reason {
            Reason::Text(text) => shorten(text, bytes_max),
            Reason::Error(error) => error.get().map_or_else(String::new, |error| {
                describe(&**error, |cause| !cause.is::<Final>(), bytes_max)
            }),
        }
    }

    /// Whether trying again cannot help.
    pub fn is_reject(&self) -> bool {
        self.kind == FailureKind::Reject
    }
}

impl<E: Into<BoxError>> From<E> for Failure {
    /// A retry, unless a [`Rejection`], a [`DecodeError`] or a [`PersonalError`] is among the causes.
    fn from(error: E) -> Self {
        let error = Contained::new(error.into());
        let has = |is: fn(&(dyn StdError + 'static)) -> bool| {
            error.get().is_some_and(|error| has_cause(&**error, is))
        };
        let (kind, origin) = if has(|it| it.is::<Final>()) {
            (FailureKind::Reject, Origin::Handler)
        } else if has(|it| it.is::<Unreadable>() || is_history_of_another_program(it))
            || has(|it| matches!(personal(it), Some(PersonalError::Keys { .. })))
        {
            (FailureKind::Retry, Origin::UnreadableState)
        } else if has(|it| it.is::<DecodeError>() || personal(it).is_some()) {
            (FailureKind::Reject, Origin::Handler)
        } else {
            (FailureKind::Retry, Origin::Handler)
        };
        Self {
            origin,
            ..Self::new(kind, Reason::Error(error))
        }
    }
}

/// What could not be done with something personal, if it is that.
fn personal<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a PersonalError> {
    match error.downcast_ref() {
        Some(Error::Personal(error)) => Some(error),
        _ => error.downcast_ref(),
    }
}

/// Whether it is an aggregate whose events another program has written, or has to read.
fn is_history_of_another_program(error: &(dyn StdError + 'static)) -> bool {
    match error.downcast_ref() {
        Some(Error::Aggregate(error)) => error.waits_for_another_program(),
        _ => error
            .downcast_ref::<AggregateError>()
            .is_some_and(AggregateError::waits_for_another_program),
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

/// An error that trying again cannot help: the event becomes a dead letter at once.
///
/// It is for what an operator has to look into: later events of the key wait until the dead letter is
/// redriven or discarded, unless the handler has `on_dead = "skip"`. What the rules of the business
/// refuse is no failure: return an event that says so.
///
/// It is to other types of errors what [`Failure::reject`] is to handlers that return a
/// [`Failure`]: `?` takes it in, what is added on the way (`anyhow`'s `context`) does not hide it.
/// It prints as the error that it is made of.
///
/// ```
/// use ensue::{Failure, Rejection};
///
/// fn check(cents: u64) -> anyhow::Result<()> {
///     anyhow::ensure!(cents < 100_000, Rejection::new("beyond the limit"));
///     Ok(())
/// }
/// let failure = Failure::from(check(4_200_000).unwrap_err());
/// assert!(failure.is_reject());
/// assert_eq!(failure.to_string(), "beyond the limit");
/// ```
#[derive(Debug)]
pub struct Rejection(Final);

/// Marks a rejection among the causes of an error: of the error itself, those who take it in keep
/// the text and the causes alone.
#[derive(Debug)]
struct Final(BoxError);

impl Rejection {
    /// `error`, as one that will not go away.
    pub fn new(error: impl Into<BoxError>) -> Self {
        Self(Final(error.into()))
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Final(error)) = self;
        error.fmt(f)
    }
}

impl StdError for Rejection {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

impl fmt::Display for Final {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("trying again cannot help")
    }
}

impl StdError for Final {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

/// Says on a `Result` what its error means to dispatch.
pub trait ResultExt<T> {
    /// The error will not go away: no further attempt. Without it, every error means that another
    /// attempt may help.
    ///
    /// # Errors
    /// The error, as a rejection.
    fn or_reject(self) -> Result<T, Rejection>;
}

impl<T, E: Into<BoxError>> ResultExt<T> for Result<T, E> {
    fn or_reject(self) -> Result<T, Rejection> {
        self.map_err(Rejection::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two levels of causes, each with a sentence of its own.
    #[derive(Debug, thiserror::Error)]
    #[error("cannot read the list")]
    struct Unread(#[source] std::num::ParseIntError);

    fn number() -> Result<u8, std::num::ParseIntError> {
        "x".parse()
    }

    #[test]
    fn any_error_is_a_retry_and_keeps_its_text_and_causes() {
        let boxed: BoxError = "boxed".into();
        let unread = number().map_err(Unread).unwrap_err();
        let with_context = anyhow::Error::new(Unread(number().unwrap_err())).context("at start");
        for (failure, text) in [
            (Failure::from(boxed), "boxed"),
            (Failure::from("a text"), "a text"),
            (Failure::from("a text".to_owned()), "a text"),
            (Failure::from(anyhow::anyhow!("no answer")), "no answer"),
            (
                Failure::from(unread),
                "cannot read the list: invalid digit found in string",
            ),
            (
                Failure::from(with_context),
                "at start: cannot read the list: invalid digit found in string",
            ),
        ] {
            assert_eq!(failure.kind(), FailureKind::Retry, "{failure}");
            assert_eq!(failure.to_string(), text);
        }
    }

    #[test]
    fn a_rejection_stays_one_whatever_takes_it_in_and_prints_once() {
        let rejection = || number().map_err(Unread).or_reject().unwrap_err();
        let text = "cannot read the list: invalid digit found in string";
        let in_anyhow = anyhow::Error::from(rejection());
        let in_context = anyhow::Error::from(rejection()).context("at start");
        let boxed: BoxError = rejection().into();
        for (failure, text) in [
            (Failure::from(rejection()), text.to_owned()),
            (Failure::from(boxed), text.to_owned()),
            (Failure::from(in_anyhow), text.to_owned()),
            (Failure::from(in_context), format!("at start: {text}")),
        ] {
            assert_eq!(failure.kind(), FailureKind::Reject, "{failure}");
            assert_eq!(failure.to_string(), text);
        }
        // Said last, said for good.
        assert!(!Failure::retry(rejection()).is_reject());
    }

    #[test]
    fn an_error_and_its_causes_say_everything_once() {
        let decoded = crate::Codec::Json.decode::<u32>(b"not json");
        let errors = [
            crate::Error::from(decoded.unwrap_err()),
            crate::Error::from(crate::InvalidEvent::Missing("id")),
            crate::Error::from(crate::InvalidEvent::from(
                "no topic".parse::<crate::TopicPattern>().unwrap_err(),
            )),
            crate::Error::Engine(crate::error::EngineError::Io {
                what: "cannot open `x`".into(),
                reason: std::io::ErrorKind::NotFound.into(),
            }),
        ];
        let texts = errors.map(|error| Failure::from(error).to_string());
        let [decode, missing, topic, io] = texts.each_ref().map(String::as_str);
        assert!(
            decode.starts_with("the payload is not what its reader expects: "),
            "{decode}"
        );
        let said = crate::InvalidEvent::Missing("id").to_string();
        assert_eq!(missing, said);
        assert_eq!(topic.matches("is not a topic").count(), 1, "{topic}");
        assert_eq!(io, "cannot open `x`: entity not found");
    }
}

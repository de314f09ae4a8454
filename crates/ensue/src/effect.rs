//! What follows from an event: the return value of a handler.
//!
//! A handler does not publish; it returns. What it returned is committed together with its
//! position, so that neither can exist without the other.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::engine::Driver;
use crate::event::{Codec, EncodeError, Envelope, EnvelopeBuilder, Event, EventId};
use crate::failure::Failure;
use crate::outgoing::{Due, EventTracer, Outgoing};
use crate::personal::OnForgotten;
use crate::state::{self, State};

/// The answer to a request: goes to the requester, and is dropped without one.
///
/// ```
/// # use ensue::prelude::*;
/// # #[derive(Event, Serialize, Deserialize)]
/// # #[event(type = "quote.requested", topic = "quotes")]
/// # struct QuoteRequested { item: String }
/// # #[derive(Event, Serialize, Deserialize)]
/// # #[event(type = "quote.given", topic = "quotes")]
/// # struct QuoteGiven { cents: u64 }
/// async fn quote(request: QuoteRequested) -> Reply<QuoteGiven> {
///     Reply(QuoteGiven { cents: 100 * request.item.len() as u64 })
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<E>(pub E);

/// One cell of a handler's state: belongs to the group and to the key of the event at hand.
#[derive(Clone)]
pub(crate) struct StateChange {
    pub(crate) name: Arc<str>,
    pub(crate) value: Option<Bytes>,
}

impl fmt::Debug for StateChange {
    /// Of the value its size: its content may be personal data, which does not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "`{}`: {} bytes", self.name, value.len()),
            None => write!(f, "`{}`: removed", self.name),
        }
    }
}

/// What is scheduled and is to be cancelled.
#[derive(Clone, Debug)]
pub(crate) enum Cancel {
    /// What the service itself scheduled under this name.
    Own(String),
    Of(EventId),
}

impl Cancel {
    /// Its whole name, as seen by a service whose events have this source.
    pub(crate) fn resolve(self, source: &str) -> EventId {
        match self {
            Self::Own(name) => EventId::new(source, name),
            Self::Of(name) => name,
        }
    }
}

/// What a handler said, but for state.
#[expect(
    clippy::large_enum_variant,
    reason = "few effects are cancellations, and a box would cost all others an allocation"
)]
#[derive(Clone, Debug)]
pub(crate) enum Said {
    Publish(Outgoing),
    Cancel(Cancel),
}

impl Said {
    pub(crate) fn outgoing(&self) -> Option<&Outgoing> {
        match self {
            Self::Publish(outgoing) => Some(outgoing),
            Self::Cancel(_) => None,
        }
    }
}

/// Everything that follows from one event, committed together with its position, and applied in
/// the order in which it is said.
///
/// Returned where a plain event, an `Option`, a `Vec` or a tuple cannot say it.
#[derive(Clone, Debug, Default)]
#[must_use = "effects do nothing until a handler returns them"]
pub struct Effects {
    pub(crate) said: Vec<Said>,
    pub(crate) state: Vec<StateChange>,
    pub(crate) failure: Option<Failure>,
}

impl Effects {
    /// Nothing follows.
    pub fn none() -> Self {
        Self::default()
    }

    /// Publishes `event`.
    pub fn publish(mut self, event: impl Into<Outgoing>) -> Self {
        if self.said.is_empty() {
            // Most often it stays the only one.
            self.said.reserve_exact(1);
        }
        self.said.push(Said::Publish(event.into()));
        self
    }

    /// Publishes `event` later: at a [`Timestamp`](crate::Timestamp), or a
    /// [`Duration`](std::time::Duration) from now.
    pub fn schedule(self, due: impl Into<Due>, event: impl Into<Outgoing>) -> Self {
        self.publish(event.into().due(due))
    }

    /// Sets the timer `name`, or moves it: `event` is published when it is due, in the place of
    /// whatever the timer would have published: [`Outgoing::timer`].
    #[doc(alias = "reschedule")]
    pub fn set_timer(
        self,
        name: impl Into<String>,
        due: impl Into<Due>,
        event: impl Into<Outgoing>,
    ) -> Self {
        self.publish(event.into().timer(name, due))
    }

    /// Cancels the timer with this name, or the scheduled event with this id, of this service's own.
    /// What was appended already stays.
    pub fn cancel(mut self, name: impl Into<String>) -> Self {
        self.said.push(Said::Cancel(Cancel::Own(name.into())));
        self
    }

    /// Cancels what any source has scheduled; a timer's name takes the place of the id. What was
    /// appended already stays.
    pub fn cancel_event(mut self, event: EventId) -> Self {
        self.said.push(Said::Cancel(Cancel::Of(event)));
        self
    }

    /// Answers the request at hand. Without a requester the reply is dropped.
    pub fn reply<E: Event>(mut self, reply: E) -> Self {
        self.said.push(Said::Publish(Outgoing::reply(reply)));
        self
    }

    /// Answers the request at hand with an envelope put together by hand; its topic and its key are those
    /// of the reply. Without a requester the reply is dropped.
    pub fn reply_raw(mut self, reply: EnvelopeBuilder) -> Self {
        self.said.push(Said::Publish(Outgoing::raw_reply(reply)));
        self
    }

    /// Sets the bytes of the cell `name`, or removes it.
    #[doc(hidden)]
    pub fn set_raw_state(mut self, name: &str, value: Option<Bytes>) -> Self {
        self.change_state(name, value);
        self
    }

    /// Sets what the service remembers, as a `T`, of the *topic and key* of the event at hand; read it
    /// with [`Context::state`](crate::Context::state), in a handler of the same topic.
    pub fn set_state<T: State>(self, state: T) -> Self {
        let encoded = state::encode(&state);
        self.set_cell(T::NAME, encoded)
    }

    /// Forgets what the service remembers, as a `T`, of the topic and key of the event at hand.
    pub fn clear_state<T: State>(self) -> Self {
        self.clear_named_state(T::NAME)
    }

    /// Sets the cell `name`, of any type: for names that are made at run time.
    pub fn set_named_state<T: Serialize>(self, name: &str, value: T) -> Self {
        let encoded = Codec::MessagePack.encode(&value);
        self.set_cell(name, encoded.map(Bytes::from))
    }

    /// Removes the cell `name`.
    pub fn clear_named_state(mut self, name: &str) -> Self {
        self.change_state(name, None);
        self
    }

    fn set_cell(mut self, name: &str, encoded: Result<Bytes, EncodeError>) -> Self {
        match encoded {
            Ok(bytes) => self.change_state(name, Some(bytes)),
            // Effects are built without `?`; what cannot be written fails the handler instead.
            Err(error) => self.failure = self.failure.or_else(|| Some(Failure::reject(error))),
        }
        self
    }

    /// These effects and then `more`. If `more` is a failure, so is the whole.
    pub fn and(mut self, more: impl IntoEffects) -> Self {
        match more.into_effects() {
            Ok(more) => self.extend(more),
            Err(failure) => self.failure = self.failure.or(Some(failure)),
        }
        self
    }

    /// These effects of `cause`, the events among them with the trace contexts that `tracer` gives them: for
    /// a layer that records spans.
    pub fn traced(mut self, tracer: &dyn EventTracer, cause: &Envelope) -> Self {
        let traced = self.said.into_iter().map(|said| match said {
            Said::Publish(outgoing) => Said::Publish(outgoing.traced(tracer, Some(cause))),
            cancel @ Said::Cancel(_) => cancel,
        });
        self.said = traced.collect();
        self
    }

    /// Whether something personal in them is not sealed yet.
    pub(crate) fn are_unsealed(&self) -> bool {
        let mut outgoing = self.said.iter().filter_map(Said::outgoing);
        outgoing.any(Outgoing::is_unsealed)
    }

    /// These effects with what is personal in them sealed.
    pub(crate) async fn sealed(mut self, engine: &dyn Driver) -> crate::Result<Self> {
        for said in &mut self.said {
            if let Said::Publish(outgoing) = said {
                let event = outgoing.clone();
                *outgoing = event.sealed(engine, OnForgotten::Blank).await?;
            }
        }
        Ok(self)
    }

    /// How many effects there are: events, scheduled ones and the reply included, cancellations, and
    /// changes of state.
    pub fn len(&self) -> usize {
        self.said.len() + self.state.len()
    }

    /// Whether nothing at all follows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many events follow, scheduled ones and the reply included.
    pub fn events(&self) -> usize {
        self.said.iter().filter_map(Said::outgoing).count()
    }

    fn change_state(&mut self, name: &str, value: Option<Bytes>) {
        self.state.push(StateChange {
            name: name.into(),
            value,
        });
    }

    fn extend(&mut self, more: Self) {
        self.said.extend(more.said);
        self.state.extend(more.state);
        self.failure = self.failure.take().or(more.failure);
    }
}

/// What a handler may return.
///
/// Implemented for `()`, every [`Event`], [`Outgoing`], [`Reply`], [`Effects`], and for `Option`,
/// `Vec`, arrays, tuples and `Result` of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not something a handler can return",
    label = "not effects",
    note = "return `()`, an event (`#[derive(Event)]`), `Reply(event)`, `Effects`, or an `Option`, \
            `Vec`, tuple or `Result` of them",
    note = "the error of a `Result` may be `Failure`, `anyhow::Error`, a `String`, or any type that \
            implements `std::error::Error`"
)]
pub trait IntoEffects {
    /// The effects, or why there are none.
    ///
    /// # Errors
    /// The handler's own failure.
    fn into_effects(self) -> Result<Effects, Failure>;
}

/// An event that a handler may return as it is. `#[derive(Event)]` implements it; beside an
/// [`Event`] that is written by hand goes `impl ReturnedEvent for Mine {}`.
pub trait ReturnedEvent: Event {}

impl IntoEffects for () {
    fn into_effects(self) -> Result<Effects, Failure> {
        Ok(Effects::none())
    }
}

impl IntoEffects for Effects {
    fn into_effects(mut self) -> Result<Effects, Failure> {
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(self),
        }
    }
}

impl<E: ReturnedEvent> IntoEffects for E {
    fn into_effects(self) -> Result<Effects, Failure> {
        Ok(Effects::none().publish(self))
    }
}

impl IntoEffects for Outgoing {
    fn into_effects(self) -> Result<Effects, Failure> {
        Ok(Effects::none().publish(self))
    }
}

impl<E: Event> IntoEffects for Reply<E> {
    fn into_effects(self) -> Result<Effects, Failure> {
        Ok(Effects::none().reply(self.0))
    }
}

impl<T: IntoEffects> IntoEffects for Option<T> {
    fn into_effects(self) -> Result<Effects, Failure> {
        self.map_or_else(|| Ok(Effects::none()), T::into_effects)
    }
}

impl<T: IntoEffects> IntoEffects for Vec<T> {
    fn into_effects(self) -> Result<Effects, Failure> {
        collect(self)
    }
}

impl<T: IntoEffects, const N: usize> IntoEffects for [T; N] {
    fn into_effects(self) -> Result<Effects, Failure> {
        collect(self)
    }
}

fn collect(items: impl IntoIterator<Item = impl IntoEffects>) -> Result<Effects, Failure> {
    let mut all = Effects::none();
    for item in items {
        all.extend(item.into_effects()?);
    }
    Ok(all)
}

impl<T: IntoEffects, E: Into<Failure>> IntoEffects for Result<T, E> {
    fn into_effects(self) -> Result<Effects, Failure> {
        self.map_err(Into::into)?.into_effects()
    }
}

macro_rules! tuples {
    ($($($part:ident)+),+ $(,)?) => {$(
        impl<$($part: IntoEffects),+> IntoEffects for ($($part,)+) {
            fn into_effects(self) -> Result<Effects, Failure> {
                #[allow(non_snake_case, reason = "the type parameters double as the parts' names")]
                let ($($part,)+) = self;
                let mut all = Effects::none();
                $(all.extend($part.into_effects()?);)+
                Ok(all)
            }
        }
    )+};
}

tuples!(A B, A B C, A B C D, A B C D F, A B C D F G);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Envelope;

    fn event() -> Outgoing {
        Outgoing::raw(Envelope::builder("things", "thing.happened"))
    }

    #[test]
    fn effects_are_empty_exactly_if_they_count_none() {
        let none = Effects::none;
        for (effects, len, events) in [
            (none(), 0, 0),
            (none().publish(event()), 1, 1),
            (none().cancel("later"), 1, 0),
            (none().set_named_state("cell", 1), 1, 0),
            (none().clear_named_state("cell"), 1, 0),
            (none().publish(event()).cancel("later").and(event()), 3, 2),
        ] {
            assert_eq!((effects.len(), effects.events()), (len, events));
            assert_eq!(effects.is_empty(), len == 0);
        }
    }

    #[test]
    fn effects_printed_for_logs_do_not_show_what_state_holds() {
        let effects = Effects::none().set_named_state("address", "Elm Street");
        let printed = format!("{effects:?}");
        assert!(printed.contains("`address`: 11 bytes"), "{printed}");
    }

    #[test]
    fn effects_with_a_failure_among_them_fail_with_the_first() {
        let failed = |reason: &'static str| Err::<(), _>(Failure::reject(reason));
        let effects = Effects::none()
            .publish(event())
            .and(failed("one"))
            .and(failed("two"));
        assert_eq!(effects.into_effects().unwrap_err().to_string(), "one");
    }
}

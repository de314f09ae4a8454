//! An event on its way out: what it is, when it is due, and on what condition.

use std::fmt;
use std::time::Duration;

use crate::engine::{Driver, Expect, Vault};
use crate::event::{Envelope, EnvelopeBuilder, Event, ExtensionValue, InvalidEvent, TraceContext};
use crate::personal::{OnForgotten, Unsealed};
use crate::time::Timestamp;

/// An event on its way out, with what its publisher wants to say about it.
///
/// Every [`Event`] turns into one, by value, wherever it is returned, published or asked; the
/// methods set what is rarely needed.
///
/// ```
/// use std::time::Duration;
/// use ensue::prelude::*;
/// # #[derive(Event, Serialize, Deserialize)]
/// # #[event(type = "reminder.due", topic = "reminders", key = order_id)]
/// # struct ReminderDue { order_id: String }
///
/// let reminder = Outgoing::new(ReminderDue { order_id: "o-1".into() })
///     .timer("reminder-o-1", Duration::from_secs(3600));
/// ```
#[derive(Clone, Debug)]
#[must_use = "an outgoing event goes nowhere until it is returned or published"]
pub struct Outgoing {
    builder: Result<EnvelopeBuilder, InvalidEvent>,
    /// What its payload will be, of an event with something personal in it.
    unsealed: Option<Unsealed>,
    due: Option<Due>,
    timer: Option<String>,
    is_reply: bool,
}

/// When an event for later is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// So long after it was published, or its handler has returned it.
    After(Duration),
    /// At this time.
    At(Timestamp),
}

impl From<Duration> for Due {
    fn from(delay: Duration) -> Self {
        Self::After(delay)
    }
}

impl From<Timestamp> for Due {
    fn from(at: Timestamp) -> Self {
        Self::At(at)
    }
}

impl Outgoing {
    /// An event, encoded by its own codec. A value that cannot be encoded is reported when it is
    /// published.
    pub fn new<E: Event>(event: E) -> Self {
        if E::PERSONAL.is_empty() {
            return Self::from_builder(Envelope::of(&event));
        }
        Self {
            builder: Ok(Envelope::without_payload(&event)),
            unsealed: Some(Unsealed::new(event)),
            ..Self::from_builder(Err(InvalidEvent::Unsealed(E::TYPE.to_owned())))
        }
    }

    /// An envelope put together by hand.
    pub fn raw(builder: EnvelopeBuilder) -> Self {
        Self::from_builder(Ok(builder))
    }

    /// The answer to the request at hand.
    pub(crate) fn reply<E: Event>(event: E) -> Self {
        Self {
            is_reply: true,
            ..Self::new(event)
        }
    }

    /// The same, put together by hand.
    pub(crate) fn raw_reply(builder: EnvelopeBuilder) -> Self {
        Self {
            is_reply: true,
            ..Self::raw(builder)
        }
    }

    fn from_builder(builder: Result<EnvelopeBuilder, InvalidEvent>) -> Self {
        Self {
            builder,
            unsealed: None,
            due: None,
            timer: None,
            is_reply: false,
        }
    }

    /// Whether something personal in it is not sealed yet.
    pub(crate) fn is_unsealed(&self) -> bool {
        self.unsealed.is_some()
    }

    /// The same with what is personal in it sealed. Without that it goes nowhere.
    pub(crate) async fn sealed(
        self,
        engine: &dyn Driver,
        on_forgotten: OnForgotten,
    ) -> crate::Result<Self> {
        self.sealed_by(engine.vault(), on_forgotten).await
    }

    /// The same with these keys.
    pub(crate) async fn sealed_by(
        mut self,
        vault: Option<&dyn Vault>,
        on_forgotten: OnForgotten,
    ) -> crate::Result<Self> {
        let Some(unsealed) = self.unsealed.take() else {
            return Ok(self);
        };
        let builder = unsealed.seal(self.builder?, vault, on_forgotten).await?;
        Ok(Self {
            builder: Ok(builder),
            ..self
        })
    }

    fn map(mut self, change: impl FnOnce(EnvelopeBuilder) -> EnvelopeBuilder) -> Self {
        self.builder = self.builder.map(change);
        self
    }

    /// The event's id, for publishers that can derive one: publishing the same id again from the
    /// same source within the engine's dedup window adds nothing.
    pub fn id(self, id: impl Into<String>) -> Self {
        self.map(|builder| builder.id(id))
    }

    /// When the event happened, if that was not just now.
    pub fn time(self, time: Timestamp) -> Self {
        self.map(|builder| builder.time(time))
    }

    /// Another topic than the event's own.
    pub fn topic(self, topic: impl Into<String>) -> Self {
        self.map(|builder| builder.topic(topic))
    }

    /// Another key than the event's own.
    pub fn key(self, key: impl Into<String>) -> Self {
        self.map(|builder| builder.key(key))
    }

    /// The W3C trace context, in place of that of the event which this one follows from.
    pub fn trace(self, trace: TraceContext) -> Self {
        self.map(|builder| builder.trace(trace))
    }

    /// With the trace context that `tracer` gives it, unless it has one.
    pub(crate) fn traced(self, tracer: &dyn EventTracer, cause: Option<&Envelope>) -> Self {
        let is_open = |builder: &EnvelopeBuilder| !builder.has_trace();
        if !self.builder.as_ref().is_ok_and(is_open) {
            return self;
        }
        match tracer.trace(&self, cause) {
            Some(trace) => self.trace(trace),
            None => self,
        }
    }

    /// What is known of the envelope so far; `None` if the event cannot be encoded.
    #[doc(hidden)]
    pub fn envelope(&self) -> Option<&EnvelopeBuilder> {
        self.builder.as_ref().ok()
    }

    /// Whether it answers the request at hand: then its topic is its requester's.
    #[doc(hidden)]
    pub fn is_reply(&self) -> bool {
        self.is_reply
    }

    /// An event without a key is one of its own: its id is its key.
    pub(crate) fn key_or_id(self) -> Self {
        self.map(EnvelopeBuilder::key_or_id)
    }

    /// A CloudEvents extension attribute: lower-case letters and digits.
    pub fn extension(
        self,
        name: impl Into<String>,
        value: impl Into<ExtensionValue<'static>>,
    ) -> Self {
        self.map(|builder| builder.extension(name, value))
    }

    /// Appends the event at `at` instead of now. What cancels it
    /// ([`Effects::cancel`](crate::Effects::cancel)) is its id, or its [`timer`](Self::timer).
    pub fn at(self, at: Timestamp) -> Self {
        self.due(at)
    }

    /// Appends the event `delay` from now. What cancels it
    /// ([`Effects::cancel`](crate::Effects::cancel)) is its id, or its [`timer`](Self::timer).
    pub fn after(self, delay: Duration) -> Self {
        self.due(delay)
    }

    /// The envelope so far, for what stores it before it is published.
    ///
    /// # Errors
    /// [`InvalidEvent`] when the event cannot be encoded.
    #[doc(hidden)]
    pub fn into_builder(self) -> Result<EnvelopeBuilder, InvalidEvent> {
        self.builder
    }

    /// Whether it is appended later than it is published.
    #[doc(hidden)]
    pub fn is_for_later(&self) -> bool {
        self.due.is_some()
    }

    pub(crate) fn due(mut self, due: impl Into<Due>) -> Self {
        self.due = Some(due.into());
        self
    }

    /// Sets the timer `name`, or moves it: when `due` (after a [`Duration`] or at a [`Timestamp`])
    /// this event is appended, in the place of whatever the timer would have appended. That is one
    /// step, and holds whether the timer is pending, was cancelled, or has gone off: it cannot be
    /// lost to a duplicate. [`Effects::cancel`](crate::Effects::cancel) with the name stops it. A
    /// time that is past is now.
    ///
    /// Each source has timers of its own, and all keys of a service share their names: put the key
    /// into the name, as in `reminder-{order_id}`. An [`id`](Self::id) is no name for a timer: it
    /// names one event, and once that was appended, scheduling it again is a duplicate.
    ///
    /// A timer has a time; without one this does not compile:
    ///
    /// ```compile_fail,E0061
    /// use ensue::prelude::*;
    /// # #[derive(Event, Serialize, Deserialize)]
    /// # #[event(type = "reminder.due", topic = "reminders")]
    /// # struct ReminderDue;
    ///
    /// let reminder = Outgoing::new(ReminderDue).timer("reminder-o-1"); // due when?
    /// ```
    #[doc(alias = "reschedule")]
    pub fn timer(mut self, name: impl Into<String>, due: impl Into<Due>) -> Self {
        self.timer = Some(name.into());
        self.due(due)
    }

    /// Appends only if the key's last event in the topic is the expected one. For a
    /// [`Publisher`](crate::Publisher): what a handler returns shares its commit with what follows
    /// from other events, and cannot depend on a condition.
    pub fn expect(self, expect: Expect) -> Conditional {
        Conditional {
            outgoing: self,
            expect,
        }
    }

    pub(crate) fn into_parts(self) -> OutgoingParts {
        let unsealed = self.unsealed;
        let builder = self.builder.and_then(|builder| match unsealed {
            None => Ok(builder),
            Some(_) => Err(InvalidEvent::Unsealed(builder.type_name().to_owned())),
        });
        OutgoingParts {
            builder,
            due: self.due,
            timer: self.timer,
            is_reply: self.is_reply,
        }
    }
}

pub(crate) struct OutgoingParts {
    pub(crate) builder: Result<EnvelopeBuilder, InvalidEvent>,
    pub(crate) due: Option<Due>,
    pub(crate) timer: Option<String>,
    pub(crate) is_reply: bool,
}

impl OutgoingParts {
    pub(crate) fn reply(builder: EnvelopeBuilder) -> Self {
        Self {
            builder: Ok(builder),
            due: None,
            timer: None,
            is_reply: true,
        }
    }
}

/// Says which trace context an event gets that is published: for crates that record spans, such as
/// `ensue-otel`.
///
/// Without one an event has the trace context of the event that it follows from, as it is: a span that
/// nothing recorded would be a gap in the trace.
pub trait EventTracer: fmt::Debug + Send + Sync {
    /// The context for an event that follows from `cause`, most often of a span that was made for it;
    /// `None` leaves it that of its cause, if there is one.
    fn trace(&self, event: &Outgoing, cause: Option<&Envelope>) -> Option<TraceContext>;
}

impl<E: Event> From<E> for Outgoing {
    fn from(event: E) -> Self {
        Self::new(event)
    }
}

/// An event that is appended only if its key is as expected (optimistic concurrency): made by
/// [`Outgoing::expect`], taken by [`Publisher::publish`](crate::Publisher::publish).
///
/// A handler cannot return one: it publishes it by
/// [`Context::publisher`](crate::Context::publisher).
///
/// ```compile_fail,E0277
/// use ensue::Expect;
/// use ensue::prelude::*;
/// # #[derive(Event, Serialize, Deserialize)]
/// # #[event(type = "order.created", topic = "orders")]
/// # struct OrderCreated;
/// # #[derive(Event, Serialize, Deserialize)]
/// # #[event(type = "order.paid", topic = "orders")]
/// # struct OrderPaid;
/// # async fn app(engine: Engine) {
/// App::new(engine).on("payments", |_: OrderCreated| async {
///     Outgoing::new(OrderPaid).expect(Expect::Absent)
/// });
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "an outgoing event goes nowhere until it is published"]
pub struct Conditional {
    outgoing: Outgoing,
    expect: Expect,
}

/// What a [`Publisher`](crate::Publisher) takes: an event, by value, an [`Outgoing`], or a
/// [`Conditional`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be published",
    label = "not an event",
    note = "publish an event by value (`#[derive(Event)]`), an `Outgoing`, or an `Outgoing` with an \
            expectation"
)]
pub trait Publish {
    /// The event, and what is expected of its key.
    #[doc(hidden)]
    fn publication(self) -> (Outgoing, Option<Expect>);
}

impl<E: Event> Publish for E {
    fn publication(self) -> (Outgoing, Option<Expect>) {
        (Outgoing::new(self), None)
    }
}

impl Publish for Outgoing {
    fn publication(self) -> (Outgoing, Option<Expect>) {
        (self, None)
    }
}

impl Publish for Conditional {
    fn publication(self) -> (Outgoing, Option<Expect>) {
        (self.outgoing, Some(self.expect))
    }
}

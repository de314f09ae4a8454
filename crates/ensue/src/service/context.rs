//! What a handler can know about the event at hand.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::engine::{Delivery, Position, SharedEngine};
use crate::event::{Codec, Envelope, InvalidEvent, Personal, PersonalValue, TraceContext};
use crate::outgoing::EventTracer;
use crate::personal;
use crate::publisher::Publisher;
use crate::state::{self, State, StateError};
use crate::time::{Clock, Timestamp};

/// The event at hand and its surroundings: the optional last parameter of a handler.
///
/// Cloning copies a pointer.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    delivery: Delivery,
    surroundings: Arc<Surroundings>,
    traced: Option<Traced>,
}

/// What a layer that records spans says of an attempt.
#[derive(Clone)]
struct Traced {
    attempt: TraceContext,
    tracer: Arc<dyn EventTracer>,
}

/// What the contexts of one worker share. Each worker has its own: a counter that all of them
/// moved for every event would cost more than the event.
pub(crate) struct Surroundings {
    pub(crate) group: Arc<str>,
    pub(crate) engine: SharedEngine,
    pub(crate) pending: Arc<dyn PendingState>,
}

/// State that was returned by a handler but is not committed yet.
pub(crate) trait PendingState: Send + Sync {
    /// `None`: nothing pending; `Some(None)`: pending removal.
    fn pending(&self, event: &Envelope, name: &str) -> Option<Option<Bytes>>;
}

impl Context {
    pub(crate) fn new(delivery: Delivery, surroundings: Arc<Surroundings>) -> Self {
        Self(Arc::new(Inner {
            delivery,
            surroundings,
            traced: None,
        }))
    }

    fn with(&self, delivery: Delivery, traced: Option<Traced>) -> Self {
        Self(Arc::new(Inner {
            delivery,
            surroundings: self.0.surroundings.clone(),
            traced,
        }))
    }

    /// The event as it is stored: attributes and payload.
    pub fn envelope(&self) -> &Envelope {
        &self.0.delivery.envelope
    }

    /// This context with another payload: for a layer that decrypts or unpacks what the handler is to
    /// read. All else stays, and so does what is in the log: a dead letter has the payload that was
    /// published.
    ///
    /// ```
    /// use ensue::Codec;
    /// use ensue::middleware::Next;
    /// use ensue::prelude::*;
    ///
    /// async fn unpack(context: Context, next: Next) -> Result<Effects, Failure> {
    ///     let json = String::from_utf8(context.envelope().payload().to_vec())?.to_lowercase();
    ///     next.run(context.with_payload(Codec::Json, json.into_bytes())?).await
    /// }
    /// ```
    ///
    /// # Errors
    /// [`InvalidEvent`] when the payload is too large.
    pub fn with_payload(&self, codec: Codec, payload: Vec<u8>) -> Result<Self, InvalidEvent> {
        let delivery = &self.0.delivery;
        let envelope = delivery.envelope.to_builder().payload(codec, payload);
        let delivery = Delivery {
            envelope: envelope.build()?,
            ..delivery.clone()
        };
        Ok(self.with(delivery, self.0.traced.clone()))
    }

    /// This context with the span of the attempt, for a layer that records spans: [`trace`](Self::trace)
    /// is `attempt`, and `tracer` says what the [`publisher`](Self::publisher) gives its events.
    #[must_use]
    pub fn with_trace(&self, attempt: TraceContext, tracer: Arc<dyn EventTracer>) -> Self {
        self.with(self.0.delivery.clone(), Some(Traced { attempt, tracer }))
    }

    /// The trace that this attempt belongs to: its own span where a layer records spans, otherwise the
    /// event's. A call to another system carries it as `traceparent`.
    pub fn trace(&self) -> Option<TraceContext> {
        let attempt = self.0.traced.as_ref().map(|traced| traced.attempt);
        attempt.or_else(|| self.envelope().trace())
    }

    /// The event's id, unique within its source. With [`Context::source`] it is the idempotency key
    /// for everything that reaches outside the log.
    pub fn id(&self) -> &str {
        self.envelope().id()
    }

    /// Who published the event.
    pub fn source(&self) -> &str {
        self.envelope().source()
    }

    /// The event's key.
    pub fn key(&self) -> &str {
        self.envelope().key()
    }

    /// When the event happened. Of an event that was scheduled this is when it was scheduled, not when
    /// it went off: the present is [`clock`](Self::clock)`().now()`.
    pub fn time(&self) -> Timestamp {
        self.envelope().time()
    }

    /// The id that all events of this causal chain share.
    pub fn correlation(&self) -> &str {
        self.envelope().correlation()
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.0.delivery.attempt
    }

    /// Whether the effects that the handler returns are held back, because the group was reset and
    /// had settled this event before: only its state changes. What a handler does itself
    /// ([`Context::publisher`], a call to elsewhere) cannot be held back; this tells when not to.
    pub fn is_held_back(&self) -> bool {
        self.0.delivery.run.holds_back
    }

    /// Where the event is in the log.
    pub fn position(&self) -> Position {
        self.0.delivery.position
    }

    /// The group that handles it: the service's name.
    pub fn group(&self) -> &str {
        &self.0.surroundings.group
    }

    /// The clock: tests own it, so ask it and not the system.
    pub fn clock(&self) -> &Clock {
        self.0.surroundings.engine.clock()
    }

    /// Whether a requester waits for a reply.
    pub fn is_request(&self) -> bool {
        crate::request::reply_topic(self.envelope()).is_some()
    }

    /// A publisher for what cannot be returned. What it publishes is *not* part of the commit: an
    /// attempt that fails afterwards has published it all the same. Give such events ids that
    /// derive from [`Context::id`], so that another attempt adds nothing.
    pub fn publisher(&self) -> Publisher {
        let publisher = Publisher::following(
            self.0.surroundings.engine.clone(),
            &self.0.surroundings.group,
            self.envelope(),
        );
        match &self.0.traced {
            Some(traced) => publisher.traced(traced.tracer.clone()),
            None => publisher,
        }
    }

    /// What the service remembers, as a `T`, of the event's topic and key, including what earlier
    /// events returned ([`Effects::set_state`](crate::Effects::set_state)).
    ///
    /// State belongs to the group, and within it to the *topic and key* of the event at hand: what a
    /// handler of `orders` sets for the key `o-1`, a handler of `payments` does not see, although its
    /// event has the same key. A service whose handlers of several topics use one cell is warned of,
    /// once for each cell.
    ///
    /// # Errors
    /// [`StateError`] when the cell was written by a type that this program does not know, or the
    /// engine cannot be asked. With `?`, both mean another attempt; see [`State`].
    pub async fn state<T: State>(&self) -> Result<Option<T>, StateError> {
        let bytes = self.cell(T::NAME).await?;
        bytes.map(|bytes| state::decode(&bytes)).transpose()
    }

    /// The cell `name`, of any type: for names that are made at run time. It belongs to topic and
    /// key, as [`state`](Self::state) does, and has no versions.
    ///
    /// # Errors
    /// [`ReadError::Decode`](crate::error::ReadError::Decode) when the cell is not a `T`, which
    /// trying again cannot help, and what the engine reports.
    pub async fn named_state<T: DeserializeOwned>(&self, name: &str) -> crate::Result<Option<T>> {
        let decode = |bytes: Bytes| Codec::MessagePack.decode(&bytes);
        Ok(self.cell(name).await?.map(decode).transpose()?)
    }

    /// Opens a [`Personal`](crate::Personal) value, or an `Option` or a `Vec` of some: of a cell of state, say. Those of
    /// the event at hand are open already. Where there are no keys it stays masked.
    ///
    /// # Errors
    /// [`PersonalError`](crate::error::PersonalError): the keys cannot be reached, and another attempt may help; or what was
    /// sealed is damaged.
    pub async fn unmask<P: PersonalValue + Send>(&self, value: &mut P) -> crate::Result<()> {
        personal::open_all(value, &**self.engine()).await
    }

    /// Seals a value for `subject`, to be kept in a cell of state: see [`Engine::seal`](crate::Engine::seal).
    ///
    /// # Errors
    /// As for [`Engine::seal`](crate::Engine::seal).
    pub async fn seal<T>(&self, subject: &str, value: T) -> crate::Result<Personal<T>>
    where
        T: Serialize + DeserializeOwned + Send + Sync,
    {
        personal::seal(subject, value, &**self.engine()).await
    }

    /// This context, if there is something to seal with.
    pub(crate) fn sealing(&self) -> Option<Self> {
        self.engine().vault().map(|_| self.clone())
    }

    /// The bytes of a cell, including what is not committed yet.
    pub(crate) async fn cell(&self, name: &str) -> crate::Result<Option<Bytes>> {
        let (topic, key) = (self.envelope().topic(), self.key());
        let Surroundings {
            group,
            engine,
            pending,
        } = &*self.0.surroundings;
        match pending.pending(self.envelope(), name) {
            Some(value) => Ok(value),
            None => engine.state(group, topic, key, name).await,
        }
    }

    pub(crate) fn engine(&self) -> &SharedEngine {
        &self.0.surroundings.engine
    }

    pub(crate) fn delivery(&self) -> &Delivery {
        &self.0.delivery
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("group", &self.0.surroundings.group)
            .field("delivery", &self.0.delivery)
            .finish_non_exhaustive()
    }
}

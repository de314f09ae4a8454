//! Publishing from inside a program.

use std::sync::Arc;

use uuid::Uuid;

use crate::engine::{Append, Appended, Expect, Schedule, SharedEngine};
use crate::error::Result;
use crate::event::{ATTRIBUTE_BYTES_MAX, Defaults, Envelope, EventId, InvalidEvent, TraceContext};
use crate::outgoing::{Due, EventTracer, Outgoing, OutgoingParts, Publish};
use crate::personal::OnForgotten;
use crate::time::Clock;

/// Appends events to an engine. Cloning is cheap.
///
/// ```
/// use ensue::prelude::*;
/// # #[derive(Event, Serialize, Deserialize)]
/// # #[event(type = "order.created", topic = "orders", key = order_id)]
/// # struct OrderCreated { order_id: String }
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let engine = Engine::open("memory:").await?;
/// let publisher = engine.publisher("/shop");
/// let appended = publisher.publish(OrderCreated { order_id: "o-1".into() }).await?;
/// assert!(!appended.is_duplicate);
/// # Ok::<(), ensue::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Publisher {
    engine: SharedEngine,
    source: Arc<str>,
    cause: Option<Envelope>,
    tracer: Option<Arc<dyn EventTracer>>,
}

impl Publisher {
    /// A publisher that signs its events with `source`, a URI reference such as `/shop`.
    pub fn new(engine: impl Into<SharedEngine>, source: &str) -> Self {
        Self {
            engine: engine.into(),
            source: source.into(),
            cause: None,
            tracer: None,
        }
    }

    /// A publisher whose events follow from `cause`: they share its correlation and trace.
    pub(crate) fn following(engine: SharedEngine, group: &str, cause: &Envelope) -> Self {
        Self {
            engine,
            source: source_of(group).into(),
            cause: Some(cause.clone()),
            tracer: None,
        }
    }

    /// The same publisher, whose events get their trace context from `tracer`.
    #[must_use]
    pub fn traced(self, tracer: Arc<dyn EventTracer>) -> Self {
        Self {
            tracer: Some(tracer),
            ..self
        }
    }

    /// Appends an event; durable when it returns.
    ///
    /// # Errors
    /// See [`Driver::append`](crate::engine::Driver::append).
    pub async fn publish(&self, event: impl Publish) -> Result<Appended> {
        let append = self.prepare(event).await?;
        let appended = self.engine.append(vec![append]).await?;
        // One result per event is the engine's contract.
        appended
            .into_iter()
            .next()
            .ok_or(crate::Error::Engine(crate::error::EngineError::Closed))
    }

    /// Appends events together: all of them or none; durable when it returns.
    ///
    /// # Errors
    /// See [`Driver::append`](crate::engine::Driver::append).
    pub async fn publish_all<P: Publish>(
        &self,
        events: impl IntoIterator<Item = P>,
    ) -> Result<Vec<Appended>> {
        let publications: Vec<_> = events.into_iter().map(Publish::publication).collect();
        self.engine
            .append(self.prepare_all(publications).await?)
            .await
    }

    /// Cancels the timer with this name, or the event with this id, that a publisher of the same
    /// source scheduled; whether it was still pending. For those of other sources there is
    /// [`Driver::cancel`](crate::engine::Driver::cancel).
    ///
    /// # Errors
    /// See [`Driver::cancel`](crate::engine::Driver::cancel).
    pub async fn cancel(&self, name: impl Into<String>) -> Result<bool> {
        let name = EventId::new(self.source.as_ref(), name);
        Ok(self.engine.cancel(vec![name]).await? > 0)
    }

    /// The engine, as a [`Requester`](crate::Requester) or another publisher takes it; `Engine::from` makes
    /// it a handle again.
    pub fn engine(&self) -> &SharedEngine {
        &self.engine
    }

    pub(crate) async fn prepare(&self, event: impl Publish) -> Result<Append> {
        let (outgoing, expect) = event.publication();
        let outgoing = outgoing.sealed(&*self.engine, OnForgotten::Refuse).await?;
        self.completed(outgoing, expect)
    }

    /// Several, of types that are not asked for any more.
    pub(crate) async fn prepare_all(
        &self,
        publications: Vec<(Outgoing, Option<Expect>)>,
    ) -> Result<Vec<Append>> {
        let mut batch = Vec::with_capacity(publications.len());
        for (outgoing, expect) in publications {
            let outgoing = outgoing.sealed(&*self.engine, OnForgotten::Refuse).await?;
            batch.push(self.completed(outgoing, expect)?);
        }
        Ok(batch)
    }

    fn completed(&self, mut outgoing: Outgoing, expect: Option<Expect>) -> Result<Append> {
        crate::event::check_source(&self.source)?;
        let cause = self.cause.as_ref().map(Cause::of);
        if let Some(tracer) = &self.tracer {
            outgoing = outgoing.traced(&**tracer, self.cause.as_ref());
        }
        let append = complete(
            outgoing.into_parts(),
            &self.source,
            self.engine.clock(),
            cause.as_ref(),
        )?;
        Ok(Append { expect, ..append })
    }
}

/// The source of what a service publishes: a URI, in which its name is percent-encoded.
pub(crate) fn source_of(group: &str) -> String {
    let mut source = "/services/".to_owned();
    for c in group.chars() {
        // The percent sign as well: two services never have one source.
        if c != '%' && crate::event::is_in_uri(c) {
            source.push(c);
            continue;
        }
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            source.push_str(&format!("%{byte:02X}"));
        }
    }
    source
}

/// Refuses a service whose source would be too long to publish anything.
pub(crate) fn check_source_of(group: &str) -> Result<()> {
    let bytes = source_of(group).len();
    if bytes <= ATTRIBUTE_BYTES_MAX {
        return Ok(());
    }
    Err(crate::Error::Limit(crate::error::LimitError {
        what: "the length of a service's name in what it publishes (`/services/NAME`) in bytes"
            .to_owned(),
        value: bytes as u64,
        limit: "ATTRIBUTE_BYTES_MAX",
        max: ATTRIBUTE_BYTES_MAX as u64,
        advice: "choose a shorter name, of letters, digits and dashes",
    }))
}

/// What an event inherits from the one that it follows.
pub(crate) struct Cause<'a> {
    pub(crate) id: &'a str,
    /// The id of what follows, if it derives from that of the cause.
    pub(crate) effect: Option<Uuid>,
    pub(crate) correlation: &'a str,
    pub(crate) trace: Option<TraceContext>,
    pub(crate) trace_state: Option<&'a str>,
}

impl<'a> Cause<'a> {
    pub(crate) fn of(envelope: &'a Envelope) -> Self {
        Self {
            id: envelope.id(),
            effect: None,
            correlation: envelope.correlation(),
            trace: envelope.trace(),
            trace_state: envelope.trace_state(),
        }
    }
}

/// Fills in what the event did not say itself.
pub(crate) fn complete(
    outgoing: OutgoingParts,
    source: &str,
    clock: &Clock,
    cause: Option<&Cause<'_>>,
) -> Result<Append, InvalidEvent> {
    let now = clock.now();
    let defaults = Defaults {
        id: cause.and_then(|cause| cause.effect),
        source,
        time: Some(now),
        correlation: cause.map_or("", |cause| cause.correlation),
        causation: cause.map_or("", |cause| cause.id),
        trace: cause.and_then(|cause| cause.trace),
        trace_state: cause.and_then(|cause| cause.trace_state),
    };
    let envelope = outgoing.builder?.build_with(&defaults)?;
    if let Some(timer) = &outgoing.timer {
        crate::event::check_name("timer", timer)?;
    }
    if crate::topic::is_reserved(envelope.topic()) && !outgoing.is_reply {
        return Err(InvalidEvent::ReservedTopic(envelope.topic().to_owned()));
    }
    let timer = outgoing.timer;
    let schedule = outgoing.due.map(|due| Schedule {
        at: match due {
            Due::At(at) => at,
            Due::After(delay) => now.plus(delay),
        },
        timer,
    });
    Ok(Append {
        envelope,
        expect: None,
        schedule,
    })
}

//! Request and reply over the log.
//!
//! A request is an event that names where its reply goes; the reply is an event in a topic that
//! only its requester reads. Both are durable, so a service may be down when the request is made:
//! the deadline decides how long the requester waits for it.
//!
//! A request is settled by its answer: the reply, a refusal ([`Failure::reject`](crate::Failure)),
//! or the end of its deadline, after which no group handles it any more. One that ran out of
//! attempts is a dead letter for people to see, and holds up nothing. Requests and replies stay in
//! the log like every event, until retention removes their segments: a log that serves requests
//! for long needs `retention_age` or `retention_bytes`. A status counts the replies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use ensue_core::request::{DEADLINE, FAILED, REPLY_TO, RequestFailed, answered};
pub(crate) use ensue_core::request::{answer, deadline, failure_reply, is_expired, reply_topic};

use crate::background;
use crate::engine::{Append, Position, Query, SharedEngine};
use crate::error::{EngineError, Error, LimitError, ReadError, RequestError, Result};
use crate::event::{Codec, Envelope, Event, EventId};
use crate::outgoing::Outgoing;
use crate::personal;
use crate::publisher::Publisher;
use crate::topic::{REPLIES, TopicPattern};

/// The most requests that one [`Requester`] waits for at the same time.
pub const REQUESTS_MAX: usize = 10_000;
/// The most of them that wait for the reply to one request: a client that asks again, and others with its id.
pub const REQUEST_WAITERS_MAX: usize = 32;

/// Sends requests and waits for their replies. Cloning is cheap.
///
/// ```
/// use std::time::Duration;
/// use ensue::prelude::*;
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(type = "quote.requested", topic = "quotes")]
/// struct QuoteRequested { item: String }
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(type = "quote.given", topic = "quotes")]
/// struct QuoteGiven { cents: u64 }
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let engine = Engine::open("memory:").await?;
/// let app = App::new(engine.clone())
///     .on("quotes", |request: QuoteRequested| async move {
///         Reply(QuoteGiven { cents: 100 * request.item.len() as u64 })
///     })
///     .start()
///     .await?;
///
/// let requester = engine.requester("/shop");
/// let request = QuoteRequested { item: "tea".into() };
/// let quote: QuoteGiven = requester.request(request, Duration::from_secs(5)).await?;
/// assert_eq!(quote.cents, 300);
/// app.stop().await?;
/// # Ok::<(), ensue::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Requester(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    publisher: Publisher,
    topic: String,
    waiting: Mutex<Waiters>,
    reader: Mutex<Option<JoinHandle<()>>>,
}

/// What a requester is told: the reply and where it is, or why there will be none.
type Answer = Result<(Position, Envelope)>;

/// Who waits for the replies to which requests: several may ask the same.
#[derive(Debug, Default)]
struct Waiters {
    by_id: HashMap<EventId, Vec<(u64, oneshot::Sender<Answer>)>>,
    count: usize,
    /// Tells one from another.
    next: u64,
}

impl Waiters {
    fn add(&mut self, id: &EventId, reply: oneshot::Sender<Answer>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.count += 1;
        let same = self.by_id.entry(id.clone()).or_default();
        same.push((number, reply));
        number
    }

    fn remove(&mut self, id: &EventId, number: u64) {
        let Some(same) = self.by_id.get_mut(id) else {
            return;
        };
        let before = same.len();
        same.retain(|(other, _)| *other != number);
        self.count -= before - same.len();
        if same.is_empty() {
            self.by_id.remove(id);
        }
    }

    fn reply(&mut self, position: Position, reply: &Envelope) {
        let same = answered(reply).and_then(|request| self.by_id.remove(&request));
        let same = same.unwrap_or_default();
        self.count -= same.len();
        if same.is_empty() {
            return;
        }
        let reply = reply.detached();
        for (_, waiting) in same {
            // A requester that gave up in this moment does not need the reply any more.
            let _ = waiting.send(Ok((position, reply.clone())));
        }
    }

    /// No reply will come any more.
    fn end(&mut self, reason: &Error) {
        self.count = 0;
        for (_, waiting) in self.by_id.drain().flat_map(|(_, same)| same) {
            let error = match reason {
                Error::Engine(EngineError::Closed) => Error::Engine(EngineError::Closed),
                Error::Engine(EngineError::Stopped(reason)) => {
                    Error::Engine(EngineError::Stopped(reason.clone()))
                }
                other => Error::Engine(EngineError::Stopped(other.to_string())),
            };
            let _ = waiting.send(Err(error));
        }
    }
}

impl Requester {
    /// A requester that signs its requests with `source`. Its replies come to a topic of its own.
    pub fn new(engine: impl Into<SharedEngine>, source: &str) -> Self {
        Self(Arc::new(Inner {
            publisher: Publisher::new(engine, source),
            topic: format!(
                "{REPLIES}{}",
                uuid::Uuid::new_v7(uuid::Timestamp::now(uuid::NoContext)).simple()
            ),
            waiting: Mutex::default(),
            reader: Mutex::default(),
        }))
    }

    /// Publishes `request` and waits for the reply for `deadline` at the most.
    ///
    /// A request without a key gets its id as its key: requests of one topic do not wait for each
    /// other unless their events say so with a key.
    ///
    /// # Errors
    /// [`RequestError::Deadline`] when no reply came in time, [`RequestError::Failed`] when the
    /// handler rejected the request or used up its attempts, [`ReadError::Decode`] when the reply
    /// is not an `R`, [`LimitError`] beyond [`REQUESTS_MAX`] and [`REQUEST_WAITERS_MAX`], [`EngineError::Closed`] and
    /// [`EngineError::Stopped`] when its engine ends meanwhile, and what publishing reports.
    pub async fn request<R: Event>(
        &self,
        request: impl Into<Outgoing>,
        deadline: Duration,
    ) -> Result<R> {
        let reply = self.request_envelope(request, deadline).await?;
        let mut reply: R = reply.decode()?;
        if !R::PERSONAL.is_empty() {
            let vault = self.0.publisher.engine().vault();
            personal::open_event(&mut reply, vault).await?;
        }
        Ok(reply)
    }

    /// [`request`](Self::request), with the reply as it came.
    ///
    /// # Errors
    /// As for [`request`](Self::request), but for [`ReadError::Decode`].
    pub async fn request_envelope(
        &self,
        request: impl Into<Outgoing>,
        deadline: Duration,
    ) -> Result<Envelope> {
        let (_, reply) = self.request_recorded(request.into(), deadline).await?;
        Ok(reply)
    }

    /// [`request_envelope`](Self::request_envelope), with where the reply is in the log.
    #[doc(hidden)]
    pub async fn request_recorded(
        &self,
        request: Outgoing,
        deadline: Duration,
    ) -> Result<(Position, Envelope)> {
        let (position, reply) = self.ask_for_reply(request, deadline).await?;
        if reply.event_type() == FAILED {
            let failed: RequestFailed = Codec::Json.decode(reply.payload())?;
            return Err(Error::Request(RequestError::Failed(failed.reason)));
        }
        Ok((position, reply))
    }

    async fn ask_for_reply(&self, request: Outgoing, deadline: Duration) -> Answer {
        let inner = &self.0;
        let clock = inner.publisher.engine().clock().clone();
        let until = clock.now().plus(deadline);
        let request = request
            .key_or_id()
            .extension(REPLY_TO, &inner.topic)
            .extension(DEADLINE, until.to_string());
        let append = inner.publisher.prepare(request).await?;
        let event_type = append.envelope.event_type().to_owned();
        let id = append.envelope.event_id();
        let (reply, replied) = oneshot::channel();
        let _waiting = self.register(id.clone(), reply)?;
        tokio::select! {
            reply = self.ask(append, &id, replied) => reply,
            // Those who handle it go by the wall clock; that it was set back is no reason to wait on.
            () = clock.sleep_until(until) => Err(too_late(event_type, deadline)),
            () = clock.sleep(deadline) => Err(too_late(event_type, deadline)),
        }
    }

    /// Publishes a request, and waits for its reply. What is handed over meanwhile counts only when it is
    /// known that this is the request that was answered: others may have published one with the same id,
    /// in a topic whose replies are not for this caller.
    async fn ask(
        &self,
        append: Append,
        id: &EventId,
        replied: oneshot::Receiver<Answer>,
    ) -> Answer {
        let engine = self.0.publisher.engine();
        let topic = append.envelope.topic().to_owned();
        let appended = engine.append(vec![append]).await?;
        // One result per event is the engine's contract.
        let appended = appended
            .first()
            .copied()
            .ok_or(Error::Engine(EngineError::Closed))?;
        if appended.is_duplicate {
            let replies = replies_of(engine, appended.position, (&topic, id)).await?;
            return tokio::select! {
                Ok(answer) = replied => answer,
                answer = earlier_reply(engine, replies, id) => answer,
            };
        }
        self.ensure_reader(appended.position)?;
        match replied.await {
            Ok(answer) => answer,
            // Who reads the replies has ended: only the deadline is left.
            Err(_) => std::future::pending().await,
        }
    }

    fn register(&self, id: EventId, reply: oneshot::Sender<Answer>) -> Result<Waiting> {
        let mut waiting = self.0.waiting();
        let same = waiting.by_id.get(&id).map_or(0, Vec::len);
        for (what, count, limit, max) in [
            (
                "the number of open requests",
                waiting.count,
                "REQUESTS_MAX",
                REQUESTS_MAX,
            ),
            (
                "how many wait for the reply to one request",
                same,
                "REQUEST_WAITERS_MAX",
                REQUEST_WAITERS_MAX,
            ),
        ] {
            if count >= max {
                return Err(Error::Limit(LimitError {
                    what: what.into(),
                    value: count as u64,
                    limit,
                    max: max as u64,
                    advice: "wait for replies before asking more",
                }));
            }
        }
        let number = waiting.add(&id, reply);
        Ok(Waiting {
            requester: self.0.clone(),
            id,
            number,
        })
    }

    /// Starts the reader with the first request: no reply can be older than that.
    fn ensure_reader(&self, from: Position) -> Result<()> {
        let mut reader = self.0.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if reader.is_none() {
            // On no caller's runtime: others may use the requester when that is gone.
            let reading = background::spawn(read_replies(Arc::downgrade(&self.0), from))?;
            *reader = Some(reading);
        }
        Ok(())
    }
}

fn too_late(event_type: String, deadline: Duration) -> Error {
    let waited_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
    Error::Request(RequestError::Deadline {
        event_type,
        waited_ms,
    })
}

/// Where the replies are to a request that was made before, by this requester or another one, at
/// `position`: if it is this request, one of `topic`.
async fn replies_of(
    engine: &SharedEngine,
    position: Position,
    (topic, id): (&str, &EventId),
) -> Result<Query> {
    let request = engine.read(Query {
        from: position.into(),
        until: Some(position.next().into()),
        topics: Some(TopicPattern::all()),
        ..Query::default()
    });
    let request = request.await?.events.pop();
    let request = request.filter(|it| it.envelope.topic() == topic);
    let replies = request.as_ref().and_then(|it| reply_topic(&it.envelope));
    let Some(replies) = replies.and_then(|it| it.parse::<TopicPattern>().ok()) else {
        return Err(Error::Request(RequestError::NotARequest {
            id: id.id().to_owned(),
        }));
    };
    Ok(Query {
        topics: Some(replies),
        key: Some(id.id().to_owned()),
        from: position.into(),
        ..Query::default()
    })
}

/// The reply to a request that was made before: from the log, as soon as it is there.
async fn earlier_reply(engine: &SharedEngine, mut query: Query, id: &EventId) -> Answer {
    loop {
        let page = engine.read(query.clone()).await?;
        let mut replies = page.events.into_iter();
        if let Some(reply) = replies.find(|it| answered(&it.envelope).as_ref() == Some(id)) {
            return Ok((reply.position, reply.envelope.detached()));
        }
        query.from = page.next.clone();
        if page.is_end {
            engine.wait(page.next).await?;
        }
    }
}

impl Inner {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiters> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(reader) = self
            .reader
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            reader.abort();
        }
    }
}

/// Forgets the request when its future ends, however it ends.
struct Waiting {
    requester: Arc<Inner>,
    id: EventId,
    number: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.requester.waiting().remove(&self.id, self.number);
    }
}

/// Hands replies over, until there will be none any more: then it says so.
async fn read_replies(requester: Weak<Inner>, from: Position) {
    let ended = hand_over_replies(&requester, from).await;
    if let (Some(inner), Err(error)) = (requester.upgrade(), ended) {
        inner.waiting().end(&error);
    }
}

/// Holds no strong reference while it waits, so that dropping the last requester ends it.
async fn hand_over_replies(requester: &Weak<Inner>, from: Position) -> Result<()> {
    let Some((engine, topic)) = requester
        .upgrade()
        .map(|inner| (inner.publisher.engine().clone(), inner.topic.clone()))
    else {
        return Ok(());
    };
    let mut query = Query {
        topics: topic.parse::<TopicPattern>().ok(),
        from: from.into(),
        ..Query::default()
    };
    loop {
        let page = match engine.read(query.clone()).await {
            Ok(page) => page,
            Err(
                error @ (Error::Engine(EngineError::Closed)
                | Error::Engine(EngineError::Stopped(_))
                | Error::Engine(EngineError::OwnershipLost { .. })),
            ) => {
                return Err(error);
            }
            // Retention was faster: those replies are gone, later ones are not.
            Err(Error::Read(ReadError::Trimmed { first, .. })) => {
                query.from = first.into();
                continue;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read replies, trying again");
                engine.clock().sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        for recorded in page.events {
            let Some(inner) = requester.upgrade() else {
                return Ok(());
            };
            inner.waiting().reply(recorded.position, &recorded.envelope);
        }
        query.from = page.next.clone();
        if page.is_end {
            engine.wait(page.next).await?;
        }
    }
}

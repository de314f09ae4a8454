//! Deciding in any program: load, decide, append on condition that nothing came in between.

use std::fmt;
use std::sync::Arc;

use super::history::{History, Made};
use super::offer::Offer;
use super::receipt::Receipt;
use super::recent::Recent;
use super::{Aggregate, Decision, snapshot};
use crate::engine::{Append, Appended, Expect, Position, SharedEngine};
use crate::error::{AggregateError, AppendError, Error, Result};
use crate::outgoing::Outgoing;
use crate::publisher::Publisher;
use crate::service::Context;

/// How often a decision is made again because others have changed the aggregate meanwhile.
pub const CONFLICTS_MAX: u32 = 64;
/// How many aggregates are remembered between two decisions, unless [`Aggregates::remember`] says otherwise.
const REMEMBERED: usize = 4_096;

/// The aggregates of one type: loads them and decides for them, in any program, while others do the same.
/// Cloning is cheap.
///
/// A decision is recorded only if nothing was appended to the aggregate since the state that it was made
/// on; otherwise it is made again on the new state, up to [`CONFLICTS_MAX`] times. So no decision is made
/// on an old state, and none is lost. Decisions of one `Aggregates` and its clones for one key wait for
/// each other instead; each takes one append, and reads only what others have appended.
///
/// On a distributed engine a process reads from its copy of the log, which may be a moment behind. What is
/// appended is checked against the log itself all the same; a refusal is as new as the copy.
///
/// A topic that a service decides for ([`Context::decide`](crate::Context::decide)) can be loaded, not
/// decided for: it is refused with [`AggregateError::DecidedByService`].
///
/// ```
/// use ensue::prelude::*;
/// # #[derive(Event, Serialize, Deserialize)]
/// # #[event(type = "account.deposited", topic = "accounts")]
/// # struct Deposited { cents: u64 }
/// # #[derive(Default, Serialize, Deserialize)]
/// # struct Account { cents: u64 }
///
/// #[aggregate]
/// impl Account {
///     #[apply]
///     fn deposited(&mut self, event: Deposited) {
///         self.cents += event.cents;
///     }
/// }
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let engine = Engine::open("memory:").await?;
/// let accounts = engine.aggregates::<Account>("/bank");
///
/// let Ok(receipt) = accounts.decide("a-1", |_| Deposited { cents: 500 }).await?;
/// assert_eq!(receipt.version, 1);
///
/// // The same request, sent again: it was decided already.
/// for is_repeated in [false, true] {
///     let deposit = accounts.of("a-1").once("req-7").decide(|_| Deposited { cents: 20 });
///     let Ok(receipt) = deposit.await?;
///     assert_eq!((receipt.version, receipt.is_repeated), (2, is_repeated));
/// }
/// assert_eq!(accounts.load("a-1").await?.state.cents, 520);
/// # Ok::<(), ensue::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Aggregates<A> {
    publisher: Publisher,
    recent: Arc<Recent<A>>,
}

/// An aggregate as it was when it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded<A> {
    /// Its state.
    pub state: A,
    /// How many events it has had: 0 if there is none. [`Deciding::at_version`] takes it.
    pub version: u64,
    /// Where its last event is.
    pub position: Option<Position>,
}

impl<A: Aggregate> Aggregates<A> {
    /// Those of the publisher's engine, whose events it publishes.
    pub fn new(publisher: Publisher) -> Self {
        Self {
            publisher,
            recent: Arc::new(Recent::new(REMEMBERED)),
        }
    }

    /// Remembers the state of up to about `aggregates` that were used last, so that deciding for them again
    /// reads only what others have appended. Default: 4,096; 0 is none.
    #[must_use]
    pub fn remember(self, aggregates: usize) -> Self {
        Self {
            recent: Arc::new(Recent::new(aggregates)),
            ..self
        }
    }

    /// The same aggregates, whose events follow from the event that a handler has at hand: they share its
    /// correlation and trace. With [`Deciding::once`] and [`Context::id`], a decision is made once for each
    /// event, however often its handler runs.
    ///
    /// ```
    /// use ensue::prelude::*;
    /// # #[derive(Event, Serialize, Deserialize)]
    /// # #[event(type = "order.paid", topic = "orders", key = customer)]
    /// # struct OrderPaid { customer: String, cents: u64 }
    /// # #[derive(Event, Serialize, Deserialize)]
    /// # #[event(type = "points.earned", topic = "points")]
    /// # struct Earned { points: u64 }
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # struct Points(u64);
    /// # #[aggregate]
    /// # impl Points {
    /// #     #[apply]
    /// #     fn earned(&mut self, event: Earned) { self.0 += event.points; }
    /// # }
    ///
    /// struct Loyalty { points: ensue::Aggregates<Points> }
    ///
    /// #[service]
    /// impl Loyalty {
    ///     #[on]
    ///     async fn earn(&self, order: OrderPaid, ctx: &Context) -> ensue::Result<()> {
    ///         let points = self.points.following(ctx);
    ///         let once = points.of(&order.customer).once(ctx.id());
    ///         let Ok(_) = once.decide(|_| Earned { points: order.cents / 100 }).await?;
    ///         Ok(())
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn following(&self, context: &Context) -> Self {
        Self {
            publisher: context.publisher(),
            recent: self.recent.clone(),
        }
    }

    /// The aggregate `key`, from the log: its newest snapshot and what came after. One without events has
    /// the version 0 and the state [`Default`].
    ///
    /// # Errors
    /// [`AggregateError`] when its history is not whole or has what this program cannot apply, and what
    /// reading reports.
    pub async fn load(&self, key: &str) -> Result<Loaded<A>> {
        let history = snapshot::load(self.engine(), key).await?;
        Ok(Loaded {
            state: history.state,
            version: history.version,
            position: history.last,
        })
    }

    /// Decides for the aggregate `key`: what `decision` gives is durable when this returns. The inner
    /// `Result` is the refusal, which leaves nothing in the log.
    ///
    /// `decision` is called again when the aggregate has changed meanwhile: it looks at the state and does
    /// nothing else.
    ///
    /// # Errors
    /// [`AggregateError::Contended`] after [`CONFLICTS_MAX`] conflicts, the other [`AggregateError`]s, and
    /// what reading and appending report. As with every append, after an error of the engine it may have
    /// been recorded; [`Deciding::once`] makes trying again safe.
    pub async fn decide<D: Decision<A>>(
        &self,
        key: &str,
        decision: impl FnMut(&A) -> D,
    ) -> Result<Result<Receipt, D::Refusal>> {
        self.of(key).decide(decision).await
    }

    /// Deciding for the aggregate `key` on terms: once for an id, or at a version alone.
    pub fn of<'a>(&'a self, key: &'a str) -> Deciding<'a, A> {
        Deciding {
            aggregates: self,
            key,
            once: None,
            version: None,
        }
    }

    fn engine(&self) -> &SharedEngine {
        self.publisher.engine()
    }
}

impl<A> Clone for Aggregates<A> {
    fn clone(&self) -> Self {
        Self {
            publisher: self.publisher.clone(),
            recent: self.recent.clone(),
        }
    }
}

impl<A: Aggregate> fmt::Debug for Aggregates<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aggregates")
            .field("aggregate", &A::NAME)
            .field("publisher", &self.publisher)
            .finish_non_exhaustive()
    }
}

/// Deciding for one aggregate on terms: made by [`Aggregates::of`].
#[must_use = "nothing is decided until a decision is given"]
pub struct Deciding<'a, A> {
    aggregates: &'a Aggregates<A>,
    key: &'a str,
    once: Option<String>,
    version: Option<u64>,
}

impl<A: Aggregate> Deciding<'_, A> {
    /// Gives the decision an id, for instance that of the request or the event that asks for it. If one
    /// with this id was made before, nothing is decided, and its receipt is given again. An aggregate
    /// remembers the last [`DECISIONS_REMEMBERED`](super::DECISIONS_REMEMBERED) decisions with ids; a
    /// refusal is not remembered.
    pub fn once(mut self, id: impl Into<String>) -> Self {
        self.once = Some(id.into());
        self
    }

    /// Decides only if the aggregate has this version, as a form that a person has filled in may ask: it is
    /// [`Loaded::version`] and [`Receipt::version`].
    pub fn at_version(mut self, version: u64) -> Self {
        self.version = Some(version);
        self
    }

    /// Decides, as [`Aggregates::decide`] does.
    ///
    /// # Errors
    /// As for [`Aggregates::decide`], and [`AggregateError::OtherVersion`].
    pub async fn decide<D: Decision<A>>(
        self,
        decision: impl FnMut(&A) -> D,
    ) -> Result<Result<Receipt, D::Refusal>> {
        let (aggregates, key) = (self.aggregates, self.key);
        let mut place = aggregates.recent.place(key).await;
        // Taken out, so that what becomes of a decision that is given up half way is read again.
        let remembered = place.take(key);
        let (mut history, is_fresh) = match remembered {
            Some(history) => (history, false),
            None => (snapshot::load(aggregates.engine(), key).await?, true),
        };
        let decided = self.decide_on(&mut history, is_fresh, decision).await?;
        snapshot::keep(aggregates.engine(), key, &mut history).await;
        place.put(key, history);
        Ok(decided)
    }

    /// Decides on a history, which is taken on to what is durable.
    async fn decide_on<D: Decision<A>>(
        &self,
        history: &mut History<A>,
        mut is_fresh: bool,
        mut decision: impl FnMut(&A) -> D,
    ) -> Result<Result<Receipt, D::Refusal>> {
        let engine = self.aggregates.engine();
        let mut conflicts = 0;
        loop {
            if let Some(made) = self.made(history) {
                return Ok(Ok(repeated(made)));
            }
            let outcome = match self.version.filter(|version| *version != history.version) {
                Some(_) => None,
                None => Some(decision(&history.state).into_events()),
            };
            let events = match outcome {
                Some(Ok(events)) if !events.is_empty() => events,
                // Only what is appended is checked against the log by the append itself.
                outcome => {
                    if !is_fresh && history.follow(engine, self.key).await? {
                        is_fresh = true;
                        continue;
                    }
                    return match outcome {
                        None => Err(self.other_version(history)),
                        Some(outcome) => Ok(outcome.map(|_| receipt(history, 0))),
                    };
                }
            };
            match self.record(history, events).await? {
                Ok(receipt) => return Ok(Ok(receipt)),
                Err(conflict) => {
                    conflicts += 1;
                    self.catch_up(history, conflict, conflicts).await?;
                    is_fresh = true;
                }
            }
        }
    }

    fn made<'h>(&self, history: &'h History<A>) -> Option<&'h Made> {
        history.made(self.once.as_ref()?)
    }

    /// Appends the events of a decision and takes them in. The inner error is the conflict, if others were
    /// faster.
    async fn record(
        &self,
        history: &mut History<A>,
        events: Vec<Outgoing>,
    ) -> Result<Result<Receipt, AppendError>> {
        if let Some(service) = &history.decider {
            return Err(Error::Aggregate(AggregateError::DecidedByService {
                aggregate: A::NAME,
                key: self.key.to_owned(),
                service: service.clone(),
            }));
        }
        let batch = self.batch(history, events).await?;
        let appended = match self.aggregates.engine().append(batch.clone()).await {
            Ok(appended) => appended,
            Err(Error::Append(conflict @ AppendError::Conflict { .. })) => {
                return Ok(Err(conflict));
            }
            Err(error) => return Err(error),
        };
        let before = history.version;
        for (append, Appended { position, .. }) in batch.iter().zip(appended) {
            if append.schedule.is_none() {
                history.take(self.key, position, &append.envelope)?;
            }
        }
        Ok(Ok(receipt(history, history.version - before)))
    }

    /// The events, on condition that the aggregate is as it was.
    async fn batch(&self, history: &History<A>, events: Vec<Outgoing>) -> Result<Vec<Append>> {
        let offer = Offer {
            key: self.key,
            version: history.version,
            decision: self.once.as_deref(),
            decider: None,
        };
        let events = offer.complete::<A>(events)?.into_iter();
        let publications = events.map(|event| (event, None)).collect();
        let mut batch = self.aggregates.publisher.prepare_all(publications).await?;
        // One is enough: they are appended together, and are all of this key.
        if let Some(first) = batch.first_mut() {
            first.expect = Some(history.last.map_or(Expect::Absent, Expect::At));
        }
        Ok(batch)
    }

    /// Takes the history on past what others have appended.
    async fn catch_up(
        &self,
        history: &mut History<A>,
        conflict: AppendError,
        conflicts: u32,
    ) -> Result<()> {
        if conflicts >= CONFLICTS_MAX {
            return Err(Error::Aggregate(AggregateError::Contended {
                aggregate: A::NAME,
                key: self.key.to_owned(),
                attempts: conflicts,
            }));
        }
        let engine = self.aggregates.engine();
        if let AppendError::Conflict {
            found: Some(found), ..
        } = &conflict
        {
            // It may be on its way only.
            engine.wait((*found).into()).await?;
        }
        match history.follow(engine, self.key).await? {
            true => Ok(()),
            false => Err(Error::Append(conflict)),
        }
    }

    fn other_version(&self, history: &History<A>) -> Error {
        Error::Aggregate(AggregateError::OtherVersion {
            aggregate: A::NAME,
            key: self.key.to_owned(),
            expected: self.version.unwrap_or_default(),
            found: history.version,
        })
    }
}

fn receipt<A>(history: &History<A>, events: u64) -> Receipt {
    Receipt {
        version: history.version,
        events,
        position: history.last,
        is_repeated: false,
    }
}

fn repeated(made: &Made) -> Receipt {
    Receipt {
        version: made.version,
        events: made.events,
        position: Some(made.position),
        is_repeated: true,
    }
}

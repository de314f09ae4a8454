//! A worker: runs the events of its keys, one of a key at a time, and collects what became of them.
//!
//! Most handlers finish on their first poll or fail on it; they cost no task, no timer and no entry
//! in any map. Only what is still pending after that occupies its key's lane.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::task::Poll;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hashbrown::{Equivalent, HashMap};
use tokio::sync::mpsc;

use super::Dispatch;
use super::attempt::{self, Attempt, Begun};
use super::overlay::{CellVersion, Overlay};
use super::routes::Route;
use crate::effect::{Effects, OutgoingParts, Said};
use crate::engine::{Append, Commit, Death, Delivery, Effect, StateWrite};
use crate::event::{Envelope, InvalidEvent};
use crate::metrics::GroupCounters;
use crate::publisher::{Cause, complete, source_of};
use crate::request;
use crate::retry::{self, Verdict};
use crate::service::{Context, Failure, OnDead, Surroundings};

/// What the coordinator tells a worker.
pub(super) enum ToWorker {
    /// Events to handle, in order.
    Deliveries(Vec<Delivery>),
    /// The failure of this event is committed: whatever of its key was taken from the engine at an
    /// earlier generation waits behind it.
    Blocked { envelope: Envelope, generation: u64 },
}

/// What became of some events: a piece of a commit.
#[derive(Default)]
pub(super) struct Outcomes {
    pub(super) commit: Commit,
    /// How many taken events this settles, one way or another.
    pub(super) events: usize,
    /// How many bytes the effects have.
    pub(super) bytes: usize,
    /// The events that now block their keys, and the worker that owns them.
    pub(super) blocked: Vec<(usize, Envelope)>,
    pub(super) cells: Vec<CellVersion>,
}

/// A topic and key, held by an event that has them.
struct LaneKey(Envelope);

/// The same, borrowed.
struct LaneRef<'a>(&'a Envelope);

impl Hash for LaneKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        LaneRef(&self.0).hash(state);
    }
}

impl Hash for LaneRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.stream().hash(state);
    }
}

impl PartialEq for LaneKey {
    fn eq(&self, other: &Self) -> bool {
        LaneRef(&self.0).equivalent(other)
    }
}

impl Eq for LaneKey {}

impl Equivalent<LaneKey> for LaneRef<'_> {
    fn equivalent(&self, key: &LaneKey) -> bool {
        // Equal bytes may be cut into topic and key at different places.
        self.0.topic_bytes() == key.0.topic_bytes() && self.0.stream() == key.0.stream()
    }
}

/// A key that is not free.
enum Lane {
    /// One of its events is being handled; the others wait.
    Busy(VecDeque<Delivery>),
    /// One of its events failed and the commit that says so is under way.
    Failed(VecDeque<Delivery>),
    /// The failure is committed: what was taken at an earlier generation is stale.
    Blocked(u64),
}

/// How many kinds of events a worker remembers the way of.
const RECENT_MAX: usize = 16;

/// Where events of one topic and type go. The route is this worker's own copy: see
/// [`Surroundings`].
struct Recent {
    topic: Box<[u8]>,
    kind: Box<[u8]>,
    route: Option<Arc<Route>>,
}

pub(super) struct Worker {
    index: usize,
    dispatch: Arc<Dispatch>,
    source: String,
    overlay: Arc<Overlay>,
    surroundings: Arc<Surroundings>,
    /// Where events of the kinds that came last went, by topic and type.
    recent: Vec<Recent>,
    lanes: HashMap<LaneKey, Lane, foldhash::fast::RandomState>,
    running: FuturesUnordered<Attempt>,
    running_max: usize,
    /// The generation of the newest delivery.
    generation: u64,
    /// What could not begin because `running_max` attempts were under way, in order.
    backlog: VecDeque<Delivery>,
    outcomes: Outcomes,
    collect: mpsc::UnboundedSender<Outcomes>,
    random: fastrand::Rng,
}

impl Worker {
    pub(super) fn new(
        index: usize,
        dispatch: Arc<Dispatch>,
        overlay: Arc<Overlay>,
        collect: mpsc::UnboundedSender<Outcomes>,
    ) -> Self {
        Self {
            index,
            source: source_of(&dispatch.group),
            surroundings: Arc::new(Surroundings {
                group: dispatch.group.clone(),
                engine: dispatch.engine.clone(),
                pending: overlay.clone(),
            }),
            overlay,
            recent: Vec::new(),
            lanes: HashMap::default(),
            running: FuturesUnordered::new(),
            running_max: (dispatch.concurrency / dispatch.workers.max(1)).max(1),
            generation: 0,
            backlog: VecDeque::new(),
            outcomes: Outcomes::default(),
            collect,
            random: fastrand::Rng::with_seed(dispatch.seed ^ index as u64),
            dispatch,
        }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<ToWorker>) {
        loop {
            tokio::select! {
                biased;
                Some((context, route, outcome)) = self.running.next() => {
                    self.ended(&context, &route, outcome).await;
                    self.end_more().await;
                }
                message = inbox.recv() => match message {
                    Some(ToWorker::Deliveries(deliveries)) => {
                        for delivery in deliveries {
                            self.arrived(delivery).await;
                        }
                    }
                    Some(ToWorker::Blocked { envelope, generation }) => {
                        self.blocked(&envelope, generation).await;
                    }
                    None => return,
                },
            }
            if self.outcomes.events > 0 {
                // A coordinator that is gone needs no outcomes: what was not committed is
                // delivered again.
                let _ = self.collect.send(std::mem::take(&mut self.outcomes));
            }
        }
    }

    /// Ends what is ready already, so that one message to the coordinator carries it all.
    async fn end_more(&mut self) {
        for _ in 0..self.running_max {
            let next = poll_fn(|cx| match self.running.poll_next_unpin(cx) {
                Poll::Ready(Some(ended)) => Poll::Ready(Some(ended)),
                Poll::Ready(None) | Poll::Pending => Poll::Ready(None),
            });
            let Some((context, handler, outcome)) = next.await else {
                return;
            };
            self.ended(&context, &handler, outcome).await;
        }
    }

    async fn arrived(&mut self, delivery: Delivery) {
        self.generation = delivery.generation;
        if self.backlog.is_empty() {
            self.admit(delivery).await;
        } else {
            self.backlog.push_back(delivery);
        }
    }

    /// Begins an event, or puts it where its key's earlier events are.
    async fn admit(&mut self, delivery: Delivery) {
        if !self.lanes.is_empty() {
            let key = LaneRef(&delivery.envelope);
            match self.lanes.get_mut(&key) {
                None => {}
                Some(Lane::Busy(waiting) | Lane::Failed(waiting)) => {
                    waiting.push_back(delivery);
                    return;
                }
                Some(Lane::Blocked(generation)) if delivery.generation < *generation => {
                    self.park(delivery);
                    return;
                }
                Some(Lane::Blocked(_)) => {
                    self.lanes.remove(&key);
                }
            }
        }
        if self.running.len() >= self.running_max {
            self.backlog.push_back(delivery);
        } else {
            self.begin(delivery).await;
        }
    }

    /// Handles an event of a free key: to its end, if the first poll gets it there.
    async fn begin(&mut self, delivery: Delivery) {
        let Some(route) = self.route(&delivery.envelope) else {
            // Subscribed to because another handler takes the type from another topic.
            self.settle(&delivery);
            return;
        };
        if let Some(death) = retry::crashed(&delivery, route.handler.options()) {
            self.die(death);
            return;
        }
        if request::is_expired(&delivery.envelope, self.dispatch.engine.clock()) {
            tracing::debug!(
                id = delivery.envelope.id(),
                "nobody waits for this request any more"
            );
            self.settle(&delivery);
            return;
        }
        let context = Context::new(delivery, self.surroundings.clone());
        let begun =
            poll_fn(|cx| Poll::Ready(attempt::begin(&self.dispatch, &route, context.clone(), cx)));
        match begun.await {
            Begun::Ended(outcome) => self.conclude(&context, &route, outcome),
            Begun::Waiting(call) => {
                let key = LaneKey(context.envelope().clone());
                self.lanes.insert(key, Lane::Busy(VecDeque::new()));
                self.running.push(Attempt::waiting(
                    self.dispatch.clone(),
                    route,
                    context,
                    call,
                ));
            }
        }
    }

    /// The handler of an event: looked up once per topic and type, remembered for the next.
    fn route(&mut self, envelope: &Envelope) -> Option<Arc<Route>> {
        let (topic, kind) = (envelope.topic_bytes(), envelope.kind_bytes());
        let known = self
            .recent
            .iter()
            .find(|way| *way.kind == *kind && *way.topic == *topic);
        if let Some(known) = known {
            return known.route.clone();
        }
        let found = self.dispatch.routes.find(envelope.topic(), envelope.kind());
        let route = found.map(|route| Arc::new(route.clone()));
        if self.recent.len() >= RECENT_MAX {
            self.recent.remove(0);
        }
        let way = Recent {
            topic: topic.into(),
            kind: kind.into(),
            route: route.clone(),
        };
        self.recent.push(way);
        route
    }

    /// An attempt that occupied its lane has ended: the lane's next event begins.
    async fn ended(&mut self, context: &Context, route: &Route, outcome: Result<Effects, Failure>) {
        let key = LaneRef(context.envelope());
        let waiting = match self.lanes.remove(&key) {
            Some(Lane::Busy(waiting)) => waiting,
            // Only the attempt that occupies a lane frees it.
            _ => VecDeque::new(),
        };
        self.conclude(context, route, outcome);
        self.proceed(context.envelope(), waiting).await;
        while self.running.len() < self.running_max {
            let Some(delivery) = self.backlog.pop_front() else {
                return;
            };
            self.admit(delivery).await;
        }
    }

    /// Lets the events go on that waited for the one before them, as far as they can.
    async fn proceed(&mut self, envelope: &Envelope, mut waiting: VecDeque<Delivery>) {
        while let Some(delivery) = waiting.pop_front() {
            match self.lanes.get_mut(&LaneRef(envelope)) {
                None if self.running.len() >= self.running_max => {
                    // Older than whatever of this key is in the backlog: that came later.
                    waiting.push_front(delivery);
                    waiting.append(&mut self.backlog);
                    self.backlog = waiting;
                    return;
                }
                None => self.begin(delivery).await,
                Some(Lane::Busy(behind) | Lane::Failed(behind)) => {
                    behind.push_back(delivery);
                    behind.append(&mut waiting);
                }
                Some(Lane::Blocked(generation)) if delivery.generation < *generation => {
                    self.park(delivery);
                }
                Some(Lane::Blocked(_)) => {
                    self.lanes.remove(&LaneRef(envelope));
                    self.begin(delivery).await;
                }
            }
        }
    }

    /// The failure of a key's event is committed.
    async fn blocked(&mut self, envelope: &Envelope, generation: u64) {
        let waiting = match self.lanes.remove(&LaneRef(envelope)) {
            Some(Lane::Failed(waiting)) => waiting,
            _ => VecDeque::new(),
        };
        // What the engine hands out from now on has this generation or a later one, but what is on
        // its way here may not.
        self.forget_blocked();
        self.lanes
            .insert(LaneKey(envelope.detached()), Lane::Blocked(generation));
        self.proceed(envelope, waiting).await;
    }

    /// Forgets blocked lanes that cannot meet a stale event any more: generations arrive in order,
    /// so once one has been seen, no earlier one will come.
    fn forget_blocked(&mut self) {
        const KEPT: usize = 1_024;
        if self.lanes.len() > KEPT && self.backlog.is_empty() {
            let seen = self.generation;
            self.lanes
                .retain(|_, lane| !matches!(lane, Lane::Blocked(old) if *old <= seen));
        }
    }

    /// Turns what the handler said into a piece of the next commit.
    fn conclude(&mut self, context: &Context, route: &Route, outcome: Result<Effects, Failure>) {
        let delivery = context.delivery();
        let handler = &*route.handler;
        let followed = outcome.and_then(|effects| self.follow(delivery, handler.name(), effects));
        let failure = match followed {
            Ok(()) => {
                GroupCounters::add(&self.dispatch.counters.handled, 1);
                self.settle(delivery);
                return;
            }
            Err(failure) => failure,
        };
        let now = self.dispatch.engine.clock().now();
        let random = self.random.f64();
        match retry::judge(delivery.clone(), &failure, handler.options(), now, random) {
            Verdict::Dead(death) => self.die(death),
            Verdict::Retry(retry) => {
                tracing::debug!(
                    group = %self.dispatch.group, handler = handler.name(), id = context.id(),
                    attempt = retry.attempt, due = %retry.due, reason = retry.reason, "will retry"
                );
                GroupCounters::add(&self.dispatch.counters.retried, 1);
                self.block(&retry.envelope);
                self.outcomes.commit.retries.push(retry);
                self.outcomes.events += 1;
            }
        }
    }

    fn settle(&mut self, delivery: &Delivery) {
        self.outcomes.commit.settled.push(delivery.position);
        self.outcomes.events += 1;
    }

    fn park(&mut self, delivery: Delivery) {
        GroupCounters::add(&self.dispatch.counters.parked, 1);
        self.outcomes.commit.parked.push(delivery);
        self.outcomes.events += 1;
    }

    fn die(&mut self, death: Death) {
        tracing::warn!(
            group = %self.dispatch.group, event = death.envelope.kind(), id = death.envelope.id(),
            key = death.envelope.key(), attempts = death.attempts, cause = ?death.cause,
            reason = death.reason, "dead letter"
        );
        GroupCounters::add(&self.dispatch.counters.dead, 1);
        if let Some(reply) = request::failure_reply(&death.envelope, &death.reason) {
            let parts = OutgoingParts::reply(reply);
            match self.append(&death.envelope, parts, usize::MAX) {
                Ok(append) => self.outcomes.commit.effects.push(append.into()),
                Err(error) => tracing::warn!(%error, "cannot tell the requester"),
            }
        }
        if death.on_dead == OnDead::Park {
            self.block(&death.envelope);
        }
        self.outcomes.commit.dead.push(death);
        self.outcomes.events += 1;
    }

    fn block(&mut self, envelope: &Envelope) {
        let envelope = envelope.detached();
        self.lanes
            .insert(LaneKey(envelope.clone()), Lane::Failed(VecDeque::new()));
        self.outcomes.blocked.push((self.index, envelope));
    }

    /// Adds what follows to the commit: all of it or, if a part cannot be stored, nothing.
    fn follow(
        &mut self,
        delivery: &Delivery,
        handler: &str,
        effects: Effects,
    ) -> Result<(), Failure> {
        if effects.is_empty() {
            return Ok(());
        }
        let cause = &delivery.envelope;
        let mut said = Vec::with_capacity(effects.said.len());
        let (mut index, mut published, mut bytes) = (0, 0, 0);
        for one in effects.said {
            let outgoing = match one {
                Said::Publish(outgoing) => outgoing,
                Said::Cancel(name) => {
                    said.push(Effect::Cancel(name.resolve(&self.source)));
                    continue;
                }
            };
            let mut parts = outgoing.into_parts();
            index += 1;
            if parts.expect.is_some() {
                return Err(Failure::reject(format!(
                    "`{handler}` returned a conditional event; a commit holds the outcomes of \
                     many events, so publish it with `Context::publisher` instead"
                )));
            }
            if parts.is_reply {
                let Some(topic) = request::reply_topic(cause) else {
                    continue;
                };
                parts.builder = parts
                    .builder
                    .map(|reply| reply.topic(topic).key(cause.id()));
            }
            let append = self
                .append(cause, parts, index - 1)
                .map_err(Failure::reject)?;
            published += 1;
            bytes += append.envelope.content().len();
            said.push(append.into());
        }
        GroupCounters::add(&self.dispatch.counters.published, published);
        self.outcomes.bytes += bytes;
        self.outcomes.commit.effects.append(&mut said);
        for change in effects.state {
            let write = StateWrite {
                topic: cause.topic().to_owned(),
                key: cause.key().to_owned(),
                name: change.name.to_string(),
                value: change.value,
            };
            self.outcomes.cells.push(self.overlay.show(&write));
            self.outcomes.commit.state.push(write);
        }
        Ok(())
    }

    /// Completes an effect: its id derives from its cause, so that a redelivered cause has the same
    /// effects and dedup drops them.
    fn append(
        &self,
        cause: &Envelope,
        mut parts: OutgoingParts,
        index: usize,
    ) -> Result<Append, InvalidEvent> {
        let group = &self.dispatch.group;
        parts.builder = parts.builder.map(|builder| {
            if builder.has_id() {
                return builder;
            }
            builder.id(cause.effect_id(group, index))
        });
        let clock = self.dispatch.engine.clock();
        complete(parts, &self.source, clock, Some(&Cause::of(cause)))
    }
}

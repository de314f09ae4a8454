//! A worker: runs the events of its keys, one of a key at a time, and collects what became of them.
//!
//! Most handlers finish on their first poll or fail on it; they cost no task, no timer and no entry
//! in any map. Only what is still pending after that occupies its key's lane.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::task::Poll;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::Dispatch;
use super::attempt::{self, Attempt, Begun};
use super::follow::Follow;
use super::lane::{Fate, Lane, LaneKey, LaneRef, Lanes};
use super::outcome::{Outcomes, Subject};
use super::overlay::{Cells, Overlay};
use super::routes::Route;
use super::uncommitted::Uncommitted;
use crate::effect::Effects;
use crate::engine::{Death, DeathCause, Delivery, OnDead, Position, Retry, Run};
use crate::event::Envelope;
use crate::failure::Failure;
use crate::metrics::GroupCounters;
use crate::request;
use crate::retry::{self, Verdict};
use crate::service::{Context, Surroundings};
use crate::time::{Rest, WaitsFor};

/// What the coordinator tells a worker.
pub(super) enum ToWorker {
    /// Events to handle, in order.
    Deliveries(Vec<Delivery>),
    /// The failure of this event is committed: whatever of its key was taken from the engine at an
    /// earlier generation waits behind it.
    Blocked { envelope: Envelope, generation: u64 },
    /// What became of this event cannot be committed, and why: it is a dead letter. Nothing of its
    /// key that was handled after it counts.
    Refused { delivery: Delivery, reason: String },
    /// There is room for what further handlers return.
    Room,
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
    index: u8,
    dispatch: Arc<Dispatch>,
    follow: Follow,
    uncommitted: Arc<Uncommitted>,
    surroundings: Arc<Surroundings>,
    /// Where events of the kinds that came last went, by topic and type.
    recent: Vec<Recent>,
    lanes: Lanes,
    /// Of a key: what its outcomes are known by.
    hasher: foldhash::fast::RandomState,
    running: FuturesUnordered<Attempt>,
    running_max: usize,
    /// The generation of the newest delivery.
    generation: u64,
    /// The keys that wait for their turn, the next one first: `running_max` attempts are under way,
    /// or too much of what others returned is not committed.
    turns: VecDeque<LaneKey>,
    outcomes: Outcomes,
    collect: mpsc::UnboundedSender<Outcomes>,
    random: fastrand::Rng,
    /// On a clock that a test moves: held while the events that wait behind others wait.
    rest: Option<Rest>,
}

impl Worker {
    pub(super) fn new(
        index: u8,
        dispatch: Arc<Dispatch>,
        (overlay, uncommitted): (Arc<Overlay>, Arc<Uncommitted>),
        hasher: foldhash::fast::RandomState,
        collect: mpsc::UnboundedSender<Outcomes>,
    ) -> Self {
        Self {
            index,
            follow: Follow::new(dispatch.clone(), overlay.clone()),
            uncommitted,
            surroundings: Arc::new(Surroundings {
                group: dispatch.group.clone(),
                engine: dispatch.engine.clone(),
                pending: Arc::new(Cells::new(dispatch.clone(), overlay)),
            }),
            recent: Vec::new(),
            lanes: Lanes::default(),
            hasher,
            running: FuturesUnordered::new(),
            running_max: (dispatch.concurrency / dispatch.workers.max(1)).max(1),
            generation: 0,
            turns: VecDeque::new(),
            outcomes: Outcomes::default(),
            collect,
            random: fastrand::Rng::with_seed(dispatch.seed ^ u64::from(index)),
            rest: None,
            dispatch,
        }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<ToWorker>) {
        loop {
            self.rest = self.rest_of_waiting();
            tokio::select! {
                biased;
                Some((context, route, outcome)) = self.running.next() => {
                    self.rest = None;
                    self.ended(&context, &route, outcome).await;
                    self.end_more().await;
                }
                message = inbox.recv() => {
                    self.rest = None;
                    match message {
                        Some(message) => self.told(message).await,
                        None => return,
                    }
                }
            }
            self.report();
            // No worker is told of room that came before the report: see `Uncommitted::remove`.
            while !self.turns.is_empty() && !self.is_full() {
                self.begin_more().await;
                self.report();
            }
        }
    }

    async fn told(&mut self, message: ToWorker) {
        match message {
            ToWorker::Deliveries(deliveries) => {
                for delivery in deliveries {
                    self.arrived(delivery).await;
                }
            }
            ToWorker::Blocked {
                envelope,
                generation,
            } => self.blocked(&envelope, generation).await,
            ToWorker::Refused { delivery, reason } => self.refused(delivery, reason),
            ToWorker::Room => {}
        }
    }

    /// On a clock that a test moves: counts the events that wait behind others, while they do.
    fn rest_of_waiting(&self) -> Option<Rest> {
        let resting = self.dispatch.engine.clock().resting()?;
        let waiting = self.lanes.values().map(|lane| match lane {
            Lane::Waiting(waiting) | Lane::Busy(_, waiting) => waiting.len(),
            // For a commit, which needs no clock.
            Lane::Failed(_) | Lane::Blocked(_) => 0,
        });
        Some(resting.rest(WaitsFor::Turn, waiting.sum()))
    }

    /// Tells the coordinator what became of events since it was told last.
    fn report(&mut self) {
        if self.outcomes.has_news() {
            self.uncommitted.add(self.outcomes.bytes());
            // A coordinator that is gone needs no outcomes: what was not committed is delivered
            // again.
            let _ = self.collect.send(std::mem::take(&mut self.outcomes));
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

    /// Begins an event, or puts it where its key's earlier events are.
    async fn arrived(&mut self, delivery: Delivery) {
        self.generation = delivery.generation;
        if !self.lanes.is_empty() {
            let key = LaneRef(&delivery.envelope);
            match self.lanes.get_mut(&key) {
                None => {}
                Some(Lane::Waiting(waiting) | Lane::Busy(_, waiting) | Lane::Failed(waiting)) => {
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
        if !self.turns.is_empty() || self.is_full() {
            self.wait(VecDeque::from([delivery]));
        } else {
            self.begin(delivery).await;
        }
    }

    /// A free key waits for its turn with these events.
    fn wait(&mut self, waiting: VecDeque<Delivery>) {
        if let Some(first) = waiting.front() {
            let key = || LaneKey(first.envelope.clone());
            self.turns.push_back(key());
            self.lanes.insert(key(), Lane::Waiting(waiting));
        }
    }

    /// Handles an event of a free key: to its end, if the first poll gets it there.
    async fn begin(&mut self, delivery: Delivery) {
        if self.dispatch.is_stopping() {
            self.outcomes.hand_back();
            return;
        }
        let Some(route) = self.route(&delivery.envelope) else {
            // Subscribed to because another handler takes the type from another topic.
            self.settle(&delivery);
            return;
        };
        if request::is_expired(&delivery.envelope, self.dispatch.engine.clock()) {
            tracing::debug!(
                id = delivery.envelope.id(),
                "the requester no longer waits for this request"
            );
            self.settle(&delivery);
            return;
        }
        if let Some(death) = retry::crashed(&delivery, route.handler.options()) {
            self.die(death, delivery.run);
            return;
        }
        let context = Context::new(delivery, self.surroundings.clone());
        let begun =
            poll_fn(|cx| Poll::Ready(attempt::begin(&self.dispatch, &route, context.clone(), cx)));
        match begun.await {
            Begun::Ended(outcome) => self.conclude(&context, &route, outcome),
            Begun::Waiting(waiting) => {
                let key = LaneKey(context.envelope().clone());
                self.lanes
                    .insert(key, Lane::Busy(Fate::Open, VecDeque::new()));
                self.running.push(Attempt::waiting(
                    self.dispatch.clone(),
                    route,
                    context,
                    waiting,
                ));
            }
        }
    }

    /// The handler of an event: looked up once per topic and type, remembered for the next.
    fn route(&mut self, envelope: &Envelope) -> Option<Arc<Route>> {
        let (topic, kind) = (envelope.topic_bytes(), envelope.type_bytes());
        let known = self
            .recent
            .iter()
            .find(|way| *way.kind == *kind && *way.topic == *topic);
        if let Some(known) = known {
            return known.route.clone();
        }
        let found = self
            .dispatch
            .routes
            .find(envelope.topic(), envelope.event_type());
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

    /// An attempt that occupied its lane has ended: the next key has its turn, or the lane's next
    /// event begins.
    async fn ended(&mut self, context: &Context, route: &Route, outcome: Result<Effects, Failure>) {
        let key = LaneRef(context.envelope());
        let (fate, mut waiting) = match self.lanes.remove(&key) {
            Some(Lane::Busy(fate, waiting)) => (fate, waiting),
            // Only the attempt that occupies a lane frees it.
            _ => (Fate::Open, VecDeque::new()),
        };
        match fate {
            Fate::Open => {
                self.conclude(context, route, outcome);
                self.proceed(context.envelope(), waiting).await;
            }
            Fate::Retracted => {
                waiting.push_front(context.delivery().clone());
                let key = LaneKey(context.envelope().detached());
                self.lanes.insert(key, Lane::Failed(waiting));
            }
            Fate::Stale(generation) => {
                waiting.push_front(context.delivery().clone());
                let key = LaneKey(context.envelope().detached());
                self.lanes.insert(key, Lane::Blocked(generation));
                self.proceed(context.envelope(), waiting).await;
            }
        }
        self.begin_more().await;
    }

    /// Whether no further attempt may begin now.
    fn is_full(&self) -> bool {
        self.running.len() >= self.running_max || self.uncommitted.is_full(self.outcomes.bytes())
    }

    /// Begins what had to wait, as far as there is room now: one event a turn, because a key must
    /// not hold up the others, however much of it waits.
    async fn begin_more(&mut self) {
        while !self.is_full()
            && let Some(key) = self.turns.pop_front()
        {
            let mut waiting = match self.lanes.get_mut(&key) {
                Some(Lane::Waiting(waiting)) => std::mem::take(waiting),
                // It was blocked meanwhile.
                _ => continue,
            };
            self.lanes.remove(&key);
            if let Some(delivery) = waiting.pop_front() {
                self.begin(delivery).await;
                self.proceed(&key.0, waiting).await;
            }
        }
    }

    /// Lets the events go on that waited for the one before them, as far as they can.
    async fn proceed(&mut self, envelope: &Envelope, mut waiting: VecDeque<Delivery>) {
        while let Some(delivery) = waiting.pop_front() {
            let has_to_wait = !self.turns.is_empty() || self.is_full();
            match self.lanes.get_mut(&LaneRef(envelope)) {
                None if has_to_wait => {
                    waiting.push_front(delivery);
                    self.wait(waiting);
                    return;
                }
                None => self.begin(delivery).await,
                Some(Lane::Waiting(behind) | Lane::Busy(_, behind) | Lane::Failed(behind)) => {
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
            Some(Lane::Failed(waiting) | Lane::Waiting(waiting)) => waiting,
            // It goes on when its attempt ends.
            Some(Lane::Busy(_, waiting)) => {
                let key = LaneKey(envelope.detached());
                let fate = Fate::Stale(generation);
                self.lanes.insert(key, Lane::Busy(fate, waiting));
                return;
            }
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
        if self.lanes.len() > KEPT {
            let seen = self.generation;
            self.lanes
                .retain(|_, lane| !matches!(lane, Lane::Blocked(old) if *old <= seen));
        }
    }

    /// Turns what the handler said into a piece of the next commit.
    fn conclude(&mut self, context: &Context, route: &Route, outcome: Result<Effects, Failure>) {
        let delivery = context.delivery();
        let handler = &*route.handler;
        let followed = outcome.and_then(|effects| {
            self.follow
                .add(delivery, handler.name(), effects, &mut self.outcomes)
        });
        let failure = match followed {
            Ok(()) => {
                GroupCounters::add(&self.dispatch.counters.handled, 1);
                self.settle(delivery);
                return;
            }
            Err(failure) if failure.has_not_begun() => {
                self.outcomes.hand_back();
                return;
            }
            Err(failure) => failure,
        };
        if failure.waits_for_another_program() {
            tracing::warn!(
                group = %self.dispatch.group, handler = handler.name(), id = context.id(),
                key = context.key(), reason = %failure, "an event waits for its state to be readable, or for the keys of what is personal"
            );
        }
        let now = self.dispatch.engine.clock().now();
        let random = self.random.f64();
        match retry::judge(delivery.clone(), failure, handler.options(), now, random) {
            Verdict::Dead(death) => self.die(death, delivery.run),
            Verdict::Retry(retry) => {
                if self.is_too_late(&retry, delivery.run) {
                    return;
                }
                tracing::debug!(
                    group = %self.dispatch.group, handler = handler.name(), id = context.id(),
                    attempt = retry.attempt, due = %retry.due, reason = retry.reason, "will retry"
                );
                GroupCounters::add(&self.dispatch.counters.retried, 1);
                let subject = self.subject(&retry.envelope, retry.attempt);
                let key = self.block(&retry.envelope);
                self.outcomes.retry(subject, retry, key);
            }
        }
    }

    /// Whether a request would be tried again after its deadline only: then it is answered now.
    fn is_too_late(&mut self, retry: &Retry, run: Run) -> bool {
        let deadline = request::deadline(&retry.envelope);
        if deadline.is_none_or(|deadline| deadline >= retry.due) {
            return false;
        }
        let reason = format!(
            "{}; the next attempt would come after the request's deadline",
            retry.reason
        );
        let subject = self.subject(&retry.envelope, retry.attempt);
        self.turn_down(&retry.envelope, retry.position, subject, &reason, run)
    }

    fn subject(&self, envelope: &Envelope, attempt: u32) -> Subject {
        Subject {
            lane: self.hasher.hash_one(envelope.stream()),
            worker: self.index,
            attempt,
        }
    }

    fn settle(&mut self, delivery: &Delivery) {
        let subject = self.subject(&delivery.envelope, delivery.attempt);
        self.outcomes.settle(subject, delivery.position);
    }

    fn park(&mut self, delivery: Delivery) {
        GroupCounters::add(&self.dispatch.counters.parked, 1);
        let subject = self.subject(&delivery.envelope, delivery.attempt);
        self.outcomes.park(subject, delivery);
    }

    fn die(&mut self, mut death: Death, run: Run) {
        if request::reply_topic(&death.envelope).is_some() {
            let subject = self.subject(&death.envelope, death.attempts);
            if death.cause == DeathCause::Rejected
                && self.turn_down(&death.envelope, death.position, subject, &death.reason, run)
            {
                return;
            }
            // Its requester is told, and no longer waits for it: it holds up no later event
            // of its key. It is kept for people to see.
            death.on_dead = OnDead::Skip;
        }
        let key = match death.on_dead {
            OnDead::Park => Some(self.block(&death.envelope)),
            OnDead::Skip => None,
        };
        self.bury(death, key, run);
    }

    /// Answers a request with a refusal, which settles it; whether its requester can be told.
    fn turn_down(
        &mut self,
        request: &Envelope,
        position: Position,
        subject: Subject,
        reason: &str,
        run: Run,
    ) -> bool {
        let (said, outcomes) = ((reason, run), &mut self.outcomes);
        self.follow
            .turn_down((request, position), subject, said, outcomes)
    }

    /// Makes a dead letter; with `key`, the key waits until it is durable.
    fn bury(&mut self, death: Death, key: Option<Envelope>, run: Run) {
        tracing::warn!(
            group = %self.dispatch.group, event = death.envelope.event_type(), id = death.envelope.id(),
            key = death.envelope.key(), attempts = death.attempts, cause = ?death.cause,
            reason = death.reason, "dead letter"
        );
        GroupCounters::add(&self.dispatch.counters.dead, 1);
        let outcomes = &mut self.outcomes;
        self.follow
            .tell_requester(&death.envelope, &death.reason, run, outcomes);
        let subject = self.subject(&death.envelope, death.attempts);
        self.outcomes.die(subject, death, key);
    }

    /// Lets a key wait for the commit of its event's failure.
    fn block(&mut self, envelope: &Envelope) -> Envelope {
        let envelope = envelope.detached();
        self.lanes
            .insert(LaneKey(envelope.clone()), Lane::Failed(VecDeque::new()));
        envelope
    }

    /// The outcome of an event cannot be committed. It is a dead letter; what came after it of its
    /// key has been handled in vain and comes again, whatever a dead letter means to later events.
    fn refused(&mut self, delivery: Delivery, reason: String) {
        // The dead letter comes alone, so that it is known from what came before.
        self.report();
        let key = LaneRef(&delivery.envelope);
        match self.lanes.get_mut(&key) {
            Some(Lane::Busy(fate, _)) => *fate = Fate::Retracted,
            Some(Lane::Failed(_)) => {}
            Some(lane @ Lane::Waiting(_)) => lane.fail(),
            Some(Lane::Blocked(_)) | None => {
                self.block(&delivery.envelope);
            }
        }
        let on_dead = match request::reply_topic(&delivery.envelope) {
            // Its requester is told, as in `die`.
            Some(_) => OnDead::Skip,
            None => self
                .route(&delivery.envelope)
                .map_or_else(OnDead::default, |route| route.handler.options().on_dead),
        };
        let lane = self.subject(&delivery.envelope, delivery.attempt).lane;
        let Delivery {
            envelope,
            position,
            attempt,
            run,
            ..
        } = delivery;
        let key = envelope.detached();
        let death = Death {
            envelope,
            position,
            attempts: attempt,
            cause: DeathCause::Refused,
            reason,
            on_dead,
        };
        self.bury(death, Some(key), run);
        self.outcomes.condemn(lane);
        self.report();
    }
}

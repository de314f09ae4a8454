//! A member of a group whose handlers are in another process: it hands events out, and commits what is
//! said of them later.
//!
//! What a handler elsewhere says goes the same way as what one here returns: effects get their ids from
//! their cause ([`Follow`](super::follow::Follow)), a failure blocks its key, a request that is rejected
//! tells its requester, and all of it is one commit. What differs is that a handler elsewhere may be gone,
//! late, or wrong: everything that it says is checked against what it was given.
//!
//! One thing at a time is done with the member. A take that waits for events makes way for a commit:
//! so nothing of a key arrives while a commit is under way that blocks it, and whatever of the key was
//! taken before is handed back in that very commit.

mod hands;
mod said;
mod suspects;
#[cfg(test)]
#[cfg(feature = "embedded")]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, OwnedMutexGuard};

use self::hands::{Bounds, Hands, key};
pub use self::said::{ConsumerOptions, Done, Handled, Outcome, Refused, Taken, Wanted};
pub use self::suspects::{Gate, Suspects};
use super::follow::Follow;
use super::outcome::{Outcomes, Subject};
use super::overlay::Overlay;
use super::{Dispatch, Routes, StateScope};
use crate::contained::shorten;
use crate::engine::{
    Death, DeathCause, Delivery, Member, OnDead, Position, Retry, SharedEngine, Subscription,
};
use crate::error::{EngineError, Result};
use crate::handle::Engine;
use crate::metrics::GroupCounters;
use crate::outgoing::EventTracer;
use crate::publisher::check_source_of;
use crate::request;
use crate::time::Timestamp;

/// The most events that are taken from the engine in one go.
const TAKE_EVENTS_MAX: usize = 1_024;
/// How many names of commits are remembered.
const COMMITS_REMEMBERED: usize = 64;
/// The longest reason that is kept with an event, in bytes: it is for people.
const REASON_BYTES_MAX: usize = 1_024;
/// What a handler elsewhere is called in messages.
const HANDLER: &str = "the client";

/// A member of a group whose handlers are in another process. Cloning gives the same member; dropping
/// the last one is leaving.
#[derive(Clone)]
pub struct Consumer(Arc<Shared>);

struct Shared {
    dispatch: Arc<Dispatch>,
    follow: Follow,
    overlay: Arc<Overlay>,
    member: Box<dyn Member>,
    key_events_max: usize,
    suspects: Suspects,
    tracer: Option<Arc<dyn EventTracer>>,
    /// Held by whatever is done with the member.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Something else than a take waits for its turn.
    make_way: Notify,
    hands: Mutex<Hands>,
    remembered: Mutex<VecDeque<(String, Done)>>,
}

/// What is to be committed, and what that ends.
#[derive(Default)]
struct Plan {
    outcomes: Outcomes,
    ended: Vec<Position>,
    handed_back: Vec<Position>,
    /// What a handler has said something of: it did not end that handler.
    cleared: Vec<Position>,
}

type Turn = OwnedMutexGuard<()>;

impl Consumer {
    /// Joins a group.
    ///
    /// # Errors
    /// As for [`Driver::join`](crate::engine::Driver::join).
    pub async fn join(
        engine: &Engine,
        subscription: Subscription,
        options: ConsumerOptions,
    ) -> Result<Self> {
        check_source_of(&subscription.group)?;
        let engine: &SharedEngine = engine.shared();
        let (group, start) = (&subscription.group, subscription.start.clone());
        let dispatch = Arc::new(Dispatch {
            group: group.as_str().into(),
            engine: engine.clone(),
            routes: Routes::default(),
            layers: Arc::default(),
            counters: options.metrics.group(group),
            start,
            workers: 0,
            in_flight_max: subscription.in_flight_max,
            concurrency: 0,
            seed: 0,
            stopping: Arc::new(AtomicBool::new(false)),
            state_scope: StateScope::default(),
        });
        let overlay = Arc::new(Overlay::default());
        let member = engine.join(subscription).await?;
        Ok(Self(Arc::new(Shared {
            follow: Follow::new(dispatch.clone(), overlay.clone()),
            dispatch,
            overlay,
            member,
            key_events_max: options.key_events_max.max(1),
            suspects: options.suspects,
            tracer: options.tracer,
            turn: Arc::default(),
            make_way: Notify::new(),
            hands: Mutex::default(),
            remembered: Mutex::default(),
        })))
    }

    /// The group.
    pub fn group(&self) -> &str {
        &self.0.dispatch.group
    }

    /// How many bytes of events it holds.
    pub fn bytes(&self) -> usize {
        self.0.hands().bytes()
    }

    /// How many events it holds.
    pub fn held(&self) -> usize {
        self.0.hands().len()
    }

    /// The generation of the group.
    ///
    /// # Errors
    /// As for [`take`](Self::take).
    pub async fn generation(&self) -> Result<u64> {
        let turn = self.next_turn().await;
        let (_, done) = self.run(turn, Plan::default(), None).await?;
        Ok(done.generation)
    }

    /// The next events for the handler, at least one. Cancel-safe: what was not returned is not lost.
    ///
    /// # Errors
    /// [`GroupError::Fenced`](crate::error::GroupError::Fenced) after a reset, and what the engine
    /// reports.
    pub async fn take(&self, wanted: &Wanted) -> Result<Vec<Taken>> {
        let shared = &self.0;
        let bounds = Bounds {
            events_max: wanted.events_max.max(1),
            bytes_max: wanted.bytes_max,
            key_events_max: shared.key_events_max,
        };
        let mut again = wanted.again;
        loop {
            let turn = shared.turn.clone().lock_owned().await;
            if std::mem::take(&mut again) {
                shared.hands().take_back();
            }
            let turn = self.settle_expired(turn).await?;
            let next = shared.hands().next(bounds, &shared.suspects);
            if next.is_empty() {
                let more = bounds.events_max.min(TAKE_EVENTS_MAX);
                let more = tokio::select! {
                    biased;
                    more = shared.member.next(more) => more?,
                    () = shared.make_way.notified() => continue,
                };
                shared.hands().add(more);
                continue;
            }
            let mut taken = Vec::with_capacity(next.len());
            for delivery in next {
                let cells = self.cells(&delivery, &wanted.cells).await?;
                taken.push(Taken { delivery, cells });
            }
            // From here to the end nothing waits: a caller that drops this future loses nothing.
            let positions = taken.iter().map(|taken| taken.delivery.position);
            shared.hands().give(positions);
            GroupCounters::add(&shared.dispatch.counters.delivered, taken.len());
            drop(turn);
            return Ok(taken);
        }
    }

    async fn cells(&self, delivery: &Delivery, names: &[String]) -> Result<Vec<(String, Bytes)>> {
        let (dispatch, event) = (&self.0.dispatch, &delivery.envelope);
        let mut cells = Vec::new();
        for name in names {
            let cell = dispatch
                .engine
                .state(&dispatch.group, event.topic(), event.key(), name);
            if let Some(bytes) = cell.await? {
                cells.push((name.clone(), bytes));
            }
        }
        Ok(cells)
    }

    /// Settles requests whose requesters have given up already.
    async fn settle_expired(&self, turn: Turn) -> Result<Turn> {
        let shared = &self.0;
        let expired = shared.hands().expired(shared.dispatch.engine.clock());
        if expired.is_empty() {
            return Ok(turn);
        }
        let mut plan = Plan::default();
        for delivery in expired {
            plan.settle(&delivery);
        }
        let (turn, _) = self.run(turn, plan, None).await?;
        Ok(turn)
    }

    /// Commits what became of events: all of it or nothing. It goes on when the future is dropped. With a
    /// `name` it is done once: the same name again gives the same answer, among the last
    /// few of the consumer.
    ///
    /// # Errors
    /// [`Refused`]; [`GroupError::Fenced`](crate::error::GroupError::Fenced) among them after a reset.
    pub async fn commit(
        &self,
        name: Option<String>,
        handled: Vec<Handled>,
    ) -> Result<Done, Refused> {
        let turn = self.next_turn().await;
        if let Some(done) = name.as_deref().and_then(|name| self.0.remembered(name)) {
            return Ok(done);
        }
        let plan = self.0.plan(handled)?;
        let (_, done) = self.run(turn, plan, name).await?;
        Ok(done)
    }

    /// Leaves: what it holds goes to others at once.
    ///
    /// # Errors
    /// What the engine reports.
    pub async fn leave(&self) -> Result<()> {
        let _turn = self.next_turn().await;
        self.0.member.leave().await
    }

    /// Leaves because its handler is gone. What that was told of may be what ended it: one event has had
    /// an attempt; several are [suspects](Suspects).
    ///
    /// # Errors
    /// What the engine reports.
    pub async fn abandon(&self) -> Result<()> {
        let turn = self.next_turn().await;
        let given = self.0.hands().given();
        // Before any of it goes to others.
        let attempted = self
            .0
            .suspects
            .lost(&given)
            .then(|| given.first())
            .flatten();
        if let Some(position) = attempted {
            let plan = self.0.plan_of_attempt(*position);
            if let Err(error) = self.run(turn, plan, None).await {
                tracing::warn!(group = self.group(), %error, "the attempt of a consumer that is gone does not count");
            }
        }
        self.0.member.leave().await
    }

    async fn next_turn(&self) -> Turn {
        self.0.make_way.notify_one();
        self.0.turn.clone().lock_owned().await
    }

    /// Commits, in a task: what it means to what is held is never missed.
    async fn run(&self, turn: Turn, plan: Plan, name: Option<String>) -> Result<(Turn, Done)> {
        let shared = self.0.clone();
        let task = tokio::spawn(async move {
            let done = shared.commit(plan, name).await;
            done.map(|done| (turn, done))
        });
        let stopped = |ended: tokio::task::JoinError| EngineError::Stopped(ended.to_string());
        task.await.map_err(stopped)?
    }
}

impl Shared {
    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(&self, name: &str) -> Option<Done> {
        let remembered = self.commits();
        let (_, done) = remembered.iter().find(|(other, _)| other == name)?;
        Some(Done {
            is_repeated: true,
            ..done.clone()
        })
    }

    fn commits(&self) -> MutexGuard<'_, VecDeque<(String, Done)>> {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn commit(&self, plan: Plan, name: Option<String>) -> Result<Done> {
        let committed = self.member.commit(plan.outcomes.commit().clone()).await?;
        self.hands().remove(&plan.ended);
        self.suspects.clear(&plan.cleared);
        GroupCounters::add(&self.dispatch.counters.commits, 1);
        let done = Done {
            generation: committed.generation,
            dropped: committed.dropped,
            handed_back: plan.handed_back,
            is_repeated: false,
        };
        if let Some(name) = name {
            let mut remembered = self.commits();
            if remembered.len() == COMMITS_REMEMBERED {
                remembered.pop_front();
            }
            remembered.push_back((name, done.clone()));
        }
        Ok(done)
    }

    /// What a commit of these is, or why it cannot be made.
    fn plan(&self, mut handled: Vec<Handled>) -> Result<Plan, Refused> {
        // In the order of the log: an event comes after the earlier ones of its key.
        handled.sort_by_key(|it| it.position);
        let hands = self.hands();
        check(&hands, &handled)?;
        let mut plan = Plan {
            cleared: handled.iter().map(|it| it.position).collect(),
            ..Plan::default()
        };
        let planned = self.plan_each(&hands, handled, &mut plan);
        // They are shown to nothing here: the next event of a key is given out after the commit.
        self.overlay.forget(plan.outcomes.take_cells());
        planned.map(|()| plan)
    }

    fn plan_each(
        &self,
        hands: &Hands,
        handled: Vec<Handled>,
        plan: &mut Plan,
    ) -> Result<(), Refused> {
        let mut keys = hands.of_keys(handled.iter().map(|it| it.position));
        for Handled {
            position, outcome, ..
        } in handled
        {
            let Some(delivery) = hands.get(position) else {
                continue; // Not reached: it was checked.
            };
            let of_key = keys.entry(key(delivery)).or_default();
            if let Some(before) = of_key.not_before(position) {
                return Err(Refused::OutOfOrder { position, before });
            }
            if self.conclude(delivery, outcome, plan)? {
                let behind = of_key.block(position);
                plan.hand_back(behind.iter().filter_map(|it| hands.get(*it)));
            }
        }
        Ok(())
    }

    /// Adds what became of an event; whether its key is blocked.
    fn conclude(
        &self,
        delivery: &Delivery,
        outcome: Outcome,
        plan: &mut Plan,
    ) -> Result<bool, Refused> {
        let counters = &self.dispatch.counters;
        match outcome {
            Outcome::Settled(effects) => {
                let effects = match &self.tracer {
                    Some(tracer) => effects.traced(&**tracer, &delivery.envelope),
                    None => effects,
                };
                let added = self
                    .follow
                    .add(delivery, HANDLER, effects, &mut plan.outcomes);
                added.map_err(|failure| Refused::Effects {
                    position: delivery.position,
                    reason: failure.to_string(),
                })?;
                GroupCounters::add(&counters.handled, 1);
                plan.settle(delivery);
                Ok(false)
            }
            Outcome::Retry { due, reason } => Ok(self.retry(delivery, due, reason, plan)),
            Outcome::Dead {
                cause,
                reason,
                on_dead,
            } => Ok(self.die(delivery, (cause, on_dead), reason, plan)),
        }
    }

    fn retry(
        &self,
        delivery: &Delivery,
        due: Option<Timestamp>,
        reason: String,
        plan: &mut Plan,
    ) -> bool {
        let due = due.unwrap_or_else(|| self.dispatch.engine.clock().now());
        let deadline = request::deadline(&delivery.envelope);
        if deadline.is_some_and(|deadline| deadline < due) {
            let reason =
                format!("{reason}; the next attempt would come after the request's deadline");
            if self.turn_down(delivery, &reason, plan) {
                return false;
            }
        }
        GroupCounters::add(&self.dispatch.counters.retried, 1);
        plan.retry(delivery, due, shorten(&reason, REASON_BYTES_MAX));
        true
    }

    /// Makes a dead letter, or settles a request that is rejected; whether the key is blocked.
    fn die(
        &self,
        delivery: &Delivery,
        (cause, mut on_dead): (DeathCause, OnDead),
        reason: String,
        plan: &mut Plan,
    ) -> bool {
        let reason = shorten(&reason, REASON_BYTES_MAX);
        let envelope = &delivery.envelope;
        if request::reply_topic(envelope).is_some() {
            if cause == DeathCause::Rejected && self.turn_down(delivery, &reason, plan) {
                return false;
            }
            // Its requester is told, and no longer waits for it: it holds up no later event.
            on_dead = OnDead::Skip;
            let outcomes = &mut plan.outcomes;
            self.follow
                .tell_requester(envelope, &reason, delivery.run, outcomes);
        }
        GroupCounters::add(&self.dispatch.counters.dead, 1);
        let death = Death {
            envelope: envelope.clone(),
            position: delivery.position,
            attempts: delivery.attempt,
            cause,
            reason,
            on_dead,
        };
        plan.outcomes.die(subject(delivery), death, None);
        plan.ended.push(delivery.position);
        on_dead == OnDead::Park
    }

    fn turn_down(&self, delivery: &Delivery, reason: &str, plan: &mut Plan) -> bool {
        let request = (&delivery.envelope, delivery.position);
        let said = (reason, delivery.run);
        let is_told = self
            .follow
            .turn_down(request, subject(delivery), said, &mut plan.outcomes);
        if is_told {
            plan.ended.push(delivery.position);
        }
        is_told
    }

    /// A handler that is gone has tried this event, the only one that it was given.
    fn plan_of_attempt(&self, position: Position) -> Plan {
        let hands = self.hands();
        let (mut plan, now) = (Plan::default(), self.dispatch.engine.clock().now());
        let Some(delivery) = hands.get(position) else {
            return plan; // Not reached: it was given.
        };
        plan.retry(delivery, now, Suspects::REASON.to_owned());
        for (_, mut of_key) in hands.of_keys(std::iter::once(position)) {
            // Nothing of its key is before it.
            let _ = of_key.not_before(position);
            let behind = of_key.block(position);
            plan.hand_back(behind.iter().filter_map(|it| hands.get(*it)));
        }
        plan
    }
}

/// Whether each of them is held, at the generation that is given, and there once.
fn check(hands: &Hands, handled: &[Handled]) -> Result<(), Refused> {
    let twice = handled.windows(2).find_map(|pair| match pair {
        [one, other] if one.position == other.position => Some(one.position),
        _ => None,
    });
    if let Some(position) = twice {
        return Err(Refused::Twice(position));
    }
    let stale = handled
        .iter()
        .filter(|it| hands.find(it.position, it.generation).is_none());
    let positions: Vec<Position> = stale.map(|it| it.position).collect();
    match positions.first() {
        Some(first) => Err(Refused::Stale {
            first: *first,
            positions,
        }),
        None => Ok(()),
    }
}

impl Plan {
    fn settle(&mut self, delivery: &Delivery) {
        self.outcomes.settle(subject(delivery), delivery.position);
        self.ended.push(delivery.position);
    }

    fn retry(&mut self, delivery: &Delivery, due: Timestamp, reason: String) {
        let retry = Retry {
            envelope: delivery.envelope.clone(),
            position: delivery.position,
            attempt: delivery.attempt,
            due,
            reason,
        };
        let key = delivery.envelope.clone();
        self.outcomes.retry(subject(delivery), retry, key);
        self.ended.push(delivery.position);
    }

    fn hand_back<'a>(&mut self, deliveries: impl Iterator<Item = &'a Delivery>) {
        for delivery in deliveries {
            self.outcomes.park(subject(delivery), delivery.clone());
            self.ended.push(delivery.position);
            self.handed_back.push(delivery.position);
        }
    }
}

/// No piece of these outcomes is looked up by its subject.
fn subject(delivery: &Delivery) -> Subject {
    Subject {
        lane: 0,
        worker: 0,
        attempt: delivery.attempt,
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("group", &self.group())
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}

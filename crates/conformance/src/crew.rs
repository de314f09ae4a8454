//! A storm: publishers, members that fail, leave and die at random, an operator, and crashes; and
//! an oracle that knows what must come out ([`Ledger`]).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::flaw::{Flaw, Verdict, ensure, equal};
use super::hand::{dying, is_fenced, retrying};
use super::lab::{KIND, Lab};
use super::labels::{label, number, recorded_labels, sorted};
use super::ledger::Ledger;
use ensue_core::engine::OnDead;
use ensue_core::engine::{
    Append, Commit, Committed, DeadLetterFilter, Delivery, Member, Position, SharedEngine,
    Subscription,
};
use ensue_core::error::{EngineError, Error, GroupError};
use ensue_core::event::Envelope;
use ensue_core::time::Clock;

/// How often things happen, in per cent of the occasions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Habits {
    /// An attempt fails.
    pub(super) retry: u8,
    /// An event is given up; an operator redrives or discards it.
    pub(super) dead: u8,
    /// A member leaves with events in its hands.
    pub(super) leave: u8,
    /// A member dies with events in its hands, perhaps amid a commit.
    pub(super) drop: u8,
    /// A batch is published again.
    pub(super) again: u8,
    /// How often everything crashes.
    pub(super) crashes: u32,
}

const MEMBERS: usize = 3;
const PUBLISHERS: usize = 3;
const KEYS_EACH: usize = 8;
const GROUP: &str = "storm";
const TOPIC: &str = "orders";
const EFFECTS: &str = "effects";

pub(super) struct Storm {
    habits: Habits,
    shared: Arc<Shared>,
}

/// How many members die at most, and how long all together may wait until that is noticed.
const DEATHS_MAX: i64 = 40;
const DEATHS_TIME_MAX: Duration = Duration::from_secs(40);

/// What everybody in the storm knows.
#[derive(Debug)]
struct Shared {
    ledger: Ledger,
    habits: Habits,
    group: String,
    effects_topic: String,
    clock: Clock,
    /// How many deaths there may still be: each costs the engine's failover time.
    deaths: AtomicI64,
    is_over: AtomicBool,
    /// What each publisher appends, and how far it is.
    plans: Vec<(Vec<Vec<Envelope>>, AtomicUsize)>,
}

/// Between processes, silence is measured in real time.
fn deaths_within(time: Duration, failover: Duration) -> i64 {
    let deaths = time.as_millis().checked_div(failover.as_millis());
    deaths.map_or(DEATHS_MAX, |deaths| {
        let deaths = i64::try_from(deaths).unwrap_or(DEATHS_MAX);
        deaths.clamp(2, DEATHS_MAX)
    })
}

impl Storm {
    pub(super) fn new(lab: &Lab, habits: Habits) -> Self {
        let failover = lab.engine().map(|engine| engine.guarantees().failover);
        let deaths = deaths_within(DEATHS_TIME_MAX, failover.unwrap_or_default());
        let shared = Shared {
            ledger: Ledger::default(),
            habits,
            group: lab.group(GROUP),
            effects_topic: lab.topic(EFFECTS),
            clock: lab.clock.clone(),
            deaths: AtomicI64::new(deaths),
            is_over: AtomicBool::new(false),
            plans: Vec::new(),
        };
        Self {
            habits,
            shared: Arc::new(shared),
        }
    }

    pub(super) async fn run(mut self, lab: &mut Lab) -> Verdict {
        self.plan(lab)?;
        let seed = lab.terms.seed;
        let outcome = self.rage(lab).await;
        outcome.map_err(|flaw| Flaw {
            found: format!("{} (seed {seed})", flaw.found),
            ..flaw
        })
    }

    /// Decides what is published: each publisher has keys of its own, mixed at random.
    fn plan(&mut self, lab: &Lab) -> Verdict {
        let Some(shared) = Arc::get_mut(&mut self.shared) else {
            return Ok(());
        };
        let mut random = lab.random();
        for publisher in 0..PUBLISHERS {
            let mut next = [1; KEYS_EACH];
            let mut batches = Vec::new();
            let mut batch = Vec::new();
            for _ in 0..lab.terms.storm / PUBLISHERS {
                let key = random.usize(..KEYS_EACH);
                if let Some(n) = next.get_mut(key) {
                    batch.push(lab.event(TOPIC, &format!("p{publisher}k{key}"), *n)?);
                    *n += 1;
                }
                if random.u8(..) < 60 {
                    batches.push(std::mem::take(&mut batch));
                }
            }
            batches.push(batch);
            shared.ledger.expect(batches.iter().flatten());
            shared.plans.push((batches, AtomicUsize::new(0)));
        }
        Ok(())
    }

    async fn rage(&self, lab: &mut Lab) -> Verdict {
        let mut random = lab.random();
        for _ in 0..self.habits.crashes {
            let mut everybody = self.unleash(lab).await?;
            tokio::time::sleep(Duration::from_millis(random.u64(20..200))).await;
            self.shared.ledger.dies();
            everybody.shutdown().await;
            lab.crash().await?;
            self.shared.ledger.release_all();
            self.shared.ledger.accusation()?;
        }
        let mut everybody = self.unleash(lab).await?;
        let outcome = self.watch(lab, &mut everybody).await;
        self.shared.is_over.store(true, Ordering::Relaxed);
        outcome?;
        while let Some(ended) = everybody.join_next().await {
            ended??;
        }
        self.shared.ledger.judge()?;
        self.effects_are_there(lab).await
    }

    async fn unleash(&self, lab: &mut Lab) -> Verdict<JoinSet<Verdict>> {
        let mut everybody = JoinSet::new();
        let mut random = lab.random();
        for publisher in 0..PUBLISHERS {
            let (engine, shared) = (lab.colleague().await?, self.shared.clone());
            everybody.spawn(publish(engine, shared, publisher, random.fork()));
        }
        for _ in 0..MEMBERS {
            let (engine, shared) = (lab.colleague().await?, self.shared.clone());
            let subscription = Subscription {
                in_flight_max: random.usize(5..60),
                ..lab.subscription(GROUP, TOPIC)?
            };
            let worker = Worker {
                shared,
                random: random.fork(),
                blocked: HashMap::new(),
            };
            everybody.spawn(worker.work(engine, subscription));
        }
        if self.habits.dead > 0 {
            let (engine, shared) = (lab.colleague().await?, self.shared.clone());
            everybody.spawn(operate(engine, shared, random.fork()));
        }
        if let Some(hands) = lab.hands() {
            let shared = self.shared.clone();
            everybody.spawn(async move {
                while !shared.is_over() {
                    hands.advance(Duration::from_millis(10));
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Ok(())
            });
        }
        Ok(everybody)
    }

    /// Waits until the storm has nothing left to do.
    async fn watch(&self, lab: &Lab, everybody: &mut JoinSet<Verdict>) -> Verdict {
        let deadline = Instant::now() + lab.terms.check.mul_f32(0.8);
        loop {
            // Only publishers may be done before the storm is over.
            while let Some(ended) = everybody.try_join_next() {
                ended??;
            }
            self.shared.ledger.accusation()?;
            let group = lab.status().await?.group(&self.shared.group).cloned();
            let is_idle = group
                .as_ref()
                .is_some_and(|group| group.is_idle() && group.dead == 0 && group.parked == 0);
            if is_idle && self.shared.ledger.is_final() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let (count, some) = self.shared.ledger.unfinished();
                return Err(Flaw::new(
                    "every event to be settled",
                    format_args!("{count} are not, such as {some:?}; {group:?}"),
                ));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Each settled event had its effect once, and a key's effects keep the key's order.
    async fn effects_are_there(&self, lab: &Lab) -> Verdict {
        if !lab.engine()?.guarantees().replay {
            return Ok(());
        }
        let stored = lab.stored(EFFECTS).await?;
        let expected: Vec<_> = self
            .shared
            .ledger
            .effective()
            .iter()
            .map(|name| name.replacen(TOPIC, EFFECTS, 1))
            .collect();
        equal("effects", sorted(recorded_labels(&stored)), expected)?;
        let mut last: HashMap<&str, u64> = HashMap::new();
        for effect in &stored {
            let number = number(&effect.envelope);
            let before = last.insert(effect.envelope.key(), number);
            ensure(
                before < Some(number),
                format_args!("effects in order of their causes, after {before:?}"),
                label(&effect.envelope),
            )?;
        }
        Ok(())
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// What follows from an event: its id derives from the cause's.
    fn effect_of(&self, cause: &Envelope) -> Verdict<Append> {
        let effect = Envelope::builder(self.effects_topic.clone(), KIND)
            .key(cause.key())
            .id(cause.id().replacen(TOPIC, EFFECTS, 1))
            .causation(cause.id())
            .build()?;
        Ok(effect.into())
    }
}

async fn publish(
    engine: SharedEngine,
    shared: Arc<Shared>,
    publisher: usize,
    mut random: fastrand::Rng,
) -> Verdict {
    let Some((batches, done)) = shared.plans.get(publisher) else {
        return Ok(());
    };
    loop {
        let at = done.load(Ordering::Relaxed);
        let Some(batch) = batches.get(at) else {
            return Ok(());
        };
        let append = |batch: &[Envelope]| {
            let batch = batch.iter().cloned().map(Append::from).collect();
            engine.append(batch)
        };
        append(batch).await?;
        if random.u8(..100) < shared.habits.again
            && let Some(earlier) = random.choice(batches.get(..=at).unwrap_or_default())
        {
            let again = append(earlier).await?;
            ensure(
                again.iter().all(|appended| appended.is_duplicate),
                "a batch that was appended to be all duplicates",
                "new events",
            )?;
        }
        done.store(at + 1, Ordering::Relaxed);
        if random.u8(..4) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Redrives and discards dead letters, until the storm is over.
async fn operate(engine: SharedEngine, shared: Arc<Shared>, mut random: fastrand::Rng) -> Verdict {
    while !shared.is_over() {
        tokio::time::sleep(Duration::from_millis(3)).await;
        let dead = engine
            .dead_letters(Some(&shared.group), DeadLetterFilter::default())
            .await;
        let dead = match dead {
            Ok(dead) => dead,
            // No member has joined yet.
            Err(Error::Group(GroupError::Unknown { .. })) => continue,
            Err(error) => return Err(error.into()),
        };
        let Some(letter) = random.choice(&dead) else {
            continue;
        };
        let envelope = letter.envelope.as_ref();
        let envelope = envelope.map_err(|why| Error::Engine(EngineError::Corrupt(why.clone())))?;
        let name = label(envelope);
        let only = DeadLetterFilter {
            ids: vec![letter.event.id().to_owned()],
            ..DeadLetterFilter::default()
        };
        let count = if random.u8(..) < 200 {
            shared.ledger.redriven(&name);
            engine.redrive(&shared.group, only).await?
        } else {
            let names = [name.clone()];
            let stamp = shared.ledger.begin(&names);
            shared.ledger.discarded(&name, stamp);
            let count = engine.discard(&shared.group, only).await?;
            shared.ledger.end(stamp, &names, count == 1);
            count
        };
        equal(format_args!("dead letters with the id of {name}"), count, 1)?;
    }
    Ok(())
}

/// A member that dispatches as a service would: it commits while it waits for the next events, and
/// hands back what it got before it knew that its key is blocked.
struct Worker {
    shared: Arc<Shared>,
    random: fastrand::Rng,
    /// Generations of the failures of keys.
    blocked: HashMap<String, u64>,
}

/// A commit that is not made yet.
#[derive(Default)]
struct Plan {
    commit: Commit,
    settled: Vec<String>,
    failed: Vec<String>,
    keys: HashSet<String>,
}

enum End {
    Over,
    Replaced,
}

impl Worker {
    async fn work(mut self, engine: SharedEngine, subscription: Subscription) -> Verdict {
        loop {
            let me = self.shared.ledger.new_member();
            let member = engine.join(subscription.clone()).await?;
            let end = self.live(me, &*member).await;
            self.shared.ledger.release(me, None);
            self.blocked.clear();
            drop(member);
            if let End::Over = end? {
                return Ok(());
            }
        }
    }

    async fn live(&mut self, me: u64, member: &dyn Member) -> Verdict<End> {
        let mut plan = Plan::default();
        loop {
            // An engine that is never at a loss must not keep the others from running.
            tokio::task::yield_now().await;
            if self.shared.is_over() && plan.commit.is_empty() {
                member.leave().await?;
                return Ok(End::Over);
            }
            if self.happens(self.shared.habits.leave) {
                self.shared.ledger.release(me, None);
                member.leave().await?;
                return Ok(End::Replaced);
            }
            if self.happens(self.shared.habits.drop)
                && self.shared.deaths.fetch_sub(1, Ordering::Relaxed) > 0
            {
                self.perish(me, member, &plan).await;
                return Ok(End::Replaced);
            }
            let events_max = self.random.usize(1..30);
            let next = timeout(Duration::from_millis(20), member.next(events_max));
            let (taken, committed) = join(next, commit(&self.shared, me, member, &plan)).await;
            match committed {
                Ok(Some(Committed { generation, .. })) => {
                    let keys = plan.keys.drain();
                    self.blocked.extend(keys.map(|key| (key, generation)));
                }
                Ok(None) => {}
                Err(error) if is_fenced(&error) => return Ok(End::Replaced),
                Err(error) => return Err(error.into()),
            }
            plan = match taken {
                Ok(Ok(taken)) => self.decide(me, taken)?,
                Ok(Err(error)) if is_fenced(&error) => return Ok(End::Replaced),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => Plan::default(),
            };
        }
    }

    /// Dies, perhaps amid a commit.
    async fn perish(&mut self, me: u64, member: &dyn Member, plan: &Plan) {
        if self.random.bool() {
            let patience = Duration::from_micros(self.random.u64(..300));
            // Its outcome stays in doubt: the member is gone before it is known.
            let last = commit(&self.shared, me, member, plan);
            let _ = timeout(patience, last).await;
        }
        self.shared.ledger.release(me, None);
    }

    /// Handles what was taken.
    fn decide(&mut self, me: u64, taken: Vec<Delivery>) -> Verdict<Plan> {
        let mut plan = Plan::default();
        for delivery in taken {
            let key = delivery.envelope.key();
            let is_stale = self
                .blocked
                .get(key)
                .is_some_and(|generation| delivery.generation < *generation);
            let is_handed_back = is_stale || plan.keys.contains(key);
            self.shared.ledger.took(me, &delivery, is_handed_back);
            if is_handed_back {
                plan.commit.parked.push(delivery);
            } else if self.happens(self.shared.habits.dead) {
                plan.keys.insert(key.to_owned());
                plan.commit.dead.push(dying(&delivery, OnDead::Park));
            } else if self.happens(self.shared.habits.retry) {
                // Many are due at once: before what was taken behind them has come back.
                let wait = Duration::from_millis(self.random.u64(..40).saturating_sub(20));
                plan.keys.insert(key.to_owned());
                plan.failed.push(label(&delivery.envelope));
                let due = self.shared.clock.now().plus(wait);
                plan.commit.retries.push(retrying(&delivery, due));
            } else {
                plan.settled.push(label(&delivery.envelope));
                let effect = self.shared.effect_of(&delivery.envelope)?;
                plan.commit.effects.push(effect.into());
                plan.commit.settled.push(delivery.position);
            }
        }
        Ok(plan)
    }

    fn happens(&mut self, per_cent: u8) -> bool {
        self.random.u8(..100) < per_cent
    }
}

/// Commits the plan, if there is anything in it, and tells the ledger.
async fn commit(
    shared: &Shared,
    me: u64,
    member: &dyn Member,
    plan: &Plan,
) -> Result<Option<Committed>, Error> {
    if plan.commit.is_empty() {
        return Ok(None);
    }
    let ledger = &shared.ledger;
    let stamp = ledger.begin(&plan.settled);
    ledger.release(me, Some(&positions(&plan.commit)));
    let committed = member.commit(plan.commit.clone()).await;
    ledger.end(stamp, &plan.settled, committed.is_ok());
    if committed.is_ok() {
        plan.failed.iter().for_each(|name| ledger.failed(name));
    }
    committed.map(Some)
}

/// Every event that a commit lets go of.
fn positions(commit: &Commit) -> Vec<Position> {
    let settled = commit.settled.iter().copied();
    let retries = commit.retries.iter().map(|retry| retry.position);
    let parked = commit.parked.iter().map(|parked| parked.position);
    let dead = commit.dead.iter().map(|death| death.position);
    settled.chain(retries).chain(parked).chain(dead).collect()
}

//! One run of a plan: an engine, apps on it, and what happens to them.

use std::time::{Duration, Instant};

use ensue::engine::{DeadLetterFilter, EngineStatus, GroupStatus, SharedEngine, connect_with};
use ensue::error::{GroupError, OpenError};
use ensue::{
    App, Clock, Error, EventId, Outgoing, Publisher, Requester, Running, Timestamp, VirtualClock,
};
use tokio::task::JoinSet;

use super::event::{Filler, event};
use super::odd;
use super::oracle::Oracle;
use super::plan::{Order, Plan, Step};
use super::user;

/// Longer than anything takes, unoptimised and on a machine that is busy with other things; only what
/// has stopped waits so long.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long nothing may change before it counts as rest.
const STILL: Duration = Duration::from_millis(5);
/// How soon the status must be right, on any machine.
const SETTLED: Duration = Duration::from_secs(5);
/// How many timers may go off until everything has come to rest.
const WAKES_MAX: usize = 100_000;
/// What is due later than this is not waited for.
const FAR: Duration = Duration::from_secs(1_000 * 365 * 86_400);
/// How long a request waits for its reply.
const DEADLINE: Duration = Duration::from_secs(30);

/// Where a run keeps its log.
pub(super) enum Place {
    Directory,
    Server(String),
}

/// Plays a plan to its end. An error is a complaint.
pub(super) fn play(plan: &Plan, place: &Place) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let played = runtime.block_on(run(plan, place));
    // A handler that blocks may still do so.
    runtime.shutdown_timeout(Duration::from_secs(1));
    played
}

async fn run(plan: &Plan, place: &Place) -> Result<(), String> {
    odd::be_calm(false);
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut world = World::open(plan, place, directory.path()).await?;
    let mut oracle = Oracle::new(plan);
    for (index, step) in plan.steps.iter().enumerate() {
        world
            .step(step, &mut oracle)
            .await
            .map_err(|error| format!("step {index}, {step:?}: {error}"))?;
        world.check_alive().await?;
    }
    world.come_to_rest().await?;
    world.judge(&oracle).await?;
    odd::be_calm(true);
    world.redrive().await?;
    world.come_to_rest().await?;
    let calm = |complaint| format!("after all was calm and redriven: {complaint}");
    world.judge(&oracle).await.map_err(calm)?;
    oracle.judge_the_end(world.engine()?).await.map_err(calm)?;
    world.end_asks().await?;
    world.close().await
}

struct World<'a> {
    plan: &'a Plan,
    url: String,
    hands: Option<VirtualClock>,
    /// None only between two of them.
    engine: Option<SharedEngine>,
    apps: Vec<Running>,
    /// Those who wait for replies.
    asks: JoinSet<()>,
    published: Vec<Order>,
    /// Whether a group was deleted, which its members then join again.
    has_deleted: bool,
}

fn said(error: Error) -> String {
    error.to_string()
}

impl<'a> World<'a> {
    async fn open(
        plan: &'a Plan,
        place: &Place,
        directory: &std::path::Path,
    ) -> Result<Self, String> {
        let options = user::options(&plan.limits);
        let (url, hands) = match place {
            Place::Directory => {
                let path = directory.join("log");
                let url = format!("embedded:{}?durability=os&{options}", path.display());
                let start = Timestamp::from_micros(1_750_000_000_000_000);
                (url, Some(VirtualClock::new(start)))
            }
            Place::Server(url) => (format!("{url}&{options}"), None),
        };
        let mut world = Self {
            plan,
            url,
            hands,
            engine: None,
            apps: Vec::new(),
            asks: JoinSet::new(),
            published: Vec::new(),
            has_deleted: false,
        };
        world.reopen().await?;
        Ok(world)
    }

    async fn reopen(&mut self) -> Result<(), String> {
        self.engine = Some(connect(&self.url, self.hands.as_ref()).await?);
        for _ in 0..self.plan.apps {
            self.join().await?;
        }
        Ok(())
    }

    async fn join(&mut self) -> Result<(), String> {
        let app = user::app(App::new(self.engine()?.clone()), self.plan);
        self.apps.push(app.start().await.map_err(said)?);
        Ok(())
    }

    async fn step(&mut self, step: &Step, oracle: &mut Oracle<'_>) -> Result<(), String> {
        let filter = DeadLetterFilter::default();
        match step {
            Step::Publish(orders) => {
                self.publish(orders).await?;
                oracle.published(orders);
                self.published.extend(orders.iter().cloned());
            }
            Step::Again(count) => self.publish_again(*count).await?,
            Step::Ask(orders) => {
                self.ask(orders)?;
                oracle.published(orders);
            }
            Step::Advance(_) | Step::Shift(_) | Step::Set(_) => self.turn_hands(step),
            Step::Wait => tokio::time::sleep(Duration::from_millis(5)).await,
            Step::Redrive(group) => {
                self.unless_deleted(self.engine()?.redrive(group, filter).await)?;
            }
            Step::Discard(group) => {
                self.unless_deleted(self.engine()?.discard(group, filter).await)?;
                oracle.discarded(group);
            }
            Step::Reset(group, reset) => {
                self.unless_deleted(self.engine()?.reset(group, reset.clone()).await)?;
                oracle.reset(group);
            }
            Step::Delete(group) => {
                // Refused, unless it was reset and its members have not joined again yet.
                if self.engine()?.delete_group(group).await.is_ok() {
                    oracle.reset(group);
                    self.has_deleted = true;
                }
            }
            Step::Cancel(id) => self.cancel(*id).await?,
            Step::Join if self.apps.len() < self.plan.apps => self.join().await?,
            Step::Leave if self.apps.len() > 1 => self.leave().await?,
            Step::Join | Step::Leave => {}
            Step::Restart => {
                while !self.apps.is_empty() {
                    self.leave().await?;
                }
                self.engine()?.close().await.map_err(said)?;
                self.engine = None;
                self.reopen().await?;
            }
            Step::Crash => {
                self.crash().await?;
                oracle.crashed();
            }
        }
        Ok(())
    }

    async fn publish(&self, orders: &[Order]) -> Result<(), String> {
        let publisher = Publisher::new(self.engine()?.clone(), "/stops");
        let events = orders.iter().map(|order| Outgoing::raw(event(order)));
        publisher.publish_all(events).await.map_err(said)?;
        Ok(())
    }

    async fn publish_again(&self, count: usize) -> Result<(), String> {
        let publisher = Publisher::new(self.engine()?.clone(), "/stops");
        let first = self.published.len().saturating_sub(count);
        for order in self.published.iter().skip(first) {
            let again = publisher.publish(Outgoing::raw(event(order))).await;
            if !again.map_err(said)?.is_duplicate {
                return Err(format!("{:?} was appended twice", order.id()));
            }
        }
        Ok(())
    }

    /// Whatever becomes of the requests, their requesters are told in time.
    fn ask(&mut self, orders: &[Order]) -> Result<(), String> {
        let requester = Requester::new(self.engine()?.clone(), "/stops");
        for order in orders {
            let (requester, request) = (requester.clone(), Outgoing::raw(event(order)));
            self.asks.spawn(async move {
                // A reply, a refusal, or too late: all are answers.
                let _ = requester.request::<Filler>(request, DEADLINE).await;
            });
        }
        Ok(())
    }

    fn turn_hands(&self, step: &Step) {
        let Some(hands) = &self.hands else {
            return;
        };
        match step {
            Step::Advance(by) => hands.advance(*by),
            Step::Shift(seconds) => {
                let now = hands.now().as_micros();
                let to = now.saturating_add(seconds.saturating_mul(1_000_000));
                hands.set(Timestamp::from_micros(to));
            }
            Step::Set(to) => hands.set(*to),
            _ => {}
        }
    }

    async fn cancel(&self, id: u8) -> Result<(), String> {
        let of = |group: &super::plan::Group| {
            EventId::new(format!("/services/{}", group.name), format!("id-{id}"))
        };
        let names = self.plan.groups.iter().map(of).collect();
        self.engine()?.cancel(names).await.map_err(said)?;
        Ok(())
    }

    /// What an operator wants of a group: one that was deleted may not be there yet again.
    fn unless_deleted<T>(&self, done: Result<T, Error>) -> Result<(), String> {
        match done {
            Err(Error::Group(GroupError::Unknown { .. })) if self.has_deleted => Ok(()),
            done => done.map(|_| ()).map_err(said),
        }
    }

    async fn leave(&mut self) -> Result<(), String> {
        match self.apps.pop() {
            Some(app) => app.stop().await.map_err(said),
            None => Ok(()),
        }
    }

    async fn crash(&mut self) -> Result<(), String> {
        self.engine()?.abandon();
        self.asks.shutdown().await;
        self.apps.clear();
        // The lock of its directory goes with the last who holds it.
        drop(self.engine.take());
        self.reopen().await
    }

    fn engine(&self) -> Result<&SharedEngine, String> {
        self.engine
            .as_ref()
            .ok_or_else(|| "no engine is open".to_owned())
    }

    /// Whether no app has ended: nothing in a plan is a reason to.
    async fn check_alive(&mut self) -> Result<(), String> {
        for app in &mut self.apps {
            tokio::select! {
                biased;
                error = app.failed() => return Err(format!("the app ended: {error}")),
                () = std::future::ready(()) => {}
            }
        }
        Ok(())
    }

    async fn redrive(&self) -> Result<(), String> {
        for group in &self.plan.groups {
            let filter = DeadLetterFilter::default();
            self.unless_deleted(self.engine()?.redrive(&group.name, filter).await)?;
        }
        Ok(())
    }

    /// Lets time pass until nothing more happens.
    async fn come_to_rest(&mut self) -> Result<(), String> {
        let mut wakes = 0;
        let mut last = (String::new(), Instant::now());
        loop {
            self.check_alive().await?;
            let status = self.engine()?.status().await.map_err(said)?;
            if let Some(trouble) = &status.trouble {
                return Err(format!("the engine is in trouble: {trouble}"));
            }
            let seen = format!("{:?} {} {:?}", status.groups, status.scheduled, status.end);
            if seen != last.0 {
                last = (seen, Instant::now());
            }
            let is_idle = status.groups.iter().all(GroupStatus::is_idle);
            let is_still = last.1.elapsed() > SETTLED / 10;
            if status.scheduled == 0 && is_idle {
                return self.stay_at_rest().await;
            }
            if status.scheduled == 0 && is_still && status.groups.iter().all(is_stopped) {
                return Ok(());
            }
            let has_stopped = last.1.elapsed() > PATIENCE || wakes > WAKES_MAX;
            if has_stopped {
                let now = self.engine()?.clock().now();
                return Err(stuck(&status, now, wakes));
            }
            if last.1.elapsed() > STILL {
                if status.groups.iter().all(is_stopped) {
                    self.cancel_what_is_far().await?;
                }
                wakes += usize::from(self.hands.is_some());
                self.wake(&status);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Nothing moves by itself that was said to be idle.
    async fn stay_at_rest(&self) -> Result<(), String> {
        tokio::time::sleep(STILL).await;
        let status = self.engine()?.status().await.map_err(said)?;
        match status.groups.iter().find(|group| !group.is_idle()) {
            None => Ok(()),
            Some(group) => Err(format!(
                "the status said too early that it is idle: {group:?}"
            )),
        }
    }

    /// Moves the clock to what is due next. While nothing is in flight, no sleeping handler matters.
    fn wake(&self, status: &EngineStatus) {
        let Some(hands) = &self.hands else {
            return;
        };
        let now = hands.now();
        let sleeps = status.groups.iter().any(|group| group.in_flight > 0);
        let sleeper = hands.next_wake().filter(|_| sleeps);
        let due = status.groups.iter().filter_map(|group| group.next_due);
        let due = due.chain(status.next_due).chain(sleeper);
        let due = due.filter(|due| *due > now && due.since(now) < FAR).min();
        match due {
            Some(due) => hands.advance_to(due),
            // Behind a key that is stopped something may be overdue for ever, and hide what comes later.
            None => hands.advance(if status.groups.iter().any(|it| it.trouble.is_some()) {
                Duration::from_secs(3_600)
            } else {
                Duration::from_secs(1)
            }),
        }
    }

    /// What is scheduled for the end of time.
    async fn cancel_what_is_far(&self) -> Result<(), String> {
        let engine = self.engine()?;
        let now = engine.clock().now();
        let scheduled = engine.scheduled(usize::MAX).await.map_err(said)?;
        let far = scheduled.into_iter().filter(|it| it.at.since(now) >= FAR);
        let far: Vec<EventId> = far.map(|it| it.name).collect();
        if !far.is_empty() {
            engine.cancel(far).await.map_err(said)?;
        }
        Ok(())
    }

    /// What is read and put aside just now is in no count of the status for a moment.
    async fn judge(&self, oracle: &Oracle<'_>) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            match oracle.judge(self.engine()?).await {
                Err(_) if begun.elapsed() < SETTLED => tokio::time::sleep(STILL).await,
                judged => return judged,
            }
        }
    }

    /// Waits for those who wait for replies: by now they have one, or it is too late.
    async fn end_asks(&mut self) -> Result<(), String> {
        if let Some(hands) = &self.hands {
            hands.advance(DEADLINE * 2);
        }
        let ended = async { while self.asks.join_next().await.is_some() {} };
        let ended = tokio::time::timeout(DEADLINE + PATIENCE, ended).await;
        ended.map_err(|_| format!("{} requesters wait beyond their deadline", self.asks.len()))
    }

    async fn close(mut self) -> Result<(), String> {
        let begun = Instant::now();
        while !self.apps.is_empty() {
            self.leave().await?;
        }
        if begun.elapsed() > PATIENCE / 4 {
            return Err(format!("stopping an idle app took {:?}", begun.elapsed()));
        }
        self.engine()?.close().await.map_err(said)
    }
}

/// Whether a group has nothing left to do, or only what waits behind keys that are stopped, which
/// the status says.
fn is_stopped(group: &GroupStatus) -> bool {
    let is_told = group.trouble.is_some() && group.lag == 0 && group.in_flight == 0;
    group.is_idle() || is_told
}

fn stuck(status: &EngineStatus, now: Timestamp, wakes: usize) -> String {
    let mut text = format!(
        "nothing moves any more at {} after {wakes} wakes, and this is not done; {} scheduled, next {:?}",
        now.as_micros(),
        status.scheduled,
        status.next_due
    );
    for group in &status.groups {
        text.push_str(&format!(
            "\n  {}: position {}, lag {}, in flight {}, retrying {} (next {:?}), parked {}, dead {}, \
             paused {:?}, refused {:?}, trouble {:?}",
            group.name,
            group.position,
            group.lag,
            group.in_flight,
            group.retrying,
            group.next_due,
            group.parked,
            group.dead,
            group.paused,
            group.refused,
            group.trouble,
        ));
    }
    text
}

/// Opens the engine; one that was abandoned a moment ago may still hold its lock.
async fn connect(url: &str, hands: Option<&VirtualClock>) -> Result<SharedEngine, String> {
    let begun = Instant::now();
    loop {
        let clock = hands.cloned().map_or_else(Clock::system, Clock::from);
        match connect_with(url, clock).await {
            Ok(engine) => return Ok(engine),
            Err(Error::Open(OpenError::Locked { .. })) if begun.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err(error) => return Err(format!("cannot open `{url}`: {error}")),
        }
    }
}

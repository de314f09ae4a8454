//! Dispatch: position → handler → commit. The only committer.
//!
//! One dispatch runs per service. Its coordinator takes events from the engine and hands them to
//! workers by key; a worker runs one event of a key at a time and collects what became of them; the
//! coordinator commits what the workers collected while they go on.
//!
//! ```text
//!            ┌──────────── coordinator ────────────┐
//! engine ──next──> deliveries ──by key──> workers ──outcomes──> one commit at a time ──> engine
//!            └───────── at most in_flight_max unsettled ──────────┘
//! ```
//!
//! Invariants:
//! - a worker owns its keys: two events of one key are never in two places;
//! - whatever was taken is in exactly one of: a worker, the next commit, the commit under way;
//! - the next commit forms while the last one becomes durable: there is no timer.

mod attempt;
mod overlay;
mod routes;
mod worker;

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, OptionFuture};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::overlay::{CellVersion, Overlay};
pub(crate) use self::routes::Routes;
use self::worker::{Outcomes, ToWorker, Worker};
use crate::engine::{Commit, Committed, Delivery, Member, SharedEngine, Start, Subscription};
use crate::error::{Error, Result};
use crate::event::Envelope;
use crate::metrics::GroupCounters;
use crate::middleware::Middleware;

/// The most events that are taken from the engine in one go: enough to amortise a wake-up, few
/// enough to share a backlog between members.
const TAKE_EVENTS_MAX: usize = 1_024;
/// A commit takes no further outcomes beyond so many effects.
const COMMIT_EFFECTS_MAX: usize = 8_192;
/// A commit takes no further outcomes beyond so many appended bytes.
const COMMIT_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How long to wait before something is asked of the engine again that it refused.
const REFUSED_WAIT_MIN: Duration = Duration::from_millis(50);
/// The longest of these waits.
const REFUSED_WAIT_MAX: Duration = Duration::from_secs(5);

/// One service and everything that its events need on their way.
pub(crate) struct Dispatch {
    pub(crate) group: Arc<str>,
    pub(crate) engine: SharedEngine,
    pub(crate) routes: Routes,
    pub(crate) layers: Arc<[Arc<dyn Middleware>]>,
    pub(crate) counters: Arc<GroupCounters>,
    pub(crate) start: Start,
    pub(crate) workers: usize,
    pub(crate) in_flight_max: usize,
    pub(crate) concurrency: usize,
    pub(crate) seed: u64,
}

/// What a dispatch is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Run,
    /// Take nothing more; finish and commit what was taken.
    Drain,
    /// Let go of everything now.
    Halt,
}

impl Dispatch {
    /// Runs until it is ordered to stop, joining again whenever its member was replaced.
    pub(crate) async fn run(
        self,
        member: Box<dyn Member>,
        mut order: watch::Receiver<Order>,
    ) -> Result<()> {
        let this = Arc::new(self);
        let mut member = Some(member);
        loop {
            let joined = match member.take() {
                Some(member) => member,
                None => match this.rejoin(&mut order).await? {
                    Some(member) => member,
                    None => return Ok(()),
                },
            };
            let ended = Session::new(&this, joined.as_ref()).run(&mut order).await;
            match ended {
                Err(Error::Fenced { group }) => {
                    tracing::info!(group, "replaced or reset: joining again");
                    GroupCounters::add(&this.counters.rejoined, 1);
                }
                Err(error) => return Err(error),
                Ok(()) => return joined.leave().await,
            }
        }
    }

    /// Joins the group.
    pub(crate) async fn join(&self) -> Result<Box<dyn Member>> {
        self.engine
            .join(Subscription {
                group: self.group.to_string(),
                topics: self.routes.topics(),
                types: self.routes.types(),
                start: self.start,
                in_flight_max: self.in_flight_max,
            })
            .await
    }

    async fn rejoin(&self, order: &mut watch::Receiver<Order>) -> Result<Option<Box<dyn Member>>> {
        let mut refused = Refused::default();
        loop {
            if *order.borrow_and_update() != Order::Run {
                return Ok(None);
            }
            match self.join().await {
                Ok(member) => return Ok(Some(member)),
                Err(error) => refused.wait(error, "join", self).await?,
            }
        }
    }
}

/// Waits between attempts at something that the engine refused, and gives up on what is final.
#[derive(Default)]
struct Refused(u32);

impl Refused {
    async fn wait(&mut self, error: Error, what: &str, dispatch: &Dispatch) -> Result<()> {
        match error {
            Error::Closed | Error::Stopped(_) | Error::Corrupt(_) | Error::Fenced { .. } => {
                Err(error)
            }
            passing => {
                let wait = REFUSED_WAIT_MIN.saturating_mul(1 << self.0.min(16));
                let wait = wait.min(REFUSED_WAIT_MAX);
                self.0 += 1;
                tracing::warn!(group = %dispatch.group, error = %passing, ?wait, "cannot {what}, trying again");
                dispatch.engine.clock().sleep(wait).await;
                Ok(())
            }
        }
    }
}

/// What was given to the engine in one commit, and what to do when it is durable.
struct Settling {
    events: usize,
    blocked: Vec<(usize, Envelope)>,
    cells: Vec<CellVersion>,
}

/// One membership: from joining to leaving or being replaced.
struct Session<'a> {
    dispatch: &'a Arc<Dispatch>,
    member: &'a dyn Member,
    overlay: Arc<Overlay>,
    hasher: foldhash::fast::RandomState,
    workers: Vec<mpsc::UnboundedSender<ToWorker>>,
    outcomes: mpsc::UnboundedReceiver<Outcomes>,
    /// Ends the workers with the session, whatever they are doing.
    _tasks: JoinSet<()>,
    /// Events that were taken and whose commit is not durable.
    in_flight: usize,
    collected: Outcomes,
}

impl<'a> Session<'a> {
    fn new(dispatch: &'a Arc<Dispatch>, member: &'a dyn Member) -> Self {
        let overlay = Arc::new(Overlay::default());
        // Both kinds of channel hold at most `in_flight_max` events between them, because no more
        // are taken: a bound of their own could only deadlock.
        let (collect, outcomes) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let workers = (0..dispatch.workers.max(1))
            .map(|index| {
                let (send, inbox) = mpsc::unbounded_channel();
                let worker = Worker::new(index, dispatch.clone(), overlay.clone(), collect.clone());
                tasks.spawn(worker.run(inbox));
                send
            })
            .collect();
        Self {
            dispatch,
            member,
            overlay,
            hasher: foldhash::fast::RandomState::default(),
            workers,
            outcomes,
            _tasks: tasks,
            in_flight: 0,
            collected: Outcomes::default(),
        }
    }

    async fn run(mut self, order: &mut watch::Receiver<Order>) -> Result<()> {
        let member = self.member;
        let dispatch = self.dispatch;
        let mut taking: Option<BoxFuture<'a, Result<Vec<Delivery>>>> = None;
        let mut committing: Option<BoxFuture<'a, Result<(Committed, Settling)>>> = None;
        loop {
            let now = *order.borrow_and_update();
            let is_drained = self.in_flight == 0 && committing.is_none();
            if now == Order::Halt || (now == Order::Drain && is_drained) {
                return Ok(());
            }
            if now == Order::Drain {
                // Cancel-safe: what it would have returned stays with the engine.
                taking = None;
            } else if taking.is_none() && self.in_flight < dispatch.in_flight_max {
                let room = dispatch.in_flight_max - self.in_flight;
                taking = Some(take(dispatch, member, room.min(TAKE_EVENTS_MAX)));
            }
            if committing.is_none() && !self.collected.is_empty() {
                committing = Some(self.commit());
            }
            tokio::select! {
                biased;
                outcomes = self.outcomes.recv(), if self.collected.has_room() => {
                    if let Some(outcomes) = outcomes {
                        self.collected.merge(outcomes);
                        self.collect_more();
                    }
                }
                committed = OptionFuture::from(committing.as_mut()), if committing.is_some() => {
                    committing = None;
                    if let Some(committed) = committed {
                        let (committed, settling) = committed?;
                        self.applied(committed, settling);
                    }
                }
                taken = OptionFuture::from(taking.as_mut()), if taking.is_some() => {
                    taking = None;
                    if let Some(taken) = taken {
                        self.distribute(taken?);
                    }
                }
                changed = order.changed() => {
                    if changed.is_err() {
                        // Whoever gave orders is gone, and with it the app.
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Takes what other workers have finished too, as far as one commit may hold it.
    fn collect_more(&mut self) {
        while self.collected.has_room() {
            match self.outcomes.try_recv() {
                Ok(outcomes) => self.collected.merge(outcomes),
                Err(_) => return,
            }
        }
    }

    fn distribute(&mut self, deliveries: Vec<Delivery>) {
        self.in_flight += deliveries.len();
        GroupCounters::add(&self.dispatch.counters.delivered, deliveries.len());
        if let [only] = self.workers.as_slice() {
            // A worker ends only with the session.
            let _ = only.send(ToWorker::Deliveries(deliveries));
            return;
        }
        let workers = self.workers.len();
        let mut shares: Vec<Vec<Delivery>> = (0..workers)
            .map(|_| Vec::with_capacity(deliveries.len().div_ceil(workers) + 16))
            .collect();
        for delivery in deliveries {
            let owner = self.hasher.hash_one(delivery.envelope.stream()) as usize % workers;
            if let Some(share) = shares.get_mut(owner) {
                share.push(delivery);
            }
        }
        for (worker, share) in self.workers.iter().zip(shares) {
            if !share.is_empty() {
                let _ = worker.send(ToWorker::Deliveries(share));
            }
        }
    }

    fn commit(&mut self) -> BoxFuture<'a, Result<(Committed, Settling)>> {
        let outcomes = std::mem::take(&mut self.collected);
        let settling = Settling {
            events: outcomes.events,
            blocked: outcomes.blocked,
            cells: outcomes.cells,
        };
        let commit = outcomes.commit;
        let (dispatch, member) = (self.dispatch, self.member);
        async move {
            let mut refused = Refused::default();
            loop {
                // The copy is one of pointers and numbers, and pays for a refused commit: a full
                // disk must not cost the outcomes.
                match member.commit(commit.clone()).await {
                    Ok(committed) => {
                        GroupCounters::add(&dispatch.counters.commits, 1);
                        return Ok((committed, settling));
                    }
                    Err(error) => refused.wait(error, "commit", dispatch).await?,
                }
            }
        }
        .boxed()
    }

    fn applied(&mut self, committed: Committed, settling: Settling) {
        self.in_flight -= settling.events;
        self.overlay.forget(settling.cells);
        for (worker, envelope) in settling.blocked {
            if let Some(worker) = self.workers.get(worker) {
                let generation = committed.generation;
                let _ = worker.send(ToWorker::Blocked {
                    envelope,
                    generation,
                });
            }
        }
    }
}

fn take<'a>(
    dispatch: &'a Arc<Dispatch>,
    member: &'a dyn Member,
    events_max: usize,
) -> BoxFuture<'a, Result<Vec<Delivery>>> {
    async move {
        let mut refused = Refused::default();
        loop {
            match member.next(events_max).await {
                Ok(deliveries) => return Ok(deliveries),
                Err(error) => refused.wait(error, "take events", dispatch).await?,
            }
        }
    }
    .boxed()
}

impl Outcomes {
    /// Whether one commit may hold more than this.
    fn has_room(&self) -> bool {
        self.commit.effects.len() < COMMIT_EFFECTS_MAX && self.bytes < COMMIT_BYTES_MAX
    }

    fn is_empty(&self) -> bool {
        self.events == 0
    }

    fn merge(&mut self, mut more: Self) {
        if self.is_empty() {
            *self = more;
            return;
        }
        let Commit {
            settled,
            retries,
            parked,
            dead,
            effects,
            state,
        } = &mut more.commit;
        self.commit.settled.append(settled);
        self.commit.retries.append(retries);
        self.commit.parked.append(parked);
        self.commit.dead.append(dead);
        self.commit.effects.append(effects);
        self.commit.state.append(state);
        self.blocked.append(&mut more.blocked);
        self.cells.append(&mut more.cells);
        self.events += more.events;
        self.bytes += more.bytes;
    }
}

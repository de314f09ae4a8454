//! One membership of a group: takes events, hands them to workers, commits what became of them.

use std::hash::BuildHasher;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt, OptionFuture};
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};

use super::outcome::{Culprit, Lane, Outcomes, Subject};
use super::overlay::Overlay;
use super::queue::Queue;
use super::refused::Refused;
use super::uncommitted::Uncommitted;
use super::worker::{ToWorker, Worker};
use super::{Dispatch, Order};
use crate::contained::message_of;
use crate::engine::{Committed, Delivery, Member, Position, Query, Run};
use crate::error::{AppError, Error, Outlook, Result};
use crate::metrics::GroupCounters;
use crate::time::{Rest, WaitsFor};

/// The most events that are taken from the engine in one go: enough to amortise a wake-up, few
/// enough to share a backlog between members.
const TAKE_EVENTS_MAX: usize = 1_024;

/// One membership: from joining to leaving or being replaced.
pub(super) struct Session<'a> {
    dispatch: &'a Arc<Dispatch>,
    member: &'a dyn Member,
    overlay: Arc<Overlay>,
    uncommitted: Arc<Uncommitted>,
    hasher: foldhash::fast::RandomState,
    workers: Vec<mpsc::UnboundedSender<ToWorker>>,
    outcomes: mpsc::UnboundedReceiver<Outcomes>,
    /// Ends the workers with the session, whatever they are doing.
    tasks: JoinSet<()>,
    /// Events that were taken, whose commit is not durable and that were not handed back.
    in_flight: usize,
    queue: Queue,
    /// What is looked up of refused outcomes and of what came after them.
    errands: FuturesUnordered<BoxFuture<'a, Result<Errand>>>,
}

/// How a commit ended.
enum Ended {
    Committed(Outcomes, Committed),
    /// The engine will not take it as it is, however long one waits.
    Refused(Outcomes, Error),
}

/// What was looked up.
enum Errand {
    /// The event whose outcome no commit can hold, and why.
    Culprit(Subject, Delivery, Error),
    /// A dead letter of that, with the later events of its key that are handed back.
    Condemned(Outcomes),
}

impl<'a> Session<'a> {
    #[expect(
        clippy::disallowed_methods,
        reason = "both kinds of channel hold at most `in_flight_max` events between them, because no \
                  more are taken: a bound of their own could only deadlock"
    )]
    pub(super) fn new(dispatch: &'a Arc<Dispatch>, member: &'a dyn Member) -> Self {
        let overlay = Arc::new(Overlay::default());
        let uncommitted = Arc::new(Uncommitted::default());
        let hasher = foldhash::fast::RandomState::default();
        let (collect, outcomes) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let start = |index| {
            let (send, inbox) = mpsc::unbounded_channel();
            let worker = Worker::new(
                index,
                dispatch.clone(),
                (overlay.clone(), uncommitted.clone()),
                hasher.clone(),
                collect.clone(),
            );
            tasks.spawn(worker.run(inbox));
            send
        };
        // At most 64: see `App::workers`.
        let workers = (0..=u8::MAX)
            .take(dispatch.workers.max(1))
            .map(start)
            .collect();
        Self {
            dispatch,
            member,
            overlay,
            uncommitted,
            hasher,
            workers,
            outcomes,
            tasks,
            in_flight: 0,
            queue: Queue::default(),
            errands: FuturesUnordered::new(),
        }
    }

    pub(super) async fn run(mut self, order: &mut watch::Receiver<Order>) -> Result<()> {
        let dispatch = self.dispatch;
        let mut taking: Option<BoxFuture<'a, Result<Vec<Delivery>>>> = None;
        // On a clock that a test moves, a commit counts as under way until what it changes is
        // changed.
        let mut committing: Option<(BoxFuture<'a, Result<Ended>>, Option<Rest>)> = None;
        loop {
            let now = *order.borrow_and_update();
            let is_drained = self.in_flight == 0 && committing.is_none();
            if now == Order::Halt || (now == Order::Drain && is_drained) {
                return Ok(());
            }
            if now == Order::Drain {
                // Cancel-safe: what it would have returned stays with the engine.
                taking = None;
                dispatch.routes.close();
            } else if taking.is_none() && self.in_flight < dispatch.in_flight_max {
                let room = dispatch.in_flight_max - self.in_flight;
                taking = Some(take(dispatch, self.member, room.min(TAKE_EVENTS_MAX)));
            }
            if committing.is_none() && !self.queue.is_empty() {
                let outcomes = self.queue.pop();
                let resting = dispatch.engine.clock().resting();
                let rest = resting.map(|resting| resting.rest(WaitsFor::Commit, 1));
                committing = Some((commit(dispatch, self.member, outcomes).boxed(), rest));
            }
            tokio::select! {
                biased;
                outcomes = self.outcomes.recv() => {
                    if let Some(outcomes) = outcomes {
                        self.collect(outcomes);
                    }
                }
                ended = OptionFuture::from(committing.as_mut().map(|it| &mut it.0)),
                    if committing.is_some() =>
                {
                    let _rest = committing.take();
                    if let Some(ended) = ended {
                        self.ended(ended?);
                    }
                }
                Some(done) = self.errands.next() => self.looked_up(done?),
                taken = OptionFuture::from(taking.as_mut()), if taking.is_some() => {
                    taking = None;
                    if let Some(taken) = taken {
                        self.distribute(taken?);
                    }
                }
                Some(ended) = self.tasks.join_next() => return Err(self.lost(ended)),
                changed = order.changed() => {
                    if changed.is_err() {
                        // The one who gave orders is gone, and with it the app.
                        return Ok(());
                    }
                }
            }
        }
    }

    /// A worker ended, which none does before its session.
    fn lost(&self, ended: Result<(), JoinError>) -> Error {
        let reason = match ended.map_err(JoinError::try_into_panic) {
            Ok(()) => "it returned".to_owned(),
            Err(Ok(panic)) => format!("it panicked: {}", message_of(panic)),
            Err(Err(ended)) => ended.to_string(),
        };
        Error::App(AppError::ServiceStopped {
            group: self.dispatch.group.to_string(),
            reason: format!("a worker ended ({reason})"),
        })
    }

    /// Takes what a worker has finished, and what others have meanwhile.
    fn collect(&mut self, outcomes: Outcomes) {
        self.finished(outcomes);
        while let Ok(more) = self.outcomes.try_recv() {
            self.finished(more);
        }
    }

    fn finished(&mut self, mut outcomes: Outcomes) {
        self.in_flight -= outcomes.take_returned();
        match outcomes.condemned() {
            None => self.queue.push(outcomes),
            Some(lane) => self.condemned(lane, outcomes),
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

    fn ended(&mut self, ended: Ended) {
        match ended {
            Ended::Committed(outcomes, committed) => self.applied(outcomes, committed),
            Ended::Refused(outcomes, error) => self.refused(outcomes, error),
        }
    }

    fn applied(&mut self, mut outcomes: Outcomes, committed: Committed) {
        self.in_flight -= outcomes.len();
        self.uncount(outcomes.bytes());
        self.overlay.forget(outcomes.take_cells());
        self.tell_dropped(committed.dropped);
        let generation = committed.generation;
        for (worker, envelope) in outcomes.take_blocked() {
            self.tell(
                worker,
                ToWorker::Blocked {
                    envelope,
                    generation,
                },
            );
        }
    }

    /// Counts effects that were dropped, and says so the first time.
    fn tell_dropped(&self, dropped: usize) {
        let Dispatch {
            counters, group, ..
        } = &**self.dispatch;
        if dropped > 0 && GroupCounters::add(&counters.dropped, dropped) == 0 {
            tracing::warn!(
                %group,
                dropped,
                "effects were dropped: the ids that the handlers gave them name other events; let \
                 Ensue make the ids, and give what is to be moved or cancelled a timer"
            );
        }
    }

    /// So much is no longer on its way into a commit.
    fn uncount(&self, bytes: usize) {
        if self.uncommitted.remove(bytes) {
            for worker in &self.workers {
                // A worker ends only with the session.
                let _ = worker.send(ToWorker::Room);
            }
        }
    }

    fn tell(&self, worker: u8, message: ToWorker) {
        if let Some(worker) = self.workers.get(usize::from(worker)) {
            // A worker ends only with the session.
            let _ = worker.send(message);
        }
    }

    /// The engine will not take these outcomes together. What is refused on its own is found by
    /// halving: that alone becomes a dead letter.
    fn refused(&mut self, mut outcomes: Outcomes, error: Error) {
        GroupCounters::add(&self.dispatch.counters.refused, 1);
        if let Some(second) = outcomes.halve() {
            tracing::debug!(group = %self.dispatch.group, %error, "a commit is taken apart");
            self.queue.push_apart(outcomes, second);
            return;
        }
        match outcomes.culprit() {
            Some(Culprit::Settled(subject, position)) => {
                // What came after it of its key may have seen what it wrote.
                self.queue.hold(subject.lane);
                self.uncount(outcomes.bytes());
                self.overlay.forget(outcomes.take_cells());
                let dispatch = self.dispatch;
                let found = async move {
                    let delivery = read(dispatch, position, subject.attempt).await?;
                    Ok(Errand::Culprit(subject, delivery, error))
                };
                self.errands.push(found.boxed());
            }
            // What goes with a dead letter is the reply that says so to a requester.
            Some(Culprit::Other(_)) if outcomes.strip() => {
                tracing::warn!(group = %self.dispatch.group, %error, "cannot tell the requester");
                self.queue.push_apart(outcomes, Outcomes::default());
            }
            Some(Culprit::Other(subject)) => {
                // Nothing that could be said instead is left: the key stops, in this process.
                tracing::error!(
                    group = %self.dispatch.group, %error,
                    "a failure cannot be committed: its key stops until the process is restarted"
                );
                GroupCounters::add(&self.dispatch.counters.stuck, 1);
                self.queue.hold(subject.lane);
            }
            None => {}
        }
    }

    fn looked_up(&mut self, errand: Errand) {
        match errand {
            Errand::Culprit(subject, delivery, error) => {
                let reason = format!("what its handler returned cannot be committed: {error}");
                let message = ToWorker::Refused { delivery, reason };
                self.tell(subject.worker, message);
            }
            Errand::Condemned(outcomes) => {
                self.uncommitted.add(outcomes.bytes());
                self.queue.push(outcomes);
            }
        }
    }

    /// A worker made a dead letter of an event whose outcome was refused: from here on it says
    /// nothing more of the key. What it said before is handed back.
    fn condemned(&mut self, lane: Lane, mut dead: Outcomes) {
        let held = self.queue.release(lane);
        self.uncount(held.bytes() + dead.bytes());
        let (settled, back, cells) = held.retract();
        self.overlay.forget(cells);
        let dispatch = self.dispatch;
        let found = async move {
            let Some(Culprit::Other(subject)) = dead.culprit() else {
                return Ok(Errand::Condemned(dead)); // Not reached: it is a dead letter.
            };
            for delivery in back {
                dead.park(subject, delivery);
            }
            for position in settled {
                let delivery = read(dispatch, position, 1).await?;
                dead.park(subject, delivery);
            }
            Ok(Errand::Condemned(dead))
        };
        self.errands.push(found.boxed());
    }
}

async fn commit(
    dispatch: &Arc<Dispatch>,
    member: &dyn Member,
    outcomes: Outcomes,
) -> Result<Ended> {
    let mut refused = Refused::default();
    loop {
        // The copy is one of pointers and numbers, and pays for a refused commit: a full disk must
        // not cost the outcomes.
        match member.commit(outcomes.commit().clone()).await {
            Ok(committed) => {
                GroupCounters::add(&dispatch.counters.commits, 1);
                dispatch.counters.goes_on("commit");
                return Ok(Ended::Committed(outcomes, committed));
            }
            Err(error) if error.outlook() == Outlook::Content => {
                return Ok(Ended::Refused(outcomes, error));
            }
            Err(error) => refused.wait(error, "commit", dispatch).await?,
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
                Ok(deliveries) => {
                    dispatch.counters.goes_on("take events");
                    return Ok(deliveries);
                }
                Err(error) => refused.wait(error, "take events", dispatch).await?,
            }
        }
    }
    .boxed()
}

/// Reads an event again whose outcome says only where it is.
async fn read(dispatch: &Dispatch, position: Position, attempt: u32) -> Result<Delivery> {
    let mut refused = Refused::default();
    loop {
        let query = Query {
            from: position.into(),
            until: Some(position.next().into()),
            ..Query::default()
        };
        let error = match dispatch.engine.read(query).await {
            Ok(page) => match page.events.into_iter().next() {
                Some(recorded) => {
                    return Ok(Delivery {
                        envelope: recorded.envelope,
                        position,
                        attempt,
                        generation: 0,
                        // Nothing follows from it any more but its dead letter.
                        run: Run::default(),
                    });
                }
                None => Error::App(AppError::ServiceStopped {
                    group: dispatch.group.to_string(),
                    reason: format!("the event at position {position} cannot be read again"),
                }),
            },
            Err(error) => error,
        };
        refused.wait(error, "read an event again", dispatch).await?;
    }
}

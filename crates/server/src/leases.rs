//! Members of groups that clients are: each is kept for as long as its client says something.
//!
//! The table knows nothing of HTTP. A lease runs by the engine's clock, from the end of the last
//! call: while one is under way, it stands still. A client that says nothing for so long is gone. Its
//! member leaves, and what that held goes to others.
//!
//! Members live as long as the server: one that starts knows none, and clients join again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use ensue::consumer::Consumer;
use ensue::{Clock, Engine};
use futures_util::future::join_all;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::config::Limits;
use crate::group_subscriptions::Subscribed;
use crate::phase::{Phase, Phases};
use crate::problem::{Code, Problem};

/// The table. Cloning gives the same.
#[derive(Clone, Debug)]
pub(crate) struct Leases(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    members_max: usize,
    group_members_max: usize,
    phases: Phases,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    members: HashMap<String, Arc<Leased>>,
    /// How many places are taken, of each group: those of members that are joining included.
    places: HashMap<String, usize>,
    taken: usize,
    /// How many members are carried by streams, and not in the table; how many events, and how many bytes of
    /// them, these hold.
    streams: usize,
    streamed: (usize, usize),
    has_ended: bool,
}

/// Why a client cannot become a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// The server has as many as it may have.
    Server,
    /// The group has.
    Group,
    /// The server stops.
    Ended,
}

/// A place among the members of a group, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    inner: Weak<Inner>,
    group: String,
    /// Who has it: a member is its own caller's.
    owner: String,
    /// What it asks for.
    subscribed: Option<Subscribed>,
    /// What its member holds, if that is carried by a stream: events and bytes.
    streamed: Option<(usize, usize)>,
}

impl Place {
    /// The place of a member that asks for this.
    pub(crate) fn with(mut self, subscribed: Subscribed) -> Self {
        self.subscribed = Some(subscribed);
        self
    }

    /// Its member has left and asks for nothing: others may ask for less.
    pub(crate) fn unsubscribe(&mut self) {
        self.subscribed = None;
    }

    /// The place of a member that a stream carries: it is not in the table.
    pub(crate) fn of_stream(mut self) -> Self {
        if let Some(inner) = self.inner.upgrade() {
            inner.table().streams += 1;
            self.streamed = Some((0, 0));
        }
        self
    }

    /// What such a member holds now.
    pub(crate) fn holds(&mut self, events: usize, bytes: usize) {
        if let (Some(inner), Some(before)) = (self.inner.upgrade(), self.streamed) {
            let mut table = inner.table();
            let all = table.streamed;
            table.streamed = (all.0 + events - before.0, all.1 + bytes - before.1);
            self.streamed = Some((events, bytes));
        }
    }
}

impl NoPlace {
    /// What a client is told that wanted to join this group.
    pub(crate) fn problem(self, limits: &Limits, group: &str) -> Problem {
        let detail = match self {
            Self::Server => format!(
                "clients are {} members of groups, the limit `members_max`; leave groups that are not needed",
                limits.members_max
            ),
            Self::Group => format!(
                "the group `{group}` has {} members that are clients, the limit `group_members_max`",
                limits.group_members_max
            ),
            Self::Ended => {
                "the server is stopping; join at another server, or when it is back".to_owned()
            }
        };
        Problem::new(Code::Overloaded, detail)
    }
}

/// A member and its lease.
#[derive(Debug)]
struct Leased {
    id: String,
    consumer: Consumer,
    topics: Vec<String>,
    lease: Duration,
    /// Calls that are under way.
    calls: AtomicUsize,
    /// A call has ended, or the member is gone.
    renewed: Notify,
    /// A call has ended, for what waits until none is under way.
    ended: Notify,
    is_gone: AtomicBool,
    place: Place,
    /// Nothing once it is gone: others may ask for less.
    subscribed: Mutex<Option<Subscribed>>,
}

/// A member while a call of its client is under way: its lease stands still.
#[derive(Debug)]
pub(crate) struct Call {
    inner: Arc<Inner>,
    leased: Arc<Leased>,
}

impl Leases {
    pub(crate) fn new(engine: &Engine, limits: &Limits, phases: Phases) -> Self {
        Self(Arc::new(Inner {
            clock: engine.clock().clone(),
            members_max: limits.members_max,
            group_members_max: limits.group_members_max,
            phases,
            table: Mutex::default(),
        }))
    }

    /// A place for one more member of a group.
    pub(crate) fn place(&self, group: &str, owner: &str) -> Result<Place, NoPlace> {
        let mut table = self.0.table();
        if table.has_ended || self.0.phases.is_leaving() {
            return Err(NoPlace::Ended);
        }
        if table.taken >= self.0.members_max {
            return Err(NoPlace::Server);
        }
        let of_group = table.places.entry(group.to_owned()).or_default();
        if *of_group >= self.0.group_members_max {
            return Err(NoPlace::Group);
        }
        *of_group += 1;
        table.taken += 1;
        Ok(Place {
            inner: Arc::downgrade(&self.0),
            group: group.to_owned(),
            owner: owner.to_owned(),
            subscribed: None,
            streamed: None,
        })
    }

    /// Keeps a member; its id, which is not to be guessed, and the call that made it.
    pub(crate) fn add(
        &self,
        mut place: Place,
        (consumer, topics): (Consumer, Vec<String>),
        lease: Duration,
    ) -> (String, Call) {
        let id = Uuid::now_v7().simple().to_string();
        let leased = Arc::new(Leased {
            id: id.clone(),
            consumer,
            topics,
            lease,
            calls: AtomicUsize::new(1),
            renewed: Notify::new(),
            ended: Notify::new(),
            is_gone: AtomicBool::new(false),
            subscribed: Mutex::new(place.subscribed.take()),
            place,
        });
        let mut table = self.0.table();
        // One that joined while the server stopped is dropped, and leaves with that.
        if !table.has_ended {
            table.members.insert(id.clone(), leased.clone());
            let watched = watch(
                Arc::downgrade(&self.0),
                leased.clone(),
                self.0.phases.clone(),
            );
            tokio::spawn(watched);
        }
        let call = Call {
            inner: self.0.clone(),
            leased,
        };
        (id, call)
    }

    /// The member of a group with this id, if there is one and it is this caller's.
    pub(crate) fn call(&self, group: &str, id: &str, owner: &str) -> Option<Call> {
        let table = self.0.table();
        let leased = table.members.get(id)?;
        if leased.consumer.group() != group || leased.place.owner != owner {
            return None;
        }
        // Within the lock, in which a lease ends.
        leased.calls.fetch_add(1, Ordering::AcqRel);
        Some(Call {
            inner: self.0.clone(),
            leased: leased.clone(),
        })
    }

    /// How many members there are.
    pub(crate) fn members(&self) -> usize {
        let table = self.0.table();
        table.members.len() + table.streams
    }

    /// How many events, and how many bytes of them, clients have that are not committed.
    pub(crate) fn held(&self) -> (usize, usize) {
        let table = self.0.table();
        let consumers = table.members.values().map(|leased| &leased.consumer);
        consumers.fold(table.streamed, |(events, bytes), consumer| {
            (events + consumer.held(), bytes + consumer.bytes())
        })
    }

    /// The server takes no more requests: each member leaves when its last call has ended, and what it held
    /// goes to others.
    pub(crate) async fn end(&self) {
        let members: Vec<_> = {
            let mut table = self.0.table();
            table.has_ended = true;
            table.members.drain().map(|(_, leased)| leased).collect()
        };
        let leave = members.iter().map(|leased| async {
            leased.gone();
            leased.called().await;
            leave(leased).await;
        });
        join_all(leave).await;
    }
}

impl Inner {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a member out of the table; whether it was there.
    fn remove(&self, leased: &Leased) -> bool {
        let removed = self.table().members.remove(&leased.id);
        leased.gone();
        removed.is_some()
    }

    /// Takes a member out that has nothing in its hands; whether it has.
    fn remove_idle(&self, leased: &Leased) -> bool {
        leased.consumer.held() == 0 && self.remove_silent(leased)
    }

    /// Takes a member out whose client says nothing; whether it does.
    fn remove_silent(&self, leased: &Leased) -> bool {
        let mut table = self.table();
        if leased.is_called() || table.members.remove(&leased.id).is_none() {
            return false;
        }
        leased.gone();
        true
    }
}

impl Leased {
    fn is_called(&self) -> bool {
        self.calls.load(Ordering::Acquire) > 0
    }

    fn gone(&self) {
        self.is_gone.store(true, Ordering::Release);
        let subscribed = self.subscribed.lock();
        drop(subscribed.unwrap_or_else(PoisonError::into_inner).take());
        self.renewed.notify_one();
    }

    /// Completes when no call is under way.
    async fn called(&self) {
        while self.is_called() {
            self.ended.notified().await;
        }
    }
}

/// A member leaves of its own accord: nothing counts as an attempt that failed.
async fn leave(leased: &Leased) {
    if let Err(error) = leased.consumer.leave().await {
        let group = leased.consumer.group();
        tracing::debug!(group, %error, "a member could not leave");
    }
}

/// Ends a member when its lease is over, or when the server is stopping and the member has nothing in its
/// hands.
async fn watch(table: Weak<Inner>, leased: Arc<Leased>, phases: Phases) {
    while !leased.is_gone.load(Ordering::Acquire) {
        if leased.is_called() {
            leased.renewed.notified().await;
            continue;
        }
        let is_leaving = phases.is_leaving();
        if is_leaving && table.upgrade().is_some_and(|it| it.remove_idle(&leased)) {
            return leave(&leased).await;
        }
        let Some(lease_over) = table.upgrade().map(|it| it.clock.sleep(leased.lease)) else {
            return;
        };
        tokio::select! {
            biased;
            () = leased.renewed.notified() => continue,
            () = phases.reached(Phase::Leaving), if !is_leaving => continue,
            () = lease_over => {}
        }
        if !table.upgrade().is_some_and(|it| it.remove_silent(&leased)) {
            continue;
        }
        let group = leased.consumer.group();
        tracing::info!(group, lease = ?leased.lease, "the lease of a member expired: its client is gone");
        if let Err(error) = leased.consumer.abandon().await {
            tracing::debug!(group, %error, "a member whose lease expired could not leave");
        }
    }
}

impl Call {
    pub(crate) fn consumer(&self) -> &Consumer {
        &self.leased.consumer
    }

    /// What it was allowed to consume when it joined.
    pub(crate) fn topics(&self) -> &[String] {
        &self.leased.topics
    }

    pub(crate) fn lease(&self) -> Duration {
        self.leased.lease
    }

    /// The member was replaced: its client has to join again.
    pub(crate) fn replaced(&self) {
        self.inner.remove(&self.leased);
    }

    /// The client leaves; whether the member was there.
    pub(crate) async fn leave(&self) -> ensue::Result<bool> {
        if !self.inner.remove(&self.leased) {
            return Ok(false);
        }
        self.leased.consumer.leave().await?;
        Ok(true)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.leased.calls.fetch_sub(1, Ordering::AcqRel);
        self.leased.renewed.notify_one();
        self.leased.ended.notify_one();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(inner) = self.inner.upgrade() else {
            return;
        };
        let mut table = inner.table();
        table.taken -= 1;
        if let Some(own) = self.streamed {
            let all = table.streamed;
            table.streams -= 1;
            table.streamed = (all.0 - own.0, all.1 - own.1);
        }
        if let Some(count) = table.places.get_mut(&self.group) {
            *count -= 1;
            if *count == 0 {
                table.places.remove(&self.group);
            }
        }
    }
}

//! What every part of a server shares.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use ensue::engine::GroupStatus;
use ensue::error::GroupError;
use ensue::{Engine, Error, Metrics, Requester};
use tokio::sync::{Mutex, MutexGuard, OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};

use crate::config::{Config, Limits};
use crate::counters::Counters;
use crate::group_subscriptions::Subscriptions;
use crate::leases::Leases;
use crate::memory::{Budget, Held, SMALL};
use crate::phase::{Phase, Phases};
use crate::problem::{Code, Problem};
use crate::security::{Caller, Operating, Security, Trail};
use crate::suspects::SuspectsOfGroups;
use crate::trace::Tracing;
use crate::webhooks::Webhooks;

/// Strangers have one in so many of the bytes that all bodies may have, besides those.
const STRANGERS_SHARE: usize = 8;

/// How many reads of the log there are at a time for each processor: what each reads is in memory before its size
/// is known.
const READS_OF_PROCESSOR: usize = 8;
/// The least room that is taken before events are read, in bytes.
const ROOM_MIN: usize = SMALL;

/// When it was asked whether the server is ready, and what the answer was.
type Probe = (Instant, Result<&'static str, Problem>);

/// What signs a request whose client gave it no source.
const REQUESTS_SOURCE: &str = "/server";

/// Places of a request that waits.
pub(crate) type Waiting = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

/// What every part of a server shares. Cloning gives the same.
#[derive(Clone, Debug)]
pub(crate) struct Context(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    engine: Engine,
    address: SocketAddr,
    started: Instant,
    limits: Limits,
    security: Security,
    trail: Option<Trail>,
    bodies: Budget,
    strangers: Budget,
    answers: Budget,
    streams: Arc<Semaphore>,
    waits: Arc<Semaphore>,
    subscriptions: Subscriptions,
    listing: Mutex<()>,
    reads: Semaphore,
    filters: Semaphore,
    probe: Mutex<Option<Probe>>,
    leases: Leases,
    suspects: SuspectsOfGroups,
    requester: Requester,
    counters: Counters,
    /// The counters of the services that run beside the server.
    services: Metrics,
    webhooks: Arc<Webhooks>,
    tracing: Tracing,
    phases: Phases,
}

impl Context {
    pub(crate) fn new(
        engine: Engine,
        address: SocketAddr,
        config: &Config,
        (security, services, webhooks, tracing): (Security, Metrics, Arc<Webhooks>, Tracing),
        phases: watch::Receiver<Phase>,
    ) -> Self {
        let phases = Phases::new(phases);
        let limits = &config.limits;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let leases = Leases::new(&engine, limits, phases.clone());
        Self(Arc::new(Shared {
            leases,
            suspects: SuspectsOfGroups::default(),
            requester: engine.requester(REQUESTS_SOURCE),
            engine,
            address,
            started: Instant::now(),
            limits: config.limits.clone(),
            security,
            trail: config.has_audit().then(Trail::default),
            bodies: Budget::new(limits.bodies_bytes_max, limits.body_bytes_max),
            strangers: Budget::new(
                (limits.bodies_bytes_max / STRANGERS_SHARE).max(limits.body_bytes_max),
                limits.body_bytes_max,
            ),
            answers: Budget::new(limits.answers_bytes_max, limits.answer_bytes_max),
            subscriptions: Subscriptions::new(limits.request_timeout),
            listing: Mutex::new(()),
            reads: Semaphore::new(READS_OF_PROCESSOR * processors),
            filters: Semaphore::new(processors.saturating_sub(1).max(1)),
            probe: Mutex::new(None),
            streams: Arc::new(Semaphore::new(config.limits.streams_max)),
            waits: Arc::new(Semaphore::new(config.limits.waits_max)),
            counters: Counters::default(),
            services,
            webhooks,
            tracing,
            phases,
        }))
    }

    /// What records spans.
    pub(crate) fn tracing(&self) -> &Tracing {
        &self.0.tracing
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// The group of the engine that has this name, if there is one.
    pub(crate) async fn group(&self, name: &str) -> ensue::Result<Option<GroupStatus>> {
        match self.engine().group(name).await {
            Err(Error::Group(GroupError::Unknown { .. })) => Ok(None),
            group => group.map(Some),
        }
    }

    /// Of which groups the caller sees dead letters: `None` is all of them together.
    pub(crate) async fn groups_with_letters(
        &self,
        caller: &Caller,
    ) -> Result<Vec<Option<String>>, Problem> {
        if caller.may_everything() {
            return Ok(vec![None]);
        }
        let status = self.in_time(self.engine().status()).await??;
        let groups = status.groups.into_iter();
        let groups = groups.filter(|group| group.dead > 0 && caller.handles(group));
        Ok(groups.map(|group| Some(group.name)).collect())
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }

    pub(crate) fn started(&self) -> Instant {
        self.0.started
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Who may call, and what they may do.
    pub(crate) fn security(&self) -> &Security {
        &self.0.security
    }

    /// Who the caller is now, and what they may do: asked again by what goes on for long, as credentials expire and
    /// permissions change.
    pub(crate) fn still(&self, caller: &Caller) -> Result<Caller, Problem> {
        self.security().still(caller, self.engine().clock().now())
    }

    /// Where what operators do is written, if it is.
    pub(crate) fn trail(&self) -> Option<&Trail> {
        self.0.trail.as_ref()
    }

    /// What writes there, around what an operator does.
    pub(crate) fn operating(&self) -> Operating<'_> {
        let timeout = self.limits().request_timeout;
        Operating::new(self.trail(), self.engine(), timeout)
    }

    /// The engine's answer, unless it takes longer than the limit `request_timeout`.
    pub(crate) async fn in_time<T>(&self, answer: impl Future<Output = T>) -> Result<T, Problem> {
        let timeout = self.limits().request_timeout;
        tokio::time::timeout(timeout, answer).await.map_err(|_| {
            let detail = format!(
                "the engine did not answer within {timeout:?}, the limit `request_timeout`; what was \
                 asked for may happen yet: ask again, events that were appended are duplicates then"
            );
            Problem::new(Code::Timeout, detail)
        })
    }

    /// The budget for bodies of senders who are not known before their signature is verified.
    pub(crate) fn strangers(&self) -> &Budget {
        &self.0.strangers
    }

    pub(crate) fn bodies(&self) -> &Budget {
        &self.0.bodies
    }

    /// The budget for events on their way to clients: those who do not take them stop no one who appends.
    pub(crate) fn answers(&self) -> &Budget {
        &self.0.answers
    }

    /// Takes room for events of up to `bytes_max`, before they are read: as much as there is. Nothing is room for
    /// one event when nothing else is under way.
    pub(crate) fn room(&self, held: &mut Held, bytes_max: usize) -> Option<usize> {
        let mut bytes = bytes_max;
        while !self.answers().hold(held, bytes) {
            if bytes <= ROOM_MIN {
                return (held.bytes() == 0 && self.answers().in_use() == 0).then_some(0);
            }
            bytes = (bytes / 2).max(ROOM_MIN);
        }
        Some(bytes)
    }

    /// Waits for the turn to read: what was read is not counted before it is there.
    pub(crate) async fn turn_to_read(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.turn(&self.0.reads, "reads").await
    }

    /// Waits for the turn to list what the engine reads whole events for: one at a time.
    pub(crate) async fn turn_to_list(&self) -> MutexGuard<'_, ()> {
        self.0.listing.lock().await
    }

    /// Waits for the turn to filter events, which takes a processor: one is left for everything else.
    pub(crate) async fn turn_to_filter(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.turn(&self.0.filters, "reads with filters").await
    }

    async fn turn<'a>(
        &self,
        turns: &'a Semaphore,
        what: &str,
    ) -> Result<SemaphorePermit<'a>, Problem> {
        let timeout = self.limits().request_timeout;
        match tokio::time::timeout(timeout, turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => {
                let detail = format!("too many {what} are under way; try again in a moment");
                Err(Problem::new(Code::Overloaded, detail))
            }
        }
    }

    /// What strangers were told last of whether the server is ready. One asks at a time.
    pub(crate) async fn last_probe(&self) -> MutexGuard<'_, Option<Probe>> {
        self.0.probe.lock().await
    }

    /// What members of groups ask for that clients are.
    pub(crate) fn subscriptions(&self) -> &Subscriptions {
        &self.0.subscriptions
    }

    /// The members of groups that clients are.
    pub(crate) fn leases(&self) -> &Leases {
        &self.0.leases
    }

    /// What clients had when they were lost.
    pub(crate) fn suspects(&self) -> &SuspectsOfGroups {
        &self.0.suspects
    }

    /// What sends the requests of clients.
    pub(crate) fn requester(&self) -> &Requester {
        &self.0.requester
    }

    /// A place among the streams, if there is one.
    pub(crate) fn stream(&self) -> Option<OwnedSemaphorePermit> {
        self.0.streams.clone().try_acquire_owned().ok()
    }

    /// A place among the requests that wait for a group, and one among those of the caller: who waits keeps a
    /// connection, and others need some, too.
    pub(crate) fn waiting(&self, caller: &Caller) -> Result<Waiting, Problem> {
        let of_caller = caller.waiting()?;
        let place = self.0.waits.clone().try_acquire_owned().map_err(|_| {
            let detail = format!(
                "{} requests wait for groups, the limit `waits_max`; ask again in a moment, or with `timeout=0s`",
                self.0.limits.waits_max
            );
            Problem::new(Code::Overloaded, detail)
        })?;
        Ok((place, of_caller))
    }

    /// How many streams there are.
    pub(crate) fn streams(&self) -> usize {
        let free = self.0.streams.available_permits();
        self.0.limits.streams_max.saturating_sub(free)
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.0.counters
    }

    pub(crate) fn services(&self) -> &Metrics {
        &self.0.services
    }

    pub(crate) fn webhooks(&self) -> &Webhooks {
        &self.0.webhooks
    }

    /// How far the server is with stopping.
    pub(crate) fn phase(&self) -> Phase {
        self.0.phases.now()
    }

    /// Whether the server was asked to stop.
    pub(crate) fn is_leaving(&self) -> bool {
        self.0.phases.is_leaving()
    }

    /// Completes when the server is asked to stop.
    pub(crate) async fn leaving(&self) {
        self.0.phases.reached(Phase::Leaving).await;
    }

    /// Whether the server takes no more connections.
    pub(crate) fn is_draining(&self) -> bool {
        self.phase() == Phase::Draining
    }

    /// Completes when the server takes no more connections.
    pub(crate) async fn drained(&self) {
        self.0.phases.reached(Phase::Draining).await;
    }
}

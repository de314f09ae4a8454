//! A log that is the replica of a shared one: the embedded engine on several machines.
//!
//! ```text
//! append, commit, … ─> outbox ─> send ─> the shared log (NATS, Kafka, RabbitMQ, Redis, PostgreSQL)
//!                                            │
//!            other processes ────────────────┤
//!                                            v
//!  state, members <─ admit, append, apply <─ fold ─> this process's own log, on disk
//! ```
//!
//! Processes write *frames* of batches (`frame`) into one shared log and all read all of it, in
//! the same order. Each folds every frame into a log of its own, with the same code and hence the
//! same positions, duplicates, conflicts and state: a replicated state machine, as in Tango
//! (Balakrishnan et al., SOSP 2013) and Delos (OSDI 2020). What this process submits takes effect
//! when it is read back, and is acknowledged when the server has acknowledged it, too.
//!
//! So the server has to give nothing but order and durability. Dedup, conditional appends,
//! schedules, dead letters and state work as in the embedded engine, because they are the embedded
//! engine; a commit is atomic because it lies in one frame.
//!
//! # Who has a key
//!
//! A key's slot belongs to one process at a time (`slot_owners`), as the fold says; within the process
//! `key_slots` gives it to a member. A process that is silent for its lease is taken for dead by the
//! others (`lease`), with a record in the log: what it writes after that record is refused
//! (`fencing`), however late it wakes up. This is the fencing token of Kleppmann's "How to do
//! distributed locking", with the log's order as the token.
//!
//! A process that follows a killed one in its directory need not wait for that: it proves that the
//! other has ended (`succession`).
//!
//! # What it costs
//!
//! Every process reads everything that is written in the namespace and keeps it on its own disk:
//! reading, replaying and querying never leave the machine, and the throughput of a namespace is
//! what one machine can take in. The copy is rebuilt from the server when it is missing, torn or of
//! another log.

mod clocks;
mod directory;
mod fold;
mod frame;
mod guard;
mod lease;
mod outbox;
mod send;
mod succession;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ensue_log as log;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, watch};

use crate::background;
use crate::engine::Url;
use crate::engine::{Atomicity, DedupWindow, Driver as _, Guarantees, SharedEngine, options};
use crate::error::{EngineError, Error, Result};
use crate::ids::{ProcessId, WriterId};
use crate::model::change::Change;
use crate::model::processes::Process;
use crate::model::record::{Gone, Left};
use crate::model::refusal::Refusal;
use crate::runtime::embedded::Embedded;
use crate::runtime::engine_inner::{Handle, Shared};
use crate::runtime::locked_state::{Core, Terms};
use crate::runtime::lookup;
use crate::runtime::settings::Settings;
use crate::shared_log::{Server, SharedLog};
use crate::time::{Backoff, Clock};

use self::clocks::Clocks;
pub use self::clocks::examine as examine_clocks;
pub(crate) use self::outbox::Outbox;

/// How to get to the servers of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The usual port.
    pub port: u16,
    /// Connects once.
    pub dial: Dial,
}

/// Connects once.
pub type Dial = fn(Url) -> BoxFuture<'static, Result<Arc<dyn SharedLog>>>;

/// The options of a replica, beside those of its server and of the embedded engine.
pub const OPTIONS: &[(&str, &str)] = &[
    (
        "lease",
        "how long a silent process keeps its keys, such as `10s`; default 10s, at least 500ms",
    ),
    (
        "replica",
        "directory for this process's copy of the log; default: one in the user's cache",
    ),
    (
        "segment_bytes",
        "size of a segment file of the copy; default 8388608",
    ),
    options::PARKED_MAX,
    options::KEY_EVENTS_MAX,
    options::STATE_BYTES_MAX,
    options::SCHEDULES_MAX,
];

/// How long a silent process keeps its keys, unless the URL says otherwise.
const LEASE: Duration = Duration::from_secs(10);
const LEASE_MIN: Duration = Duration::from_millis(500);
/// Small: every process has its own copy, with a segment in reserve.
const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;
/// The waits before a server that is away is tried again.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
/// How long opening waits for an answer of the other processes.
const ANSWER_WAIT: Duration = Duration::from_millis(250);
/// How long closing waits for a server that is away: what was not said by then is left to the
/// lease.
pub(crate) const FAREWELL: Duration = Duration::from_secs(5);
/// How long the connections to a server may take to end.
const HANG_UP: Duration = Duration::from_secs(2);

/// What a replica has beside the engine that works on it.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) shared_log: Arc<dyn SharedLog>,
    server: Server,
    lease: Duration,
    /// This process's clock as it is; the engine goes by one that is corrected.
    clock: Clock,
    /// The log's time when the frame that is being folded is in it: the time of its records.
    time: Arc<AtomicI64>,
    heard: Mutex<Heard>,
    work: Arc<Notify>,
    drained: watch::Receiver<u64>,
    /// The time of the last frame that was in the copy when it was opened.
    copied: i64,
}

/// How long ago a time in microseconds since the Unix epoch is.
fn since(time: i64, now: i64) -> Duration {
    Duration::from_micros(u64::try_from(now.saturating_sub(time)).unwrap_or(0))
}

/// What was heard of the server and of other processes, and when.
#[derive(Debug)]
struct Heard {
    /// When each process was last heard of.
    writers: HashMap<WriterId, Last>,
    /// When this process had read everything that was there when it opened.
    up_to_date: Option<Instant>,
    /// Since when everything there was has been read, without a pause.
    current: Instant,
    /// When the last read ended.
    read: Instant,
    /// When this process last wrote.
    wrote: Instant,
    /// What clocks show.
    clocks: Clocks,
    /// Why the server cannot be reached, if it cannot.
    trouble: Option<String>,
    /// Why the engine has stopped, if it has: however reading goes after that.
    stopped: Option<String>,
}

/// When a process was last heard of.
#[derive(Clone, Copy, Debug)]
struct Last {
    /// When the message was read.
    at: Instant,
    /// When its writer wrote it, by the writer's clock, in microseconds since the Unix epoch.
    time: i64,
}

impl Replica {
    /// How long a silent process keeps its keys.
    pub(crate) fn lease(&self) -> Duration {
        self.lease
    }

    /// Whether the process was heard of after `since`.
    pub(crate) fn has_heard(&self, writer: WriterId, since: Instant) -> bool {
        let heard = self.heard().writers.get(&writer).copied();
        heard.is_some_and(|last| last.at > since)
    }

    /// Whether a process has been silent for its lease, as far as is known here at `now`. Others
    /// may not have said yet that it is gone: for people, not for the fold.
    ///
    /// What it wrote before this process was up to date may be old: its own time tells. Later it
    /// does not count, as the clocks of two machines differ.
    pub(crate) fn is_silent(&self, process: &Process, now: i64) -> bool {
        let lease = match process.lease_micros {
            0 => self.lease,
            micros => Duration::from_micros(micros),
        };
        let heard = self.heard();
        let Some(current_since) = heard.up_to_date else {
            return false;
        };
        let silent = match heard.writers.get(&process.writer) {
            Some(last) if last.at > current_since => last.at.elapsed(),
            Some(last) => since(last.time, now).max(current_since.elapsed()),
            // It wrote nothing after what the copy had when it was opened.
            None => since(self.copied, now).max(current_since.elapsed()),
        };
        silent > lease
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes when there is room for more.
    pub(crate) fn drained(&self) -> watch::Receiver<u64> {
        let mut drained = self.drained.clone();
        drained.mark_unchanged();
        drained
    }

    /// Completes when nothing comes any more, for good, with the reason.
    pub(crate) async fn halted(&self, shared: &Shared) -> Error {
        let mut drained = self.drained.clone();
        loop {
            // Before looking, so that a halt that comes in between is seen.
            drained.mark_unchanged();
            if let Some(outbox) = &shared.core().outbox
                && let Some(why) = outbox.halted()
            {
                return why.clone().into();
            }
            if drained.changed().await.is_err() {
                return Error::Engine(EngineError::Closed);
            }
        }
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        let heard = self.heard();
        let trouble = heard.stopped.as_ref().or(heard.trouble.as_ref());
        trouble.cloned().or_else(|| heard.clocks.trouble())
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.shared_log.about().is_durable
    }
}

/// Opens a replica of the shared log that `url` names; completes when it is up to date.
///
/// # Errors
/// [`OpenError::Url`](crate::error::OpenError::Url), [`EngineError::Unavailable`] when the server
/// is away for `connect_timeout`, [`OpenError::Unfit`](crate::error::OpenError::Unfit) when it
/// cannot be used.
pub async fn open(url: Url, way: Way, clock: Clock) -> Result<SharedEngine> {
    background::run(async move {
        let shared = open_shared(url, way, clock, Shared::start).await?;
        let engine = Embedded {
            shared: Handle::new(shared),
        };
        if let Err(error) = engine.shared.check_whole() {
            engine.close().await?;
            return Err(error);
        }
        let engine: SharedEngine = Arc::new(engine);
        Ok(engine)
    })
    .await
}

/// [`open`] without the tasks of the engine that is on it: nothing happens there by itself.
pub(crate) async fn open_quietly(url: Url, way: Way, clock: Clock) -> Result<Embedded> {
    background::run(async move {
        let shared = open_shared(url, way, clock, |_| {}).await?;
        Ok(Embedded {
            shared: Handle::new(shared),
        })
    })
    .await
}

async fn open_shared(
    url: Url,
    way: Way,
    clock: Clock,
    start: fn(&Arc<Shared>),
) -> Result<Arc<Shared>> {
    let server = Server::of(&url, way.port)?;
    let correction = Arc::new(AtomicI64::new(0));
    let mut settings = Settings::of(&url, clock.corrected(correction.clone()))?;
    settings.durability = log::Durability::Os;
    if url.option("segment_bytes").is_none() {
        settings.segment_bytes = SEGMENT_BYTES;
    }
    let lease = lease_of(&url)?;
    let shared_log = patiently(&server, || (way.dial)(url.clone())).await?;
    let mut clocks = Clocks::new(correction, lease);
    if let Some(ahead) = server_ahead(&*shared_log, &clock).await {
        clocks.hear_server(ahead);
        clocks.judge(&[], 0);
    }
    let time = Arc::new(AtomicI64::new(0));
    let now = Instant::now();
    let outbox = Outbox::new(lease, shared_log.message_bytes_max());
    let replica = Replica {
        work: outbox.work.clone(),
        drained: outbox.drained(),
        heard: Mutex::new(Heard {
            writers: HashMap::new(),
            up_to_date: None,
            current: now,
            read: now,
            wrote: now,
            clocks,
            trouble: None,
            stopped: None,
        }),
        shared_log,
        server,
        lease,
        clock,
        time,
        copied: i64::MAX,
    };
    let time = replica.time.clone();
    let shared = directory::open(&url, settings, replica, outbox).await?;
    time.store(shared.core().state.processes.time(), Ordering::Release);
    let opened = shared
        .core()
        .introduce()
        .ok_or(Error::Engine(EngineError::Closed))?;
    start(&shared);
    fold::start(&shared);
    send::start(&shared);
    lease::start(&shared);
    guard::start(&shared);
    match opened.await {
        Ok(_) => {
            shared.replica()?.heard().up_to_date = Some(Instant::now());
            shared.hear_the_others().await;
            Ok(shared)
        }
        Err(error) => {
            shared.release();
            Err(error)
        }
    }
}

/// How far the server's clock is ahead, in microseconds, if it tells.
async fn server_ahead(log: &dyn SharedLog, clock: &Clock) -> Option<i64> {
    // A clock that a test moves shows another time on purpose.
    if clock.resting().is_some() {
        return None;
    }
    let before = clock.now().as_micros();
    // It is asked again later.
    let told = log.time().await.ok().flatten()?;
    let ours = before.midpoint(clock.now().as_micros());
    Some(told.as_micros().saturating_sub(ours))
}

fn lease_of(url: &Url) -> Result<Duration> {
    let lease = url.duration("lease")?.unwrap_or(LEASE);
    if lease < LEASE_MIN {
        return Err(url.invalid(format!(
            "`lease` is {lease:?}, it must be at least {LEASE_MIN:?}"
        )));
    }
    Ok(lease)
}

/// Asks the server, and again for a while when it is away.
async fn patiently<'a, T>(
    server: &Server,
    ask: impl Fn() -> BoxFuture<'a, Result<T>>,
) -> Result<T> {
    let begin = Instant::now();
    let mut pause = Pause::default();
    loop {
        match ask().await {
            Err(Error::Engine(EngineError::Unavailable { server: at, reason }))
                if begin.elapsed() < server.connect_timeout =>
            {
                tracing::warn!(server = at, reason, "the server is away, trying again");
                pause.wait().await;
            }
            Err(Error::Engine(EngineError::Unavailable { server: at, reason })) => {
                let tried = server.connect_timeout;
                return Err(Error::Engine(EngineError::Unavailable {
                    server: at,
                    reason: format!("{reason}; it was tried for {tried:?} (`connect_timeout`)"),
                }));
            }
            outcome => return outcome,
        }
    }
}

/// Longer and longer waits, with chance in them so that processes do not come back at once.
#[derive(Debug, Default)]
struct Pause {
    tries: u32,
}

impl Pause {
    async fn wait(&mut self) {
        self.tries += 1;
        tokio::time::sleep(BACKOFF.wait(self.tries, fastrand::f64())).await;
    }
}

impl Shared {
    /// Makes an engine on a log of its own one on the replica of a shared log.
    fn with_replica(mut self, replica: Replica, outbox: Outbox) -> Self {
        self.guarantees = self
            .settings
            .shared_guarantees(replica.is_durable(), replica.lease);
        {
            let mut core = self.core();
            core.outbox = Some(outbox);
            // Given when its introduction is read back.
            core.boot = ProcessId::UNKNOWN;
        }
        self.replica = Some(replica);
        self
    }

    /// Gives away the slots that are to go and of which nothing is in anybody's hands.
    fn release_slots(&self) -> Result<()> {
        let mut core = self.core();
        let names: Vec<String> = core.sessions.keys().cloned().collect();
        for name in names {
            self.record_own(&mut core, &name)?;
            let Core {
                sessions, state, ..
            } = &mut *core;
            let (Some(live), Some(group)) = (sessions.get_mut(&name), state.groups.get(&name))
            else {
                continue;
            };
            let Some(released) = live.release_slots(&name, group) else {
                continue;
            };
            let change = Change::Released(released.clone());
            let mut batch = log::Batch::new();
            change.push_to(&mut batch)?;
            let said = core.submit(&self.log, batch, vec![change], Terms::default());
            if said.is_err()
                && let Some(live) = core.sessions.get_mut(&name)
            {
                live.keep_slots(&released);
            }
        }
        Ok(())
    }

    /// Waits until this process has heard what the others' clocks show, but not for long: one of
    /// them may be dead.
    async fn hear_the_others(&self) {
        let Ok(replica) = self.replica() else {
            return;
        };
        let sure = replica.heard().clocks.sure.clone();
        let notified = sure.notified();
        let is_alone = self.core().others().0.is_empty();
        let is_sure = is_alone || replica.heard().clocks.is_sure();
        if !is_sure {
            let _ = tokio::time::timeout(ANSWER_WAIT, notified).await;
        }
    }

    /// The replica that this engine works on, if it does.
    fn replica(&self) -> Result<&Replica> {
        self.replica
            .as_ref()
            .ok_or(Error::Engine(EngineError::Closed))
    }

    /// Says goodbye, closes the copy, lets go of the server: within a time that does not depend on
    /// the server.
    pub(crate) async fn close_replica(self: &Arc<Self>) -> Result<()> {
        let until = tokio::time::Instant::now() + FAREWELL;
        // Whoever holds this may wait for a server that does not answer, and is told below.
        let turn = tokio::time::timeout_at(until, self.turn.lock()).await;
        if self.is_closed.swap(true, Ordering::AcqRel) {
            // Somebody else closes it, and has the same time for it.
            let _closed = tokio::time::timeout(2 * FAREWELL, self.turn.lock()).await;
            return Ok(());
        }
        self.say_farewell(until).await;
        let shared = self.clone();
        let closed = lookup::blocking(move || shared.close()).await;
        if let Ok(replica) = self.replica() {
            let hanging_up = replica.shared_log.close();
            if tokio::time::timeout(HANG_UP, hanging_up).await.is_err() {
                tracing::warn!("the connections to the server do not end: they are left alone");
            }
        }
        drop(turn);
        closed
    }

    /// Says that all members left and that this process is gone, if that works until then.
    async fn say_farewell(self: &Arc<Self>, until: tokio::time::Instant) {
        let mut changes = Vec::new();
        let boot = {
            let mut core = self.core();
            for (group, member) in core.members_here() {
                core.fence(&group);
                changes.push(Change::Left(Left { group, member }));
            }
            core.boot
        };
        changes.push(Change::Gone(Gone {
            boot,
            counter: None,
        }));
        let mut batch = log::Batch::new();
        for change in &changes {
            let _ = change.push_to(&mut batch);
        }
        let said = {
            let mut core = self.core();
            core.submit(&self.log, batch, changes, Terms::default())
        };
        if let Ok(said) = said {
            match tokio::time::timeout_at(until, said).await {
                Ok(Ok(_)) => {}
                _ => tracing::warn!("could not say goodbye: the lease of this process will end"),
            }
        }
        self.halt(Refusal::Closed);
    }

    /// Nothing goes out any more, and whoever waits is told.
    pub(crate) fn halt(&self, why: Refusal) {
        let mut core = self.core();
        if let Some(outbox) = &mut core.outbox {
            outbox.halt(why.clone());
        }
        while let Some(pending) = core.pop_pending() {
            if let crate::pending_write::Submission::Shared(ticket) = &pending.submitted {
                ticket.resolve(Err(why.clone()));
            }
            core.conclude(&pending, None);
        }
    }
}

impl Settings {
    /// What an engine promises whose log is shared.
    fn shared_guarantees(&self, is_durable: bool, failover: Duration) -> Guarantees {
        Guarantees {
            durable_on_acknowledge: is_durable,
            survives_restart: true,
            commit: Atomicity::Atomic,
            dedup: DedupWindow::Events(self.dedup_window.into()),
            conditional_append: true,
            schedules: true,
            replay: true,
            multi_process: true,
            failover,
        }
    }
}

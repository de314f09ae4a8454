//! A whole app on the memory engine, with a clock that the test owns.

use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ensue_engine::storage;
use futures_util::FutureExt;

use super::chaos::{Chaos, Fault};
use super::keys::TestKeys;
use crate::app::{App, Running};
use crate::engine::embedded::{Embedded, Settings};
use crate::engine::{
    Appended, DeadLetter, DeadLetterFilter, Driver as _, EngineStatus, GroupStatus, Position,
    Query, SharedEngine,
};
use crate::error::{EngineError, Error, Result};
use crate::event::{Envelope, Event};
use crate::handle::Engine;
use crate::outgoing::Publish;
use crate::publisher::Publisher;
use crate::time::{Clock, Resting, RestingNow, Timestamp, VirtualClock};

/// How long nothing may change, in real time, before a cascade counts as one that never settles.
const UNCHANGED_MAX: Duration = Duration::from_secs(60);
/// How many records a cascade may append before it counts as one that never settles.
const CASCADE_RECORDS_MAX: u64 = 1_000_000;
/// How long nothing may change, in real time, while all that is under way waits for something that
/// is not the clock, before that counts as something that may never come.
const STILL: Duration = Duration::from_millis(200);
/// What neither a record nor the clock announces is looked for this often.
const LOOK_WAIT: Duration = Duration::from_millis(1);
/// How many further attempts and timers a cascade may wait for.
const WAKES_MAX: u32 = 100_000;

type Build = Box<dyn Fn(App) -> App + Send + Sync>;

/// An app under test: publish, [`settle`](TestApp::settle), look.
///
/// The clock stands still until the test moves it: [`TestApp::settle`] moves it to the next attempt
/// of a failed event, [`TestApp::advance`] as far as it is told, over everything that is scheduled
/// until then.
///
/// # Order
///
/// [`TestApp::events`] and [`TestApp::envelopes`] are in the order of positions, which is that in
/// which the events were appended. What the test publishes one after the other, and all events of
/// one topic and key that follow from the same handler, are always in the order that one expects.
/// Events of *different* keys are handled at the same time, as they are in production, and what
/// follows from them may be in another order in the next run: compare those per key, or sorted.
///
/// ```
/// use ensue::prelude::*;
/// use ensue::testing::TestApp;
/// # #[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
/// # #[event(type = "order.created", topic = "orders", key = order_id)]
/// # struct OrderCreated { order_id: String }
/// # #[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
/// # #[event(type = "order.paid", topic = "orders", key = order_id)]
/// # struct OrderPaid { order_id: String }
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let app = TestApp::start(|app| {
///     app.on("payments", |o: OrderCreated| async { OrderPaid { order_id: o.order_id } })
/// }).await?;
/// app.publish(OrderCreated { order_id: "o-1".into() }).await?;
/// app.settle().await?;
/// assert_eq!(app.events::<OrderPaid>().await?, [OrderPaid { order_id: "o-1".into() }]);
/// # Ok::<(), ensue::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TestApp {
    build: Build,
    storage: storage::Memory,
    clock: VirtualClock,
    engine: Arc<Embedded>,
    /// They outlive a crash, as the log does.
    keys: TestKeys,
    chaos: Chaos,
    running: Mutex<Life>,
}

/// Whether anything will happen without the clock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Motion {
    /// Something happens.
    Going,
    /// All that is under way waits, and some of it for something that is not the clock.
    Outside,
    /// Nothing will.
    Still,
}

/// The app, and why it cannot go on if it cannot.
#[derive(Default)]
struct Life {
    running: Option<Running>,
    failed: Option<String>,
}

impl TestApp {
    /// What the clock says when an app starts.
    pub const START: Timestamp = Timestamp::from_micros(1_750_000_000_000_000);

    /// Starts the app that `build` makes of an empty one.
    ///
    /// # Errors
    /// As for [`App::start`].
    pub async fn start(build: impl Fn(App) -> App + Send + Sync + 'static) -> Result<Self> {
        Self::start_with(Fault::None, build).await
    }

    /// [`TestApp::start`], with something that goes wrong.
    ///
    /// # Errors
    /// As for [`App::start`].
    pub async fn start_with(
        fault: Fault,
        build: impl Fn(App) -> App + Send + Sync + 'static,
    ) -> Result<Self> {
        let storage = storage::Memory::new();
        // An instant that is as good as any, and the same in every run.
        let clock = VirtualClock::new(Self::START);
        let build: Build = Box::new(build);
        let keys = TestKeys::default();
        let (engine, chaos) = open(&storage, &clock, (&keys, fault)).await?;
        let running = Mutex::new(Life::of(run(&build, &chaos).await?));
        Ok(Self {
            build,
            storage,
            clock,
            engine,
            keys,
            chaos,
            running,
        })
    }

    /// The engine.
    pub fn engine(&self) -> Engine {
        Arc::new(self.chaos.clone()).into()
    }

    /// The engine, as the one that fails.
    pub fn chaos(&self) -> &Chaos {
        &self.chaos
    }

    /// The clock.
    pub fn clock(&self) -> &VirtualClock {
        &self.clock
    }

    /// A publisher from outside the app.
    pub fn publisher(&self) -> Publisher {
        Publisher::new(self.engine(), "/test")
    }

    /// Publishes an event from outside the app.
    ///
    /// # Errors
    /// As for [`Publisher::publish`].
    pub async fn publish(&self, event: impl Publish) -> Result<Appended> {
        self.publisher().publish(event).await
    }

    /// Waits until everything that follows has followed: nothing lags, nothing is in flight, nothing
    /// waits for another attempt. Moves the clock to further attempts; schedules stay where they
    /// are.
    ///
    /// # Errors
    /// [`EngineError::Stopped`] as soon as the app has died or failed, when all that is left are
    /// handlers that sleep, when nothing changes for 60 s of real time, and when the cascade has
    /// appended a million records; it says which group is still at work.
    pub async fn settle(&self) -> Result<()> {
        let mut patience = Patience::default();
        let mut wakes = 0;
        loop {
            let (status, motion) = self.look().await?;
            let is_over = patience.is_over(&status);
            let groups = &status.groups;
            let Some(busy) = groups.iter().find(|group| !group.is_idle()) else {
                if motion == Motion::Going && !is_over {
                    self.something(&status).await;
                    continue;
                }
                return Ok(());
            };
            let now = self.clock.now();
            let next = groups.iter().filter_map(|group| group.next_due).min();
            let waits = groups
                .iter()
                .all(|group| group.lag == 0 && group.in_flight == 0);
            match next {
                Some(due) if waits && due > now && wakes < WAKES_MAX => {
                    wakes += 1;
                    self.clock.advance_to(due);
                    continue;
                }
                _ if motion == Motion::Still || is_over || wakes >= WAKES_MAX => {
                    return Err(Error::Engine(EngineError::Stopped(format!(
                        "the cascade did not settle: group `{}` has a lag of {}, {} in flight, {} \
                         waiting for another attempt; a handler that sleeps needs \
                         `TestApp::advance`",
                        busy.name, busy.lag, busy.in_flight, busy.retrying
                    ))));
                }
                _ => self.something(&status).await,
            }
        }
    }

    /// Moves the clock by `duration`, step by step over everything that is due in between: further
    /// attempts, timeouts, schedules, handlers that sleep.
    ///
    /// # Errors
    /// [`EngineError::Stopped`] as soon as the app has died or failed, and when it does not come to
    /// rest: as for [`TestApp::settle`].
    pub async fn advance(&self, duration: Duration) -> Result<()> {
        self.advance_to(self.clock.now().plus(duration)).await
    }

    /// Moves the clock to `until`, as [`advance`](Self::advance) does by a time; it never goes back. For
    /// what may be done twice, as the `act` of an [`explore`](super::explore()) after a crash.
    ///
    /// # Errors
    /// As for [`TestApp::advance`].
    pub async fn advance_to(&self, until: Timestamp) -> Result<()> {
        let mut status = self.quiet().await?;
        loop {
            let due = status.groups.iter().filter_map(|group| group.next_due);
            let now = self.clock.now();
            let due = due.chain(status.next_due).chain(self.clock.next_wake());
            // That of an attempt under way is over.
            let next = due.filter(|due| *due > now).min();
            self.clock
                .advance_to(next.map_or(until, |next| next.min(until)));
            status = self.quiet().await?;
            if self.clock.now() >= until {
                return Ok(());
            }
        }
    }

    /// Lets the process die, as by `kill -9`, and starts it again on what was durable.
    ///
    /// # Errors
    /// As for [`App::start`].
    pub async fn crash(&mut self) -> Result<()> {
        drop(std::mem::take(&mut *self.life()));
        // What still holds the old engine holds a dead process.
        self.storage = self.storage.fork();
        let terms = (&self.keys, Fault::None);
        (self.engine, self.chaos) = open(&self.storage, &self.clock, terms).await?;
        let running = run(&self.build, &self.chaos).await?;
        *self.life() = Life::of(running);
        Ok(())
    }

    /// The events of type `E` so far, in the order of their positions.
    ///
    /// # Errors
    /// As for [`Driver::read`](crate::engine::Driver::read), and
    /// [`ReadError::Decode`](crate::error::ReadError::Decode).
    pub async fn events<E: Event>(&self) -> Result<Vec<E>> {
        let envelopes = self.envelopes().await?;
        let of_type = envelopes
            .iter()
            .filter(|envelope| envelope.event_type() == E::TYPE);
        Ok(of_type.map(Envelope::decode).collect::<Result<_, _>>()?)
    }

    /// All events so far, in the order of their positions.
    ///
    /// # Errors
    /// As for [`Driver::read`](crate::engine::Driver::read).
    pub async fn envelopes(&self) -> Result<Vec<Envelope>> {
        let mut events = self.engine().read(Query::default());
        let mut all = Vec::new();
        while let Some(recorded) = events.next().await {
            all.push(recorded?.envelope);
        }
        Ok(all)
    }

    /// Asserts that no group has a dead letter; says of each why it died.
    ///
    /// # Errors
    /// As for [`Driver::dead_letters`](crate::engine::Driver::dead_letters).
    ///
    /// # Panics
    /// When there is one.
    #[track_caller]
    pub fn assert_no_dead_letters(&self) -> impl Future<Output = Result<()>> + Send + '_ {
        // An `async fn` would not know it.
        let caller = Location::caller();
        async move {
            let filter = DeadLetterFilter::default();
            let letters = self.engine().dead_letters(None, filter).await?;
            let lines: Vec<String> = letters.iter().map(line_of).collect();
            assert!(
                lines.is_empty(),
                "there should be no dead letter at {caller}, but there are:\n{}",
                lines.join("\n")
            );
            Ok(())
        }
    }

    /// The dead letters of a group, those that died first first.
    ///
    /// # Errors
    /// As for [`Driver::dead_letters`](crate::engine::Driver::dead_letters):
    /// [`GroupError::Unknown`](crate::error::GroupError::Unknown) names the groups that exist.
    pub async fn dead_letters(&self, group: &str) -> Result<Vec<DeadLetter>> {
        self.engine()
            .dead_letters(Some(group), DeadLetterFilter::default())
            .await
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is going on, and whether any of it will without the clock. An app that cannot go on is
    /// an error.
    async fn look(&self) -> Result<(EngineStatus, Motion)> {
        if self.chaos.is_dead() {
            return Err(Error::Engine(EngineError::Stopped(
                "the process died, as the test asked".into(),
            )));
        }
        if let Some(failed) = self.life().failed() {
            return Err(Error::Engine(EngineError::Stopped(format!(
                "the app failed: {failed}"
            ))));
        }
        let resting = || self.engine.clock().resting().map(Resting::now);
        // In this order: what is woken stops resting before it has noticed, and is no longer in
        // flight only after that. What is the same before and after the status is what it shows.
        let is_awake = self.clock.waking() > 0;
        let before = (resting(), self.engine.at_rest());
        let status = self.chaos.status().await?;
        let is_same = before == (resting(), self.engine.at_rest());
        let (before, at_rest) = before;
        let shown: usize = status.groups.iter().map(|group| group.in_flight).sum();
        let in_flight = at_rest.filter(|in_flight| *in_flight == shown);
        let is_due = status.next_due.is_some_and(|due| due <= self.clock.now());
        // A group whose members have not joined yet, or not taken anything, will go on.
        let is_coming =
            |group: &GroupStatus| group.lag > 0 && (group.members.is_empty() || shown == 0);
        let is_going = is_awake || is_due || !is_same || status.groups.iter().any(is_coming);
        let motion = match (before, in_flight) {
            _ if is_going => Motion::Going,
            // What it will ask for again cannot be seen.
            (Some(RestingNow { refused: 1.., .. }), _) => Motion::Outside,
            (Some(RestingNow { commits: 1.., .. }), _) => Motion::Going,
            (Some(resting), Some(in_flight)) if resting.events() == in_flight => {
                match resting.outside {
                    0 => Motion::Still,
                    _ => Motion::Outside,
                }
            }
            _ => Motion::Going,
        };
        Ok((status, motion))
    }

    /// Waits until there is something new in the log, or for a moment.
    async fn something(&self, status: &EngineStatus) {
        let engine = self.engine();
        // An engine that has stopped is found dead at the next look.
        let _ = tokio::time::timeout(LOOK_WAIT, engine.wait(status.end.clone())).await;
    }

    /// Waits until nothing moves any more before the clock does: everything that is due has
    /// followed, and handlers that are under way sleep. One that waits for anything else cannot be
    /// told from one that works: it counts as still after a while without any change.
    async fn quiet(&self) -> Result<EngineStatus> {
        let mut patience = Patience::default();
        loop {
            let (status, motion) = self.look().await?;
            let is_over = patience.is_over(&status);
            match motion {
                Motion::Still => return Ok(status),
                Motion::Outside if patience.unchanged() > STILL => return Ok(status),
                _ if is_over => {
                    return Err(Error::Engine(EngineError::Stopped(format!(
                        "the app did not come to rest: {:?}",
                        status.groups
                    ))));
                }
                _ => self.something(&status).await,
            }
        }
    }
}

/// A dead letter, for people.
fn line_of(letter: &DeadLetter) -> String {
    let DeadLetter {
        group,
        event_type,
        key,
        attempts,
        cause,
        reason,
        ..
    } = letter;
    format!(
        "  `{group}`: `{event_type}` of key `{key}`, {cause:?} after {attempts} attempts: {reason}"
    )
}

/// Notices that nothing changes any more, or that changes do not end.
struct Patience {
    begun: Option<Position>,
    seen: String,
    since: Instant,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            begun: None,
            seen: String::new(),
            since: Instant::now(),
        }
    }
}

impl Patience {
    /// Whether there is no point in waiting on.
    fn is_over(&mut self, status: &EngineStatus) -> bool {
        let seen = format!("{} {:?}", status.end, status.groups);
        if seen != self.seen {
            (self.seen, self.since) = (seen, Instant::now());
        }
        let end = status.end.position();
        let begun = *self.begun.get_or_insert(end);
        self.unchanged() > UNCHANGED_MAX
            || end.get().saturating_sub(begun.get()) > CASCADE_RECORDS_MAX
    }

    /// For how long nothing has changed.
    fn unchanged(&self) -> Duration {
        self.since.elapsed()
    }
}

impl Life {
    fn of(running: Running) -> Self {
        Self {
            running: Some(running),
            failed: None,
        }
    }

    /// Why the app cannot go on, as soon as it cannot.
    fn failed(&mut self) -> Option<&str> {
        let failed = self.running.as_mut().map(Running::failed);
        if let Some(error) = failed.and_then(FutureExt::now_or_never) {
            self.failed = Some(error.to_string());
        }
        self.failed.as_deref()
    }
}

async fn open(
    storage: &storage::Memory,
    clock: &VirtualClock,
    (keys, fault): (&TestKeys, Fault),
) -> Result<(Arc<Embedded>, Chaos)> {
    let clock = Clock::from(clock.clone());
    let mut settings = Settings::default();
    settings.clock = clock;
    settings.url = "memory:".into();
    let engine = Embedded::open(Arc::new(storage.clone()), settings).await?;
    let engine = Arc::new(engine);
    let chaos = Chaos::new(keys.of(engine.clone())?, fault);
    Ok((engine, chaos))
}

async fn run(build: &Build, chaos: &Chaos) -> Result<Running> {
    let engine: SharedEngine = Arc::new(chaos.clone());
    build(App::new(engine).seed(1)).start().await
}

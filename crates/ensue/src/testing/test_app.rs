//! A whole app on the memory engine, with a clock that the test owns.

use std::time::Duration;

use ensue_log::storage;

use super::chaos::{Chaos, Fault};
use crate::app::{App, Running};
use crate::effect::Outgoing;
use crate::engine::embedded::{Embedded, Settings};
use crate::engine::{
    Appended, DeadLetter, DeadLetterFilter, EngineStatus, GroupStatus, Query, SharedEngine,
};
use crate::error::{Error, Result};
use crate::event::{Envelope, Event};
use crate::publisher::Publisher;
use crate::time::{Clock, Timestamp, VirtualClock};

/// How long a cascade may take, in real time, before it counts as one that never settles.
const SETTLE_MAX: Duration = Duration::from_secs(20);
/// How many further attempts and timers a cascade may wait for.
const WAKES_MAX: u32 = 100_000;

type Build = Box<dyn Fn(App) -> App + Send + Sync>;

/// An app under test: publish, [`settle`](TestApp::settle), look.
///
/// The clock stands still until the test moves it: [`TestApp::settle`] moves it to the next attempt
/// of a failed event, [`TestApp::advance`] as far as it is told.
///
/// ```
/// use ensue::prelude::*;
/// use ensue::testing::TestApp;
/// # #[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
/// # #[event(name = "order.created", topic = "orders", key = order_id)]
/// # struct OrderCreated { order_id: String }
/// # #[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
/// # #[event(name = "order.paid", topic = "orders", key = order_id)]
/// # struct OrderPaid { order_id: String }
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let app = TestApp::start(|app| {
///     app.on("payments", |o: OrderCreated| async { OrderPaid { order_id: o.order_id } })
/// }).await?;
/// app.publish(&OrderCreated { order_id: "o-1".into() }).await?;
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
    chaos: Chaos,
    running: Option<Running>,
}

impl TestApp {
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
        let clock = VirtualClock::new(Timestamp::from_micros(1_750_000_000_000_000));
        let build: Build = Box::new(build);
        let chaos = open(&storage, &clock, fault).await?;
        let running = Some(run(&build, &chaos).await?);
        Ok(Self {
            build,
            storage,
            clock,
            chaos,
            running,
        })
    }

    /// The engine.
    pub fn engine(&self) -> SharedEngine {
        std::sync::Arc::new(self.chaos.clone())
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
    pub async fn publish(&self, event: impl Into<Outgoing>) -> Result<Appended> {
        self.publisher().publish(event).await
    }

    /// Waits until everything that follows has followed: nothing lags, nothing is in flight, nothing
    /// waits for another attempt. Moves the clock to further attempts; schedules stay where they
    /// are.
    ///
    /// # Errors
    /// [`Error::Stopped`] when the app died or does not settle within 20 s of real time; it
    /// says which group is still at work.
    pub async fn settle(&self) -> Result<()> {
        let begun = std::time::Instant::now();
        let mut wakes = 0;
        loop {
            if self.chaos.is_dead() {
                return Err(Error::Stopped("the process died while it settled".into()));
            }
            let status = self.chaos_status().await?;
            let Some(busy) = status.groups.iter().find(|group| !group.is_idle()) else {
                return Ok(());
            };
            let waits = status
                .groups
                .iter()
                .all(|group| group.lag == 0 && group.in_flight == 0);
            let next = status
                .groups
                .iter()
                .filter_map(|group| group.next_due)
                .min();
            match next {
                Some(due) if waits && due > self.clock.now() && wakes < WAKES_MAX => {
                    wakes += 1;
                    self.clock.advance_to(due);
                }
                _ if begun.elapsed() > SETTLE_MAX || wakes >= WAKES_MAX => {
                    return Err(Error::Stopped(format!(
                        "the cascade did not settle: group `{}` has a lag of {}, {} in flight, {} \
                         waiting for another attempt; a handler that sleeps needs \
                         `TestApp::advance`",
                        busy.name, busy.lag, busy.in_flight, busy.retrying
                    )));
                }
                _ => tokio::time::sleep(Duration::from_micros(200)).await,
            }
        }
    }

    /// Moves the clock by `duration`, step by step over everything that is due in between: further
    /// attempts, timeouts, schedules, handlers that sleep.
    ///
    /// # Errors
    /// As for [`TestApp::settle`].
    pub async fn advance(&self, duration: Duration) -> Result<()> {
        let until = self.clock.now().plus(duration);
        self.quiet().await?;
        loop {
            let status = self.chaos_status().await?;
            let due = status.groups.iter().filter_map(|group| group.next_due);
            let due = due
                .chain(status.next_due)
                .chain(self.clock.next_wake())
                .min();
            match due {
                Some(due) if due <= until && due > self.clock.now() => self.clock.advance_to(due),
                _ => self.clock.advance_to(until),
            }
            self.delivered_schedules().await?;
            self.quiet().await?;
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
        drop(self.running.take());
        // Whoever still holds the old engine holds a dead process.
        self.storage = self.storage.fork();
        self.chaos = open(&self.storage, &self.clock, Fault::None).await?;
        self.running = Some(run(&self.build, &self.chaos).await?);
        Ok(())
    }

    /// The events of type `E` so far, in the order of their positions.
    ///
    /// # Errors
    /// As for [`Engine::read`](crate::engine::Engine::read), and [`Error::Decode`].
    pub async fn events<E: Event>(&self) -> Result<Vec<E>> {
        let envelopes = self.envelopes().await?;
        let of_type = envelopes
            .iter()
            .filter(|envelope| envelope.kind() == E::NAME);
        Ok(of_type.map(Envelope::decode).collect::<Result<_, _>>()?)
    }

    /// All events so far, in the order of their positions.
    ///
    /// # Errors
    /// As for [`Engine::read`](crate::engine::Engine::read).
    pub async fn envelopes(&self) -> Result<Vec<Envelope>> {
        let engine = self.engine();
        let mut query = Query::default();
        let mut all = Vec::new();
        loop {
            let page = engine.read(query.clone()).await?;
            all.extend(page.events.into_iter().map(|recorded| recorded.envelope));
            if page.is_end {
                return Ok(all);
            }
            query.from = page.next;
        }
    }

    /// The dead letters of a group.
    ///
    /// # Errors
    /// As for [`Engine::dead_letters`](crate::engine::Engine::dead_letters).
    pub async fn dead_letters(&self, group: &str) -> Result<Vec<DeadLetter>> {
        self.engine()
            .dead_letters(Some(group), DeadLetterFilter::default())
            .await
    }

    async fn chaos_status(&self) -> Result<EngineStatus> {
        self.engine().status().await
    }

    /// Waits until nothing moves any more: everything has followed, or what is in flight waits for
    /// the clock. The latter cannot be seen, only guessed from a while without any change.
    async fn quiet(&self) -> Result<()> {
        const STILL: Duration = Duration::from_millis(20);
        let begun = std::time::Instant::now();
        let mut last = (String::new(), begun);
        while begun.elapsed() < SETTLE_MAX {
            let status = self.chaos_status().await?;
            let now = self.clock.now();
            let is_idle = |group: &GroupStatus| {
                let is_due = group.next_due.is_some_and(|due| due <= now);
                group.lag == 0 && group.in_flight == 0 && !is_due
            };
            if status.groups.iter().all(is_idle) {
                return Ok(());
            }
            let seen = format!("{:?}", status.groups);
            if seen != last.0 {
                last = (seen, std::time::Instant::now());
            } else if last.1.elapsed() > STILL && status.groups.iter().all(|group| group.lag == 0) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        Err(Error::Stopped("the app did not come to rest".into()))
    }

    /// Waits until the engine has appended what is due by now.
    async fn delivered_schedules(&self) -> Result<()> {
        let begun = std::time::Instant::now();
        while begun.elapsed() < SETTLE_MAX {
            let next = self.chaos_status().await?.next_due;
            if next.is_none_or(|due| due > self.clock.now()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        Err(Error::Stopped(
            "scheduled events that are due were not appended".into(),
        ))
    }
}

async fn open(storage: &storage::Memory, clock: &VirtualClock, fault: Fault) -> Result<Chaos> {
    let clock = Clock::from(clock.clone());
    let settings = Settings {
        clock,
        url: "memory:".into(),
        ..Settings::default()
    };
    let engine = Embedded::open(std::sync::Arc::new(storage.clone()), settings).await?;
    Ok(Chaos::new(std::sync::Arc::new(engine), fault))
}

async fn run(build: &Build, chaos: &Chaos) -> Result<Running> {
    build(App::new(std::sync::Arc::new(chaos.clone())).seed(1))
        .start()
        .await
}

//! An app that runs: what became of it, and stopping it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::contained::message_of;
use crate::dispatch::Order;
use crate::error::{AppError, Error, Result};
use crate::handle::Engine;
use crate::metrics::Metrics;
use crate::publisher::Publisher;

/// How much of the shutdown deadline is kept for leaving and closing, at the most.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// How services are told to stop: a flag that every worker looks at, and what follows.
type Orders = (Arc<AtomicBool>, watch::Sender<Order>);

/// What a service's task ends with.
pub(super) type Ended = (Arc<str>, Result<()>);

/// An app that runs. Dropping it stops it at once, which is not special: what was not committed is
/// delivered again.
#[derive(Debug)]
#[must_use = "dropping a running app stops it"]
pub struct Running {
    engine: Engine,
    metrics: Metrics,
    services: Vec<Arc<str>>,
    stopping: Arc<AtomicBool>,
    order: watch::Sender<Order>,
    tasks: JoinSet<Ended>,
    shutdown: Duration,
}

impl Running {
    pub(super) fn new(
        engine: Engine,
        metrics: Metrics,
        (stopping, order): Orders,
        (services, tasks): (Vec<Arc<str>>, JoinSet<Ended>),
        shutdown: Duration,
    ) -> Self {
        Self {
            engine,
            metrics,
            services,
            stopping,
            order,
            tasks,
            shutdown,
        }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// A publisher that signs its events with `source`.
    pub fn publisher(&self, source: &str) -> Publisher {
        self.engine.publisher(source)
    }

    /// The app's counters, live.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Completes when a service cannot go on, with the reason. Cancel-safe.
    pub async fn failed(&mut self) -> Error {
        loop {
            match self.tasks.join_next().await.map(outcome) {
                Some((group, Err(error))) => {
                    tracing::error!(group, %error, "service stopped");
                    return error;
                }
                Some((_, Ok(()))) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Completes when the app has nothing left to do: whatever was published before is handled by all
    /// of its services, and so is everything that followed from it. A dead letter is handled, if badly,
    /// and what is parked behind one is not waited for; nor are schedules. Further attempts are, however
    /// long their backoff.
    ///
    /// For examples, tools and tests in real time; tests have a clock of their own in
    /// [`TestApp::settle`](crate::testing::TestApp::settle). While it waits it says for what, as a
    /// `tracing` event every five seconds. Under events that never end, neither does this. Cancel-safe.
    ///
    /// # Errors
    /// What [`failed`](Self::failed) tells, when a service cannot go on, and what the engine reports
    /// when it is asked for its status.
    pub async fn settled(&mut self) -> Result<()> {
        let (engine, services) = (self.engine.clone(), self.services.clone());
        tokio::select! {
            failed = self.failed() => Err(failed),
            settled = engine.settled(services.iter().map(|name| &**name)) => settled,
        }
    }

    /// Stops in order: takes nothing more, hands back what has not begun, lets handlers under way
    /// finish, commits, leaves. What has not finished by the shutdown deadline is let go and will
    /// be delivered again. The engine stays open.
    ///
    /// # Errors
    /// The first failure of a service that [`failed`](Self::failed) has not told already.
    pub async fn stop(mut self) -> Result<()> {
        self.stop_by(self.deadline()).await
    }

    /// [`stop`](Self::stop), then closes the engine, all within the deadline.
    pub(super) async fn stop_and_close(mut self) -> Result<()> {
        let deadline = self.deadline();
        let stopped = self.stop_by(deadline).await;
        let closed = match timeout_at(deadline, self.engine.close()).await {
            Ok(closed) => closed,
            Err(_) => {
                tracing::warn!(deadline = ?self.shutdown, "the engine did not close in time");
                Ok(())
            }
        };
        stopped.and(closed)
    }

    fn deadline(&self) -> Instant {
        /// Longer than any process runs: what does not fit into an instant is as long.
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
        let now = Instant::now();
        now.checked_add(self.shutdown).unwrap_or(now + CENTURY)
    }

    async fn stop_by(&mut self, deadline: Instant) -> Result<()> {
        self.stopping.store(true, Ordering::Relaxed);
        // There is no receiver when every service has ended already.
        let _ = self.order.send(Order::Drain);
        let farewell = FAREWELL_MAX.min(self.shutdown / 4);
        let mut stopped = Ok(());
        let drained = join_all(&mut self.tasks, &mut stopped);
        let until = deadline.checked_sub(farewell).unwrap_or(deadline);
        if timeout_at(until, drained).await.is_ok() {
            return stopped;
        }
        tracing::warn!(deadline = ?self.shutdown, "handlers still run: letting go of them");
        let _ = self.order.send(Order::Halt);
        let left = join_all(&mut self.tasks, &mut stopped);
        if timeout_at(deadline, left).await.is_err() {
            tracing::warn!("the engine did not let the services leave in time");
            self.tasks.shutdown().await;
        }
        stopped
    }
}

/// Waits until every service has ended; keeps the first failure, also when it is not waited for
/// to the end.
async fn join_all(tasks: &mut JoinSet<Ended>, first: &mut Result<()>) {
    while let Some(ended) = tasks.join_next().await {
        let (_, ended) = outcome(ended);
        if first.is_ok() {
            *first = ended;
        }
    }
}

/// What became of a service, and its name as far as it is known.
fn outcome(ended: Result<Ended, JoinError>) -> (String, Result<()>) {
    match ended.map_err(JoinError::try_into_panic) {
        Ok((group, outcome)) => (group.to_string(), outcome),
        Err(ended) => {
            let reason = match ended {
                Ok(panic) => format!("its task panicked: {}", message_of(panic)),
                Err(ended) => ended.to_string(),
            };
            let group = "(unknown)".to_owned();
            let stopped = Error::App(AppError::ServiceStopped {
                group: group.clone(),
                reason,
            });
            (group, Err(stopped))
        }
    }
}

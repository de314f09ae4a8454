//! Dispatch: position → handler → commit. The only committer, also for handlers in other processes
//! ([`consumer`]).
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
//! - whatever was taken is in exactly one of: a worker, the queue, the commit under way;
//! - the next commit forms while the last one becomes durable: there is no timer;
//! - a commit is never larger than an engine takes: it is cut between events, and what one event
//!   may bring is limited before it joins others ([`follow`]);
//! - what the engine refuses for good although it waits for nothing is cut in halves until the one
//!   event is found that is refused on its own: that becomes a dead letter, and what was handled
//!   after it of its key, and may have seen what it wrote, is handed back ([`session`]).

mod attempt;
pub(crate) mod consumer;
mod follow;
mod lane;
mod outcome;
mod overlay;
mod queue;
mod refused;
mod routes;
mod session;
mod state_scope;
#[cfg(test)]
#[cfg(feature = "embedded")]
mod tests;
mod uncommitted;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use self::refused::Refused;
pub(crate) use self::routes::Routes;
use self::session::Session;
pub(crate) use self::state_scope::StateScope;
use crate::engine::{Member, SharedEngine, Start, Subscription};
use crate::error::{Error, GroupError, Result};
use crate::event::Envelope;
use crate::metrics::GroupCounters;
use crate::service::middleware::Layer;

/// One service and everything that its events need on their way.
pub(crate) struct Dispatch {
    pub(crate) group: Arc<str>,
    pub(crate) engine: SharedEngine,
    pub(crate) routes: Routes,
    pub(crate) layers: Arc<[Layer]>,
    pub(crate) counters: Arc<GroupCounters>,
    pub(crate) start: Start,
    pub(crate) workers: usize,
    pub(crate) in_flight_max: usize,
    pub(crate) concurrency: usize,
    pub(crate) seed: u64,
    /// Set before [`Order::Drain`] is given: no handler begins any more.
    pub(crate) stopping: Arc<AtomicBool>,
    pub(crate) state_scope: StateScope,
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
                Err(Error::Group(GroupError::Fenced { group })) => {
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
                start: self.start.clone(),
                in_flight_max: self.in_flight_max,
            })
            .await
    }

    /// Joins again; `None` when the app stops first.
    async fn rejoin(&self, order: &mut watch::Receiver<Order>) -> Result<Option<Box<dyn Member>>> {
        let joining = async {
            let mut refused = Refused::default();
            loop {
                match self.join().await {
                    Ok(member) => {
                        self.counters.goes_on("join");
                        return Ok(Some(member));
                    }
                    Err(error) => refused.wait(error, "join", self).await?,
                }
            }
        };
        tokio::select! {
            biased;
            // The one who gives orders is gone, or wants it to stop.
            _ = order.wait_for(|order| *order != Order::Run) => Ok(None),
            joined = joining => joined,
        }
    }

    /// Notes that the handler of `event` uses the cell `name`; warns when handlers of several topics do.
    fn uses_state(&self, event: &Envelope, name: &str) {
        let route = self.routes.find(event.topic(), event.event_type());
        let warning = route.and_then(|it| self.state_scope.note(&self.group, &it.handler, name));
        if let Some(warning) = warning {
            tracing::warn!("{warning}");
        }
    }

    /// Whether the app stops: what has not begun is handed back.
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

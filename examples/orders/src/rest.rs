//! When a run is over: every order is placed, and no service has anything left to do.

use std::time::{Duration, Instant};

use ensue::engine::{EngineStatus, GroupStatus};
use ensue::prelude::*;

use crate::events::{OrderCreated, OrderPlaced};
use crate::progress::Progress;
use crate::run::Error;
use crate::services;
use crate::storefront;
use crate::world::World;

/// How often to look whether there is anything left to do.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits until all orders are placed and no service has anything left to do; says since when.
///
/// Both are read from the log, whichever processes place the orders and run the services: what a
/// service has not settled counts as its work, and what follows from an event is there as soon as
/// the event is settled. Services of this process hold events that the log does not tell of, and
/// the groups are not all looked at in the same instant. So two looks in a row must find everyone
/// idle, with nothing appended between them. A dead letter is an end, if a bad one: it keeps nobody
/// waiting.
///
/// # Errors
/// [`Error::Paused`], and what the engine reports.
pub(crate) async fn at_rest(
    engine: &Engine,
    world: &dyn World,
    progress: &Progress,
) -> Result<Instant, Error> {
    let mut is_placed = false;
    let mut idle_since = None;
    loop {
        let looked = Instant::now();
        let status = engine.status().await?;
        if let Some((service, reason)) = paused(&status) {
            return Err(Error::Paused { service, reason });
        }
        let placed = events_of(&status, OrderPlaced::TOPIC);
        progress.show(
            placed,
            busy_in(&status),
            events_of(&status, OrderCreated::TOPIC),
        );
        // There may be other orders in the log: enough of them are not yet the right ones.
        if !is_placed && placed >= world.len() as u64 {
            let placed = storefront::placed_in(engine).await?;
            is_placed = world.orders().all(|order| placed.contains(&order.order_id));
        }
        let is_idle = services::ALL.iter().all(|(name, _)| {
            // A service that nobody has started yet has everything to do.
            status.group(name).is_some_and(GroupStatus::is_idle)
        });
        idle_since = match idle_since {
            Some((end, since)) if is_placed && is_idle && end == status.end => return Ok(since),
            _ if is_placed && is_idle => Some((status.end, Instant::now())),
            _ => None,
        };
        // Whoever looks takes time from those who work.
        tokio::time::sleep(LOOK_EVERY.max(looked.elapsed() * 3)).await;
    }
}

/// How many events a topic holds.
pub(crate) fn events_of(status: &EngineStatus, topic: &str) -> u64 {
    let mut topics = status.topics.iter().filter(|it| it.name == topic);
    topics.next().map_or(0, |topic| topic.events)
}

/// The groups of our services: others may read the same log at their leisure.
fn ours(status: &EngineStatus) -> impl Iterator<Item = &GroupStatus> {
    let ours = services::ALL.iter();
    ours.filter_map(|(name, _)| status.group(name))
}

fn paused(status: &EngineStatus) -> Option<(String, String)> {
    ours(status).find_map(|group| {
        let reason = group.paused.clone()?;
        Some((group.name.clone(), reason))
    })
}

/// How many events wait for a service, or are in its hands.
fn busy_in(status: &EngineStatus) -> u64 {
    ours(status)
        .map(|group| group.lag + (group.in_flight + group.retrying) as u64)
        .sum()
}

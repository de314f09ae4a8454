//! When a run is over: every order is placed, and no service has anything left to do.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use ensue::engine::{EngineStatus, GroupStatus, Query};
use ensue::error::EngineError;
use ensue::prelude::*;

use crate::error::Error;
use crate::events::{OrderCreated, OrderPlaced};
use crate::progress::Progress;
use crate::services;
use crate::world::World;

/// How often the progress is shown.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// Waits until all orders are placed and no service has anything left to do, whichever processes place
/// the orders and run the services; says since when. A dead letter is an end, if a bad one.
///
/// # Errors
/// [`Error::Paused`], and what the engine reports.
pub(crate) async fn at_rest(
    engine: &Engine,
    world: &dyn World,
    progress: &Progress,
) -> Result<Instant, Error> {
    let rest = async {
        all_placed(engine, world).await?;
        let services = services::ALL.iter().map(|(name, _)| *name);
        engine.settled(services).await?;
        Ok(Instant::now())
    };
    tokio::select! {
        rested = rest => rested,
        paused = watch(engine, progress) => Err(paused),
    }
}

/// Waits until the orders of the world are in the log; there may be others.
async fn all_placed(engine: &Engine, world: &dyn World) -> Result<(), Error> {
    let mut missing: HashSet<String> = world.orders().map(|order| order.order_id).collect();
    let query = Query {
        topics: Some(OrderPlaced::TOPIC.parse().map_err(ensue::Error::from)?),
        ..Query::default()
    };
    let mut placed = engine.read(query).follow();
    while !missing.is_empty() {
        let order = placed.next().await;
        let order = order.ok_or_else(|| ensue::Error::from(EngineError::Closed))??;
        missing.remove(order.envelope.key());
    }
    Ok(())
}

/// Shows how far the run is; ends when a service takes no further events.
async fn watch(engine: &Engine, progress: &Progress) -> Error {
    loop {
        let status = match engine.status().await {
            Ok(status) => status,
            Err(error) => return error.into(),
        };
        if let Some((service, reason)) = paused(&status) {
            return Error::Paused { service, reason };
        }
        progress.show(
            events_of(&status, OrderPlaced::TOPIC),
            busy_in(&status),
            events_of(&status, OrderCreated::TOPIC),
        );
        tokio::time::sleep(SHOW_EVERY).await;
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

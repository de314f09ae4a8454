//! One run: start the services, place the orders, wait until every order has reached its end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ensue::SharedEngine;
use ensue::engine::{EngineStatus, GroupStatus};
use ensue::prelude::*;

use crate::cli::Args;
use crate::events::{OrderCreated, OrderPlaced};
use crate::outside::{Ledger, Outside};
use crate::progress::Progress;
use crate::services;
use crate::storefront::Storefront;
use crate::summary::{RunFigures, Summary};
use crate::world::{Generated, Recorded, RecordedError, World};

/// How often to look whether there is anything left to do.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// Every order has reached its end.
    AtRest(Summary),
    /// Somebody asked it to stop before that.
    Interrupted,
}

/// Why a run did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine or a service.
    #[error(transparent)]
    Engine(#[from] ensue::Error),
    /// The file with the orders.
    #[error(transparent)]
    Input(#[from] RecordedError),
    /// The gateway's books.
    #[error("the gateway's books {}: {source}", path.display())]
    Ledger {
        /// Where they are.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// A service takes no further events.
    #[error("the service `{service}` is paused: {reason}")]
    Paused {
        /// Which service.
        service: String,
        /// Why.
        reason: String,
    },
}

/// Runs everything, as the command line asks.
///
/// # Errors
/// See [`Error`].
pub async fn run(args: &Args) -> Result<Ended, Error> {
    let world: Arc<dyn World> = match &args.input {
        Some(path) => Arc::new(Recorded::load(path)?),
        None => Arc::new(Generated::new(args.orders, args.seed)),
    };
    let engine = ensue::connect(&args.engine()).await?;
    let outside = Outside::new(world.clone(), open_ledger(args)?, args.faults);
    let before = events_in(&engine.status().await?);

    let app = App::new(engine.clone()).publishes::<OrderPlaced>();
    let mut running = services::add_all(app, &outside).start().await?;
    let storefront = Storefront::new(running.publisher("/storefront"), args.rate);
    let progress = Progress::new(world.len(), args.json);

    let started = Instant::now();
    let through = async {
        let placing = async { Ok(storefront.place_all(world.as_ref()).await?) };
        tokio::try_join!(placing, at_rest(&engine, &storefront, &progress))
    };
    let rested: Result<Option<Instant>, Error> = tokio::select! {
        rested = through => rested.map(|((), since)| Some(since)),
        error = running.failed() => Err(error.into()),
        _ = tokio::signal::ctrl_c() => Ok(None),
    };
    progress.finish();

    let metrics = running.metrics().clone();
    let rested = rested?;
    running.stop().await?;
    let ended = match rested {
        None => Ended::Interrupted,
        Some(since) => {
            let figures = RunFigures {
                retries: metrics.groups().values().map(|group| group.retried).sum(),
                events: events_in(&engine.status().await?).saturating_sub(before),
                took: since.duration_since(started),
            };
            Ended::AtRest(Summary::read(&engine, outside.ledger(), figures).await?)
        }
    };
    engine.close().await?;
    Ok(ended)
}

fn open_ledger(args: &Args) -> Result<Ledger, Error> {
    match args.ledger() {
        None => Ok(Ledger::in_memory()),
        Some(path) => Ledger::open(&path).map_err(|source| Error::Ledger { path, source }),
    }
}

/// Waits until all orders are placed and no service has anything left to do; says since when.
///
/// A service may have nothing to do while another is about to give it something, and the groups are
/// not all looked at in the same instant. So two looks in a row must find everyone idle, with
/// nothing appended between them. A dead letter is an end, if a bad one: it keeps nobody waiting.
async fn at_rest(
    engine: &SharedEngine,
    storefront: &Storefront,
    progress: &Progress,
) -> Result<Instant, Error> {
    let mut idle_since = None;
    loop {
        let is_placed = storefront.is_done();
        let status = engine.status().await?;
        if let Some((service, reason)) = paused(&status) {
            return Err(Error::Paused { service, reason });
        }
        progress.show(storefront.placed(), busy_in(&status), events_in(&status));
        let is_idle = ours(&status).all(GroupStatus::is_idle);
        idle_since = match idle_since {
            Some((end, since)) if is_placed && is_idle && end == status.end => return Ok(since),
            _ if is_placed && is_idle => Some((status.end, Instant::now())),
            _ => None,
        };
        tokio::time::sleep(LOOK_EVERY).await;
    }
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

/// How many events of an order's life there are.
fn events_in(status: &EngineStatus) -> u64 {
    let topics = status.topics.iter();
    let mut orders = topics.filter(|topic| topic.name == OrderCreated::TOPIC);
    orders.next().map_or(0, |topic| topic.events)
}

/// How many events wait for a service, or are in its hands.
fn busy_in(status: &EngineStatus) -> u64 {
    ours(status)
        .map(|group| group.lag + (group.in_flight + group.retrying) as u64)
        .sum()
}

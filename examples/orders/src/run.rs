//! One run of a process: start the services that it has, place the orders, wait until every order
//! has reached its end; all of it, or the parts that the command line names.

use std::sync::Arc;
use std::time::Instant;

use ensue::engine::EngineStatus;
use ensue::prelude::*;
use ensue::{Metrics, Running};

use crate::cli::Args;
use crate::error::Error;
use crate::events::{OrderCreated, OrderPlaced};
use crate::outside::{Ledger, Outside};
use crate::progress::Progress;
use crate::rest;
use crate::services;
use crate::storefront::Storefront;
use crate::summary::{RunFigures, Summary};
use crate::world::{Generated, Recorded, World};

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// Every order has reached its end.
    AtRest(Summary),
    /// All orders are placed, and this process has nothing else to do.
    Placed,
    /// It was asked to stop before its work was done.
    Interrupted,
    /// It was asked to stop, as the only way in which services without a report end.
    Stopped,
}

/// Runs everything, or the parts that the command line asks for.
///
/// # Errors
/// See [`Error`].
pub async fn run(args: &Args) -> Result<Ended, Error> {
    let world: Arc<dyn World> = match &args.input {
        Some(path) => Arc::new(Recorded::load(path)?),
        None => Arc::new(Generated::new(args.orders, args.seed)),
    };
    let engine = Engine::open(&args.engine()).await?;
    let outside = Outside::new(world.clone(), open_ledger(args)?, args.faults);
    let before = events_in(&engine.status().await?);

    let app = App::new(engine.clone()).publishes::<OrderPlaced>();
    let app = services::add(app, &outside, |name| args.has_service(name));
    let mut running = app.start().await?;
    let started = Instant::now();
    let worked = work(args, world.as_ref(), &mut running).await;

    let metrics = running.metrics().clone();
    let worked = worked?;
    running.stop().await?;
    let ended = match worked {
        Worked::Asked if has_end(args) => Ended::Interrupted,
        Worked::Asked => Ended::Stopped,
        Worked::Placed => Ended::Placed,
        Worked::AtRest(since) => {
            let figures = RunFigures {
                retries: retries(&metrics),
                events: events_in(&engine.status().await?).saturating_sub(before),
                took: since.duration_since(started),
            };
            let ledger = outside.ledger();
            let charges = ledger.charges_by_order().map_err(books_failed(args))?;
            Ended::AtRest(Summary::read(&engine, &charges, figures).await?)
        }
    };
    engine.close().await?;
    Ok(ended)
}

/// How the work of a process came to its end.
enum Worked {
    AtRest(Instant),
    Placed,
    Asked,
}

async fn work(args: &Args, world: &dyn World, running: &mut Running) -> Result<Worked, Error> {
    let engine = running.engine().clone();
    let storefront = Storefront::new(engine.clone(), args.rate);
    let placing = async {
        if args.has_storefront() {
            storefront.place_all(world).await?;
        }
        Ok(())
    };
    let resting = async {
        if !args.has_report() {
            return Ok(None);
        }
        let progress = Progress::new(world.len(), args.json);
        let since = rest::at_rest(&engine, world, &progress).await;
        progress.finish();
        since.map(Some)
    };
    let through = async {
        let ((), since) = tokio::try_join!(placing, resting)?;
        match since {
            Some(since) => Ok(Worked::AtRest(since)),
            None if has_end(args) => Ok(Worked::Placed),
            // Services serve until they are asked to stop.
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        worked = through => worked,
        error = running.failed() => Err(error.into()),
        () = ensue::asked_to_stop() => Ok(Worked::Asked),
    }
}

/// Whether the process has something to do that is done at some time: services alone never are.
fn has_end(args: &Args) -> bool {
    let has_services = services::ALL.iter().any(|(name, _)| args.has_service(name));
    args.has_report() || (args.has_storefront() && !has_services)
}

fn open_ledger(args: &Args) -> Result<Ledger, Error> {
    match args.ledger() {
        None => Ok(Ledger::in_memory()),
        Some(path) => Ledger::open(&path).map_err(books_failed(args)),
    }
}

fn books_failed(args: &Args) -> impl FnOnce(std::io::Error) -> Error {
    let path = args.ledger().unwrap_or_default();
    |source| Error::Ledger { path, source }
}

fn retries(metrics: &Metrics) -> u64 {
    metrics.groups().values().map(|group| group.retried).sum()
}

/// How many events of an order's life there are.
fn events_in(status: &EngineStatus) -> u64 {
    rest::events_of(status, OrderCreated::TOPIC)
}

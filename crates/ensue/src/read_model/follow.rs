//! Following the log: what a model is built from, again where that has to be, and kept up to date by.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Definition;
use super::view::{Built, LEFT_OUT_MAX, Taken, View};
use crate::engine::{Cursor, Position, Query, Recorded, SharedEngine};
use crate::error::{EngineError, Error, ReadError, Result};

/// How many events a page has.
const PAGE_EVENTS_MAX: usize = 1_000;
/// How long an engine that is away is waited for before it is asked again.
const AWAY_WAIT: Duration = Duration::from_millis(500);

/// What a model begins with: its newest snapshot, or nothing.
pub(super) async fn beginning<T>(
    definition: &Definition<T>,
    engine: &SharedEngine,
) -> Result<Built<T>> {
    let which = (definition.name.as_str(), definition.revision);
    if let Some(snapshots) = &definition.snapshots
        && let Some(built) = snapshots.load(engine, which).await?
    {
        return Ok(built);
    }
    Ok(Built {
        value: (definition.begin)(),
        next: Cursor::START,
        left_out: BTreeMap::new(),
    })
}

/// Follows the log for ever; says why it cannot.
pub(super) async fn follow<T>(
    definition: &Definition<T>,
    engine: &SharedEngine,
    view: &Arc<View<T>>,
) -> String {
    let mut since_snapshot = 0;
    loop {
        match step(definition, engine, view, &mut since_snapshot).await {
            Ok(None) => {}
            Ok(Some(reason)) => return reason,
            Err(Error::Engine(EngineError::Unavailable { .. })) => {
                tokio::time::sleep(AWAY_WAIT).await;
            }
            Err(error) => return crate::error::with_causes(&error),
        }
    }
}

/// Takes a page, and waits for the next if that was the last; why the model ends, if it does.
async fn step<T>(
    definition: &Definition<T>,
    engine: &SharedEngine,
    view: &Arc<View<T>>,
    since_snapshot: &mut u64,
) -> Result<Option<String>> {
    let query = Query {
        topics: definition.topics(),
        types: definition.types(),
        from: view.next(),
        limit: PAGE_EVENTS_MAX,
        ..Query::default()
    };
    let page = match engine.read(query).await {
        Ok(page) => page,
        Err(Error::Read(error @ (ReadError::BeyondEnd { .. } | ReadError::Trimmed { .. }))) => {
            let model = &definition.name;
            tracing::warn!(model, %error, "the log is another one, or has lost what was not read: building again");
            let built = beginning(definition, engine).await?;
            let end = engine.health().await?.end.position();
            view.replace(built, end);
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    match view.take(&definition.folds, &page.events, page.next.clone()) {
        Taken::All(applied) => *since_snapshot += applied,
        Taken::Panicked(position, reason) => {
            build_without(definition, engine, view, (position, reason)).await?;
            return Ok(None);
        }
        Taken::TooManyLeftOut => {
            return Ok(Some(format!(
                "more than {LEFT_OUT_MAX} events could not be applied"
            )));
        }
    }
    if let Some(last) = page.events.last() {
        keep_snapshot(definition, engine, (view, last), since_snapshot).await;
    }
    if page.is_end {
        engine.wait(page.next).await?;
    }
    Ok(None)
}

/// Builds the value again, without an event that has damaged it.
async fn build_without<T>(
    definition: &Definition<T>,
    engine: &SharedEngine,
    view: &Arc<View<T>>,
    (position, reason): (Position, String),
) -> Result<()> {
    let model = &definition.name;
    tracing::error!(model, %position, reason, "an event is left out, and the value built again without it");
    let mut left_out = view.built(|built| built.left_out.clone());
    left_out.insert(position, reason);
    let readable_from = view.readable_from();
    let mut built = loop {
        match beginning(definition, engine).await {
            Err(Error::Engine(EngineError::Unavailable { .. })) => {
                tokio::time::sleep(AWAY_WAIT).await;
            }
            built => break built?,
        }
    };
    // What a snapshot has left out was left out here as well, or is behind it.
    built.left_out.append(&mut left_out);
    view.replace(built, readable_from);
    Ok(())
}

/// Keeps a snapshot if it is time for one. One that cannot be written is no reason to end.
async fn keep_snapshot<T>(
    definition: &Definition<T>,
    engine: &SharedEngine,
    (view, last): (&Arc<View<T>>, &Recorded),
    since: &mut u64,
) {
    let Some(snapshots) = &definition.snapshots else {
        return;
    };
    if *since < snapshots.every {
        return;
    }
    // Also if it fails: not again with the next event.
    *since = 0;
    let which = (definition.name.as_str(), definition.revision);
    if let Err(error) = snapshots.write(engine, which, (view, last)).await {
        tracing::debug!(model = definition.name, %error, "no snapshot is kept");
    }
}

//! What lanes are fed with: the log, read in its order from where the database is.

use std::sync::Arc;
use std::time::Duration;

use ensue::engine::{Page, Query, Recorded};
use ensue::error::{EngineError, ReadError};
use ensue::{Cursor, Engine, Position};
use tokio::sync::{mpsc, watch};

use super::definition::Definition;
use super::lane::{Ended, Lane, number};
use super::position::{LanePosition, lane_of, mark};
use crate::database::Database;
use crate::error::{Error, Result};

/// How many pages a lane may be behind the reader.
const PAGES_AHEAD_MAX: usize = 4;
/// How many events a page has.
const PAGE_EVENTS_MAX: usize = 1_000;
/// How long an engine that is away is waited for before it is asked again.
const AWAY_WAIT: Duration = Duration::from_millis(500);
/// How often a lane without events of its own notes how far the log was read.
const IDLE_NOTE: Duration = Duration::from_secs(5);

/// What a page has for one lane.
pub(super) struct Portion {
    events: Vec<Recorded>,
    /// Everything of the lane before this was given.
    upto: i64,
}

pub(super) type Outlets = Vec<mpsc::Sender<Portion>>;
pub(super) type Inlet = mpsc::Receiver<Portion>;

/// The two ends between the reader and its lanes.
pub(super) fn channels(lanes: usize) -> (Outlets, Vec<Inlet>) {
    (0..lanes).map(|_| mpsc::channel(PAGES_AHEAD_MAX)).unzip()
}

/// Reads the log from the lanes' positions on, for ever.
pub(super) async fn read<P: Send + Sync + 'static, DB: Database>(
    engine: Engine,
    (definition, group): (Arc<Definition<P, DB>>, String),
    positions: Vec<i64>,
    outlets: Outlets,
) -> Result<(), Ended> {
    let from = positions.iter().copied().min().unwrap_or(0);
    let mut query = query(&definition, from);
    loop {
        let page = page(&engine, &query, &group).await?;
        let (next, is_end) = (page.next.clone(), page.is_end);
        let upto = i64::try_from(next.position().get()).unwrap_or(i64::MAX);
        let mut portions: Vec<Vec<Recorded>> = outlets.iter().map(|_| Vec::new()).collect();
        for event in page.events {
            let lane = lane_of(event.envelope.key(), outlets.len());
            let is_ahead = positions.get(lane).is_some_and(|at| number(&event) >= *at);
            if let Some(portion) = portions.get_mut(lane)
                && is_ahead
                && definition.route(&event).is_some()
            {
                portion.push(event);
            }
        }
        for (outlet, events) in outlets.iter().zip(portions) {
            if outlet.send(Portion { events, upto }).await.is_err() {
                // Its lane has ended, and says why.
                std::future::pending::<()>().await;
            }
        }
        query.from = next;
        if is_end {
            wait(&engine, &query.from).await?;
        }
    }
}

fn query<P: Send + Sync + 'static, DB: Database>(
    definition: &Definition<P, DB>,
    from: i64,
) -> Query {
    Query {
        topics: definition.topics(),
        types: definition.types(),
        from: cursor(from),
        limit: PAGE_EVENTS_MAX,
        ..Query::default()
    }
}

/// The next events of the lanes, as far as the first page has them.
pub(super) async fn first_of_lanes<P: Send + Sync + 'static, DB: Database>(
    definition: &Definition<P, DB>,
    engine: &Engine,
    group: &str,
    rows: &[LanePosition],
) -> Result<Vec<i64>, Ended> {
    let from = rows.iter().map(|row| row.position).min().unwrap_or(0);
    let page = page(engine, &query(definition, from), group).await?;
    let mut first: Vec<Option<i64>> = vec![None; rows.len()];
    for event in &page.events {
        let lane = lane_of(event.envelope.key(), rows.len());
        let is_ahead = rows
            .get(lane)
            .is_some_and(|row| number(event) >= row.position);
        if let Some(first @ None) = first.get_mut(lane)
            && is_ahead
            && definition.route(event).is_some()
        {
            *first = Some(number(event));
        }
    }
    Ok(first.into_iter().flatten().collect())
}

async fn page(engine: &Engine, query: &Query, group: &str) -> Result<Page, Ended> {
    loop {
        match engine.shared().read(query.clone()).await {
            Ok(page) => return Ok(page),
            Err(error) => away(error, group, query).await?,
        }
    }
}

async fn wait(engine: &Engine, from: &Cursor) -> Result<(), Ended> {
    match engine.wait(from.clone()).await {
        Ok(()) => Ok(()),
        Err(ensue::Error::Engine(EngineError::Unavailable { .. })) => {
            tokio::time::sleep(AWAY_WAIT).await;
            Ok(())
        }
        Err(error) => Err(Error::from(error).into()),
    }
}

/// Waits for an engine that is away; says what else there is to an error.
async fn away(error: ensue::Error, group: &str, query: &Query) -> Result<(), Ended> {
    let position = i64::try_from(query.from.position().get()).unwrap_or(i64::MAX);
    let group = group.to_owned();
    let error = match error {
        ensue::Error::Engine(EngineError::Unavailable { .. }) => {
            tokio::time::sleep(AWAY_WAIT).await;
            return Ok(());
        }
        ensue::Error::Read(ReadError::Trimmed { .. }) => Error::Trimmed { group, position },
        ensue::Error::Read(error @ ReadError::BeyondEnd { .. }) => Error::OtherLog {
            group,
            what: error.to_string(),
        },
        error => Error::Engine(error),
    };
    Err(error.into())
}

/// Whether the log has, where the database says, the events that it has applied last.
pub(super) async fn check_log(engine: &Engine, group: &str, rows: &[LanePosition]) -> Result<()> {
    for (position, expected) in rows.iter().filter_map(|row| row.last) {
        let query = Query {
            from: cursor(position),
            until: Some(cursor(position + 1)),
            limit: 1,
            ..Query::default()
        };
        let other = |what: String| Error::OtherLog {
            group: group.to_owned(),
            what,
        };
        let page = match engine.shared().read(query).await {
            Ok(page) => page,
            // What is not kept cannot be compared.
            Err(ensue::Error::Read(ReadError::Trimmed { .. })) => continue,
            Err(ensue::Error::Read(error @ ReadError::BeyondEnd { .. })) => {
                return Err(other(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        let found = page.events.first();
        if let Some(found) = found.filter(|found| mark(found) != expected) {
            let id = found.envelope.id();
            return Err(other(format!(
                "at position {position} it has the event `{id}`, which is not the one that was applied"
            )));
        }
    }
    Ok(())
}

fn cursor(position: i64) -> Cursor {
    Position::new(u64::try_from(position).unwrap_or(0)).into()
}

/// Applies what comes, as much at a time as has come, up to a batch.
pub(super) async fn drain<P: Send + Sync + 'static, DB: Database>(
    lane: Arc<Lane<P, DB>>,
    mut inlet: Inlet,
    mut hold: watch::Receiver<Option<i64>>,
    batch_events_max: usize,
) -> Result<(), Ended> {
    let mut upto = lane.position();
    let mut note = tokio::time::interval(IDLE_NOTE);
    note.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let is_due = tokio::select! {
            portion = inlet.recv() => {
                let Some(portion) = portion else {
                    return std::future::pending().await; // The reader has ended, and says why.
                };
                let mut events = portion.events;
                upto = portion.upto;
                while events.len() < batch_events_max
                    && let Ok(more) = inlet.try_recv()
                {
                    events.extend(more.events);
                    upto = more.upto;
                }
                if !events.is_empty() {
                    lane.apply(&events, upto).await?;
                }
                false
            }
            _ = note.tick() => true,
            changed = hold.changed() => changed.is_ok(),
        };
        let held = *hold.borrow_and_update();
        let to = held.map_or(upto, |hold| hold.min(upto));
        if (is_due || held.is_some()) && to > lane.position() {
            lane.apply(&[], to).await?;
        }
    }
}

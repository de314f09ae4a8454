//! One owner's time with a version of a projection: from taking it over to stopping or being replaced.

use std::sync::Arc;
use std::time::Duration;

use ensue::error::EngineError;
use ensue::{App, Engine};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::definition::Definition;
use super::feed::{self, channels};
use super::group::{self, Lanes};
use super::lane::{Ended, Lane, Term};
use super::names::Names;
use super::position::{self, Aside, LanePosition, Owner};
use super::restored;
use super::version;
use crate::database::Database;
use crate::error::{Error, Result};

/// How often an owner says that it lives, and looks whether it still is the owner.
pub(super) const BEAT: Duration = Duration::from_secs(1);
/// How many events of each lane the group holds. It follows the database: what it takes before that has it would
/// wait, and the engine would go on past keys that wait, to read them once more later.
const IN_FLIGHT_PER_LANE: usize = 256;
/// How many of them wait at the same time. Every transaction wakes them, and those behind them find the database
/// there already.
const WAITING_PER_LANE: usize = 16;
/// How long the group may take to leave.
const FAREWELL: Duration = Duration::from_secs(2);

/// What an owner found when it took over.
pub(super) struct Claimed {
    pub(super) owner: Owner,
    pub(super) rows: Vec<LanePosition>,
    pub(super) aside: Vec<Aside>,
}

/// Builds the version until it is told to stop, or is not the owner any more.
pub(super) async fn run<P: Send + Sync + 'static, DB: Database>(
    definition: &Arc<Definition<P, DB>>,
    engine: &Engine,
    names: Arc<Names>,
    claimed: Claimed,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), Ended> {
    let Claimed { owner, rows, aside } = claimed;
    let group = owner.name.clone();
    feed::check_log(engine, &group, &rows).await?;
    let mut waiting = feed::first_of_lanes(definition, engine, &group, &rows).await?;
    waiting.extend(aside.iter().map(|aside| aside.position));
    waiting.sort_unstable();
    restored::handle_again(engine, &group, &waiting).await?;
    let positions: Vec<i64> = rows.iter().map(|row| row.position).collect();
    let count = rows.len();
    let term = Arc::new(Term {
        definition: Arc::clone(definition),
        engine: engine.clone(),
        names: Arc::clone(&names),
        owner: owner.clone(),
    });
    let lanes: Lanes<P, DB> = (0..count)
        .zip(rows)
        .map(|(number, row)| Arc::new(Lane::new(Arc::clone(&term), (number, count), row, &aside)))
        .collect();
    let (ended, mut endings) = mpsc::channel(1);
    let mut app = App::new(engine.clone())
        .in_flight_max(IN_FLIGHT_PER_LANE * count)
        .concurrency(WAITING_PER_LANE * count)
        .shutdown_deadline(FAREWELL);
    for handler in group::handlers(definition, &lanes, &ended) {
        app = app.handler(&group, handler);
    }
    let mut running = app.start().await?;
    let (hold, held) = watch::channel(None);
    let (outlets, inlets) = channels(count);
    let mut tasks: JoinSet<Result<(), Ended>> = JoinSet::new();
    let batch = definition.settings.batch_events_max;
    for (lane, inlet) in lanes.iter().zip(inlets) {
        tasks.spawn(feed::drain(Arc::clone(lane), inlet, held.clone(), batch));
    }
    let reading = (Arc::clone(definition), group.clone());
    tasks.spawn(feed::read(engine.clone(), reading, positions, outlets));
    tasks.spawn(beat(Arc::clone(&term), Arc::clone(&lanes), hold));
    let end = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => Ok(()),
        Some(ended) = endings.recv() => Err(ended),
        Some(task) = tasks.join_next() => match task {
            Ok(ended) => ended,
            Err(error) => Err(Error::Refused(format!("a task of it ended: {error}")).into()),
        },
        error = running.failed() => Err(Error::from(error).into()),
    };
    tasks.shutdown().await;
    if let Err(error) = running.stop().await {
        tracing::debug!(group, %error, "left its group");
    }
    end
}

/// Says from time to time that the owner lives, and how far the log is; hears what holds the lanes.
async fn beat<P: Send + Sync + 'static, DB: Database>(
    term: Arc<Term<P, DB>>,
    lanes: Lanes<P, DB>,
    hold: watch::Sender<Option<i64>>,
) -> Result<(), Ended> {
    let mut seen = (None, 0);
    let mut since = Instant::now();
    let mut end = 0;
    loop {
        end = match term.engine.health().await {
            Ok(health) => i64::try_from(health.end.position().get()).unwrap_or(i64::MAX),
            Err(ensue::Error::Engine(EngineError::Unavailable { .. })) => end,
            Err(error) => return Err(Error::from(error).into()),
        };
        let is_silent = since.elapsed() > position::HOLD_SILENCE;
        let silent = seen.0.filter(|_| is_silent).map(|_| seen.1);
        match say(&term, end, silent).await {
            Ok(Some(now)) => {
                if now != seen {
                    (seen, since) = (now, Instant::now());
                }
                hold.send_if_modified(|hold| std::mem::replace(hold, now.0) != now.0);
            }
            Ok(None) => return Err(Ended::Lost),
            Err(error) if error.is_passing() => {}
            Err(error) => return Err(error.into()),
        }
        for lane in lanes.iter() {
            lane.pass_by_what_was_given_up().await?;
        }
        tokio::time::sleep(BEAT).await;
    }
}

/// What holds the lanes, and the holder's sign of life; `None` if the owner is not the owner any more. A holder
/// that was `silent` since this sign holds no longer.
async fn say<P: Send + Sync + 'static, DB: Database>(
    term: &Term<P, DB>,
    log_end: i64,
    silent: Option<i64>,
) -> Result<Option<(Option<i64>, i64)>> {
    let (names, owner) = (&term.names, &term.owner);
    let mut connection = term.definition.pool.acquire().await?;
    let which = (names.projection(), names.version());
    if !version::beat::<DB>(&mut connection, which, owner.epoch, log_end).await? {
        return Ok(None);
    }
    if let Some(beat) = silent {
        position::let_go::<DB>(&mut connection, &owner.name, beat).await?;
    }
    let rows = position::lanes::<DB>(&mut connection, &owner.name).await?;
    let hold = rows.iter().filter_map(|row| row.hold).min();
    let beat = rows.iter().map(|row| row.hold_beat).max().unwrap_or(0);
    Ok(Some((hold, beat)))
}

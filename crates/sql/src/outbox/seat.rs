//! Where a relay begins: behind the last progress in the engine, with a database that has followed it.
//!
//! | the engine's last progress | the database | then |
//! | --- | --- | --- |
//! | none | at its beginning, or retention has removed the progress | a first one is appended, while the database is held |
//! | is the database's | | that is the seat |
//! | follows the database's | has the rows that it names | the database follows |
//! | is further | was put back from a backup | rows whose events the log has are removed |
//! | is behind, or is another | | [`Error::EngineBehind`]: nothing is relayed |

use ensue::{Cursor, Engine, Position};
use sqlx::Pool;

use super::follow::{Place, follow, hold, removal};
use super::progress::{self, Check, Progress, Recorded};
use super::row::{self, Waiting};
use super::row_ids::RowIds;
use crate::database::Database;
use crate::dialect::Dialect;
use crate::error::{Error, Result};

/// How many rows are looked up in the log before those that it has are removed.
const PAGE_ROWS: i64 = 200;

/// The last progress of an outbox, which its database has followed.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) identity: String,
    pub(super) last: Recorded,
    pub(super) position: Position,
}

/// Takes the seat, whatever the last relay left undone.
pub(super) async fn take<DB: Database>(pool: &Pool<DB>, engine: &Engine) -> Result<Seat> {
    loop {
        let before = place(pool).await?;
        let found = progress::last(engine, &before.identity).await?;
        if place(pool).await? != before {
            // Another relay is at work.
            continue;
        }
        let Some((last, position)) = found else {
            begin(pool, engine).await?;
            continue;
        };
        if before.progress.as_ref() == Some(&last.id) {
            return Ok(Seat {
                identity: before.identity,
                last,
                position,
            });
        }
        let said = &last.progress;
        let is_next = said.batch == before.batch + 1 && said.previous == before.progress;
        if is_next && are_its_rows(pool, &last.progress).await? {
            follow(pool, &last).await?;
        } else if said.batch > before.batch {
            catch_up(pool, engine, &before, &last).await?;
        } else {
            return Err(Error::EngineBehind {
                database: before.batch,
                engine: said.batch,
            });
        }
    }
}

pub(super) async fn place<DB: Database>(pool: &Pool<DB>) -> Result<Place> {
    let mut reading = pool.begin_with(reading::<DB>()).await?;
    Place::read::<DB>(&mut reading).await
}

/// Appends the first progress, or the first after retention has removed the last: without a condition, which
/// there is nothing for. Of several relays only the one that holds the database does it.
async fn begin<DB: Database>(pool: &Pool<DB>, engine: &Engine) -> Result<()> {
    let mut transaction = pool.begin_with(DB::BEGIN).await?;
    let connection: &mut DB::Connection = &mut transaction;
    hold::<DB>(connection).await?;
    let place = Place::read::<DB>(connection).await?;
    if progress::last(engine, &place.identity).await?.is_none() {
        let is_whole = engine.health().await?.first == Cursor::START;
        if place.batch > 0 && is_whole {
            return Err(Error::EngineBehind {
                database: place.batch,
                engine: 0,
            });
        }
        let previous = place.progress.as_deref();
        let first = Recorded::after(previous, place.batch + 1, Progress::default());
        let now = engine.clock().now();
        engine
            .append(vec![first.append(&place.identity, None, now)?])
            .await?;
        Place::advance::<DB>(connection, (place.batch, previous), &first).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Whether the rows that a progress has relayed are those that have their numbers here: after the database
/// was put back from a backup, others may have got them.
async fn are_its_rows<DB: Database>(pool: &Pool<DB>, progress: &Progress) -> Result<bool> {
    let Some((first, _)) = progress.relayed.ranges().next() else {
        return Ok(true);
    };
    let mut wanted: Vec<i64> = progress.relayed.iter().collect();
    let mut events = Vec::with_capacity(wanted.len());
    let mut after = first - 1;
    while let Some(last) = wanted.last().copied() {
        let rows = page(pool, after, PAGE_ROWS).await?;
        let Some(end) = rows.last().map(|row| row.id) else {
            break;
        };
        for row in rows {
            if let Ok(at) = wanted.binary_search(&row.id) {
                wanted.remove(at);
                events.extend(row.event);
            }
        }
        after = end;
        if end >= last {
            break;
        }
    }
    Ok(wanted.is_empty() && Check::of(events.iter()) == progress.check)
}

/// Removes the rows whose events the log has, and takes the database on to the last progress: it was put back
/// from a backup that is older than that.
async fn catch_up<DB: Database>(
    pool: &Pool<DB>,
    engine: &Engine,
    place: &Place,
    last: &Recorded,
) -> Result<()> {
    tracing::warn!(
        outbox = place.identity,
        database = place.batch,
        engine = last.progress.batch,
        "the database is behind what was relayed from it, as after a restored backup: each row is looked up \
         in the log before it is relayed"
    );
    let mut after = i64::MIN;
    loop {
        let rows = page(pool, after, PAGE_ROWS).await?;
        let Some(end) = rows.last().map(|row| row.id) else {
            break;
        };
        after = end;
        let mut known = RowIds::default();
        for row in rows {
            if let Ok(event) = &row.event
                && progress::has(engine, event).await?
            {
                known.push(row.id);
            }
        }
        if !known.is_empty() {
            let mut transaction = pool.begin_with(DB::BEGIN).await?;
            let delete = removal::<DB>(&known);
            DB::run(&mut transaction, delete).await?;
            transaction.commit().await?;
            tracing::info!(
                rows = known.count(),
                "the log has these rows already: removed"
            );
        }
    }
    let mut transaction = pool.begin_with(DB::BEGIN).await?;
    let from = (place.batch, place.progress.as_deref());
    Place::advance::<DB>(&mut transaction, from, last).await?;
    transaction.commit().await?;
    Ok(())
}

/// Begins to read. A connection that comes back from a future which was dropped while it began a transaction
/// may still be in that: on its own it would go on to see what was there then.
fn reading<DB: Database>() -> &'static str {
    match Dialect::of::<DB>() {
        Dialect::Sqlite => "BEGIN DEFERRED",
        Dialect::MySql | Dialect::Postgres => DB::BEGIN,
    }
}

/// Rows behind a number.
pub(super) async fn page<DB: Database>(
    pool: &Pool<DB>,
    after: i64,
    rows_max: i64,
) -> Result<Vec<Waiting>> {
    let mut reading = pool.begin_with(reading::<DB>()).await?;
    let values = [after.into(), rows_max.into()];
    let rows = DB::rows(&mut reading, row::select::<DB>(), values).await?;
    rows.into_iter().map(Waiting::read).collect()
}

//! What the database does with its rows, as a progress in the engine says; and how far it is with that.

use sqlx::Pool;

use super::progress::Recorded;
use super::row_ids::RowIds;
use super::schema::{COLUMNS, OUTBOX, PARKED, RELAY};
use crate::database::{Database, Row, Value};
use crate::dialect::Dialect;
use crate::error::{Error, Result};

/// How far the database has followed the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Which outbox this is, of all that relay into an engine.
    pub(super) identity: String,
    /// How many batches there were.
    pub(super) batch: i64,
    /// The id of the progress of the last of them.
    pub(super) progress: Option<String>,
}

impl Place {
    pub(super) async fn read<DB: Database>(connection: &mut DB::Connection) -> Result<Self> {
        let select = format!("SELECT identity, batch, progress FROM {RELAY} WHERE seat = 1");
        let mut rows = DB::rows(connection, select, []).await?;
        let Some(cells) = rows.pop() else {
            return Err(Error::Unreadable {
                table: RELAY,
                what: "no row".to_owned(),
                remedy: "run the statements of `ensue_sql::outbox::statements` once more",
            });
        };
        let mut row = Row::new(RELAY, cells);
        Ok(Self {
            identity: row.text()?,
            batch: row.integer()?,
            progress: row.optional_text()?,
        })
    }

    /// Moves the database on to a progress, and holds its row until the transaction ends. `false` if it is
    /// somewhere else by now.
    pub(super) async fn advance<DB: Database>(
        connection: &mut DB::Connection,
        from: (i64, Option<&str>),
        to: &Recorded,
    ) -> Result<bool> {
        let update = format!(
            "UPDATE {RELAY} SET batch = ?, progress = ?, is_idle = 0 \
             WHERE seat = 1 AND batch = ? AND COALESCE(progress, '') = ?"
        );
        let values = [
            to.progress.batch.into(),
            to.id.as_str().into(),
            from.0.into(),
            from.1.unwrap_or_default().into(),
        ];
        Ok(DB::execute(connection, update, values).await? == 1)
    }
}

/// Removes rows of the outbox, and waits for nobody who writes others.
pub(super) fn removal<DB: Database>(rows: &RowIds) -> String {
    match Dialect::of::<DB>() {
        // A range would wait for the transaction that wrote the row behind it, and so would a list that is
        // looked up by a scan; one row by its key does not.
        Dialect::MySql => rows
            .iter()
            .map(|id| format!("DELETE FROM {OUTBOX} WHERE id = {id};"))
            .collect(),
        Dialect::Postgres | Dialect::Sqlite => rows
            .ranges()
            .map(|(first, last)| {
                format!("DELETE FROM {OUTBOX} WHERE id BETWEEN {first} AND {last};")
            })
            .collect(),
    }
}

/// Holds the row that says how far the database is: whoever moves rows that are parked does that first.
pub(super) async fn hold<DB: Database>(connection: &mut DB::Connection) -> Result<()> {
    let update = format!("UPDATE {RELAY} SET seat = 1 WHERE seat = 1");
    DB::execute(connection, update, []).await?;
    Ok(())
}

/// Makes durable what was read. InnoDB shows a transaction to others before its log is on disk, and after a
/// crash it may be gone: its event would be in the engine and nothing else of it. A commit here is behind it
/// in that log, and is on disk only with it.
pub(super) async fn sync_what_was_read<DB: Database>(pool: &Pool<DB>) -> Result<()> {
    if Dialect::of::<DB>() == Dialect::MySql {
        let update = format!("UPDATE {RELAY} SET syncs = syncs + 1 WHERE seat = 1");
        let mut transaction = pool.begin_with(DB::BEGIN).await?;
        DB::execute(&mut transaction, update, []).await?;
        transaction.commit().await?;
    }
    Ok(())
}

/// Does what a progress says, in one transaction. `false` if that was done already.
pub(super) async fn follow<DB: Database>(pool: &Pool<DB>, recorded: &Recorded) -> Result<bool> {
    let mut transaction = pool.begin_with(DB::BEGIN).await?;
    let connection: &mut DB::Connection = &mut transaction;
    let progress = &recorded.progress;
    let from = (progress.batch - 1, progress.previous.as_deref());
    if !Place::advance::<DB>(connection, from, recorded).await? {
        transaction.rollback().await?;
        return Ok(false);
    }
    if !progress.relayed.is_empty() {
        let delete = removal::<DB>(&progress.relayed);
        DB::run(connection, delete).await?;
    }
    for refused in &progress.refused {
        park::<DB>(connection, refused.row, Some(&refused.reason)).await?;
    }
    for row in progress.behind.iter() {
        // What it waited for may have been handed back meanwhile.
        if has_refused::<DB>(connection, row).await? {
            park::<DB>(connection, row, None).await?;
        }
    }
    transaction.commit().await?;
    Ok(true)
}

async fn has_refused<DB: Database>(connection: &mut DB::Connection, row: i64) -> Result<bool> {
    let select = format!(
        "SELECT p.id FROM {PARKED} p JOIN {OUTBOX} o \
         ON p.topic = o.topic AND p.event_key = o.event_key \
         WHERE o.id = ? AND p.reason IS NOT NULL LIMIT 1"
    );
    Ok(!DB::rows(connection, select, [row.into()]).await?.is_empty())
}

/// Moves a row to the parked ones.
async fn park<DB: Database>(
    connection: &mut DB::Connection,
    row: i64,
    reason: Option<&str>,
) -> Result<()> {
    let now = Dialect::of::<DB>().now();
    let insert = format!(
        "INSERT INTO {PARKED} ({COLUMNS}, reason, parked) \
         SELECT {COLUMNS}, ?, {now} FROM {OUTBOX} WHERE id = ?"
    );
    let reason = Value::from(reason.map(str::to_owned));
    DB::execute(connection, insert, [reason, row.into()]).await?;
    let delete = format!("DELETE FROM {OUTBOX} WHERE id = ?");
    DB::execute(connection, delete, [row.into()]).await?;
    Ok(())
}

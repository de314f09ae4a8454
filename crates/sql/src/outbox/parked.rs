//! Rows that the engine refuses, and what waits behind them.

use std::time::Duration;

use ensue::Timestamp;

use super::Outbox;
use super::follow::hold;
use super::schema::{COLUMNS, OUTBOX, PARKED};
use crate::database::{Database, Row};
use crate::dialect::Dialect;
use crate::error::Result;

/// A row that can never be appended as it is: its event breaks a rule or a limit. Later rows of its topic and
/// key wait behind it, in order, until it is retried or discarded; other keys go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedRow {
    /// The row's number.
    pub row: i64,
    /// The event's id.
    pub event_id: String,
    /// The topic.
    pub topic: String,
    /// The key.
    pub key: String,
    /// The type.
    pub event_type: String,
    /// Why it was refused.
    pub reason: String,
    /// When it was parked.
    pub parked: Timestamp,
}

/// What waits in an outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxStatus {
    /// How many rows wait to be relayed; those beyond [`COUNTED_MAX`](super::COUNTED_MAX) are not counted.
    pub waiting: u64,
    /// How long the first of them has waited, by the database's clock. What grows beyond a few seconds is a
    /// relay that does not run or an engine that is away.
    pub lag: Option<Duration>,
    /// How many rows the engine refuses: see [`Outbox::parked`].
    pub refused: u64,
    /// How many rows wait behind those.
    pub behind: u64,
}

impl<DB: Database> Outbox<DB> {
    /// What waits, and for how long.
    ///
    /// # Errors
    /// [`Error::Database`](crate::Error::Database).
    pub async fn status(&self) -> Result<OutboxStatus> {
        let now = Dialect::of::<DB>().now();
        let counted_max = super::COUNTED_MAX;
        let select = format!(
            "SELECT (SELECT COUNT(*) FROM (SELECT id FROM {OUTBOX} LIMIT {counted_max}) w), \
             {now} - (SELECT written FROM {OUTBOX} ORDER BY id LIMIT 1), \
             (SELECT COUNT(*) FROM {PARKED} WHERE reason IS NOT NULL), \
             (SELECT COUNT(*) FROM {PARKED} WHERE reason IS NULL)"
        );
        let mut connection = self.pool.acquire().await?;
        let rows = DB::rows(&mut connection, select, []).await?;
        let mut row = Row::new(OUTBOX, rows.into_iter().next().unwrap_or_default());
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        Ok(OutboxStatus {
            waiting: count(row.integer()?),
            lag: row
                .optional_integer()?
                .map(|lag| Duration::from_micros(count(lag))),
            refused: count(row.integer()?),
            behind: count(row.integer()?),
        })
    }

    /// Rows that the engine refuses, the first `limit` of them.
    ///
    /// # Errors
    /// [`Error::Database`](crate::Error::Database).
    pub async fn parked(&self, limit: u32) -> Result<Vec<ParkedRow>> {
        let select = format!(
            "SELECT id, event_id, topic, event_key, type, reason, parked FROM {PARKED} \
             WHERE reason IS NOT NULL ORDER BY id LIMIT ?"
        );
        let mut connection = self.pool.acquire().await?;
        let rows = DB::rows(&mut connection, select, [i64::from(limit).into()]).await?;
        let read = |cells| {
            let mut row = Row::new(PARKED, cells);
            Ok(ParkedRow {
                row: row.integer()?,
                event_id: row.text()?,
                topic: row.text()?,
                key: row.text()?,
                event_type: row.text()?,
                reason: row.text()?,
                parked: Timestamp::from_micros(row.integer()?),
            })
        };
        rows.into_iter().map(read).collect()
    }

    /// Hands a parked row, and what waits behind it, back to the relay, in order: after the row was mended in
    /// `ensue_outbox_parked`, or the engine's limit was raised. Returns how many rows; 0 if no such row is
    /// parked.
    ///
    /// # Errors
    /// [`Error::Database`](crate::Error::Database).
    pub async fn retry(&self, row: i64) -> Result<u64> {
        let mut transaction = self.pool.begin_with(DB::BEGIN).await?;
        let connection: &mut DB::Connection = &mut transaction;
        hold::<DB>(connection).await?;
        let Some(key) = key_of::<DB>(connection, row).await? else {
            return Ok(0);
        };
        let moved = hand_back::<DB>(connection, &key).await?;
        transaction.commit().await?;
        self.committed();
        Ok(moved)
    }

    /// Gives a parked row up for good; what waits behind it goes on. Whether it was parked.
    ///
    /// # Errors
    /// [`Error::Database`](crate::Error::Database).
    pub async fn discard(&self, row: i64) -> Result<bool> {
        let mut transaction = self.pool.begin_with(DB::BEGIN).await?;
        let connection: &mut DB::Connection = &mut transaction;
        hold::<DB>(connection).await?;
        let Some(key) = key_of::<DB>(connection, row).await? else {
            return Ok(false);
        };
        let delete = format!("DELETE FROM {PARKED} WHERE id = ?");
        DB::execute(connection, delete, [row.into()]).await?;
        hand_back::<DB>(connection, &key).await?;
        transaction.commit().await?;
        self.committed();
        Ok(true)
    }
}

/// Topic and key of a row that was refused.
async fn key_of<DB: Database>(
    connection: &mut DB::Connection,
    row: i64,
) -> Result<Option<[String; 2]>> {
    let select =
        format!("SELECT topic, event_key FROM {PARKED} WHERE id = ? AND reason IS NOT NULL");
    let mut rows = DB::rows(connection, select, [row.into()]).await?;
    let Some(cells) = rows.pop() else {
        return Ok(None);
    };
    let mut row = Row::new(PARKED, cells);
    Ok(Some([row.text()?, row.text()?]))
}

/// Moves all rows of a topic and key back, with their numbers: they are before what was written since.
async fn hand_back<DB: Database>(
    connection: &mut DB::Connection,
    key: &[String; 2],
) -> Result<u64> {
    let values = || key.clone().map(Into::into);
    let insert = format!(
        "INSERT INTO {OUTBOX} ({COLUMNS}) SELECT {COLUMNS} FROM {PARKED} \
         WHERE topic = ? AND event_key = ?"
    );
    let moved = DB::execute(connection, insert, values()).await?;
    let delete = format!("DELETE FROM {PARKED} WHERE topic = ? AND event_key = ?");
    DB::execute(connection, delete, values()).await?;
    Ok(moved)
}

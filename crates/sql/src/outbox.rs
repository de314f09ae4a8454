//! The outbox: events that are published if, and only if, a transaction of the program's own database
//! commits.
//!
//! A row is written in the program's transaction ([`Outbox::publish`], or a plain `INSERT`), and a relay
//! ([`Outbox::relay`]) takes it to an engine: once, in order, and without asking the database all the time.
//!
//! # Once
//!
//! A relay appends events *together with* how far it came: one more event, in the topic `_outbox`, that says
//! which rows these are. The append is conditional on the one before it. So of two relays that have taken the
//! same rows one appends nothing, and a relay that is killed at any instant leaves behind either nothing or a
//! record of which rows are still to be removed; the next relay begins with those. No window of ids is needed
//! for that, and no lock that could be lost.
//!
//! After the database was put back from a backup it has rows again that were relayed: then each row is looked
//! up in the log first, as far as that goes back. When the *engine* was put back instead, or is another one,
//! nothing is relayed, and [`Error::EngineBehind`] says so.
//!
//! What remains: if a relay is killed between the append and the removal, and none runs until retention has
//! removed that record from the log, its rows are relayed again.
//!
//! # Order
//!
//! Numbers of rows are not the order in which transactions commit, and a row with a lower number may appear
//! after one with a higher. A relay therefore keeps no mark that it could skip such a row behind: whatever is
//! in the table is still to be relayed, and it takes what it sees at one moment, by number.
//!
//! | database | events of one key are relayed |
//! | --- | --- |
//! | SQLite | in the order in which their transactions commit: there is one writer at a time |
//! | PostgreSQL, MySQL, MariaDB | in the order in which their transactions commit, where the second one writes its event after the first has committed |
//!
//! The latter holds where a transaction locks what its key stands for before it publishes, by `UPDATE` or
//! `SELECT … FOR UPDATE`, as it must anyway to decide anything about it. Where it does not,
//! [`Outbox::publish_in_turn`] makes it wait for the others of that key. Events of one transaction keep the
//! order in which they were published. On a cluster with several primaries nothing is promised.
//!
//! # What is refused
//!
//! A row that no engine would take, because it is too large or has a bad topic, is parked with the reason;
//! later rows of its topic and key wait behind it ([`Outbox::parked`], [`Outbox::retry`],
//! [`Outbox::discard`]). Events that are published by this crate are checked when they are, so that this is
//! for rows that other programs have written, and for engines with smaller limits.
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
//! use ensue::prelude::*;
//! use ensue_sql::outbox::Outbox;
//! use ensue_sql::sqlx::SqlitePool;
//!
//! #[derive(Event, Serialize, Deserialize)]
//! #[event(type = "order.placed", topic = "orders", key = 0)]
//! struct OrderPlaced(String);
//!
//! let directory = tempfile::tempdir()?;
//! let pool = SqlitePool::connect(&format!("sqlite:{}/shop.db?mode=rwc", directory.path().display())).await?;
//! let outbox = Outbox::open(&pool).await?;
//!
//! let mut transaction = pool.begin().await?;
//! // … the program's own statements, and in the same transaction:
//! outbox.publish(&mut transaction, OrderPlaced("o-1".into())).await?;
//! transaction.commit().await?;
//! outbox.committed();
//!
//! let engine = Engine::open("memory:").await?;
//! assert_eq!(outbox.relay(&engine).run_until_empty().await?, 1); // a program spawns `run()`
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batch;
mod follow;
mod listening;
mod parked;
mod progress;
mod relay;
mod row;
mod row_ids;
mod schema;
mod seat;
mod waking;

use std::sync::Arc;

use ensue::{Engine, EventId, Outgoing};
use ensue_core::event::Defaults;
use ensue_core::topic::is_reserved;
use sqlx::Pool;
use tokio::sync::Notify;

use self::schema::{LANES, OUTBOX, RELAY, TURN};
use crate::database::Database;
use crate::dialect::Dialect;
use crate::error::{Error, Result};
use crate::tables;

pub use self::parked::{OutboxStatus, ParkedRow};
pub use self::relay::Relay;
pub use self::schema::statements;

/// The most rows that are relayed together.
pub const ROWS_MAX: usize = 1_000;
/// How far [`OutboxStatus::waiting`] counts.
pub const COUNTED_MAX: u64 = 100_000;

/// Events that wait in the program's own database until a relay takes them to an engine: see the
/// [module](self). Cloning is cheap.
#[derive(Debug)]
pub struct Outbox<DB: Database> {
    pool: Pool<DB>,
    source: Arc<str>,
    wake: Arc<Notify>,
}

impl<DB: Database> Clone for Outbox<DB> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            source: self.source.clone(),
            wake: self.wake.clone(),
        }
    }
}

impl<DB: Database> Outbox<DB> {
    /// The outbox of this database, whose tables are created unless they are there.
    ///
    /// # Errors
    /// [`Error::Database`], when the role may not create tables, say.
    pub async fn open(pool: &Pool<DB>) -> Result<Self> {
        tables::create_all(pool, statements::<DB>()).await?;
        Ok(Self::attach(pool))
    }

    /// The outbox of this database, whose tables ([`statements`]) the program's own migrations have created.
    pub fn attach(pool: &Pool<DB>) -> Self {
        Self {
            pool: pool.clone(),
            source: progress::SOURCE.into(),
            wake: Arc::default(),
        }
    }

    /// Signs what is published with `source`, a URI reference such as `/shop`; `/outbox` if this is not said.
    #[must_use]
    pub fn source(self, source: &str) -> Self {
        Self {
            source: source.into(),
            ..self
        }
    }

    /// Publishes an event if, and only if, the transaction commits. Call [`committed`](Self::committed) when
    /// it has. Returns the event's id.
    ///
    /// # Errors
    /// [`ensue::error::AppendError::Invalid`] when the event breaks a rule, [`Error::ForLater`], and
    /// [`Error::Database`], after which the transaction can only be rolled back.
    pub async fn publish(
        &self,
        transaction: &mut DB::Connection,
        event: impl Into<Outgoing>,
    ) -> Result<EventId> {
        let event = self.envelope(event.into())?;
        self.write(transaction, &event).await
    }

    /// The same, but first waits for all transactions under way that have published in turn for this topic
    /// and key, and holds up others until this one ends: for transactions that lock nothing else of what the
    /// key stands for. Two that publish for several keys in different orders may end in a deadlock, of which
    /// the database rolls one back.
    ///
    /// # Errors
    /// As for [`publish`](Self::publish).
    pub async fn publish_in_turn(
        &self,
        transaction: &mut DB::Connection,
        event: impl Into<Outgoing>,
    ) -> Result<EventId> {
        let event = self.envelope(event.into())?;
        let select = format!("SELECT lane FROM {TURN} WHERE lane = ?{}", DB::FOR_UPDATE);
        let lane = lane(event.topic(), event.key());
        DB::rows(transaction, select, [lane.into()]).await?;
        self.write(transaction, &event).await
    }

    /// Wakes the relay of this process, after a transaction that has published has committed. Without it the
    /// relay finds out a moment later.
    pub fn committed(&self) {
        self.wake.notify_one();
    }

    /// A relay of this outbox into an engine.
    pub fn relay(&self, engine: &Engine) -> Relay<DB> {
        Relay::new(self.clone(), engine)
    }

    /// Gives the outbox another identity in engines: the next relay begins as the first one did, with what
    /// waits. For a copy of a database that is to relay by itself, and after
    /// [`Error::EngineBehind`], when what was relayed is given up.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn begin_anew(&self) -> Result<()> {
        let new_id = Dialect::of::<DB>().new_id();
        let update = format!(
            "UPDATE {RELAY} SET identity = {new_id}, batch = 0, progress = NULL WHERE seat = 1"
        );
        let mut connection = self.pool.acquire().await?;
        DB::execute(&mut connection, update, []).await?;
        Ok(())
    }

    fn envelope(&self, event: Outgoing) -> Result<ensue::Envelope> {
        if event.is_for_later() {
            return Err(Error::ForLater);
        }
        let defaults = Defaults {
            source: &self.source,
            ..Defaults::default()
        };
        let built = event.into_builder().and_then(|it| it.build_with(&defaults));
        let built = built.map_err(ensue::Error::from)?;
        if is_reserved(built.topic()) {
            let reserved = ensue::InvalidEvent::ReservedTopic(built.topic().to_owned());
            return Err(ensue::Error::from(reserved).into());
        }
        Ok(built)
    }

    async fn write(
        &self,
        transaction: &mut DB::Connection,
        event: &ensue::Envelope,
    ) -> Result<EventId> {
        let insert = format!(
            "INSERT INTO {OUTBOX} (event_id, topic, type, event_key, source, content_type, data) \
             VALUES (?, ?, ?, ?, ?, ?, ?)"
        );
        let data = event.to_cloudevent().to_string().into_bytes();
        let values = [
            event.id().into(),
            event.topic().into(),
            event.event_type().into(),
            event.key().into(),
            event.source().into(),
            row::CLOUD_EVENT.into(),
            crate::database::Value::Bytes(data),
        ];
        DB::execute(transaction, insert, values).await?;
        Ok(event.event_id())
    }
}

/// Which lane a topic and key are in, among all that publish in turn (FNV-1a: the same in every process).
fn lane(topic: &str, key: &str) -> i64 {
    let bytes = topic.bytes().chain([0]).chain(key.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash % LANES.unsigned_abs()).cast_signed()
}

//! The inbox: a handler's transaction in the program's own database applies once, however often its event is
//! handled.
//!
//! A handler that writes into a database may be called again for an event whose transaction has committed: its
//! process was killed before the engine heard of it, or it was so slow that another has its key now. The guard
//! is one more row in the same transaction: [`Inbox::once`] says whether the transaction is the first.
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # mod it {
//! use ensue::prelude::*;
//! use ensue_sql::inbox::Inbox;
//! use ensue_sql::sqlx::{self, Sqlite, SqlitePool};
//! # #[derive(Event, Serialize, Deserialize)]
//! # #[event(type = "order.paid", topic = "orders", key = order)]
//! # struct OrderPaid { order: String, cents: i64 }
//!
//! struct Ledger { pool: SqlitePool, inbox: Inbox<Sqlite> }
//!
//! #[service]
//! impl Ledger {
//!     #[on]
//!     async fn book(&self, paid: OrderPaid, context: &Context) -> Result<(), Failure> {
//!         let mut transaction = self.pool.begin().await?;
//!         if self.inbox.once(&mut transaction, context).await? {
//!             let book = sqlx::query("UPDATE ledger SET cents = cents + ?").bind(paid.cents);
//!             book.execute(&mut *transaction).await?;
//!             transaction.commit().await?;
//!         }
//!         Ok(())
//!     }
//! }
//! # }
//! ```
//!
//! # What is kept
//!
//! Events of a key come in order, so that one row says all of a key: the position of the last event that was
//! applied. The table (`ensue_inbox`) has a row for each group, topic and key, and not one for each event; it
//! does not grow with time. What an event of an earlier position asks for was applied before, also after the
//! group was moved back: whoever wants it again clears the table ([`Inbox::forget`]).
//!
//! Two kinds of events come in no order, and are remembered by their ids ([`Inbox::once_by_id`], table
//! `ensue_inbox_event`), until they are old enough ([`Inbox::forget_older`]): those of a handler that skips
//! dead letters (`on_dead = skip`), where a redriven event comes after later ones of its key; and those that
//! do not come from an engine.
//!
//! Positions are those of one log. Where the last applied event is not in the log that is read now, because
//! that was put back from an older backup or copied to another engine, [`Error::InboxOtherLog`] says so instead of
//! skipping what has a low position there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ensue::engine::Query;
use ensue::error::ReadError;
use ensue::{Context, EventId, Position};
use sqlx::Pool;

use crate::database::{Database, Row};
use crate::dialect::Dialect;
use crate::error::{Error, Result};
use crate::tables;

/// The last event of each key.
const INBOX: &str = "ensue_inbox";
/// Events by their ids.
const EVENTS: &str = "ensue_inbox_event";
/// The longest name of a group, in bytes.
const GROUP_BYTES_MAX: usize = 200;

/// What creates the tables of an inbox, unless they are there: a statement for each. [`Inbox::open`] does it.
pub fn statements<DB: Database>() -> Vec<String> {
    let group = DB::key_type(GROUP_BYTES_MAX);
    let topic = DB::key_type(ensue::TOPIC_BYTES_MAX);
    let key = DB::key_type(ensue::KEY_BYTES_MAX);
    let attribute = DB::key_type(ensue::ATTRIBUTE_BYTES_MAX);
    vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {INBOX} (group_name {group} NOT NULL, topic {topic} NOT NULL, \
             event_key {key} NOT NULL, pos BIGINT NOT NULL, event VARCHAR(32) NOT NULL, \
             PRIMARY KEY (group_name, topic, event_key))"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {EVENTS} (group_name {group} NOT NULL, \
             source {attribute} NOT NULL, id {attribute} NOT NULL, seen BIGINT NOT NULL, \
             PRIMARY KEY (group_name, source, id), UNIQUE (seen, group_name, source, id))"
        ),
    ]
}

/// Says of an event whether its transaction is the first: see the [module](self). Cloning is cheap.
#[derive(Debug)]
pub struct Inbox<DB: Database> {
    pool: Pool<DB>,
    /// Whether the log was found to be the one whose positions the table has.
    is_its_log: Arc<AtomicBool>,
}

impl<DB: Database> Clone for Inbox<DB> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            is_its_log: self.is_its_log.clone(),
        }
    }
}

impl<DB: Database> Inbox<DB> {
    /// The inbox of this database, whose tables are created unless they are there.
    ///
    /// # Errors
    /// [`Error::Database`], when the role may not create tables, say.
    pub async fn open(pool: &Pool<DB>) -> Result<Self> {
        tables::create_all(pool, statements::<DB>()).await?;
        Ok(Self::attach(pool))
    }

    /// The inbox of this database, whose tables ([`statements`]) the program's own migrations have created.
    pub fn attach(pool: &Pool<DB>) -> Self {
        Self {
            pool: pool.clone(),
            is_its_log: Arc::default(),
        }
    }

    /// Whether this transaction is the first for the event at hand: then it says so from when it commits.
    /// Otherwise there is nothing left to do, and the handler returns as if it had done it. Waits for a
    /// transaction under way for the same key.
    ///
    /// # Errors
    /// [`Error::GroupName`], [`Error::InboxOtherLog`], and [`Error::Database`], after which the transaction can only be rolled back:
    /// with `?`, both mean another attempt.
    pub async fn once(&self, transaction: &mut DB::Connection, event: &Context) -> Result<bool> {
        check_group(event.group())?;
        let position = number(event.position());
        let identity = format!("{:032x}", event.envelope().identity());
        let of = || {
            let topic = event.envelope().topic();
            [event.group().into(), topic.into(), event.key().into()]
        };
        let update = format!(
            "UPDATE {INBOX} SET pos = ?, event = ? \
             WHERE group_name = ? AND topic = ? AND event_key = ? AND pos < ?"
        );
        let mut moved = vec![position.into(), identity.as_str().into()];
        moved.extend(of());
        moved.push(position.into());
        let dialect = Dialect::of::<DB>();
        let (insert, unless) = dialect.insert_unless_there();
        let insert = format!(
            "{insert} {INBOX} (group_name, topic, event_key, pos, event) VALUES (?, ?, ?, ?, ?){unless}"
        );
        let mut new = of().to_vec();
        new.extend([position.into(), identity.as_str().into()]);
        let mut ways = [(update, moved), (insert, new)];
        if dialect == Dialect::MySql {
            // An update that finds no row locks the gap, and two that then insert into it are a deadlock.
            ways.reverse();
        }
        for (statement, values) in ways {
            if DB::execute(transaction, statement, values).await? > 0 {
                return Ok(true);
            }
        }
        let select = format!(
            "SELECT pos, event FROM {INBOX} WHERE group_name = ? AND topic = ? AND event_key = ?{}",
            DB::FOR_UPDATE
        );
        let rows = DB::rows(transaction, select, of()).await?;
        let mut row = Row::new(INBOX, rows.into_iter().next().unwrap_or_default());
        let (last, of_last) = (row.integer()?, row.text()?);
        let is_that = if last == position {
            of_last == identity
        } else {
            self.is_in_log(event, last, &of_last).await?
        };
        match is_that {
            true => Ok(false),
            false => Err(Error::InboxOtherLog {
                group: event.group().to_owned(),
                position: event.position(),
                last: Position::new(last.unsigned_abs()),
            }),
        }
    }

    /// Whether the log that is read has the last applied event where it is said to be; what retention has
    /// removed is believed. Once that is known of one event it is known of the log.
    async fn is_in_log(&self, event: &Context, last: i64, identity: &str) -> Result<bool> {
        if self.is_its_log.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let at = Position::new(last.unsigned_abs());
        let query = Query {
            topics: Some(
                event
                    .envelope()
                    .topic()
                    .parse()
                    .map_err(ensue::Error::from)?,
            ),
            key: Some(event.key().to_owned()),
            from: at.into(),
            until: Some(at.next().into()),
            ..Query::default()
        };
        let is_that = match event.publisher().engine().read(query).await {
            Ok(page) => {
                let found = page.events.first().map(|it| it.envelope.identity());
                found.is_some_and(|found| format!("{found:032x}") == identity)
            }
            Err(ensue::Error::Read(ReadError::Trimmed { .. })) => return Ok(true),
            Err(ensue::Error::Read(ReadError::BeyondEnd { .. })) => false,
            Err(error) => return Err(error.into()),
        };
        self.is_its_log.store(is_that, Ordering::Relaxed);
        Ok(is_that)
    }

    /// Whether this transaction is the first of `group` for the event with this id: for events that come in
    /// no order. Waits for a transaction under way for the same event.
    ///
    /// # Errors
    /// [`Error::GroupName`], and [`Error::Database`], after which the transaction can only be rolled back.
    pub async fn once_by_id(
        &self,
        transaction: &mut DB::Connection,
        group: &str,
        event: &EventId,
    ) -> Result<bool> {
        check_group(group)?;
        let dialect = Dialect::of::<DB>();
        let (insert, unless) = dialect.insert_unless_there();
        let now = dialect.now();
        let insert = format!(
            "{insert} {EVENTS} (group_name, source, id, seen) VALUES (?, ?, ?, {now}){unless}"
        );
        let values = [group.into(), event.source().into(), event.id().into()];
        Ok(DB::execute(transaction, insert, values).await? > 0)
    }

    /// Forgets the ids of events that were applied longer ago than this, by the database's clock; returns how
    /// many. One of them that came again would be applied again: keep them for longer than anything is
    /// redriven or sent again.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn forget_older(&self, age: Duration) -> Result<u64> {
        let now = Dialect::of::<DB>().now();
        let delete = format!("DELETE FROM {EVENTS} WHERE seen < {now} - ?");
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let mut connection = self.pool.acquire().await?;
        Ok(DB::execute(&mut connection, delete, [age.into()]).await?)
    }

    /// Forgets everything of a group: what it is handed is applied again. For a group that is moved back in
    /// order to do its work once more, and one that was copied to another engine, while it does not run.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn forget(&self, group: &str) -> Result<()> {
        let mut transaction = self.pool.begin_with(DB::BEGIN).await?;
        for table in [INBOX, EVENTS] {
            let delete = format!("DELETE FROM {table} WHERE group_name = ?");
            DB::execute(&mut transaction, delete, [group.into()]).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// Whether the tables have room for a group's name. MySQL would cut it, without a word where rows are inserted
/// unless they are there, and two groups whose names begin alike would be one.
fn check_group(group: &str) -> Result<()> {
    match group.len() <= GROUP_BYTES_MAX {
        true => Ok(()),
        false => Err(Error::GroupName {
            group: group.to_owned(),
            bytes_max: GROUP_BYTES_MAX,
        }),
    }
}

/// A position as a database holds it.
fn number(position: Position) -> i64 {
    i64::try_from(position.get()).unwrap_or(i64::MAX)
}

//! What a handler of a projection has in hand: the transaction, and the event.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use ensue::engine::Recorded;
use ensue::{Envelope, Position};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Pool, Transaction};

use super::names::Names;
use crate::database::{Cell, Database};

/// How long the database may take to undo something, behind whatever it does for the transaction, before the
/// transaction's session is ended; and how long that may take.
const UNDO_MAX: Duration = Duration::from_secs(2);

/// The transaction that commits what a handler does together with the projection's position; it
/// dereferences to the connection, as sqlx's own `Transaction` does.
///
/// It belongs to the projection: a handler neither commits nor rolls back, and begins no transaction but
/// nested ones (savepoints).
pub struct Sql<DB: Database> {
    transaction: Transaction<'static, DB>,
    names: Arc<Names>,
    event: Option<Recorded>,
    /// The number of the database's session, where it has one that can be ended.
    session: Option<i64>,
}

/// A statement that was prepared for one database.
pub type Query<DB> = sqlx::query::Query<'static, DB, <DB as sqlx::Database>::Arguments>;

impl<DB: Database> Sql<DB> {
    pub(super) fn new(transaction: Transaction<'static, DB>, names: Arc<Names>) -> Self {
        Self {
            transaction,
            names,
            event: None,
            session: None,
        }
    }

    /// Asks which session this is, so that [`rollback`](Self::rollback) can end it.
    pub(super) async fn note_session(&mut self) -> Result<(), sqlx::Error> {
        if let Some(statement) = DB::SESSION {
            let rows = DB::rows(&mut self.transaction, statement, []).await?;
            self.session = match rows.first().and_then(|row| row.first()) {
                Some(Cell::Integer(number)) => Some(*number),
                _ => None,
            };
        }
        Ok(())
    }

    /// A statement in which the projection's tables are in braces: `INSERT INTO {orders} …` is `INSERT INTO
    /// orders_v2 …` in version 2. Values are bound, in the database's own placeholders; nothing that
    /// came from outside belongs into the text.
    pub fn query(&self, statement: &str) -> Query<DB> {
        sqlx::query(AssertSqlSafe(self.names.expand(statement)))
    }

    /// The name of one of the projection's tables in this version, for what builds its own statements.
    pub fn table(&self, table: &str) -> String {
        self.names.table(table)
    }

    /// The version that is built.
    pub fn version(&self) -> i64 {
        self.names.version()
    }

    /// The event at hand; of several that are handled together, the last. `None` while tables are created.
    pub fn envelope(&self) -> Option<&Envelope> {
        self.event.as_ref().map(|event| &event.envelope)
    }

    /// Where the event at hand is in the log.
    pub fn position(&self) -> Option<Position> {
        self.event.as_ref().map(|event| event.position)
    }

    pub(super) fn set_event(&mut self, event: &Recorded) {
        self.event = Some(event.clone());
    }

    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        self.transaction.commit().await
    }

    /// Undoes everything. A statement that a handler was waiting for when its time was up may still run, or wait
    /// for a lock, for as long as it likes, and hold what the next transaction needs: after [`UNDO_MAX`] its
    /// session is ended. Takes at most three times that; nothing is committed, whatever comes of it.
    pub(super) async fn rollback(self, pool: &Pool<DB>) -> Result<(), sqlx::Error> {
        let Self {
            transaction,
            session,
            ..
        } = self;
        let rollback = transaction.rollback();
        tokio::pin!(rollback);
        if let Ok(undone) = tokio::time::timeout(UNDO_MAX, &mut rollback).await {
            return undone;
        }
        let Some(session) = session else {
            return Ok(());
        };
        tracing::warn!(
            session,
            "a statement goes on after its handler's timeout: its session is ended"
        );
        let ended = tokio::time::timeout(UNDO_MAX, end_session(pool, session)).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!(session, %error, "the session could not be ended");
        }
        // The connection sees its end, before the pool gets it back.
        let _ = tokio::time::timeout(UNDO_MAX, rollback).await;
        Ok(())
    }

    /// What comes now can be undone without the rest.
    pub(super) async fn savepoint(&mut self) -> Result<(), sqlx::Error> {
        DB::run(&mut self.transaction, "SAVEPOINT ensue_event").await
    }

    pub(super) async fn keep(&mut self) -> Result<(), sqlx::Error> {
        DB::run(&mut self.transaction, "RELEASE SAVEPOINT ensue_event").await
    }

    /// Undoes what came since the savepoint; `false` if the database cannot, or not within [`UNDO_MAX`]: then all
    /// of the transaction has to be.
    pub(super) async fn undo(&mut self) -> bool {
        let undo = DB::run(&mut self.transaction, "ROLLBACK TO SAVEPOINT ensue_event");
        matches!(tokio::time::timeout(UNDO_MAX, undo).await, Ok(Ok(())))
    }
}

/// Ends a session of the database, by a connection of its own: the pool may have none left.
async fn end_session<DB: Database>(pool: &Pool<DB>, session: i64) -> Result<(), sqlx::Error> {
    let mut connection: DB::Connection = pool.connect_options().connect().await?;
    DB::run(&mut connection, DB::end_session(session)).await?;
    connection.close().await
}

impl<DB: Database> Deref for Sql<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.transaction
    }
}

impl<DB: Database> DerefMut for Sql<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.transaction
    }
}

impl<DB: Database> fmt::Debug for Sql<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sql")
            .field("names", &self.names)
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

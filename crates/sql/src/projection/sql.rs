//! What a handler of a projection has in hand: the transaction, and the event.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use ensue::engine::Recorded;
use ensue::{Envelope, Position};
use sqlx::{AssertSqlSafe, Transaction};

use super::names::Names;
use crate::database::Database;

/// The transaction that commits what a handler does together with the projection's position; it
/// dereferences to the connection, as sqlx's own `Transaction` does.
///
/// It belongs to the projection: a handler neither commits nor rolls back, and begins no transaction but
/// nested ones (savepoints).
pub struct Sql<DB: Database> {
    transaction: Transaction<'static, DB>,
    names: Arc<Names>,
    event: Option<Recorded>,
}

/// A statement that was prepared for one database.
pub type Query<DB> = sqlx::query::Query<'static, DB, <DB as sqlx::Database>::Arguments>;

impl<DB: Database> Sql<DB> {
    pub(super) fn new(transaction: Transaction<'static, DB>, names: Arc<Names>) -> Self {
        Self {
            transaction,
            names,
            event: None,
        }
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

    pub(super) async fn rollback(self) -> Result<(), sqlx::Error> {
        self.transaction.rollback().await
    }

    /// What comes now can be undone without the rest.
    pub(super) async fn savepoint(&mut self) -> Result<(), sqlx::Error> {
        DB::run(&mut self.transaction, "SAVEPOINT ensue_event").await
    }

    pub(super) async fn keep(&mut self) -> Result<(), sqlx::Error> {
        DB::run(&mut self.transaction, "RELEASE SAVEPOINT ensue_event").await
    }

    pub(super) async fn undo(&mut self) -> Result<(), sqlx::Error> {
        DB::run(&mut self.transaction, "ROLLBACK TO SAVEPOINT ensue_event").await
    }
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

//! Where a test plays.

use ensue::{Engine, Position};
use ensue_sql::{Projection, RunningProjection};
use sqlx::Pool;

use crate::accounts::{Balances, Moves, Tricks, balances, verify};
use crate::database::{Fresh, Kind};

/// A database of its own, an engine in memory, and what the projection's methods do besides.
pub(crate) struct Stage<DB: Kind> {
    pub(crate) database: Fresh<DB>,
    pub(crate) engine: Engine,
    pub(crate) tricks: Tricks,
}

impl<DB: Kind> Stage<DB>
where
    Balances: Moves<DB>,
{
    /// `None`, and said, if there is no such server.
    pub(crate) async fn set() -> Option<Self> {
        Some(Self {
            database: DB::fresh().await?,
            engine: Engine::open("memory:").await.unwrap(),
            tricks: Tricks::default(),
        })
    }

    pub(crate) fn pool(&self) -> &Pool<DB> {
        &self.database.pool
    }

    /// The projection, which was not started yet.
    pub(crate) fn projection(&self) -> Projection<Balances, DB> {
        balances(self.pool(), &self.tricks)
    }

    /// The projection, which runs.
    pub(crate) async fn start(&self) -> RunningProjection<DB> {
        self.projection().start(&self.engine).await.unwrap()
    }

    /// What is read.
    pub(crate) async fn balances(&self) -> Vec<(String, i64, i64)> {
        DB::balances(self.pool(), "balances").await
    }

    /// Waits until the projection has the event, and compares its table with the log.
    pub(crate) async fn verify(&self, running: &RunningProjection<DB>, last: Position) {
        verify(&self.engine, running, self.pool(), last).await;
    }
}

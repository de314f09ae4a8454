//! A session of PostgreSQL for what is no log.

use std::fmt;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::failure::failure;
use super::session::Session;
use super::{Place, connecting};
use crate::engine::Url;
use crate::error::Result;
use crate::reconnecting::Standing;
use crate::socket::{self, ANSWER};

/// What belongs to us must not hold up others: a session that was given up ends its statement.
const SETTINGS: &str = "SET lock_timeout = '4s'; SET statement_timeout = '10s'";

/// A session of PostgreSQL for building blocks, which is opened again when it broke. Statements that are run at
/// the same time follow each other.
pub struct Client {
    place: Place,
    session: Standing<Session>,
}

impl Client {
    /// Takes the URL apart; it is connected with the first statement.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(url: &str) -> Result<Self> {
        Ok(Self {
            place: connecting(&Url::parse(url)?)?,
            session: Standing::default(),
        })
    }

    /// Runs a statement, and waits for its rows for as long as an answer may take.
    ///
    /// # Errors
    /// What the server reports, as what it means;
    /// [`EngineError::Unavailable`](crate::error::EngineError::Unavailable) when it does not answer.
    pub async fn query(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>> {
        self.ask(async |session| session.client.query(statement, parameters).await)
            .await
    }

    /// Runs statements without parameters and rows.
    ///
    /// # Errors
    /// As for [`Self::query`].
    pub async fn run(&self, statements: &str) -> Result<()> {
        self.ask(async |session| session.client.batch_execute(statements).await)
            .await
    }

    async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&Session) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T> {
        let server = &self.place.server;
        let asked =
            async |session: &Session| match tokio::time::timeout(ANSWER, question(session)).await {
                Ok(answered) => answered.map_err(|error| failure(server, &error)),
                Err(_) => Err(server.unavailable("it does not answer")),
            };
        let session = &self.session;
        session.ask(Session::is_alive, self.open(), asked).await
    }

    async fn open(&self) -> Result<Session> {
        let server = &self.place.server;
        let open = async |address| {
            let session = Session::open(&self.place, address).await?;
            let set = session.client.batch_execute(SETTINGS).await;
            set.map_err(|error| failure(server, &error))?;
            Ok(session)
        };
        socket::first_fit(server, socket::soon(), open).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.place.server.shown)
            .finish_non_exhaustive()
    }
}

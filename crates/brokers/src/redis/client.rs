//! A connection to Redis for what is no log.

use std::fmt;
use std::time::Duration;

use redis::{Cmd, Value};

use super::failure::failure;
use super::link::Link;
use super::{ANSWER, Place, connecting};
use crate::engine::Url;
use crate::error::Result;
use crate::reconnecting::Standing;
use crate::socket;

/// A connection to Redis for building blocks, which is opened again when it broke. Calls that are made at the
/// same time share it, and wait for their own answers alone.
pub struct Client {
    place: Place,
    link: Standing<Link>,
}

impl Client {
    /// Takes the URL apart; it is connected with the first question.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(url: &str) -> Result<Self> {
        Ok(Self {
            place: connecting(&Url::parse(url)?)?,
            link: Standing::default(),
        })
    }

    /// The answers to commands that are sent together, within `limit`, and as long again to connect.
    ///
    /// # Errors
    /// The first that the server reports, as what it means;
    /// [`EngineError::Unavailable`](crate::error::EngineError::Unavailable) when it does not answer.
    pub async fn ask(&self, commands: Vec<Cmd>, limit: Duration) -> Result<Vec<Value>> {
        let asking = self.link.ask(Link::is_alive, self.open(), async |link| {
            link.ask_each(&self.place.server, commands, limit).await
        });
        let answers = match tokio::time::timeout(limit.saturating_mul(2), asking).await {
            Ok(answers) => answers?,
            Err(_) => return Err(self.place.server.unavailable("it does not answer")),
        };
        // What it refuses is no reason to give up the connection.
        let checked = answers.into_iter().map(Value::extract_error);
        checked
            .collect::<Result<_, _>>()
            .map_err(|error| failure(&self.place.server, error))
    }

    /// As [`Self::ask`], of one command, for as long as an answer may take.
    ///
    /// # Errors
    /// As for [`Self::ask`].
    pub async fn ask_one(&self, command: Cmd) -> Result<Value> {
        let answers = self.ask(vec![command], ANSWER).await?;
        let first = answers.into_iter().next();
        first.ok_or_else(|| super::strange(&self.place.server))
    }

    async fn open(&self) -> Result<Link> {
        let open = async |address| Link::open(&self.place, address).await;
        socket::first_fit(&self.place.server, socket::soon(), open).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.place.server.shown)
            .finish_non_exhaustive()
    }
}

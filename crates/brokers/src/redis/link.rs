//! A connection to a Redis server.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use super::failure::{failure, strange};
use super::scripts::{TRIED, TRY};
use super::{ANSWER, Place, Server};
use crate::error::Result;
use crate::shared_log::Address;
use crate::socket;

/// Ends when it is dropped, with all that is under way.
pub(super) struct Link {
    connection: MultiplexedConnection,
    driver: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    pub(super) async fn open(place: &Place, address: &Address) -> Result<Self> {
        let server = &place.server;
        let stream = socket::open(server, address).await?;
        match &place.encryption {
            None => Self::over(place, stream).await,
            Some(encryption) => {
                let stream = socket::encrypt(encryption, &address.host, stream).await;
                let stream = stream.map_err(|error| socket::refusal(server, &error))?;
                Self::over(place, stream).await
            }
        }
    }

    async fn over<S>(place: &Place, stream: S) -> Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut info = RedisConnectionInfo::default().set_db(i64::from(place.database));
        if let Some(login) = &place.server.login {
            // A name that is not given is the default user's.
            if !login.user.is_empty() {
                info = info.set_username(&login.user);
            }
            info = info.set_password(&login.password);
        }
        // How long an answer may take is not the same for all requests.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let opened = MultiplexedConnection::new_with_config(&info, stream, config).await;
        let (connection, driver) = opened.map_err(|error| failure(&place.server, error))?;
        Ok(Self {
            connection,
            driver: tokio::spawn(driver),
        })
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.driver.is_finished()
    }

    /// Sends commands together, and waits for all answers.
    ///
    /// # Errors
    /// The first that the server reports.
    pub(super) async fn ask(
        &self,
        server: &Server,
        commands: Vec<Cmd>,
        limit: Duration,
    ) -> Result<Vec<Value>> {
        let answers = self.ask_each(server, commands, limit).await?;
        let checked = answers.into_iter().map(Value::extract_error);
        checked
            .collect::<Result<_, _>>()
            .map_err(|error| failure(server, error))
    }

    /// As [`Self::ask`], with what the server refuses among the answers.
    pub(super) async fn ask_each(
        &self,
        server: &Server,
        commands: Vec<Cmd>,
        limit: Duration,
    ) -> Result<Vec<Value>> {
        let mut pipeline = redis::Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command);
        }
        let count = pipeline.len();
        let mut connection = self.connection.clone();
        let asking = connection.send_packed_commands(&pipeline, 0, count);
        match tokio::time::timeout(limit, asking).await {
            Ok(answers) => answers.map_err(|error| failure(server, error)),
            Err(_) => Err(server.unavailable("it does not answer")),
        }
    }

    pub(super) async fn ask_one(
        &self,
        server: &Server,
        command: Cmd,
        limit: Duration,
    ) -> Result<Value> {
        let answers = self.ask(server, vec![command], limit).await?;
        answers.into_iter().next().ok_or_else(|| strange(server))
    }

    /// Whether messages could be appended, without appending any.
    ///
    /// # Errors
    /// What appending would have met.
    pub(super) async fn try_append(&self, place: &Place) -> Result<()> {
        let none: [&[u8]; 0] = [];
        let tried = vec![place.script(TRY, &none)];
        let answers = self.ask_each(&place.server, tried, ANSWER).await?;
        match answers.into_iter().next().map(Value::extract_error) {
            Some(Err(error)) if error.to_string().contains(TRIED) => Ok(()),
            Some(Err(error)) => Err(failure(&place.server, error)),
            _ => Err(strange(&place.server)),
        }
    }
}

/// A number, however it is written.
pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

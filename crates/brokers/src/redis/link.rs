//! A connection to a Redis server that can be used.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, RedisConnectionInfo, RedisError, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use super::facts::Facts;
use super::{ANSWER, Place, Server, TRIED, TRY, socket};
use crate::error::{EngineError, Error, Result};
use crate::shared_log::Address;

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
    /// Connects to the first address where a server is fit for it. Takes no longer than one answer
    /// may, over all addresses.
    pub(super) async fn open(place: &Place) -> Result<(Self, Facts)> {
        let open = |address| Self::open_at(place, address);
        socket::first_fit(&place.server, socket::soon(), open).await
    }

    async fn open_at(place: &Place, address: &Address) -> Result<(Self, Facts)> {
        let server = &place.server;
        let stream = socket::open(server, address).await?;
        let link = match &place.encryption {
            None => Self::over(place, stream).await?,
            Some(encryption) => {
                let stream = socket::encrypt(encryption, &address.host, stream).await;
                let stream = stream.map_err(|error| socket::refusal(server, &error))?;
                Self::over(place, stream).await?
            }
        };
        let facts = Facts::of(&link, place).await?;
        facts.refuse(server)?;
        Ok((link, facts))
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
}

impl Link {
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

/// The error of an answer that makes no sense.
pub(super) fn strange(server: &Server) -> Error {
    server.unfit(
        "its answer is not what Redis answers",
        "check that it is Redis 6 or later",
    )
}

/// What the server or the connection reports, as what it means to the caller.
pub(super) fn failure(server: &Server, error: RedisError) -> Error {
    if error.kind() == ErrorKind::AuthenticationFailed {
        return server.unfit(&error, LOGIN);
    }
    let code = error.code().unwrap_or_default();
    let text = error.to_string();
    match code {
        "NOAUTH" | "WRONGPASS" => server.unfit(text, LOGIN),
        "NOPERM" => server.unfit(text, RIGHTS),
        "WRONGTYPE" => server.unfit(text, "use another namespace: its keys hold something else"),
        "MOVED" | "ASK" | "CROSSSLOT" => server.unfit(
            text,
            "name the address of the cluster's node that owns the namespace's slot",
        ),
        "MISCONF" if is_full(&text) => Error::Engine(EngineError::DiskFull(text)),
        // What a script may not do is not said with a code of its own.
        _ if FORBIDDEN.iter().any(|it| text.contains(it)) => server.unfit(text, RIGHTS),
        _ if MISPLACED.iter().any(|it| text.contains(it)) => server.unfit(
            text,
            "check the number of the database in the URL, and that the server is Redis 6 or later \
             with streams and scripts",
        ),
        _ if text.contains(LOST) => Error::Engine(EngineError::Corrupt(format!(
            "the server's stream is shorter than what it had acknowledged: it was removed, emptied \
             or put back from an older copy ({text}); restore it, or restart to go on with what \
             the server has"
        ))),
        // Some were removed, or another program has added to the stream.
        _ if text.contains("equal or smaller than the target") => {
            Error::Engine(EngineError::Corrupt(format!(
                "the server's stream does not have as many entries as were numbered: {text}"
            )))
        }
        // Out of memory, loading, a replica since a moment ago, connections that broke.
        _ => server.unavailable(text),
    }
}

const RIGHTS: &str = "grant the user `+@all` on the keys `ensue:*`, or at least `xadd`, `xlen`, \
     `xrange`, `xread`, `eval`, `info` and `time`";
/// What is said to a user, or to a user's script, who may not do something.
const FORBIDDEN: [&str; 4] = [
    "NOPERM",
    "can't run this command",
    "can't access",
    "ACL failure",
];
/// What is said by a server that does not have what is asked for, and never will.
const MISPLACED: [&str; 4] = [
    "DB index is out of range",
    "invalid DB index",
    "nknown command",
    "nknown Redis command",
];
/// What `APPEND` says of a stream that is shorter than it was known to be.
const LOST: &str = "ENSUELOST";

const LOGIN: &str = "give a user and a password that it knows: `user:password@host`";

fn is_full(text: &str) -> bool {
    text.to_ascii_lowercase().contains("no space left")
}

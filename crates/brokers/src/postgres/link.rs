//! A connection to a PostgreSQL server that can be used.

use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::io;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{
    AsyncMessage, Client, Config, Connection, NoTls, Row, Statement, ToStatement,
};

use super::encrypted::Encryption;
use super::facts::Facts;
use super::{Place, Server, pooler};
use crate::error::{EngineError, Error, Result};
use crate::shared_log::Address;
use crate::socket::{self, ANSWER};

/// A session of ours. One that we have given up must not hold up others: it waits for the counter
/// for less long than we wait for it. Without a commit that is on disk, nothing is acknowledged.
const SETTINGS: &str = "SET lock_timeout = '4s'; SET statement_timeout = '10s'; \
     SELECT set_config('synchronous_commit', 'local', false) \
     WHERE current_setting('synchronous_commit') = 'off'";

/// Ends when it is dropped, with all that is under way.
pub(super) struct Link {
    client: Client,
    /// Appends an array of bodies and announces that; says how many.
    pub(super) append: Statement,
    /// Reads from a sequence number on: at least one, and what fits into so many bytes and
    /// messages, each with how many there were to choose from.
    pub(super) fetch: Statement,
    /// Counts notifications; closed when the connection has ended.
    notices: watch::Receiver<u64>,
    driver: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A session that may turn out to be of no use.
pub(super) struct Session {
    pub(super) client: Client,
    /// Our end of the connection.
    pub(super) port: u16,
    notices: watch::Receiver<u64>,
    driver: JoinHandle<()>,
}

impl Link {
    /// Connects to the first address where a server is fit for it, and makes the tables if there
    /// are none. Takes no longer than one answer may, over all addresses.
    pub(super) async fn open(place: &Place) -> Result<(Self, Facts)> {
        let open = |address| Self::open_at(place, address);
        socket::first_fit(&place.server, socket::soon(), open).await
    }

    async fn open_at(place: &Place, address: &Address) -> Result<(Self, Facts)> {
        let server = &place.server;
        let session = session(place, address).await?;
        pooler::refuse(place, address, &session).await?;
        let client = &session.client;
        let facts = Facts::of(client, server).await?;
        facts.refuse(server)?;
        let failed = |error| failure(server, &error);
        client.batch_execute(SETTINGS).await.map_err(failed)?;
        make(client, place).await?;
        let (append, fetch) = statements(place);
        let append = client.prepare(&append).await.map_err(failed)?;
        let fetch = client.prepare(&fetch).await.map_err(failed)?;
        let Session {
            client,
            notices,
            driver,
            ..
        } = session;
        let link = Self {
            client,
            append,
            fetch,
            notices,
            driver,
        };
        Ok((link, facts))
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.client.is_closed() && !self.driver.is_finished()
    }

    /// Runs a statement, and waits for its rows for as long as an answer may take.
    pub(super) async fn query<S: ToStatement + ?Sized>(
        &self,
        server: &Server,
        statement: &S,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>> {
        answer(server, self.client.query(statement, parameters)).await
    }

    /// Runs statements that have no rows.
    pub(super) async fn run(&self, server: &Server, statements: &str) -> Result<()> {
        answer(server, self.client.batch_execute(statements)).await
    }

    /// Whether something was appended since the last [`Self::take_notice`].
    pub(super) fn is_notified(&self) -> bool {
        // An error means that the connection has ended, which the next request reports.
        self.notices.has_changed().unwrap_or(true)
    }

    /// Before looking at what there is: what comes afterwards notifies again.
    pub(super) fn take_notice(&mut self) {
        self.notices.mark_unchanged();
    }

    /// Waits until something is appended, or until the deadline.
    pub(super) async fn notified(
        &mut self,
        server: &Server,
        deadline: Option<Instant>,
    ) -> Result<()> {
        let changed = self.notices.changed();
        let changed = match deadline {
            None => changed.await,
            Some(deadline) => match tokio::time::timeout_at(deadline, changed).await {
                Ok(changed) => changed,
                Err(_) => return Ok(()),
            },
        };
        changed.map_err(|_| server.unavailable("the connection has ended"))
    }
}

async fn answer<T>(
    server: &Server,
    asking: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T> {
    match tokio::time::timeout(ANSWER, asking).await {
        Ok(answered) => answered.map_err(|error| failure(server, &error)),
        Err(_) => Err(server.unavailable("it does not answer")),
    }
}

pub(super) async fn session(place: &Place, address: &Address) -> Result<Session> {
    let server = &place.server;
    let mut config = Config::new();
    config.application_name("ensue");
    if let Some(login) = &server.login {
        config.user(&login.user).password(&login.password);
        // As PostgreSQL's own clients do.
        config.dbname(match server.path.as_str() {
            "" => &login.user,
            path => path,
        });
    }
    let stream = socket::open(server, address).await?;
    let here = stream.local_addr();
    let port = here.map_err(|error| server.unavailable(error))?.port();
    let failed = |error| failure(server, &error);
    Ok(match &place.encryption {
        None => {
            config.ssl_mode(SslMode::Disable);
            let (client, connection) = config.connect_raw(stream, NoTls).await.map_err(failed)?;
            drive(client, connection, port)
        }
        Some(encryption) => {
            config.ssl_mode(SslMode::Require);
            let encryption = Encryption {
                config: encryption.clone(),
                host: address.host.clone(),
            };
            let connected = config.connect_raw(stream, encryption).await;
            let (client, connection) = connected.map_err(failed)?;
            drive(client, connection, port)
        }
    })
}

fn drive<S, T>(client: Client, mut connection: Connection<S, T>, port: u16) -> Session
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (notify, notices) = watch::channel(0_u64);
    let driver = tokio::spawn(async move {
        // Notices for people are dropped; errors reach the call that waits for an answer.
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(_) = message {
                notify.send_modify(|count| *count = count.wrapping_add(1));
            }
        }
    });
    Session {
        client,
        port,
        notices,
        driver,
    }
}

/// Makes the tables, unless they are there: a user who may not make tables may use some that others
/// made. Those that were there once are not made again: what they held is gone with them.
async fn make(client: &Client, place: &Place) -> Result<()> {
    let failed = |error| failure(&place.server, &error);
    if !are_there(client, place).await.map_err(failed)? {
        if place.is_made.load(Ordering::Relaxed) {
            return Err(gone(&place.server, format!("{} is not there", place.log)));
        }
        create(client, place).await.map_err(failed)?;
    }
    place.is_made.store(true, Ordering::Relaxed);
    Ok(())
}

async fn are_there(client: &Client, place: &Place) -> Result<bool, tokio_postgres::Error> {
    let asked = "SELECT to_regclass($1) IS NOT NULL AND to_regclass($2) IS NOT NULL";
    let there = client.query_one(asked, &[&place.log, &place.end]).await?;
    there.try_get(0)
}

async fn create(client: &Client, place: &Place) -> Result<(), tokio_postgres::Error> {
    let Place {
        log, end, channel, ..
    } = place;
    // One at a time: making a table that another process makes fails. Bodies are stored as they are:
    // compressing them costs more than it saves.
    let text = format!(
        "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('{channel}', 0)); \
         CREATE TABLE IF NOT EXISTS {log} (sequence bigint PRIMARY KEY, body bytea NOT NULL); \
         ALTER TABLE {log} ALTER COLUMN body SET STORAGE EXTERNAL; \
         CREATE TABLE IF NOT EXISTS {end} \
         (is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only), last bigint NOT NULL); \
         INSERT INTO {end} (last) SELECT coalesce(max(sequence), 0) FROM {log} \
         ON CONFLICT DO NOTHING; COMMIT"
    );
    client.batch_execute(&text).await
}

/// How to append and how to fetch.
fn statements(place: &Place) -> (String, String) {
    let Place { log, end, .. } = place;
    let append = format!(
        "WITH counted AS (UPDATE {end} SET last = last + cardinality($1::bytea[]) \
         WHERE last >= $3::bigint RETURNING last), \
         added AS (INSERT INTO {log} (sequence, body) \
         SELECT counted.last - cardinality($1::bytea[]) + part.nth, part.body \
         FROM counted, unnest($1::bytea[]) WITH ORDINALITY AS part (body, nth) RETURNING 1) \
         SELECT pg_notify($2::text, ''), count(*), (SELECT last FROM counted) FROM added"
    );
    let fetch = format!(
        "SELECT sequence, body, available FROM (SELECT sequence, body, count(*) OVER () AS \
         available, row_number() OVER upwards AS nth, \
         (sum(octet_length(body)) OVER upwards)::bigint AS bytes \
         FROM (SELECT sequence, body FROM {log} WHERE sequence >= $1::bigint \
         ORDER BY sequence LIMIT $3::bigint) AS due \
         WINDOW upwards AS (ORDER BY sequence ROWS UNBOUNDED PRECEDING)) AS fitting \
         WHERE nth = 1 OR bytes <= $2::bigint ORDER BY sequence"
    );
    (append, fetch)
}

const LOGIN: &str = "give a user and a password that it knows: `user:password@host/database`";

/// What the server or the connection reports, as what it means to the caller.
pub(super) fn failure(server: &Server, error: &tokio_postgres::Error) -> Error {
    if let Some(error) = error.as_db_error() {
        let text = format!("{} ({})", error.message(), error.code().code());
        return refused(server, error.code(), text);
    }
    let encrypting = error.source().and_then(|it| it.downcast_ref::<io::Error>());
    if let Some(error) = encrypting {
        return socket::refusal(server, error);
    }
    let text = match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    match text.as_str() {
        _ if text.contains("authentication") || text.contains("password") => {
            server.unfit(text, LOGIN)
        }
        _ if text.contains("TLS") => server.unfit(
            text,
            "turn on `ssl` on the server, or leave `tls=true` out of the URL",
        ),
        _ => server.unavailable(text),
    }
}

/// The error of tables that were there, and are not any more.
fn gone(server: &Server, text: String) -> Error {
    Error::Engine(EngineError::Corrupt(format!(
        "the tables of the log were removed from the server at `{}`: {text}; restore them, or \
         restart to begin a new log",
        server.shown
    )))
}

fn refused(server: &Server, code: &SqlState, text: String) -> Error {
    match *code {
        SqlState::DISK_FULL => Error::Engine(EngineError::DiskFull(text)),
        SqlState::UNIQUE_VIOLATION => Error::Engine(EngineError::Corrupt(format!(
            "the table and its counter contradict each other: {text}; restore them, or start with \
             another namespace"
        ))),
        SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => {
            Error::Engine(EngineError::Corrupt(text))
        }
        SqlState::INVALID_CATALOG_NAME => {
            server.unfit(text, "make the database with `CREATE DATABASE`")
        }
        SqlState::INSUFFICIENT_PRIVILEGE => server.unfit(
            text,
            "grant the user CREATE on the schema, or SELECT, INSERT and UPDATE on tables that \
             another user made",
        ),
        SqlState::UNDEFINED_TABLE => gone(server, text),
        _ if pooler::has_mixed_up(code) => pooler::shared(server),
        _ if code.code().starts_with("28") => server.unfit(text, LOGIN),
        _ if code.code().starts_with("42") => server.unfit(
            text,
            "use another `namespace` if these tables belong to another program",
        ),
        // Too many connections, a standby since a moment ago, shutting down, cancelled, locked.
        _ => server.unavailable(text),
    }
}

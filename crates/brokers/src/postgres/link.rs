//! A connection to a PostgreSQL server that can be used.

use std::future::Future;
use std::sync::atomic::Ordering;

use tokio::time::Instant;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement, ToStatement};

use super::failure::{failure, gone};
use super::session::Session;
use super::{Place, Server};
use crate::error::Result;
use crate::socket::ANSWER;

/// A session of ours. One that we have given up must not hold up others: it waits for the counter
/// for less long than we wait for it. Without a commit that is on disk, nothing is acknowledged.
const SETTINGS: &str = "SET lock_timeout = '4s'; SET statement_timeout = '10s'; \
     SELECT set_config('synchronous_commit', 'local', false) \
     WHERE current_setting('synchronous_commit') = 'off'";

/// A session that is set up, and the statements that it was prepared for.
pub(super) struct Link {
    session: Session,
    /// Appends an array of bodies and announces that; says how many.
    pub(super) append: Statement,
    /// Reads from a sequence number on: at least one, and what fits into so many bytes and
    /// messages, each with how many there were to choose from.
    pub(super) fetch: Statement,
}

impl Link {
    /// Sets a session up, and makes the tables if there are none.
    pub(super) async fn of(session: Session, place: &Place) -> Result<Self> {
        let client = &session.client;
        let failed = |error| failure(&place.server, &error);
        client.batch_execute(SETTINGS).await.map_err(failed)?;
        make(client, place).await?;
        let (append, fetch) = statements(place);
        let append = client.prepare(&append).await.map_err(failed)?;
        let fetch = client.prepare(&fetch).await.map_err(failed)?;
        Ok(Self {
            session,
            append,
            fetch,
        })
    }

    pub(super) fn is_alive(&self) -> bool {
        self.session.is_alive()
    }

    /// Runs a statement, and waits for its rows for as long as an answer may take.
    pub(super) async fn query<S: ToStatement + ?Sized>(
        &self,
        server: &Server,
        statement: &S,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>> {
        answer(server, self.session.client.query(statement, parameters)).await
    }

    /// Runs statements that have no rows.
    pub(super) async fn run(&self, server: &Server, statements: &str) -> Result<()> {
        answer(server, self.session.client.batch_execute(statements)).await
    }

    /// Whether something was appended since the last [`Self::take_notice`].
    pub(super) fn is_notified(&self) -> bool {
        // An error means that the connection has ended, which the next request reports.
        self.session.notices.has_changed().unwrap_or(true)
    }

    /// Before looking at what there is: what comes afterwards notifies again.
    pub(super) fn take_notice(&mut self) {
        self.session.notices.mark_unchanged();
    }

    /// Waits until something is appended, or until the deadline.
    pub(super) async fn notified(
        &mut self,
        server: &Server,
        deadline: Option<Instant>,
    ) -> Result<()> {
        let changed = self.session.notices.changed();
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

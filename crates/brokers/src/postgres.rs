//! A shared log on PostgreSQL: a table and its counter.
//!
//! Every append is one statement and one commit. It raises the counter first, whose row stays locked
//! until the commit can be seen: sequence numbers appear in their order and without gaps. Its
//! notification wakes who waits (`LISTEN`), on a connection of its own.

mod client;
mod encrypted;
mod facts;
mod failure;
mod link;
mod pooler;
mod session;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql};

pub use self::client::Client;
use self::facts::Facts;
use self::failure::failure;
use self::link::Link;
use crate::engine::Url;
use crate::error::{EngineError, Error, Result};
use crate::last_seen::{Cursor, parts};
use crate::reading::Reading;
use crate::reconnecting::Standing;
use crate::shared_log::{About, Finding, Message, Server, SharedLog, check_sizes};
use crate::socket;
use crate::time::Timestamp;
use ensue_engine::replica::Connector;

/// It has no options of its own.
pub const OPTIONS: &[(&str, &str)] = &[];

const PORT: u16 = 5432;

/// How to get to its servers.
pub const CONNECTOR: Connector = Connector {
    port: PORT,
    dial: |url| Box::pin(connect(url)),
};

/// What a name may have on the server.
const NAME_BYTES_MAX: usize = 63;
/// The server could take more, but needs several times the memory.
const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What one statement appends.
const APPEND_BYTES_MAX: usize = 4 * 1024 * 1024;
const APPEND_MESSAGES_MAX: usize = 4096;
/// What one statement reads.
const FETCH_BYTES_MAX: usize = 4 * 1024 * 1024;
const FETCH_MESSAGES_MAX: usize = 4096;
/// How many messages are counted in one look at whether all are there.
const COUNTED_MAX: u64 = 4_096;
/// The least that a message is thought to have, to not look at more than will be taken.
const MESSAGE_BYTES_MIN: usize = 64;

/// Connects once.
///
/// # Errors
/// [`EngineError::Unavailable`] when the server is away,
/// [`OpenError::Unfit`](crate::error::OpenError::Unfit) when it cannot be used as it is,
/// [`OpenError::Url`](crate::error::OpenError::Url) and [`EngineError::Io`] when the URL or its
/// files are wrong.
pub(crate) async fn connect(url: Url) -> Result<Arc<dyn SharedLog>> {
    let place = connecting(&url)?;
    let (link, facts) = facts::open(&place).await?;
    Ok(Arc::new(Postgres {
        facts: Mutex::new(facts),
        newest: AtomicU64::new(0),
        writer: Standing::new(link),
        reading: tokio::sync::Mutex::new(Reading::default()),
        counted: Counted::default(),
        place,
    }))
}

/// Takes the URL apart.
fn connecting(url: &Url) -> Result<Place> {
    let server = Server::of(url, PORT)?;
    if server.login.is_none() {
        return Err(url.invalid("it names no user; write `user:password@host/database`".to_owned()));
    }
    let channel = format!("ensue_{}", server.namespace);
    let (log, end) = (format!("{channel}_log"), format!("{channel}_end"));
    if log.len() > NAME_BYTES_MAX {
        let over = log.len() - NAME_BYTES_MAX;
        return Err(url.invalid(format!(
            "`namespace` is {over} bytes too long for the name of a table"
        )));
    }
    Ok(Place {
        encryption: server.tls.as_ref().map(socket::encryption).transpose()?,
        server,
        channel,
        // A namespace has no quotes, but may have capital letters and `-`.
        log: format!("\"{log}\""),
        end: format!("\"{end}\""),
        is_made: AtomicBool::new(false),
    })
}

/// Where the log is.
struct Place {
    server: Server,
    encryption: Option<Arc<rustls::ClientConfig>>,
    /// Where appends are announced.
    channel: String,
    /// The table, quoted.
    log: String,
    /// The table of its counter, quoted.
    end: String,
    /// Whether the tables were there once: then they are not made again.
    is_made: AtomicBool,
}

struct Postgres {
    place: Place,
    facts: Mutex<Facts>,
    /// The highest number that was acknowledged or read here.
    newest: AtomicU64,
    /// For everything but reading; requests follow each other without waiting for answers.
    writer: Standing<Link>,
    reading: tokio::sync::Mutex<Reading<Link>>,
    counted: Counted,
}

/// How far it was looked whether messages that were read are still there.
#[derive(Default)]
struct Counted {
    /// Everything up to this number was, in this round.
    until: AtomicU64,
    /// How many rows were deleted, as the server counts them, when all were there.
    deleted: AtomicI64,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("server", &self.place.server.shown)
            .field("log", &self.place.log)
            .finish_non_exhaustive()
    }
}

impl Postgres {
    fn know(&self, facts: Facts) {
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = facts;
    }

    /// Asks on the connection for everything but reading, which is opened again when it is gone.
    async fn ask<T>(&self, question: impl AsyncFnOnce(&Link) -> Result<T>) -> Result<T> {
        let writer = &self.writer;
        writer.ask(Link::is_alive, self.open(), question).await
    }

    async fn open(&self) -> Result<Link> {
        let (link, facts) = facts::open(&self.place).await?;
        self.know(facts);
        Ok(link)
    }

    async fn append_all(&self, messages: Vec<Bytes>) -> Result<()> {
        check_sizes(
            &messages,
            MESSAGE_BYTES_MAX,
            "message_bytes_max",
            "append less at once, or keep large payloads elsewhere",
        )?;
        for part in parts(&messages, APPEND_MESSAGES_MAX, APPEND_BYTES_MAX) {
            self.ask(async |link| self.append_part(link, part).await)
                .await?;
        }
        Ok(())
    }

    async fn append_part(&self, link: &Link, part: &[Bytes]) -> Result<()> {
        let server = &self.place.server;
        let bodies: Vec<&[u8]> = part.iter().map(AsRef::as_ref).collect();
        let channel = self.place.channel.as_str();
        let known = signed(self.newest.load(Ordering::Relaxed));
        let rows = link
            .query(server, &link.append, &[&bodies, &channel, &known])
            .await?;
        let (appended, last): (i64, Option<i64>) = match rows.first() {
            Some(row) => (column(server, row, 1)?, column(server, row, 2)?),
            None => (0, None),
        };
        match last {
            Some(last) if usize::try_from(appended) == Ok(part.len()) => {
                self.note(unsigned(last));
                Ok(())
            }
            _ => Err(Error::Engine(EngineError::Corrupt(format!(
                "the table {} counts fewer messages than the {known} that were acknowledged, or \
                 none: it was emptied, removed or put back from an older backup; restore the \
                 tables, or restart to go on with what the server has",
                self.place.end
            )))),
        }
    }

    /// Notes that a message was acknowledged or read.
    fn note(&self, sequence: u64) {
        self.newest.fetch_max(sequence, Ordering::Relaxed);
    }

    async fn read_on(
        &self,
        from: u64,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<Vec<Message>> {
        // A wait of centuries is beyond what clocks can show: it has no deadline.
        let deadline = Instant::now().checked_add(patience);
        let mut reading = self.reading.lock().await;
        let reading = &mut *reading;
        if let Some(fetched) = reading.begin(from, bytes_max) {
            return Ok(fetched);
        }
        let open = async |cursor: &Cursor| self.reader(cursor).await;
        let mut link = reading.link(Link::is_alive, open).await?;
        loop {
            let is_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            // Late, it is asked once more: a notification may have been lost with a proxy's
            // connection to the server.
            if reading.is_behind || is_late || link.is_notified() {
                link.take_notice();
                self.fetch(&link, reading, bytes_max).await?;
            }
            if is_late || reading.cursor.has_some() {
                break;
            }
            link.notified(&self.place.server, deadline).await?;
            reading.is_behind = true;
        }
        let taken = reading.end(link, bytes_max);
        if let Some(last) = taken.last() {
            self.note(last.sequence);
        }
        Ok(taken)
    }

    /// A connection for reading, to a server that still has what was read.
    async fn reader(&self, cursor: &Cursor) -> Result<Link> {
        let server = &self.place.server;
        let link = self.open().await?;
        let listen = format!("LISTEN \"{}\"", self.place.channel);
        link.run(server, &listen).await?;
        if let Some(witness) = cursor.witness {
            witness.check(self.find_on(&link, witness.sequence).await?)?;
        }
        Ok(link)
    }

    async fn find_on(&self, link: &Link, sequence: u64) -> Result<Option<Bytes>> {
        let server = &self.place.server;
        let text = format!("SELECT body FROM {} WHERE sequence = $1", self.place.log);
        let rows = link.query(server, &text, &[&signed(sequence)]).await?;
        let body = rows.first().map(|row| column::<&[u8]>(server, row, 0));
        let body = body.map(|body| body.map(Bytes::copy_from_slice));
        body.transpose()
    }

    /// Fetches what is there.
    async fn fetch(
        &self,
        link: &Link,
        reading: &mut Reading<Link>,
        bytes_max: usize,
    ) -> Result<()> {
        let server = &self.place.server;
        let bytes_max = bytes_max.min(FETCH_BYTES_MAX);
        let count_max = (bytes_max / MESSAGE_BYTES_MIN).clamp(1, FETCH_MESSAGES_MAX) as i64;
        let from = signed(reading.cursor.due());
        let bytes_max = bytes_max as i64;
        let limits: [&(dyn ToSql + Sync); 3] = [&from, &bytes_max, &count_max];
        let rows = link.query(server, &link.fetch, &limits).await?;
        let mut messages = Vec::with_capacity(rows.len());
        let mut looked_at = 0;
        for row in &rows {
            messages.push(Message {
                sequence: unsigned(column(server, row, 0)?),
                body: Bytes::copy_from_slice(column(server, row, 1)?),
            });
            looked_at = column::<i64>(server, row, 2)?;
        }
        reading.is_behind = looked_at >= count_max || looked_at > messages.len() as i64;
        reading.cursor.add(messages)
    }

    /// Counts some of the messages up to `until`, by turns; all of them when the server says that
    /// rows were deleted since they were all there. Where it does not count that, the turns find it.
    async fn count_on(&self, link: &Link, until: u64) -> Result<()> {
        let (server, log) = (&self.place.server, &self.place.log);
        let text = "SELECT n_tup_del FROM pg_stat_all_tables WHERE relid = to_regclass($1)";
        let name: [&(dyn ToSql + Sync); 1] = [log];
        let rows = link.query(server, text, &name).await?;
        let deleted = rows.first().map(|row| column::<i64>(server, row, 0));
        let deleted = deleted.transpose()?.unwrap_or(0);
        let before = self.counted.deleted.load(Ordering::Relaxed);
        let (first, last) = if deleted == before {
            let first = match self.counted.until.load(Ordering::Relaxed) {
                counted if counted >= until => 1,
                counted => counted + 1,
            };
            (first, until.min(first.saturating_add(COUNTED_MAX - 1)))
        } else {
            (1, until)
        };
        let text = format!("SELECT count(*) FROM {log} WHERE sequence BETWEEN $1 AND $2");
        let range: [&(dyn ToSql + Sync); 2] = [&signed(first), &signed(last)];
        let rows = link.query(server, &text, &range).await?;
        let count = rows.first().map(|row| column::<i64>(server, row, 0));
        let count = unsigned(count.transpose()?.unwrap_or(0));
        let due = (last + 1).saturating_sub(first);
        if count < due {
            return Err(Error::Engine(EngineError::Corrupt(format!(
                "the table {log} at {} lost messages: {} of those from {first} to {last} were \
                 removed; restore them, or restart with another namespace",
                server.shown,
                due - count
            ))));
        }
        self.counted.deleted.store(deleted, Ordering::Relaxed);
        self.counted.until.store(last, Ordering::Relaxed);
        Ok(())
    }

    async fn end_on(&self, link: &Link) -> Result<u64> {
        let server = &self.place.server;
        let text = format!("SELECT last FROM {}", self.place.end);
        let rows = link.query(server, &text, &[]).await?;
        let last = rows.first().map(|row| column(server, row, 0));
        Ok(match unsigned(last.transpose()?.unwrap_or(0)) {
            0 => 0,
            last => last + 1,
        })
    }

    async fn findings(&self) -> Result<Vec<Finding>> {
        let (link, facts) = facts::open(&self.place).await?;
        let findings = facts.findings(&link, &self.place).await?;
        self.know(facts);
        Ok(findings)
    }

    async fn remove_all(&self) -> Result<()> {
        let server = &self.place.server;
        let mut reading = self.reading.lock().await;
        let Place { log, end, .. } = &self.place;
        let text = format!("DROP TABLE IF EXISTS {log}, {end}");
        let removed = self.ask(async |link| link.run(server, &text).await).await;
        // The next one makes the tables again.
        self.writer.close().await;
        self.place.is_made.store(false, Ordering::Relaxed);
        self.newest.store(0, Ordering::Relaxed);
        *reading = Reading::default();
        removed
    }
}

/// A column of a row that one of our statements made.
fn column<'r, T: FromSql<'r>>(server: &Server, row: &'r Row, index: usize) -> Result<T> {
    row.try_get(index).map_err(|error| failure(server, &error))
}

/// The server's numbers have signs. No sequence number is ever beyond them.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

impl SharedLog for Postgres {
    fn about(&self) -> About {
        let facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        facts.about()
    }

    fn message_bytes_max(&self) -> usize {
        MESSAGE_BYTES_MAX
    }

    fn append(&self, messages: Vec<Bytes>) -> BoxFuture<'_, Result<()>> {
        self.append_all(messages).boxed()
    }

    fn read(
        &self,
        from: u64,
        bytes_max: usize,
        patience: Duration,
    ) -> BoxFuture<'_, Result<Vec<Message>>> {
        self.read_on(from, bytes_max, patience).boxed()
    }

    fn find(&self, sequence: u64) -> BoxFuture<'_, Result<Option<Bytes>>> {
        self.ask(async move |link| self.find_on(link, sequence).await)
            .boxed()
    }

    fn check_whole(&self, until: u64) -> BoxFuture<'_, Result<()>> {
        self.ask(async move |link| self.count_on(link, until).await)
            .boxed()
    }

    fn end(&self) -> BoxFuture<'_, Result<u64>> {
        self.ask(async |link| self.end_on(link).await).boxed()
    }

    fn time(&self) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        self.ask(async |link| facts::time(link, &self.place.server).await)
            .boxed()
    }

    fn examine(&self) -> BoxFuture<'_, Result<Vec<Finding>>> {
        self.findings().boxed()
    }

    fn remove(&self) -> BoxFuture<'_, Result<()>> {
        self.remove_all().boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            self.writer.close().await;
            self.reading.lock().await.close();
        }
        .boxed()
    }
}

//! A shared log on Redis: a stream.
//!
//! The stream's length makes its ids: `1-0`, `2-0` and so on, without gaps, so that a reader sees
//! what was trimmed or lost. A reader waits for messages on the server (`XREAD BLOCK`), on a
//! connection of its own.
//!
//! A message is one write, and never part of a transaction: Redis 7, when it was killed while it
//! wrote one to its append-only file, cuts the file behind the last whole command *within* the
//! transaction. The rest then joins the next one, and after one more restart takes the place of
//! messages that were acknowledged (valkey-io/valkey#4342 tells of it, and mends it there).

mod client;
mod facts;
mod failure;
mod link;
mod scripts;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redis::{Cmd, Value};

pub use self::client::Client;
use self::facts::Facts;
use self::failure::strange;
use self::link::{Link, number};
use self::scripts::{APPEND, FETCH, WHOLE};
use crate::engine::Url;
use crate::error::{EngineError, Error, Result};
use crate::last_seen::{Cursor, parts};
use crate::reading::Reading;
use crate::reconnecting::Standing;
use crate::shared_log::{About, Finding, Message, Server, SharedLog, check_sizes};
use crate::socket::{self, ANSWER};
use crate::time::Timestamp;
use ensue_engine::replica::Connector;

/// Its own options.
pub const OPTIONS: &[(&str, &str)] = &[(
    "replicas",
    "how many replicas must have received what is appended before it counts; default 0",
)];

const PORT: u16 = 6379;

/// How to get to its servers.
pub const CONNECTOR: Connector = Connector {
    port: PORT,
    dial: |url| Box::pin(connect(url)),
};

/// The server could take more, but does nothing else while it copies a message.
const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What is sent before the answers are awaited.
const SENT_BYTES_MAX: usize = 4 * 1024 * 1024;
const SENT_MESSAGES_MAX: usize = 1024;
/// What one script reads.
const FETCH_BYTES_MAX: usize = 4 * 1024 * 1024;
const FETCH_MESSAGES_MAX: usize = 8192;
/// What wakes one who waits. What came with it and is more is fetched afterwards: a blocking read
/// has no limit in bytes.
const WAKE_MESSAGES_MAX: usize = 32;
const REPLICAS_MAX: u32 = 64;
/// How long replicas may take: less than the answer itself.
const REPLICAS_MILLIS_MAX: u64 = 4_000;

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
    // Not only at the first append.
    link.try_append(&place).await?;
    Ok(Arc::new(Redis {
        facts: Mutex::new(facts),
        newest: AtomicU64::new(0),
        writer: Standing::new(link),
        reading: tokio::sync::Mutex::new(Reading::default()),
        place,
    }))
}

/// Takes the URL apart.
fn connecting(url: &Url) -> Result<Place> {
    let server = Server::of(url, PORT)?;
    let replicas = match url.option("replicas").map(str::parse::<u32>) {
        None => 0,
        Some(Ok(replicas)) if replicas <= REPLICAS_MAX => replicas,
        Some(_) => {
            return Err(url.invalid(format!("`replicas` must be a number up to {REPLICAS_MAX}")));
        }
    };
    let database = match server.path.as_str() {
        "" => 0,
        path => path
            .parse::<u16>()
            .map_err(|_| url.invalid(format!("`{path}` is not the number of a database")))?,
    };
    Ok(Place {
        encryption: server.tls.as_ref().map(socket::encryption).transpose()?,
        log: format!("ensue:{{{}}}:log", server.namespace),
        server,
        database,
        replicas,
    })
}

/// Where the log is.
struct Place {
    server: Server,
    encryption: Option<Arc<rustls::ClientConfig>>,
    database: u16,
    /// The stream's key.
    log: String,
    replicas: u32,
}

struct Redis {
    place: Place,
    facts: Mutex<Facts>,
    /// The highest number that was acknowledged or read here.
    newest: AtomicU64,
    /// For everything but reading; requests follow each other without waiting for answers.
    writer: Standing<Link>,
    reading: tokio::sync::Mutex<Reading<Link>>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("server", &self.place.server.shown)
            .field("log", &self.place.log)
            .finish_non_exhaustive()
    }
}

impl Redis {
    fn know(&self, facts: Facts) {
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = facts;
    }

    async fn open(&self) -> Result<Link> {
        let (link, facts) = facts::open(&self.place).await?;
        self.know(facts);
        Ok(link)
    }

    /// Asks on the connection for everything but reading, which is opened again when it is gone.
    async fn ask<T>(&self, question: impl AsyncFnOnce(&Link) -> Result<T>) -> Result<T> {
        let writer = &self.writer;
        writer.ask(Link::is_alive, self.open(), question).await
    }

    async fn run(&self, commands: Vec<Cmd>) -> Result<Vec<Value>> {
        self.ask(async |link| link.ask(&self.place.server, commands, ANSWER).await)
            .await
    }

    async fn append_all(&self, messages: Vec<Bytes>) -> Result<()> {
        check_sizes(
            &messages,
            self.message_bytes_max(),
            "message_bytes_max",
            "append less at once, or keep large payloads elsewhere",
        )?;
        for part in parts(&messages, SENT_MESSAGES_MAX, SENT_BYTES_MAX) {
            let known = self.newest.load(Ordering::Relaxed).to_string();
            let append = |message: &Bytes| {
                let arguments: [&[u8]; 2] = [message, known.as_bytes()];
                self.place.script(APPEND, &arguments)
            };
            let mut commands: Vec<_> = part.iter().map(append).collect();
            // Counts what this connection has written so far.
            if self.place.replicas > 0 {
                let mut wait = redis::cmd("WAIT");
                wait.arg(self.place.replicas).arg(REPLICAS_MILLIS_MAX);
                commands.push(wait);
            }
            let answers = self.run(commands).await?;
            for answer in answers.iter().take(part.len()) {
                self.note(sequence_in(answer).ok_or_else(|| strange(&self.place.server))?);
            }
            if self.place.replicas > 0 {
                self.check_replicas(answers.last())?;
            }
        }
        Ok(())
    }

    /// Notes that a message was acknowledged or read.
    fn note(&self, sequence: u64) {
        self.newest.fetch_max(sequence, Ordering::Relaxed);
    }

    fn check_replicas(&self, answer: Option<&Value>) -> Result<()> {
        let server = &self.place.server;
        let received = answer.and_then(number).ok_or_else(|| strange(server))?;
        let wanted = self.place.replicas;
        if received >= u64::from(wanted) {
            Ok(())
        } else {
            Err(server.unavailable(format!(
                "{received} replicas of {wanted} received what was appended"
            )))
        }
    }

    async fn read_on(
        &self,
        from: u64,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<Vec<Message>> {
        let mut reading = self.reading.lock().await;
        let reading = &mut *reading;
        if let Some(fetched) = reading.begin(from, bytes_max) {
            return Ok(fetched);
        }
        let open = async |cursor: &Cursor| self.reader(cursor).await;
        let link = reading.link(Link::is_alive, open).await?;
        if reading.is_behind || patience.is_zero() {
            self.fetch(&link, reading, bytes_max).await?;
        }
        if !reading.cursor.has_some() && !patience.is_zero() {
            self.wait(&link, reading, patience).await?;
        }
        let taken = reading.end(link, bytes_max);
        if let Some(last) = taken.last() {
            self.note(last.sequence);
        }
        Ok(taken)
    }

    /// A connection for reading, to a server that still has what was read.
    async fn reader(&self, cursor: &Cursor) -> Result<Link> {
        let link = self.open().await?;
        if let Some(witness) = cursor.witness {
            let range = self.place.range(witness.sequence);
            let answer = link.ask_one(&self.place.server, range, ANSWER).await?;
            witness.check(self.first_of(answer)?)?;
        }
        Ok(link)
    }

    /// The body of the first of some entries.
    fn first_of(&self, entries: Value) -> Result<Option<Bytes>> {
        let first = self.messages(entries)?.into_iter().next();
        Ok(first.map(|message| message.body))
    }

    async fn find_one(&self, sequence: u64) -> Result<Option<Bytes>> {
        let answers = self.run(vec![self.place.range(sequence)]).await?;
        let entries = answers.into_iter().next();
        self.first_of(entries.ok_or_else(|| strange(&self.place.server))?)
    }

    /// Fetches what is there.
    async fn fetch(
        &self,
        link: &Link,
        reading: &mut Reading<Link>,
        bytes_max: usize,
    ) -> Result<()> {
        let server = &self.place.server;
        let from = reading.cursor.due().to_string();
        let bytes_max = bytes_max.min(FETCH_BYTES_MAX).to_string();
        let arguments = [from, bytes_max, FETCH_MESSAGES_MAX.to_string()];
        let script = self.place.script(FETCH, &arguments);
        let Value::Array(answer) = link.ask_one(server, script, ANSWER).await? else {
            return Err(strange(server));
        };
        let [is_more, entries] = <[Value; 2]>::try_from(answer).map_err(|_| strange(server))?;
        reading.is_behind = number(&is_more) == Some(1);
        reading.cursor.add(self.messages(entries)?)
    }

    /// Waits for messages.
    async fn wait(
        &self,
        link: &Link,
        reading: &mut Reading<Link>,
        patience: Duration,
    ) -> Result<()> {
        let server = &self.place.server;
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(WAKE_MESSAGES_MAX);
        // 0 would be for ever.
        let millis = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        read.arg("BLOCK").arg(millis.clamp(1, i64::MAX as u64));
        read.arg("STREAMS").arg(&self.place.log);
        read.arg(reading.cursor.due().saturating_sub(1));
        let answer = link
            .ask_one(server, read, patience.saturating_add(ANSWER))
            .await?;
        // One stream: its name and its entries.
        let messages = match answer {
            Value::Nil => Vec::new(),
            Value::Array(mut streams) => match streams.pop() {
                Some(Value::Array(mut stream)) => {
                    self.messages(stream.pop().unwrap_or_default())?
                }
                _ => return Err(strange(server)),
            },
            _ => return Err(strange(server)),
        };
        reading.is_behind = messages.len() >= WAKE_MESSAGES_MAX;
        reading.cursor.add(messages)
    }

    /// Entries of the stream, as messages.
    fn messages(&self, entries: Value) -> Result<Vec<Message>> {
        let Value::Array(entries) = entries else {
            return Err(strange(&self.place.server));
        };
        entries
            .into_iter()
            .map(|entry| {
                message(entry).ok_or_else(|| {
                    let log = &self.place.log;
                    Error::Engine(EngineError::Corrupt(format!(
                        "the stream `{log}` holds entries that Ensue did not append; use another \
                         namespace, and leave its stream alone"
                    )))
                })
            })
            .collect()
    }

    async fn check_all(&self, until: u64) -> Result<()> {
        let none: [&str; 0] = [];
        let answers = self.run(vec![self.place.script(WHOLE, &none)]).await?;
        let server = &self.place.server;
        let (length, beyond) = match answers.first() {
            Some(Value::Array(answer)) => match answer.as_slice() {
                [length, beyond] => (number(length), number(beyond)),
                _ => return Err(strange(server)),
            },
            _ => return Err(strange(server)),
        };
        match (length, beyond) {
            (Some(length), Some(0)) if length >= until => Ok(()),
            (Some(length), Some(_)) => Err(Error::Engine(EngineError::Corrupt(format!(
                "the stream `{}` at {} lost messages: it has {length}, and more were acknowledged: \
                 entries were deleted or trimmed; restore it, or restart to go on with what the \
                 server has",
                self.place.log, server.shown
            )))),
            _ => Err(strange(server)),
        }
    }

    async fn ends(&self) -> Result<u64> {
        let mut length = redis::cmd("XLEN");
        length.arg(&self.place.log);
        let answers = self.run(vec![length]).await?;
        match answers.first().and_then(number) {
            None => Err(strange(&self.place.server)),
            Some(0) => Ok(0),
            Some(last) => Ok(last.saturating_add(1)),
        }
    }

    async fn findings(&self) -> Result<Vec<Finding>> {
        // Not the connection for appending: it may have a long queue.
        let (link, facts) = facts::open(&self.place).await?;
        let findings = facts.findings(&link, &self.place).await?;
        self.know(facts);
        Ok(findings)
    }
}

/// `[id, [field, value]]`.
fn message(entry: Value) -> Option<Message> {
    let Value::Array(entry) = entry else {
        return None;
    };
    let [id, fields] = <[Value; 2]>::try_from(entry).ok()?;
    let (Value::BulkString(id), Value::Array(fields)) = (id, fields) else {
        return None;
    };
    let [_, body] = <[Value; 2]>::try_from(fields).ok()?;
    let Value::BulkString(body) = body else {
        return None;
    };
    Some(Message {
        sequence: sequence_of(&id)?,
        body: body.into(),
    })
}

/// The sequence number in the id of an entry.
fn sequence_of(id: &[u8]) -> Option<u64> {
    std::str::from_utf8(id)
        .ok()?
        .strip_suffix("-0")?
        .parse()
        .ok()
}

/// The sequence number in the answer to an append.
fn sequence_in(answer: &Value) -> Option<u64> {
    match answer {
        Value::BulkString(id) => sequence_of(id),
        _ => None,
    }
}

impl Place {
    /// The entry with this number, if there is one.
    fn range(&self, sequence: u64) -> Cmd {
        let mut range = redis::cmd("XRANGE");
        range.arg(&self.log).arg(sequence).arg(sequence);
        range
    }

    /// A script over the log. It is sent each time: it is short, and a server that was restarted
    /// knows no scripts.
    fn script(&self, script: &str, arguments: &[impl AsRef<[u8]>]) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(1).arg(&self.log);
        for argument in arguments {
            command.arg(argument.as_ref());
        }
        command
    }
}

impl SharedLog for Redis {
    fn about(&self) -> About {
        let facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        facts.about()
    }

    fn message_bytes_max(&self) -> usize {
        let facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        facts.bulk_bytes_max.min(MESSAGE_BYTES_MAX)
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
        self.find_one(sequence).boxed()
    }

    fn check_whole(&self, until: u64) -> BoxFuture<'_, Result<()>> {
        self.check_all(until).boxed()
    }

    fn end(&self) -> BoxFuture<'_, Result<u64>> {
        self.ends().boxed()
    }

    fn time(&self) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        self.ask(async |link| facts::time(link, &self.place).await)
            .boxed()
    }

    fn examine(&self) -> BoxFuture<'_, Result<Vec<Finding>>> {
        self.findings().boxed()
    }

    fn remove(&self) -> BoxFuture<'_, Result<()>> {
        async {
            let mut delete = redis::cmd("UNLINK");
            delete.arg(&self.place.log);
            self.run(vec![delete]).await?;
            self.newest.store(0, Ordering::Relaxed);
            *self.reading.lock().await = Reading::default();
            Ok(())
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            self.writer.close().await;
            self.reading.lock().await.close();
        }
        .boxed()
    }
}

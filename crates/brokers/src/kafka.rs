//! A shared log on Apache Kafka: one topic with one partition, from which nothing is ever removed.
//!
//! A message's sequence number is its offset.
//!
//! The protocol is spoken here (`protocol`), because the client crates lack what a log needs:
//! `rskafka` can neither say nor ask how long a topic keeps its messages, and `rdkafka` brings
//! librdkafka, OpenSSL and threads of its own. Of codecs, `kafka-protocol` reserves memory for as many
//! items as an answer claims to have, so that a broken answer ends the process; it cannot tell a wrong
//! checksum, which means that messages are lost, from compression, which a setting mends; and it says
//! nothing of offsets without messages, behind which reading has to go on. Nine requests are enough.
//!
//! Appending, reading and all else have a `Connection` each, to the partition's leader. A
//! call takes it away, and puts it back when the answers are read: after an error, or a future
//! that was dropped half-way, the next call makes a new one.

mod appender;
mod batch;
mod connection;
mod examine;
mod protocol;
mod reader;
mod scram;
#[cfg(test)]
mod tests;
mod versions;
mod wire;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};

use self::connection::{ANSWER, Connection, Mechanism, refused};
use self::protocol::{At, Code, Metadata};
use self::reader::Ahead;
use crate::engine::Url;
use crate::error::{EngineError, Error, Result};
use crate::shared_log::{About, Address, Finding, Message, Server, SharedLog, check_sizes};
use ensue_engine::replica::Connector;

/// The options of its own that the URL takes.
pub const OPTIONS: &[(&str, &str)] = &[
    (
        "replication",
        "on how many brokers a new log is kept, 1 to 9; default 1",
    ),
    (
        "mechanism",
        "how to log in: `scram-sha-512` (default), `scram-sha-256` or `plain`",
    ),
];

/// The usual one.
const PORT: u16 = 9092;

/// How to get to its servers.
pub const CONNECTOR: Connector = Connector {
    port: PORT,
    dial: |url| Box::pin(connect(url)),
};

const REPLICATION_MAX: i16 = 9;
/// How long a broker may wait for its replicas or its disk: below the time of a call.
const BROKER_MS: i32 = 4000;
/// What a broker takes unless it is told otherwise.
const BATCH_BYTES_USUAL: usize = 1_048_588;
/// Brokers and topics need a moment from being made to being known.
const PAUSE: Duration = Duration::from_millis(50);
/// How long brokers may not know a topic that they have known, until it counts as deleted: less than
/// a call may take.
const GONE: Duration = Duration::from_secs(3);
/// What makes a topic a log: nothing is removed, and the broker says when a message came.
const SETTINGS: &[(&str, &str)] = &[
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
    ("compression.type", "uncompressed"),
    ("message.timestamp.type", "LogAppendTime"),
];

/// Connects once, and creates the log if it does not exist.
///
/// # Errors
/// [`EngineError::Unavailable`] when the server is away,
/// [`OpenError::Unfit`](crate::error::OpenError::Unfit) when it cannot be used as it is.
pub(crate) async fn connect(url: Url) -> Result<Arc<dyn SharedLog>> {
    let server = Server::of(&url, PORT)?;
    server.check_pathless(&url)?;
    let log = Kafka {
        topic: format!("ensue-{}", server.namespace),
        replication: replication_of(&url)?,
        mechanism: mechanism_of(&url)?,
        server,
        appender: Slot::default(),
        reader: Slot::default(),
        asker: Slot::default(),
        ahead: tokio::sync::Mutex::default(),
        about: Mutex::new(About {
            server: "Kafka".to_owned(),
            is_durable: false,
        }),
        batch_bytes_max: AtomicUsize::new(BATCH_BYTES_USUAL),
        newest: AtomicU64::new(0),
        is_made: AtomicBool::new(false),
        is_known: AtomicBool::new(false),
    };
    let connecting = async {
        let mut connection = log.leader().await?;
        log.settled(&mut connection).await?;
        log.learn(&mut connection).await?;
        log.asker.put(connection);
        Ok(())
    };
    log.timely(connecting).await?;
    Ok(Arc::new(log))
}

fn replication_of(url: &Url) -> Result<i16> {
    let Some(text) = url.option("replication") else {
        return Ok(1);
    };
    match text.parse() {
        Ok(replication @ 1..=REPLICATION_MAX) => Ok(replication),
        _ => Err(url.invalid(format!(
            "`replication` is `{text}`, it must be a number from 1 to {REPLICATION_MAX}"
        ))),
    }
}

fn mechanism_of(url: &Url) -> Result<Mechanism> {
    let [usual, ..] = Mechanism::ALL;
    let Some(text) = url.option("mechanism") else {
        return Ok(usual);
    };
    let mut all = Mechanism::ALL.into_iter();
    let found = all.find(|mechanism| mechanism.name().eq_ignore_ascii_case(text));
    found.ok_or_else(|| {
        let known = Mechanism::ALL.map(|mechanism| mechanism.name().to_ascii_lowercase());
        let known = known.join("`, `");
        url.invalid(format!(
            "`mechanism` is `{text}`, it must be one of `{known}`"
        ))
    })
}

/// Where a connection waits for the next call.
#[derive(Debug, Default)]
struct Slot(Mutex<Option<Connection>>);

impl Slot {
    fn take(&self) -> Option<Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, connection: Connection) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
    }
}

/// The log on the server.
#[derive(Debug)]
struct Kafka {
    server: Server,
    topic: String,
    replication: i16,
    mechanism: Mechanism,
    appender: Slot,
    reader: Slot,
    asker: Slot,
    /// What was read and not yet returned.
    ahead: tokio::sync::Mutex<Ahead>,
    about: Mutex<About>,
    /// The largest batch that the topic takes.
    batch_bytes_max: AtomicUsize,
    /// The offset after the newest message that was acknowledged or read here.
    newest: AtomicU64,
    /// Whether the topic was there once, or was made here.
    is_made: AtomicBool,
    /// Whether a broker has known it.
    is_known: AtomicBool,
}

impl Kafka {
    /// A connection to the leader of the partition; makes the topic when no process has seen it yet.
    async fn leader(&self) -> Result<Connection> {
        let mut connection = self.any_broker().await?;
        let begun = Instant::now();
        let known = loop {
            let asked = protocol::metadata(&self.topic);
            let known = connection.ask(asked, protocol::read_metadata).await?;
            if known.topic == Code::UNKNOWN_TOPIC && !self.is_made.load(Ordering::Relaxed) {
                connection = self.make(connection, &known).await?;
                self.is_made.store(true, Ordering::Relaxed);
            } else if known.topic == Code::UNKNOWN_TOPIC {
                if self.is_known.load(Ordering::Relaxed) && begun.elapsed() > GONE {
                    return Err(self.gone());
                }
                // Just made, and not yet known everywhere; the call's time ends the wait.
                tokio::time::sleep(PAUSE).await;
            } else if let Some(error) = refused(&self.server, known.topic, None) {
                return Err(error);
            } else {
                break known;
            }
        };
        self.is_made.store(true, Ordering::Relaxed);
        self.is_known.store(true, Ordering::Relaxed);
        let leader = self.leader_in(&known)?;
        // The only broker is the leader, whatever address it gives: it may not know the one that
        // leads to it from here.
        let place = match known.brokers.len() {
            1 => return Ok(connection),
            _ => known.brokers.iter().find(|broker| broker.id == leader),
        };
        let place = place.ok_or_else(|| self.server.unavailable("the leader is away"))?;
        self.open(&address_of(place)).await
    }

    async fn open(&self, address: &Address) -> Result<Connection> {
        Connection::open(&self.server, address, self.mechanism).await
    }

    /// The first broker in the URL that answers.
    async fn any_broker(&self) -> Result<Connection> {
        let mut last = None;
        for address in &self.server.addresses {
            match self.open(address).await {
                Err(error @ Error::Engine(EngineError::Unavailable { .. })) => last = Some(error),
                opened => return opened,
            }
        }
        Err(last.unwrap_or_else(|| self.server.unavailable("the URL names no broker")))
    }

    fn leader_in(&self, known: &Metadata) -> Result<i32> {
        match known.partitions.as_slice() {
            &[(_, leader, ..)] if leader >= 0 => Ok(leader),
            [_] => Err(self.server.unavailable("the partition has no leader")),
            more => Err(self.server.unfit(
                format!("the topic `{}` has {} partitions", self.topic, more.len()),
                "a log is one partition: use another `namespace`",
            )),
        }
    }

    async fn make(&self, mut connection: Connection, known: &Metadata) -> Result<Connection> {
        if known.brokers.is_empty() {
            // It has only just started, and is not even in its own list.
            return Err(self.server.unavailable("no broker is ready"));
        }
        let controller = known.brokers.iter().find(|it| it.id == known.controller);
        // With KRaft any broker hands it on; before, only the controller does it.
        if let Some(controller) = controller
            && known.brokers.len() > 1
        {
            connection = self.open(&address_of(controller)).await?;
        }
        let request = protocol::create_topic(&self.topic, self.replication, SETTINGS, BROKER_MS);
        let (code, said) = connection.ask(request, protocol::read_create_topic).await?;
        match code {
            Code::TOPIC_EXISTS => Ok(connection),
            Code::INVALID_REPLICATION_FACTOR => Err(self.server.unfit(
                said.unwrap_or_else(|| code.meaning().to_owned()),
                "lower `replication` in the URL, or start more brokers",
            )),
            code => refused(&self.server, code, said).map_or(Ok(connection), Err),
        }
    }

    /// Waits until the leader knows that it is the leader, which for a topic that was just made it
    /// learns a moment after others; the call's time ends the wait.
    async fn settled(&self, connection: &mut Connection) -> Result<()> {
        loop {
            let request = protocol::offset(&self.topic, At::End);
            let (code, _) = connection.ask(request, protocol::read_offset).await?;
            match code {
                Code::UNKNOWN_TOPIC | Code::LEADER_NOT_AVAILABLE | Code::NOT_LEADER => {
                    tokio::time::sleep(PAUSE).await;
                }
                code => return refused(&self.server, code, None).map_or(Ok(()), Err),
            }
        }
    }

    /// Learns what the server is and what it takes.
    async fn learn(&self, connection: &mut Connection) -> Result<()> {
        let version = match connection.metadata_level() {
            Some(level) => format!("Kafka with metadata version {level}"),
            None => "Kafka before version 4".to_owned(),
        };
        let settings = self.settings(connection).await?;
        if let Some(reason) = examine::forgets(&settings) {
            return Err(self.server.unfit(
                format!("the topic `{}` {reason}", self.topic),
                "set its `cleanup.policy` to `delete`, and `retention.ms` and `retention.bytes` \
                 to -1",
            ));
        }
        let batch_bytes_max = settings.number("max.message.bytes");
        self.batch_bytes_max.store(
            batch_bytes_max.unwrap_or(BATCH_BYTES_USUAL),
            Ordering::Relaxed,
        );
        let is_durable = examine::is_durable(&settings);
        *self.about.lock().unwrap_or_else(PoisonError::into_inner) = About {
            server: version,
            is_durable,
        };
        Ok(())
    }

    async fn settings(&self, connection: &mut Connection) -> Result<examine::Settings> {
        let request = protocol::describe_topic(&self.topic);
        let (code, settings) = connection.ask(request, protocol::read_describe).await?;
        match refused(&self.server, code, None) {
            None => Ok(examine::Settings(settings)),
            Some(error) => Err(error),
        }
    }

    /// What `ask` makes of a connection to the leader, all within the time of a call.
    async fn asked<T>(&self, ask: impl AsyncFnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        let asking = async {
            let mut connection = self.asker().await?;
            let answer = ask(&mut connection).await?;
            self.asker.put(connection);
            Ok(answer)
        };
        self.timely(asking).await
    }

    /// The connection for everything but appending and reading.
    async fn asker(&self) -> Result<Connection> {
        match self.asker.take() {
            Some(connection) => Ok(connection),
            None => self.timely(self.leader()).await,
        }
    }

    async fn timely<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let result = timeout(ANSWER, call).await;
        result.unwrap_or_else(|_| Err(self.server.unavailable("no answer within 5 s")))
    }

    /// The oldest message's offset, or the one after the newest message.
    async fn offset(&self, connection: &mut Connection, at: At) -> Result<u64> {
        let request = protocol::offset(&self.topic, at);
        let (code, offset) = connection.ask(request, protocol::read_offset).await?;
        match refused(&self.server, code, None) {
            None => Ok(u64::try_from(offset).unwrap_or(0)),
            Some(error) => Err(error),
        }
    }

    fn note(&self, next: u64) {
        self.newest.fetch_max(next, Ordering::Relaxed);
    }

    /// The error of a topic that was there, and is not any more.
    fn gone(&self) -> Error {
        Error::Engine(EngineError::Corrupt(format!(
            "the topic `{}` was deleted from {}; restore it, or restart to begin a new log",
            self.topic, self.server.shown
        )))
    }
}

impl SharedLog for Kafka {
    fn about(&self) -> About {
        let about = self.about.lock().unwrap_or_else(PoisonError::into_inner);
        about.clone()
    }

    fn message_bytes_max(&self) -> usize {
        let batch_bytes_max = self.batch_bytes_max.load(Ordering::Relaxed);
        batch_bytes_max.saturating_sub(batch::HEADER_BYTES + batch::RECORD_BYTES_MAX)
    }

    fn append(&self, messages: Vec<Bytes>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            check_sizes(
                &messages,
                self.message_bytes_max(),
                "max.message.bytes",
                "append less at once, or raise `max.message.bytes` of the topic",
            )?;
            if messages.is_empty() {
                return Ok(());
            }
            let mut connection = match self.appender.take() {
                Some(connection) => connection,
                None => self.timely(self.leader()).await?,
            };
            // Bounded by the time of every single answer: many messages may take longer.
            self.produce(&mut connection, &messages).await?;
            self.appender.put(connection);
            Ok(())
        })
    }

    fn read(
        &self,
        from: u64,
        bytes_max: usize,
        patience: Duration,
    ) -> BoxFuture<'_, Result<Vec<Message>>> {
        Box::pin(self.read_at(from, bytes_max, patience))
    }

    fn find(&self, sequence: u64) -> BoxFuture<'_, Result<Option<Bytes>>> {
        Box::pin(self.asked(async move |connection| self.find_one(connection, sequence).await))
    }

    fn check_whole(&self, until: u64) -> BoxFuture<'_, Result<()>> {
        // Nothing is ever removed but from the start, as long as the topic is not compacted.
        Box::pin(self.asked(
            async move |connection| match self.offset(connection, At::Start).await? {
                0 => Ok(()),
                start => Err(self.lost(&format!("it begins at {start}, and {until} was read"))),
            },
        ))
    }

    fn end(&self) -> BoxFuture<'_, Result<u64>> {
        Box::pin(self.asked(async |connection| self.offset(connection, At::End).await))
    }

    fn examine(&self) -> BoxFuture<'_, Result<Vec<Finding>>> {
        Box::pin(self.asked(async |connection| self.findings(connection).await))
    }

    fn remove(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            let mut connection = self.asker().await?;
            let request = protocol::delete_topic(&self.topic, BROKER_MS);
            let code = connection.ask(request, protocol::read_delete_topic).await?;
            if code != Code::UNKNOWN_TOPIC
                && let Some(error) = refused(&self.server, code, None)
            {
                return Err(error);
            }
            // The controller has removed it; a broker that has not heard of that still shows it, for as
            // long as the cluster takes.
            loop {
                let asked = protocol::metadata(&self.topic);
                let known = connection.ask(asked, protocol::read_metadata).await?;
                if known.topic == Code::UNKNOWN_TOPIC {
                    self.asker.put(connection);
                    return Ok(());
                }
                tokio::time::sleep(PAUSE).await;
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            for slot in [&self.appender, &self.reader, &self.asker] {
                drop(slot.take());
            }
        })
    }
}

fn address_of(broker: &protocol::Broker) -> Address {
    Address {
        host: broker.host.clone(),
        port: broker.port,
    }
}

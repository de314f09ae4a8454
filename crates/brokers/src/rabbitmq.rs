//! The shared log on RabbitMQ: one stream queue, over AMQP 0.9.1.
//!
//! A stream, because it is the one kind of queue that is a log: reading removes nothing, any number
//! of processes read it from any place and at their own pace, and every message has an offset. A
//! quorum queue syncs before it acknowledges, which a stream does not, but hands each message to
//! one consumer and forgets it.
//!
//! What is acknowledged is in the page caches of as many nodes as hold the stream: it survives the
//! end of processes, and power cuts as far as the nodes do not have them together.

mod appender;
mod delivery;
mod ending;
mod examine;
mod first_message;
mod link;
mod reader;
mod server_properties;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use self::appender::Appender;
use self::first_message::FirstMessage;
use self::link::{Link, answered, soon};
use self::reader::Reader;
use self::server_properties::ServerProperties;
use crate::engine::Url;
use crate::error::{EngineError, Error, Result};
use crate::shared_log::{About, Finding, Message, Server, SharedLog, check_sizes};
use ensue_engine::replica::Connector;

/// The options of its own.
pub const OPTIONS: &[(&str, &str)] = &[(
    "replicas",
    "how many nodes of a cluster hold the log, fixed when it is made; default: the server's",
)];

const PORT: u16 = 5672;

/// How to get to its servers.
pub const CONNECTOR: Connector = Connector {
    port: PORT,
    dial: |url| Box::pin(connect(url)),
};

const PORT_TLS: u16 = 5671;
/// The first release whose streams were tried.
const OLDEST: (u32, u32) = (3, 10);
/// Far below what a server takes (128 MiB, later 16 MiB), because it sends many ahead.
const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The delivery mode of what is to survive.
const PERSISTENT: u8 = 2;

/// Connects, and makes the log if it is not there.
///
/// # Errors
/// [`EngineError::Unavailable`] when the server is away,
/// [`OpenError::Unfit`](crate::error::OpenError::Unfit) when it is too old, does not let the user
/// in or lacks rights.
pub(crate) async fn connect(url: Url) -> Result<Arc<dyn SharedLog>> {
    let port = match url.option("tls") {
        Some("true") => PORT_TLS,
        _ => PORT,
    };
    let server = Server::of(&url, port)?;
    let replicas = replicas_of(&url)?;
    let queue = format!("ensue.{}.log", server.namespace);
    let until = soon();

    let link = Link::open(&server, until).await?;
    check_version(&server, &link.properties)?;
    if !link.has_queue(&server, &queue, until).await? {
        declare(&link, &server, &queue, replicas, until).await?;
    }
    if let examine::Publishing::Blocked(reason) =
        examine::publishing(&link, &server, &queue, until).await?
    {
        tracing::warn!(server = %server.shown, %reason, "the server takes no messages for now");
    }
    let first = FirstMessage::find_or_append(&link, &server, &queue, until).await?;
    let properties = link.properties.clone();
    Ok(Arc::new(Log {
        server,
        queue,
        first,
        properties: SyncMutex::new(properties),
        appending: Mutex::new(None),
        reading: Mutex::new(Reading::default()),
        asking: Mutex::new(Some(link)),
        closing: watch::Sender::new(false),
    }))
}

/// A log on a server. Appending, reading and asking have a connection each: the server stops
/// reading from one that publishes when it is short of memory or disk.
struct Log {
    server: Server,
    queue: String,
    first: FirstMessage,
    properties: SyncMutex<ServerProperties>,
    appending: Mutex<Option<Appender>>,
    reading: Mutex<Reading>,
    asking: Mutex<Option<Link>>,
    closing: watch::Sender<bool>,
}

#[derive(Default)]
struct Reading {
    reader: Option<Reader>,
    /// The last message that was read, by whichever reader.
    witness: Option<Message>,
}

impl Log {
    async fn append_all(&self, messages: &[Bytes]) -> Result<()> {
        check_sizes(
            messages,
            MESSAGE_BYTES_MAX,
            "message_bytes_max",
            "append less at once, or keep large payloads elsewhere",
        )?;
        if messages.is_empty() {
            return Ok(());
        }
        let mut appending = self.appending.lock().await;
        // Taken out while it works: after an error, or when this future is dropped, what is on its
        // way must not mix with what comes next.
        let appender = match appending.take() {
            Some(appender) => appender,
            None => Appender::open(&self.server, soon()).await?,
        };
        appender.append(&self.server, &self.queue, messages).await?;
        *appending = Some(appender);
        Ok(())
    }

    async fn read_on(
        &self,
        from: u64,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<Vec<Message>> {
        let mut reading = self.reading.lock().await;
        let Reading { reader, witness } = &mut *reading;
        let (server, queue, first) = (&self.server, &self.queue, &self.first);
        let open = match reader.take() {
            Some(open) => open,
            None => Reader::open(server, queue, first, from, witness.as_ref()).await?,
        };
        let open = reader.insert(open);
        let read = async {
            open.seek(server, queue, from, soon()).await?;
            open.read(server, queue, first, bytes_max, patience).await
        };
        let read = read.await;
        match &read {
            // Each message has its bytes for itself, so this holds one.
            Ok(messages) => *witness = messages.last().cloned().or(witness.take()),
            Err(_) => *reader = None,
        }
        read
    }

    /// Asks something, on a connection that is kept when there was an answer.
    async fn ask<T>(&self, question: impl AsyncFnOnce(&Link, Instant) -> Result<T>) -> Result<T> {
        let mut asking = self.asking.lock().await;
        let until = soon();
        let link = match asking.take() {
            Some(link) => link,
            None => Link::open(&self.server, until).await?,
        };
        // The lock is only poisoned by a panic while a name was copied.
        *self
            .properties
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = link.properties.clone();
        let answer = question(&link, until).await?;
        *asking = Some(link);
        Ok(answer)
    }

    /// Does it, unless the log is closed.
    async fn while_open<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut closing = self.closing.subscribe();
        tokio::select! {
            biased;
            _ = closing.wait_for(|is_closing| *is_closing) => Err(Error::Engine(EngineError::Closed)),
            done = work => done,
        }
    }
}

impl SharedLog for Log {
    fn about(&self) -> About {
        let properties = self
            .properties
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        About {
            server: format!("{} {}", properties.product, properties.version),
            // A stream is never synced.
            is_durable: false,
        }
    }

    fn message_bytes_max(&self) -> usize {
        MESSAGE_BYTES_MAX
    }

    fn append(&self, messages: Vec<Bytes>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { self.while_open(self.append_all(&messages)).await })
    }

    fn read(
        &self,
        from: u64,
        bytes_max: usize,
        patience: Duration,
    ) -> BoxFuture<'_, Result<Vec<Message>>> {
        Box::pin(self.while_open(self.read_on(from, bytes_max, patience)))
    }

    fn find(&self, sequence: u64) -> BoxFuture<'_, Result<Option<Bytes>>> {
        Box::pin(self.while_open(self.ask(async move |link, until| {
            let (server, queue) = (&self.server, &self.queue);
            // The log's end tells that it is there at all, and that the message is not waited for.
            let end = ending::end(link, server, queue, until).await?;
            let now = FirstMessage::find(link, server, queue, until).await?;
            self.first.check(&now, server, sequence)?;
            if sequence >= end {
                return Ok(None);
            }
            let found = ending::at(link, server, queue, sequence, until).await?;
            let is_it = found.offset == sequence && found.log_id.is_none();
            Ok(is_it.then_some(found.body))
        })))
    }

    fn check_whole(&self, _: u64) -> BoxFuture<'_, Result<()>> {
        // Nothing is ever removed but from the start.
        Box::pin(self.while_open(self.ask(async |link, until| {
            let now = FirstMessage::find(link, &self.server, &self.queue, until).await?;
            self.first.check(&now, &self.server, 0)
        })))
    }

    fn end(&self) -> BoxFuture<'_, Result<u64>> {
        Box::pin(self.while_open(
            self.ask(async |link, until| ending::end(link, &self.server, &self.queue, until).await),
        ))
    }

    fn examine(&self) -> BoxFuture<'_, Result<Vec<Finding>>> {
        Box::pin(self.while_open(self.ask(async |link, until| {
            examine::findings(link, &self.server, &self.queue, until).await
        })))
    }

    fn remove(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.while_open(self.ask(async |link, until| {
            let channel = link.channel(&self.server, until).await?;
            let options = QueueDeleteOptions::default();
            let deleting = channel.queue_delete(self.queue.as_str().into(), options);
            answered(&self.server, until, deleting).await?;
            Ok(())
        })))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.closing.send_replace(true);
            let goodbyes = async {
                if let Some(appender) = self.appending.lock().await.take() {
                    appender.close().await;
                }
                if let Some(reader) = self.reading.lock().await.reader.take() {
                    reader.close().await;
                }
                if let Some(link) = self.asking.lock().await.take() {
                    link.close().await;
                }
            };
            // What does not end in time is cut when the log is dropped.
            let _ = tokio::time::timeout(link::FAREWELL, goodbyes).await;
        })
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMq")
            .field("server", &self.server.shown)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

async fn declare(
    link: &Link,
    server: &Server,
    queue: &str,
    replicas: Option<i32>,
    until: Instant,
) -> Result<()> {
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("stream".into()),
    );
    if let Some(replicas) = replicas {
        let name = "x-initial-cluster-size";
        arguments.insert(name.into(), AMQPValue::LongInt(replicas));
    }
    let channel = link.channel(server, until).await?;
    let options = QueueDeclareOptions::durable();
    let declaring = channel.queue_declare(queue.into(), options, arguments);
    match answered(server, until, declaring).await {
        Ok(_) => Ok(()),
        // Another process was faster, and asked for another number of replicas.
        Err(_) if link.has_queue(server, queue, until).await? => Ok(()),
        Err(error) => Err(error),
    }
}

fn check_version(server: &Server, properties: &ServerProperties) -> Result<()> {
    let named = format!("it is {} {}", properties.product, properties.version);
    if properties.product != "RabbitMQ" {
        return Err(server.unfit(named, "the scheme `amqp` is for RabbitMQ"));
    }
    match properties.release() {
        Some(release) if release < OLDEST => Err(server.unfit(
            named,
            format!("streams need {}.{} or later", OLDEST.0, OLDEST.1),
        )),
        _ => Ok(()),
    }
}

fn replicas_of(url: &Url) -> Result<Option<i32>> {
    let Some(text) = url.option("replicas") else {
        return Ok(None);
    };
    match text.parse() {
        Ok(replicas) if replicas > 0 => Ok(Some(replicas)),
        _ => Err(url.invalid(format!(
            "`replicas` is `{text}`, it must be a number from 1"
        ))),
    }
}

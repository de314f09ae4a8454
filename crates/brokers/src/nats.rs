//! A shared log on NATS JetStream: one stream with one subject, stored in files, without limits.
//!
//! A message's sequence number is the stream's, which has no gaps: one that is missing was removed
//! from the server, or lost by it.
//!
//! What this engine holds on to is a `Link`, one connection to the server. It is given up at the
//! first sign of trouble, and the next call makes a new one: nothing has to be known of what the
//! old one still had under way.

mod examine;
mod link;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info, RawMessageErrorKind, RetentionPolicy, StorageType,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use self::link::Link;
use self::reader::Cursor;
use crate::engine::Url;
use crate::error::{EngineError, Error, Result};
use crate::shared_log::{About, Finding, Message, Server, SharedLog, check_sizes};
use crate::time::Timestamp;
use ensue_engine::replica::Connector;

/// The options of its own that the URL takes.
pub const OPTIONS: &[(&str, &str)] = &[(
    "replicas",
    "on how many servers of a cluster a new log is kept, 1 to 5; default 1",
)];

const PORT: u16 = 4222;

/// How to get to its servers.
pub const CONNECTOR: Connector = Connector {
    port: PORT,
    dial: |url| Box::pin(connect(url)),
};

const REPLICAS_MAX: usize = 5;
/// How long the server may take to answer anything.
const ANSWER: Duration = Duration::from_secs(5);
/// How many messages may be published and not yet acknowledged.
const UNANSWERED_MESSAGES_MAX: usize = 4096;
/// How many bytes of messages may be published and not yet acknowledged, beside the last message.
const UNANSWERED_BYTES_MAX: usize = 16 << 20;
/// No stream ever ends there.
const SEQUENCE_NEVER: u64 = 1 << 60;

/// Connects once, and creates the log if it does not exist.
///
/// # Errors
/// [`EngineError::Unavailable`] when the server is away,
/// [`OpenError::Unfit`](crate::error::OpenError::Unfit) when it cannot be used as it is.
pub(crate) async fn connect(url: Url) -> Result<Arc<dyn SharedLog>> {
    let server = Server::of(&url, PORT)?;
    server.check_pathless(&url)?;
    let replicas = replicas_of(&url)?;
    let log = Nats {
        stream: format!("ensue-{}", server.namespace),
        subject: format!("ensue.{}.log", server.namespace),
        server,
        replicas,
        link: tokio::sync::Mutex::new(None),
        cursor: tokio::sync::Mutex::new(None),
        identity: OnceLock::new(),
        about: Mutex::new(About {
            server: "NATS".to_owned(),
            is_durable: false,
        }),
        message_bytes_max: AtomicUsize::new(0),
        newest: AtomicU64::new(0),
    };
    log.answered(log.try_append()).await?;
    Ok(Arc::new(log))
}

fn replicas_of(url: &Url) -> Result<usize> {
    let Some(text) = url.option("replicas") else {
        return Ok(1);
    };
    match text.parse() {
        Ok(replicas @ 1..=REPLICAS_MAX) => Ok(replicas),
        _ => Err(url.invalid(format!(
            "`replicas` is `{text}`, it must be a number from 1 to {REPLICAS_MAX}"
        ))),
    }
}

/// The log on the server.
#[derive(Debug)]
struct Nats {
    server: Server,
    replicas: usize,
    stream: String,
    subject: String,
    link: tokio::sync::Mutex<Option<Link>>,
    cursor: tokio::sync::Mutex<Option<Cursor>>,
    /// When the stream was created, in nanoseconds since 1970: a stream that was removed and
    /// created again is another log under the same name.
    identity: OnceLock<i128>,
    about: Mutex<About>,
    message_bytes_max: AtomicUsize,
    /// The highest sequence number that was acknowledged or read here.
    newest: AtomicU64,
}

impl Nats {
    /// The connection, a new one when it does not work.
    async fn link(&self) -> Result<Link> {
        let mut held = self.link.lock().await;
        if let Some(link) = held.as_ref().filter(|link| !link.is_lost()) {
            return Ok(link.clone());
        }
        *held = None;
        let link = Link::new(&self.server).await?;
        let info = link.alive(&self.server, self.stream_on(&link)).await?;
        self.check_identity(&info)?;
        let server = link.context.client().server_info();
        self.message_bytes_max
            .store(server.max_payload, Ordering::Relaxed);
        self.about
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .server = format!("NATS {}", server.version);
        Ok(held.insert(link).clone())
    }

    /// The stream as the server has it; created when no process has seen it yet.
    async fn stream_on(&self, link: &Link) -> Result<Info> {
        let found = link.context.get_stream(&self.stream).await;
        let info = match found {
            Ok(stream) => stream.cached_info().clone(),
            Err(error) => match link::answer_to_get(&error) {
                Some(answer) if answer.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                    self.create_on(link).await?
                }
                answer => return Err(link::refused(&self.server, error, answer)),
            },
        };
        self.check_config(&info)?;
        Ok(info)
    }

    /// Whether the stream keeps what is appended to it.
    fn check_config(&self, info: &Info) -> Result<()> {
        match forgets(&info.config, &self.subject) {
            None => Ok(()),
            Some(reason) => Err(self.server.unfit(
                format!("the stream `{}` {reason}", self.stream),
                "edit it with `nats stream edit`, or use another `namespace`",
            )),
        }
    }

    async fn create_on(&self, link: &Link) -> Result<Info> {
        if self.identity.get().is_some() {
            return Err(self.removed());
        }
        let created = link.context.create_stream(self.config()).await;
        let stream = created.map_err(|error| {
            let answer = link::answer_to_create(&error);
            link::refused(&self.server, error, answer)
        })?;
        Ok(stream.cached_info().clone())
    }

    /// What the server knows of the stream now.
    async fn info(&self, link: &Link) -> Result<Info> {
        let got = link.context.get_stream(&self.stream);
        let asked = async {
            let stream = got.await.map_err(|error| self.server.unavailable(error))?;
            Ok(stream.cached_info().clone())
        };
        link.alive(&self.server, asked).await
    }

    /// The message with this sequence number, of the very stream that was opened.
    async fn find_one(&self, link: &Link, sequence: u64) -> Result<Option<Bytes>> {
        let found = link.context.get_stream(&self.stream).await;
        let stream = found.map_err(|error| match link::answer_to_get(&error) {
            Some(answer) if answer.error_code() == ErrorCode::STREAM_NOT_FOUND => self.removed(),
            answer => link::refused(&self.server, error, answer),
        })?;
        self.check_identity(stream.cached_info())?;
        // It may have been edited since it was opened.
        self.check_config(stream.cached_info())?;
        match stream.get_raw_message(sequence).await {
            Ok(message) => Ok(Some(message.payload)),
            Err(error) => match error.kind() {
                RawMessageErrorKind::NoMessageFound => Ok(None),
                _ => Err(self.server.unavailable(error)),
            },
        }
    }

    /// Whether the stream is the one that was opened first.
    fn check_identity(&self, info: &Info) -> Result<()> {
        let identity = info.created.unix_timestamp_nanos();
        if *self.identity.get_or_init(|| identity) == identity {
            Ok(())
        } else {
            Err(Error::Engine(EngineError::Corrupt(format!(
                "the stream `{}` at {} was removed and created again; what it held is gone",
                self.stream, self.server.shown
            ))))
        }
    }

    fn removed(&self) -> Error {
        Error::Engine(EngineError::Corrupt(format!(
            "the stream `{}` was removed from {}; restore it, or restart to begin a new log",
            self.stream, self.server.shown
        )))
    }

    fn config(&self) -> Config {
        Config {
            name: self.stream.clone(),
            description: Some("the log of Ensue; removing messages breaks it".to_owned()),
            subjects: vec![self.subject.clone()],
            retention: RetentionPolicy::Limits,
            // Full is an error to the process that appends, never the end of an old message.
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            max_messages: -1,
            max_bytes: -1,
            max_messages_per_subject: -1,
            max_message_size: -1,
            max_consumers: -1,
            num_replicas: self.replicas,
            // Not `deny_delete` and `deny_purge`, which cannot be taken back: the owner of the log
            // must be able to trim it one day.
            ..Config::default()
        }
    }

    /// Awaits `call`, and gives up the connection when it fails or takes too long.
    async fn answered<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let result = timeout(ANSWER, call)
            .await
            .unwrap_or_else(|_| Err(self.server.unavailable("no answer within 5 s")));
        if result.is_err() {
            self.give_up();
        }
        result
    }

    fn give_up(&self) {
        // The holder of the lock is making a new one.
        if let Ok(mut link) = self.link.try_lock() {
            *link = None;
        }
    }

    fn note(&self, sequence: u64) {
        self.newest.fetch_max(sequence, Ordering::Relaxed);
    }

    /// Whether messages could be appended, without appending any: a user may be allowed to look at
    /// the stream and not to publish to it.
    async fn try_append(&self) -> Result<()> {
        let link = self.link().await?;
        let publish = PublishMessage::build().expected_last_sequence(SEQUENCE_NEVER);
        let tried = async {
            let sent = link.context.send_publish(self.subject.clone(), publish);
            let answer = sent.await.map_err(|error| self.unpublished(&error))?;
            match answer.await {
                Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(()),
                Err(error) => Err(self.unpublished(&error)),
                Ok(_) => Err(self.server.unavailable("it takes what it must not take")),
            }
        };
        link.alive(&self.server, tried).await
    }

    /// Publishes all on one connection, which keeps their order, and awaits every answer.
    async fn publish(&self, link: &Link, messages: Vec<Bytes>) -> Result<()> {
        let mut unanswered = VecDeque::with_capacity(messages.len().min(UNANSWERED_MESSAGES_MAX));
        let mut unanswered_bytes = 0;
        for message in messages {
            let bytes = message.len();
            let after = self.newest.load(Ordering::Relaxed);
            let publish = link.context.publish(self.subject.clone(), message);
            let answer = publish.await.map_err(|error| self.unpublished(&error))?;
            unanswered.push_back((answer, after, bytes));
            unanswered_bytes += bytes;
            while unanswered.len() >= UNANSWERED_MESSAGES_MAX
                || unanswered_bytes > UNANSWERED_BYTES_MAX
            {
                let Some((answer, after, bytes)) = unanswered.pop_front() else {
                    break;
                };
                self.published(answer, after).await?;
                unanswered_bytes -= bytes;
            }
        }
        for (answer, after, _) in unanswered {
            self.published(answer, after).await?;
        }
        Ok(())
    }

    /// Awaits the answer to a message that was published when the log ended at `after` or later.
    async fn published(&self, answer: PublishAckFuture, after: u64) -> Result<()> {
        let answer = answer.await.map_err(|error| self.unpublished(&error))?;
        if answer.sequence <= after {
            let at = answer.sequence;
            return Err(Error::Engine(EngineError::Corrupt(format!(
                "the stream `{}` at {} took a message at {at}, where others were acknowledged or \
                 read before, up to {after}: it was removed and created again, or put back from an \
                 older copy; restore it, or restart to go on with what the server has",
                self.stream, self.server.shown
            ))));
        }
        self.note(answer.sequence);
        Ok(())
    }

    fn unpublished(&self, error: &PublishError) -> Error {
        match error.kind() {
            PublishErrorKind::StreamNotFound => {
                self.server.unavailable("no stream takes the message")
            }
            _ => self.server.unavailable(error),
        }
    }
}

impl SharedLog for Nats {
    fn about(&self) -> About {
        let about = self.about.lock().unwrap_or_else(PoisonError::into_inner);
        about.clone()
    }

    fn message_bytes_max(&self) -> usize {
        self.message_bytes_max.load(Ordering::Relaxed)
    }

    fn append(&self, messages: Vec<Bytes>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            check_sizes(
                &messages,
                self.message_bytes_max(),
                "max_payload",
                "append less at once, or raise `max_payload` of the NATS server",
            )?;
            let link = self.answered(self.link()).await?;
            // Bounded by the time of every single answer: many messages may take longer.
            let published = link
                .alive(&self.server, self.publish(&link, messages))
                .await;
            if published.is_err() {
                link.lose();
            }
            published
        })
    }

    fn read(
        &self,
        from: u64,
        bytes_max: usize,
        patience: Duration,
    ) -> BoxFuture<'_, Result<Vec<Message>>> {
        Box::pin(async move {
            let link = self.answered(self.link()).await?;
            // Kept where it is while it is used: this future may be dropped, the cursor goes on.
            let mut cursor = self.cursor.lock().await;
            let reading = self.read_at(&link, &mut cursor, from, bytes_max, patience);
            let read = link.alive(&self.server, reading).await;
            if read.is_err() {
                *cursor = None;
                link.lose();
            }
            read
        })
    }

    fn find(&self, sequence: u64) -> BoxFuture<'_, Result<Option<Bytes>>> {
        Box::pin(self.answered(async move {
            let link = self.link().await?;
            let finding = self.find_one(&link, sequence);
            link.alive(&self.server, finding).await
        }))
    }

    fn check_whole(&self, until: u64) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.answered(async move {
            let link = self.link().await?;
            self.check_all(&self.info(&link).await?.state, until)
        }))
    }

    fn end(&self) -> BoxFuture<'_, Result<u64>> {
        Box::pin(self.answered(async {
            let link = self.link().await?;
            match self.info(&link).await?.state.last_sequence {
                0 => Ok(0),
                last => Ok(last.saturating_add(1)),
            }
        }))
    }

    fn time(&self) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        Box::pin(self.answered(async {
            let link = self.link().await?;
            self.told_time(&link).await
        }))
    }

    fn examine(&self) -> BoxFuture<'_, Result<Vec<Finding>>> {
        Box::pin(self.answered(self.findings()))
    }

    fn remove(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.answered(async {
            let link = self.link().await?;
            let deleted = link.context.delete_stream(&self.stream).await;
            deleted.map_err(|error| self.server.unavailable(error))?;
            Ok(())
        }))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            *self.cursor.lock().await = None;
            *self.link.lock().await = None;
        })
    }
}

/// What in `config` would lose messages, if anything.
fn forgets(config: &Config, subject: &str) -> Option<String> {
    let is_limited =
        config.max_messages > 0 || config.max_messages_per_subject > 0 || !config.max_age.is_zero();
    if config.storage != StorageType::File {
        Some("is kept in memory and gone with the server".to_owned())
    } else if config.retention != RetentionPolicy::Limits {
        Some("removes messages that were read".to_owned())
    } else if is_limited || (config.max_bytes > 0 && config.discard == DiscardPolicy::Old) {
        Some("removes old messages".to_owned())
    } else if config.sealed {
        Some("is sealed: it takes no messages".to_owned())
    } else if config.subjects != [subject] {
        Some(format!("has other subjects than `{subject}`"))
    } else {
        None
    }
}

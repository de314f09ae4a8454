//! Reading: a consumer of the stream, which is kept as long as the calls continue each other.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream::consumer::pull::{BatchConfig, Config};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, ReplayPolicy};
use async_nats::jetstream::stream::State;
use async_nats::{StatusCode, Subject, Subscriber};
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;

use super::Nats;
use super::link::Link;
use crate::error::{EngineError, Error, Result};
use crate::shared_log::Message;

/// How many messages are asked for at once.
const PULL_MESSAGES: usize = 4096;
/// How many bytes are asked for at once, or two of the largest messages when that is more.
const PULL_BYTES: usize = 16 << 20;
/// How long the server may hold a request; it answers when it gives one up.
const PULL_EXPIRES: Duration = Duration::from_secs(30);
/// How often the server says that it still holds one.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// A server that says nothing for so long has forgotten us, or hangs.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// After how long without a request the server forgets a consumer.
const CONSUMER_IDLE_MAX: Duration = Duration::from_secs(120);
/// How many consumers are made in one call before that is an error.
const CURSORS_MAX: usize = 3;

/// A consumer, and where it stands.
#[derive(Debug)]
pub(super) struct Cursor {
    link: Link,
    consumer: Consumer<Config>,
    inbox: Subject,
    messages: Subscriber,
    /// The sequence number that comes next.
    next: u64,
    /// A message that was taken from `messages` and did not fit.
    held: Option<Message>,
    /// How many messages the server was asked for and has not sent.
    asked: usize,
    /// Whether the limit of bytes kept the last request from bringing anything.
    is_starved: bool,
    /// Whether the request that is under way brought anything.
    is_fruitful: bool,
    /// When the server was last heard.
    heard: Instant,
}

/// What came from the server.
enum Came {
    Message(Message),
    /// The request ended.
    Done,
    /// Nothing, but it is there.
    Heartbeat,
    /// The message after the one that should come.
    Skipped,
    /// The consumer is gone.
    Gone,
}

impl Nats {
    /// Reads with the cursor if it stands at `from`, else with a new one.
    pub(super) async fn read_at(
        &self,
        link: &Link,
        held: &mut Option<Cursor>,
        from: u64,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<Vec<Message>> {
        let until = Instant::now() + patience;
        // Sequence numbers begin with 1.
        let from = from.max(1);
        for _ in 0..CURSORS_MAX {
            let goes_on = |cursor: &Cursor| cursor.next == from && cursor.link.is(link);
            let is_new = !held.as_ref().is_some_and(goes_on);
            if is_new {
                if let Some(left) = held.take() {
                    left.leave().await;
                }
                *held = Some(self.answered(self.cursor_at(link, from)).await?);
            }
            let Some(cursor) = held.as_mut() else {
                break;
            };
            match cursor.first(self, until).await? {
                None => return Ok(Vec::new()),
                Some(Came::Message(first)) => {
                    let messages = cursor.all_there_are(first, bytes_max);
                    if let Some(last) = messages.last() {
                        self.note(last.sequence);
                    }
                    return Ok(messages);
                }
                // An old consumer may have lost what was sent to it, a new one has not.
                Some(Came::Skipped) if is_new => {
                    return Err(self.corrupt(format!("message {from} is missing")));
                }
                Some(_) => *held = None,
            }
        }
        Err(self.server.unavailable("its consumers do not last"))
    }

    async fn cursor_at(&self, link: &Link, from: u64) -> Result<Cursor> {
        // Before the stream is asked: what is acknowledged meanwhile may not be in the answer.
        let newest = self.newest.load(Ordering::Relaxed);
        self.check_state(&self.info(link).await?.state, newest, from)?;
        let client = link.context.client();
        let inbox = Subject::from(client.new_inbox());
        let subscribed = client.subscribe(inbox.clone()).await;
        let messages = subscribed.map_err(|error| self.server.unavailable(error))?;
        let config = Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: from,
            },
            ack_policy: AckPolicy::None,
            replay_policy: ReplayPolicy::Instant,
            inactive_threshold: CONSUMER_IDLE_MAX,
            // It lives as long as this connection: nothing to write, nothing to copy.
            memory_storage: true,
            num_replicas: 1,
            ..Config::default()
        };
        let created = link
            .context
            .create_consumer_on_stream(config, &self.stream)
            .await;
        Ok(Cursor {
            link: link.clone(),
            consumer: created.map_err(|error| self.server.unavailable(error))?,
            inbox,
            messages,
            next: from,
            held: None,
            asked: 0,
            is_starved: false,
            is_fruitful: false,
            heard: Instant::now(),
        })
    }

    /// Whether the stream still has everything at or after `from`, up to `newest`.
    fn check_state(&self, state: &State, newest: u64, from: u64) -> Result<()> {
        let (first, last) = (state.first_sequence, state.last_sequence);
        if last < newest {
            let lost = format!("it ends at {last}, and {newest} was acknowledged or read");
            Err(self.corrupt(lost))
        } else if first > from && last >= from {
            Err(self.corrupt(format!("it begins at {first}, and {from} is wanted")))
        } else {
            Ok(())
        }
    }

    /// Whether the stream has every message up to `until`: numbers are never left out.
    pub(super) fn check_all(&self, state: &State, until: u64) -> Result<()> {
        self.check_state(state, until, 1)?;
        let removed = state.last_sequence.saturating_sub(state.messages);
        match removed {
            0 => Ok(()),
            _ => Err(self.corrupt(format!(
                "{removed} of the {} that were acknowledged were removed",
                state.last_sequence
            ))),
        }
    }

    fn corrupt(&self, lost: String) -> Error {
        let (stream, server) = (&self.stream, &self.server.shown);
        Error::Engine(EngineError::Corrupt(format!(
            "the stream `{stream}` at {server} lost messages: {lost}"
        )))
    }
}

impl Cursor {
    /// The next message, or how the consumer ended; `None` when nothing came until `until`.
    ///
    /// May be dropped at any moment: a message is only taken when it is returned.
    async fn first(&mut self, log: &Nats, until: Instant) -> Result<Option<Came>> {
        if let Some(message) = self.held.take() {
            return Ok(Some(Came::Message(message)));
        }
        loop {
            // What has arrived already counts before all clocks.
            while let Some(message) = self.messages.next().now_or_never() {
                match self.take(message) {
                    Came::Heartbeat | Came::Done => {}
                    came => return Ok(Some(came)),
                }
            }
            if self.asked == 0 {
                self.ask(log).await?;
                continue;
            }
            let silent = self.heard + SILENCE_MAX;
            if silent <= Instant::now() {
                return Err(log.server.unavailable("it sends no heartbeats"));
            }
            if until <= Instant::now() {
                return Ok(None);
            }
            match tokio::time::timeout_at(until.min(silent), self.messages.next()).await {
                Ok(message) => match self.take(message) {
                    Came::Heartbeat | Came::Done => {}
                    came => return Ok(Some(came)),
                },
                Err(_) => continue,
            }
        }
    }

    /// `first` and those after it that have arrived and fit. Never waits.
    fn all_there_are(&mut self, first: Message, bytes_max: usize) -> Vec<Message> {
        let mut bytes = first.body.len();
        self.next = first.sequence.saturating_add(1);
        let mut messages = vec![first];
        while let Some(message) = self.messages.next().now_or_never() {
            let message = match self.take(message) {
                Came::Message(message) => message,
                Came::Heartbeat | Came::Done => continue,
                Came::Skipped | Came::Gone => {
                    // The next call begins with a new cursor.
                    self.next = 0;
                    break;
                }
            };
            bytes = bytes.saturating_add(message.body.len());
            if bytes > bytes_max {
                self.held = Some(message);
                break;
            }
            self.next = message.sequence.saturating_add(1);
            messages.push(message);
        }
        messages
    }

    /// Understands what came from the server.
    fn take(&mut self, message: Option<async_nats::Message>) -> Came {
        let Some(message) = message else {
            self.asked = 0;
            return Came::Gone;
        };
        self.heard = Instant::now();
        match message.status {
            None | Some(StatusCode::OK) => {}
            Some(StatusCode::IDLE_HEARTBEAT) => return Came::Heartbeat,
            Some(status) => {
                self.asked = 0;
                let description = message.description.unwrap_or_default();
                let description = description.to_ascii_lowercase();
                let is_full = description.contains("maxbytes");
                self.is_starved = is_full && !self.is_fruitful;
                let is_over = is_full || description.contains("batch completed");
                return match status {
                    StatusCode::NOT_FOUND | StatusCode::TIMEOUT => Came::Done,
                    StatusCode::REQUEST_TERMINATED if is_over => Came::Done,
                    _ => Came::Gone,
                };
            }
        }
        let Some(sequence) = sequence_of(&message) else {
            self.asked = 0;
            return Came::Gone;
        };
        self.asked = self.asked.saturating_sub(1);
        self.is_fruitful = true;
        match sequence.cmp(&self.next) {
            std::cmp::Ordering::Equal => Came::Message(Message {
                sequence,
                body: message.payload,
            }),
            // Asked for something beyond the end, the server begins with what comes next.
            std::cmp::Ordering::Less => Came::Heartbeat,
            std::cmp::Ordering::Greater => Came::Skipped,
        }
    }

    async fn ask(&mut self, log: &Nats) -> Result<()> {
        let bytes = PULL_BYTES.max(2 * super::SharedLog::message_bytes_max(log));
        // Without a limit for a message from the time when the server took larger ones.
        let (batch, max_bytes) = if self.is_starved {
            (1, 0)
        } else {
            (PULL_MESSAGES, bytes)
        };
        let request = BatchConfig {
            batch,
            expires: Some(PULL_EXPIRES),
            max_bytes,
            idle_heartbeat: HEARTBEAT,
            ..BatchConfig::default()
        };
        let asked = self.consumer.request_batch(request, self.inbox.clone());
        asked.await.map_err(|error| log.server.unavailable(error))?;
        self.asked = batch;
        self.is_starved = false;
        self.is_fruitful = false;
        self.heard = Instant::now();
        Ok(())
    }

    /// Tells the server that the consumer is not needed any more, without waiting for an answer.
    async fn leave(self) {
        let name = &self.consumer.cached_info().name;
        let stream = &self.consumer.cached_info().stream_name;
        let subject = format!("CONSUMER.DELETE.{stream}.{name}");
        let request = async_nats::Request::new();
        // When this is not heard, the server forgets the consumer by itself.
        drop(self.link.context.send_request(subject, request).await);
    }
}

/// The stream's sequence number, from the subject to which others would acknowledge:
/// `$JS.ACK.stream.consumer.delivered.sequence.…`, and since 2.10 possibly with a domain and an
/// account before the stream.
fn sequence_of(message: &async_nats::Message) -> Option<u64> {
    let tokens: Vec<&str> = message.reply.as_ref()?.split('.').collect();
    let place = match tokens.len() {
        9 => 5,
        11.. => 7,
        _ => return None,
    };
    tokens.get(place)?.parse().ok()
}

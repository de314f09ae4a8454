//! Appending: all messages are on their way before the first one is waited for.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};
use tokio::time::Instant;

use super::link::{Link, answered, refused, soon};
use crate::error::{EngineError, Error, Result};
use crate::shared_log::Server;

/// How much is on its way at the most, in bytes and in messages; one message may be larger. The
/// library copies what it is given.
const WINDOW_BYTES: usize = 16 * 1024 * 1024;
const WINDOW_MESSAGES: usize = 4096;

/// A connection of its own: a server that is short of memory or disk stops reading from those who
/// publish.
pub(super) struct Appender {
    link: Link,
    channel: Channel,
}

type Publishing<'a> = BoxFuture<'a, lapin::Result<PublisherConfirm>>;

impl Appender {
    pub(super) async fn open(server: &Server, until: Instant) -> Result<Self> {
        let link = Link::open(server, until).await?;
        let channel = link.channel(server, until).await?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        answered(server, until, confirms).await?;
        Ok(Self { link, channel })
    }

    /// Appends `messages` in order. After an error, this is of no use any more: what was on its
    /// way might come between the next ones.
    pub(super) async fn append(
        &self,
        server: &Server,
        queue: &str,
        messages: &[Bytes],
    ) -> Result<()> {
        let mut rest = messages;
        while !rest.is_empty() {
            let (window, after) = rest.split_at(window(rest));
            rest = after;
            self.publish(server, queue, window).await?;
        }
        Ok(())
    }

    async fn publish(&self, server: &Server, queue: &str, messages: &[Bytes]) -> Result<()> {
        let mut publishing = Vec::with_capacity(messages.len());
        for message in messages {
            let mut one: Publishing<'_> = Box::pin(self.publish_one(queue, message));
            // The first poll hands the message over, so that they go in this order.
            let begun = poll_fn(|context| Poll::Ready(one.as_mut().poll(context))).await;
            publishing.push(Sent::of(one, begun));
        }
        for sent in publishing {
            let confirm = match sent {
                Sent::Yes(confirm) => confirm,
                Sent::OnItsWay(one) => self.awaited(server, one).await?,
                Sent::No(error) => return Err(refused(server, &error)),
            };
            match self.awaited(server, confirm).await? {
                Confirmation::Ack(None) => {}
                Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => {
                    return Err(returned_by(server, returned.reply_text.as_str()));
                }
                Confirmation::Nack(None) | Confirmation::NotRequested => {
                    return Err(server.unavailable("it could not write the message"));
                }
            }
        }
        Ok(())
    }

    async fn publish_one(&self, queue: &str, message: &Bytes) -> lapin::Result<PublisherConfirm> {
        let properties = BasicProperties::default().with_delivery_mode(super::PERSISTENT);
        // Without a queue to go to, it shall come back instead of being dropped.
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        self.channel
            .basic_publish("".into(), queue.into(), options, message, properties)
            .await
    }

    /// The answer. Each has its own time: a long append goes on as long as something does.
    async fn awaited<T>(
        &self,
        server: &Server,
        answer: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T> {
        let error = match answered(server, soon(), answer).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        match self.link.blocked() {
            Some(reason) if reason.contains("disk") => Err(Error::Engine(EngineError::DiskFull(
                format!("the server at `{}` takes nothing: {reason}", server.shown),
            ))),
            Some(reason) => Err(server.unavailable(format!("it takes nothing: {reason}"))),
            None => Err(error),
        }
    }

    pub(super) async fn close(self) {
        self.link.close().await;
    }
}

enum Sent<'a> {
    Yes(PublisherConfirm),
    OnItsWay(Publishing<'a>),
    No(lapin::Error),
}

impl<'a> Sent<'a> {
    fn of(publishing: Publishing<'a>, begun: Poll<lapin::Result<PublisherConfirm>>) -> Self {
        match begun {
            Poll::Pending => Self::OnItsWay(publishing),
            Poll::Ready(Ok(confirm)) => Self::Yes(confirm),
            Poll::Ready(Err(error)) => Self::No(error),
        }
    }
}

/// How many of `messages` go at once: at least one.
fn window(messages: &[Bytes]) -> usize {
    let mut bytes = 0_usize;
    let fits = |message: &&Bytes| {
        bytes = bytes.saturating_add(message.len());
        bytes <= WINDOW_BYTES
    };
    let count = messages
        .iter()
        .take(WINDOW_MESSAGES)
        .take_while(fits)
        .count();
    count.max(1)
}

fn returned_by(server: &Server, reason: &str) -> Error {
    // The queue may be on its way back, on a cluster whose node has just died.
    server.unavailable(format!("it has returned the message: {reason}"))
}

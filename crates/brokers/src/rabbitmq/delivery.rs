//! What a stream delivers, and from where on.

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Consumer};
use tokio::time::Instant;

use super::link::{Link, answered, refused, silent};
use crate::error::{Error, Result};
use crate::shared_log::Server;

/// The type of the message that every log begins with.
pub(super) const FIRST_MESSAGE: &str = "ensue.first";
/// The header with a message's place in its stream.
const OFFSET: &str = "x-stream-offset";

/// Where to start.
#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    /// At the oldest message there is.
    First,
    /// At the oldest message of the last chunk: that is how many were written at once.
    Last,
    /// At this one.
    Offset(u64),
}

/// A message of the stream.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) offset: u64,
    pub(super) body: Bytes,
    /// Set for the message that every log begins with, which no engine appended.
    pub(super) log_id: Option<String>,
    tag: u64,
}

/// Messages that come by themselves.
pub(super) struct Subscription {
    channel: Channel,
    consumer: Consumer,
    prefetch: u16,
    /// The last message that was taken, and how many were since they were acknowledged: the server
    /// sends more when they are.
    tag: u64,
    unacknowledged: u16,
}

impl Subscription {
    /// Starts at `from`, with at most about `prefetch` messages ahead of us. Messages before it
    /// may come first.
    pub(super) async fn start(
        link: &Link,
        server: &Server,
        queue: &str,
        from: From,
        prefetch: u16,
        until: Instant,
    ) -> Result<Self> {
        let channel = link.channel(server, until).await?;
        let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
        answered(server, until, qos).await?;
        let from = match from {
            From::First => AMQPValue::LongString("first".into()),
            From::Last => AMQPValue::LongString("last".into()),
            // No log comes near to the end of these numbers.
            From::Offset(offset) => {
                AMQPValue::LongLongInt(i64::try_from(offset).unwrap_or(i64::MAX))
            }
        };
        let mut arguments = FieldTable::default();
        arguments.insert(OFFSET.into(), from);
        let options = BasicConsumeOptions::default();
        let consuming = channel.basic_consume(queue.into(), "".into(), options, arguments);
        let consumer = answered(server, until, consuming).await?;
        Ok(Self {
            channel,
            consumer,
            prefetch,
            tag: 0,
            unacknowledged: 0,
        })
    }

    /// The next message. Dropping this loses none.
    pub(super) async fn next(&mut self, server: &Server) -> Result<Delivered> {
        let delivered = self.consumer.next().await;
        self.taken(server, delivered)
    }

    /// The next message, until `until`.
    pub(super) async fn next_until(
        &mut self,
        server: &Server,
        until: Instant,
    ) -> Result<Delivered> {
        match tokio::time::timeout_at(until, self.next(server)).await {
            Ok(delivered) => delivered,
            Err(_) => Err(silent(server)),
        }
    }

    /// The next message, if it is here.
    pub(super) fn next_here(&mut self, server: &Server) -> Option<Result<Delivered>> {
        let delivered = self.consumer.next().now_or_never()?;
        Some(self.taken(server, delivered))
    }

    /// Lets the server send more, once it is worth a message.
    pub(super) async fn acknowledge(&mut self, server: &Server, until: Instant) -> Result<()> {
        if self.unacknowledged < self.prefetch.div_ceil(2) {
            return Ok(());
        }
        self.unacknowledged = 0;
        let options = BasicAckOptions { multiple: true };
        answered(server, until, self.channel.basic_ack(self.tag, options)).await
    }

    /// Returns after all that the server had to send when it was asked: a channel's answers come
    /// in the order in which they were given.
    pub(super) async fn round_trip(&self, server: &Server, until: Instant) -> Result<()> {
        let qos = self
            .channel
            .basic_qos(self.prefetch, BasicQosOptions::default());
        answered(server, until, qos).await
    }

    fn taken(
        &mut self,
        server: &Server,
        delivered: Option<lapin::Result<lapin::message::Delivery>>,
    ) -> Result<Delivered> {
        let delivery = match delivered {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => return Err(refused(server, &error)),
            None => return Err(server.unavailable("it has ended the subscription")),
        };
        let delivered = Delivered::of(server, delivery)?;
        self.tag = delivered.tag;
        self.unacknowledged = self.unacknowledged.saturating_add(1);
        Ok(delivered)
    }
}

impl Delivered {
    fn of(server: &Server, delivery: lapin::message::Delivery) -> Result<Self> {
        let headers = delivery.properties.headers().as_ref();
        let offset = headers
            .and_then(offset_in)
            .ok_or_else(|| not_a_stream(server))?;
        Ok(Self {
            offset,
            log_id: log_id_of(&delivery.properties),
            tag: delivery.delivery_tag,
            body: Bytes::from(delivery.data),
        })
    }
}

fn offset_in(headers: &FieldTable) -> Option<u64> {
    match headers.inner().get(OFFSET)? {
        AMQPValue::LongLongInt(offset) => u64::try_from(*offset).ok(),
        AMQPValue::LongInt(offset) => u64::try_from(*offset).ok(),
        AMQPValue::Timestamp(offset) => Some(*offset),
        _ => None,
    }
}

fn not_a_stream(server: &Server) -> Error {
    server.unfit(
        "the queue of the log is not a stream",
        "choose another `namespace`, or delete the queue",
    )
}

/// The id of the log, if this is the message that it begins with.
fn log_id_of(properties: &BasicProperties) -> Option<String> {
    let kind = properties.kind().as_ref()?;
    let id = properties.message_id().as_ref();
    (kind.as_str() == FIRST_MESSAGE).then(|| id.map_or_else(String::new, |id| id.to_string()))
}

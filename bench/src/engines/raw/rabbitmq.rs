//! Confirmed publishes to a stream queue. AMQP has no positions of streams: they are messages of
//! another stream.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};

use super::{Client, Reader};
use crate::Outcome;

/// What the server sends ahead, as the engine lets it.
const AHEAD: u16 = 128;
const PERSISTENT: u8 = 2;

struct RabbitMq {
    url: String,
    connection: Connection,
    channel: Channel,
    queue: String,
    positions: String,
    name: String,
}

struct Reading {
    /// Ends with its consumer.
    _connection: Connection,
    channel: Channel,
    consumer: Consumer,
    commits: Arc<(Connection, Channel)>,
    positions: String,
    tag: u64,
    unacknowledged: u16,
}

pub(super) async fn connect(url: String, name: String) -> Outcome<Box<dyn Client>> {
    let (connection, channel) = open(&url).await?;
    let (queue, positions) = (format!("bench.{name}"), format!("bench.{name}.positions"));
    for stream in [&queue, &positions] {
        let mut arguments = FieldTable::default();
        let kind = AMQPValue::LongString("stream".into());
        arguments.insert("x-queue-type".into(), kind);
        let options = QueueDeclareOptions::durable();
        let declared = channel.queue_declare(stream.as_str().into(), options, arguments);
        declared.await?;
    }
    Ok(Box::new(RabbitMq {
        url,
        connection,
        channel,
        queue,
        positions,
        name,
    }))
}

/// A connection, and a channel with confirms.
async fn open(url: &str) -> Outcome<(Connection, Channel)> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let confirms = ConfirmSelectOptions::default();
    channel.confirm_select(confirms).await?;
    Ok((connection, channel))
}

async fn publish(channel: &Channel, queue: &str, message: &[u8]) -> Outcome<()> {
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("".into(), queue.into(), options, message, properties);
    match sent.await?.await? {
        Confirmation::Ack(None) => Ok(()),
        other => Err(format!("a message was not taken: {other:?}").into()),
    }
}

impl Client for RabbitMq {
    fn publish(&self, message: Bytes) -> BoxFuture<'_, Outcome<()>> {
        Box::pin(async move { publish(&self.channel, &self.queue, &message).await })
    }

    fn reader(&self) -> BoxFuture<'_, Outcome<Box<dyn Reader>>> {
        Box::pin(async {
            let connection = Connection::connect(&self.url, ConnectionProperties::default());
            let connection = connection.await?;
            let channel = connection.create_channel().await?;
            let qos = BasicQosOptions::default();
            channel.basic_qos(AHEAD, qos).await?;
            let mut arguments = FieldTable::default();
            let first = AMQPValue::LongString("first".into());
            arguments.insert("x-stream-offset".into(), first);
            let options = BasicConsumeOptions::default();
            let queue = self.queue.as_str().into();
            let consumer = channel.basic_consume(queue, "".into(), options, arguments);
            let consumer = consumer.await?;
            Ok(Box::new(Reading {
                channel,
                consumer,
                _connection: connection,
                commits: Arc::new(open(&self.url).await?),
                positions: self.positions.clone(),
                tag: 0,
                unacknowledged: 0,
            }) as Box<dyn Reader>)
        })
    }

    fn remove(&self) -> BoxFuture<'_, Outcome<()>> {
        Box::pin(async {
            let ours = format!("ensue.{}.log", self.name);
            for queue in [&self.queue, &self.positions, &ours] {
                let options = QueueDeleteOptions::default();
                let deleted = self.channel.queue_delete(queue.as_str().into(), options);
                deleted.await?;
            }
            self.connection.close(200, "done".into()).await?;
            Ok(())
        })
    }
}

impl Reading {
    fn take(&mut self, delivery: Delivery, bodies: &mut Vec<Bytes>) {
        self.tag = delivery.delivery_tag;
        self.unacknowledged += 1;
        bodies.push(delivery.data.into());
    }
}

impl Reader for Reading {
    fn next(&mut self, messages_max: usize) -> BoxFuture<'_, Outcome<Vec<Bytes>>> {
        Box::pin(async move {
            let mut bodies = Vec::new();
            let first = self.consumer.next().await.ok_or("the consumer is gone")??;
            self.take(first, &mut bodies);
            while bodies.len() < messages_max
                && let Some(Some(delivery)) = self.consumer.next().now_or_never()
            {
                self.take(delivery?, &mut bodies);
            }
            if self.unacknowledged >= AHEAD / 2 {
                self.unacknowledged = 0;
                let options = BasicAckOptions { multiple: true };
                self.channel.basic_ack(self.tag, options).await?;
            }
            Ok(bodies)
        })
    }

    fn commit(&mut self) -> BoxFuture<'static, Outcome<()>> {
        let (commits, position) = (Arc::clone(&self.commits), self.tag);
        let positions = self.positions.clone();
        Box::pin(async move { publish(&commits.1, &positions, &position.to_le_bytes()).await })
    }
}

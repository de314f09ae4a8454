//! Records of a topic with one partition; the client has no consumer groups, so that positions are
//! records of a second topic, as Kafka itself keeps them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::DateTime;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use rskafka::client::consumer::{StartOffset, StreamConsumer, StreamConsumerBuilder};
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client as Server, ClientBuilder};
use rskafka::record::Record;

use super::{Client, Reader};
use crate::Outcome;

/// As much as the engine asks for.
const FETCH_BYTES: i32 = 4 * 1024 * 1024;
const FETCH_MS: i32 = 500;
const ANSWER_MS: i32 = 10_000;

struct Kafka {
    server: Server,
    brokers: Vec<String>,
    name: String,
    topic: PartitionClient,
}

struct Reading {
    records: StreamConsumer,
    positions: Arc<PartitionClient>,
    /// The offset after the last record that was read.
    position: i64,
}

pub(super) async fn connect(url: String, name: String) -> Outcome<Box<dyn Client>> {
    let address = url.trim_start_matches("kafka://");
    let brokers = vec![address.trim_end_matches('/').to_owned()];
    let server = ClientBuilder::new(brokers.clone()).build().await?;
    let controller = server.controller_client()?;
    for topic in [messages_of(&name), positions_of(&name)] {
        controller.create_topic(topic, 1, 1, ANSWER_MS).await?;
    }
    let topic = partition(&server, messages_of(&name)).await?;
    Ok(Box::new(Kafka {
        server,
        brokers,
        name,
        topic,
    }))
}

fn messages_of(name: &str) -> String {
    format!("bench-{name}")
}

fn positions_of(name: &str) -> String {
    format!("bench-{name}-positions")
}

async fn partition(server: &Server, topic: String) -> Outcome<PartitionClient> {
    let client = server.partition_client(topic, 0, UnknownTopicHandling::Retry);
    Ok(client.await?)
}

async fn produce(topic: &PartitionClient, value: Vec<u8>) -> Outcome<()> {
    let record = Record {
        key: None,
        value: Some(value),
        headers: BTreeMap::new(),
        timestamp: DateTime::UNIX_EPOCH,
    };
    topic
        .produce(vec![record], Compression::NoCompression)
        .await?;
    Ok(())
}

impl Client for Kafka {
    fn publish(&self, message: Bytes) -> BoxFuture<'_, Outcome<()>> {
        Box::pin(produce(&self.topic, message.into()))
    }

    fn reader(&self) -> BoxFuture<'_, Outcome<Box<dyn Reader>>> {
        Box::pin(async {
            let server = ClientBuilder::new(self.brokers.clone()).build().await?;
            let topic = Arc::new(partition(&server, messages_of(&self.name)).await?);
            let records = StreamConsumerBuilder::new(topic, StartOffset::Earliest)
                .with_max_batch_size(FETCH_BYTES)
                .with_max_wait_ms(FETCH_MS)
                .build();
            let positions = partition(&server, positions_of(&self.name)).await?;
            Ok(Box::new(Reading {
                records,
                positions: Arc::new(positions),
                position: 0,
            }) as Box<dyn Reader>)
        })
    }

    fn remove(&self) -> BoxFuture<'_, Outcome<()>> {
        Box::pin(async {
            let controller = self.server.controller_client()?;
            for topic in [messages_of(&self.name), positions_of(&self.name)] {
                controller.delete_topic(topic, ANSWER_MS).await?;
            }
            // Not there when the engine has not run.
            let engines = format!("ensue-{}", self.name);
            let _ = controller.delete_topic(engines, ANSWER_MS).await;
            Ok(())
        })
    }
}

impl Reader for Reading {
    fn next(&mut self, messages_max: usize) -> BoxFuture<'_, Outcome<Vec<Bytes>>> {
        Box::pin(async move {
            let first = self.records.next().await.ok_or("the consumer is gone")?;
            let (mut bodies, mut next) = (Vec::new(), Some(Some(first)));
            while let Some(Some(record)) = next {
                let (record, _end) = record?;
                self.position = record.offset + 1;
                bodies.push(record.record.value.ok_or("a record has no value")?.into());
                next = if bodies.len() < messages_max {
                    self.records.next().now_or_never()
                } else {
                    None
                };
            }
            Ok(bodies)
        })
    }

    fn commit(&mut self) -> BoxFuture<'static, Outcome<()>> {
        let (positions, position) = (Arc::clone(&self.positions), self.position);
        Box::pin(async move { produce(&positions, position.to_be_bytes().to_vec()).await })
    }
}

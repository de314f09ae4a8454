//! Durable ingest: events of 200 bytes over HTTP and gRPC, beside a publisher in the process, a bare
//! handler that forgets them, and NATS JetStream with synced writes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use ensue::prelude::*;

use super::connection::{Connection, post};
use crate::Outcome;
use crate::load::Worker;

const BATCH: &str = "application/cloudevents-batch+json";
const EVENT: &str = "application/cloudevents+json";

/// Numbers that no two events of a run share: what was appended before would be a duplicate.
#[derive(Clone, Default)]
pub(super) struct Numbers(Arc<AtomicU64>);

impl Numbers {
    /// From this one on.
    pub(super) fn starting_at(first: u64) -> Self {
        Self(Arc::new(AtomicU64::new(first)))
    }

    pub(super) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "reading.taken", topic = "readings", key = device)]
pub(super) struct ReadingTaken {
    device: String,
    pub(super) number: u64,
    note: String,
}

pub(super) fn reading(number: u64) -> ReadingTaken {
    ReadingTaken {
        device: format!("device-{}", number % 1_000),
        number,
        note: "x".repeat(150),
    }
}

pub(super) fn cloudevent(number: u64) -> String {
    let reading = reading(number);
    format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{number}\",\"source\":\"/bench\",\"type\":\"reading.taken\",\
         \"topic\":\"readings\",\"subject\":\"{}\",\"data\":{{\"device\":\"{}\",\"number\":{number},\
         \"note\":\"{}\"}}}}",
        reading.device, reading.device, reading.note
    )
}

/// Appends by HTTP, so many events in a request.
pub(super) struct OverHttp {
    connection: Connection,
    path: &'static str,
    numbers: Numbers,
    batch: usize,
}

impl OverHttp {
    pub(super) async fn connect(
        address: SocketAddr,
        path: &'static str,
        numbers: &Numbers,
        batch: usize,
    ) -> Outcome<Self> {
        Ok(Self {
            connection: Connection::open(address).await?,
            path,
            numbers: numbers.clone(),
            batch,
        })
    }
}

impl Worker for OverHttp {
    async fn step(&mut self) -> Outcome<usize> {
        let request = if self.batch == 1 {
            post(self.path, EVENT, &cloudevent(self.numbers.next()))
        } else {
            let events = (0..self.batch).map(|_| cloudevent(self.numbers.next()));
            let body = format!("[{}]", events.collect::<Vec<_>>().join(","));
            post(self.path, BATCH, &body)
        };
        self.connection.exchange(&request).await?;
        Ok(self.batch)
    }
}

/// Appends by a publisher: in the process that holds the log, or over gRPC.
pub(super) struct ByPublisher {
    pub(super) publisher: Publisher,
    pub(super) numbers: Numbers,
    pub(super) batch: usize,
}

impl Worker for ByPublisher {
    async fn step(&mut self) -> Outcome<usize> {
        let events = (0..self.batch).map(|_| {
            let number = self.numbers.next();
            Outgoing::new(reading(number)).id(number.to_string())
        });
        self.publisher.publish_all(events).await?;
        Ok(self.batch)
    }
}

/// Publishes to a stream of NATS JetStream, one message after the other.
pub(super) struct OverNats {
    pub(super) context: async_nats::jetstream::Context,
    pub(super) subject: String,
    pub(super) numbers: Numbers,
}

impl Worker for OverNats {
    async fn step(&mut self) -> Outcome<usize> {
        let message = Bytes::from(cloudevent(self.numbers.next()));
        let sent = self.context.publish(self.subject.clone(), message).await?;
        sent.await?;
        Ok(1)
    }
}

//! The client crates, used as their documentation says, for the work that the engines do with them:
//! one stream, appended to in order and read from its beginning, with a position of its own.

mod kafka;
mod nats;
mod postgres;
mod rabbitmq;
mod redis;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use servers::Running;

use crate::Outcome;

/// A stream on a server, through the server's client crate alone.
pub(super) trait Client: Send + Sync {
    /// Hands a message over at the first poll, and completes when the server has acknowledged it.
    fn publish(&self, message: Bytes) -> BoxFuture<'_, Outcome<()>>;

    /// Starts to read at the stream's beginning, on a connection of its own.
    fn reader(&self) -> BoxFuture<'_, Outcome<Box<dyn Reader>>>;

    /// Removes the stream, its position, and what the engine left on the server under this name.
    fn remove(&self) -> BoxFuture<'_, Outcome<()>>;
}

/// A reader of a stream.
pub(super) trait Reader: Send {
    /// At least one message, and at most `messages_max`; waits for the first.
    fn next(&mut self, messages_max: usize) -> BoxFuture<'_, Outcome<Vec<Bytes>>>;

    /// Commits the position behind what was read; completes when the server has acknowledged that.
    /// The next messages may be read meanwhile.
    fn commit(&mut self) -> BoxFuture<'static, Outcome<()>>;
}

type Connect = fn(String, String) -> BoxFuture<'static, Outcome<Box<dyn Client>>>;

/// A server that can be measured.
pub(super) struct Kind {
    /// Its name in the list of services.
    pub(super) name: &'static str,
    /// The client crate.
    pub(super) client: &'static str,
    connect: Connect,
}

/// All of them, in the order in which they are measured.
pub(super) const KINDS: [Kind; 5] = [
    Kind {
        name: "redis",
        client: "redis",
        connect: |url, name| Box::pin(redis::connect(url, name)),
    },
    Kind {
        name: "nats",
        client: "async-nats",
        connect: |url, name| Box::pin(nats::connect(url, name)),
    },
    Kind {
        name: "postgres",
        client: "tokio-postgres",
        connect: |url, name| Box::pin(postgres::connect(url, name)),
    },
    Kind {
        name: "rabbitmq",
        client: "lapin",
        connect: |url, name| Box::pin(rabbitmq::connect(url, name)),
    },
    Kind {
        name: "kafka",
        client: "rskafka",
        connect: |url, name| Box::pin(kafka::connect(url, name)),
    },
];

impl Kind {
    /// Connects, and makes the empty stream `name`.
    pub(super) async fn connect(&self, service: &Running, name: &str) -> Outcome<Box<dyn Client>> {
        (self.connect)(service.url.clone(), name.to_owned()).await
    }
}

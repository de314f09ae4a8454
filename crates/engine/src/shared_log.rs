//! What a distributed engine asks of a broker, and nothing more: one durable sequence of messages
//! that many processes append to and that all of them read in the same order.
//!
//! Everything else (groups, order per key, retries, dead letters, schedules, dedup, conditional
//! appends, atomic commits, fencing) is the fold of that sequence, which every process computes
//! for itself ([`replica`](crate::replica)). So a broker needs no transactions, no consumer groups and no
//! locks to keep every promise of the contract, and all brokers keep the same ones.
//!
//! A new engine is one room of `ensue-brokers` that implements [`SharedLog`], one feature and one line in
//! the table of engines.

mod server;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

pub use crate::engine::Finding;
use crate::error::{Error, LimitError, Result};
use crate::time::Timestamp;

pub use self::server::{Address, Login, Server, Tls};

/// The options that every distributed engine's URL takes.
pub const SERVER_OPTIONS: &[(&str, &str)] = &[
    (
        "namespace",
        "which log on the server; letters, digits, `_` and `-`; default `ensue`",
    ),
    (
        "connect_timeout",
        "how long to try a server that is away at the start, such as `30s`; default 30s",
    ),
    ("tls", "`true` encrypts the connection; default false"),
    (
        "ca",
        "file with the certificates (PEM) that sign the server's; default: the system's",
    ),
    ("cert", "file with the client's certificate (PEM)"),
    ("key", "file with the client's private key (PEM)"),
    (
        "password_file",
        "file with the password, instead of one in the URL",
    ),
];

/// A message of a shared log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it stands. Sequence numbers increase, and may have gaps.
    pub sequence: u64,
    /// The bytes that were appended.
    pub body: Bytes,
}

/// What is known of the server behind a shared log.
#[derive(Clone, Debug)]
pub struct About {
    /// Its name and version, such as `Redis 7.0.15`.
    pub server: String,
    /// Whether what it acknowledges survives a power cut, as it is set up.
    pub is_durable: bool,
}

/// One durable sequence of messages on a server.
///
/// Appending and reading go on at the same time, each called by one task at a time. Every future
/// may be dropped at any moment. When the server is away, calls fail soon (within about five
/// seconds) with [`EngineError::Unavailable`](crate::error::EngineError::Unavailable), and the next
/// call connects again: the caller waits between them.
pub trait SharedLog: fmt::Debug + Send + Sync + 'static {
    /// What is known of the server since the last time it was connected to.
    fn about(&self) -> About;

    /// The most bytes that one message may have.
    fn message_bytes_max(&self) -> usize;

    /// Appends messages, in this order and in as few round trips as the server allows; they are
    /// durable, as far as the server's settings go, when it returns. It never splits or joins
    /// messages, and never begins a new log where one was that has been read or appended to.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`](crate::error::EngineError::Corrupt) when the server has less than
    /// was acknowledged, as far as it can tell. After any other one, some of the messages may be in
    /// the log, or come to be in it a little later; not necessarily the first ones. The caller
    /// appends all of them again: readers recognise what comes twice.
    fn append(&self, messages: Vec<Bytes>) -> BoxFuture<'_, Result<()>>;

    /// Reads messages at or after the sequence number `from`, in order: at least one, and more as
    /// long as their bodies fit into `bytes_max`. Waits up to `patience` for the first; empty when
    /// none came. A reader that goes on from the last sequence number plus one misses nothing: a
    /// message never appears behind one that could be read before.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`](crate::error::EngineError::Unavailable);
    /// [`EngineError::Corrupt`](crate::error::EngineError::Corrupt) when messages at or after
    /// `from` were removed from the server.
    fn read(
        &self,
        from: u64,
        bytes_max: usize,
        patience: Duration,
    ) -> BoxFuture<'_, Result<Vec<Message>>>;

    /// The message with this sequence number, as the server has it now; `None` when it has none
    /// there. Reading goes on where it was. This is how a log is told from another that took its
    /// place, and from itself after a loss.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`](crate::error::EngineError::Unavailable);
    /// [`EngineError::Corrupt`](crate::error::EngineError::Corrupt) when the log was removed.
    fn find(&self, sequence: u64) -> BoxFuture<'_, Result<Option<Bytes>>>;

    /// Looks whether messages up to `until`, which was read, were removed from the server, as far as
    /// that costs little: it is asked every few seconds. What a server can only count is looked at part
    /// by part.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`](crate::error::EngineError::Corrupt) when some were;
    /// [`EngineError::Unavailable`](crate::error::EngineError::Unavailable).
    fn check_whole(&self, until: u64) -> BoxFuture<'_, Result<()>>;

    /// The sequence number after the newest message; 0 when there is none.
    fn end(&self) -> BoxFuture<'_, Result<u64>>;

    /// What time it is on the server, if it tells.
    fn time(&self) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Looks at the server's version, durability, replication, permissions and clock.
    fn examine(&self) -> BoxFuture<'_, Result<Vec<Finding>>>;

    /// Removes the whole log from the server: for tests, and for `ensue` when it is asked to. Returns
    /// when no part of the server shows it any more, which may take longer than one call: the caller
    /// says how long it waits by dropping the future, and may call again.
    fn remove(&self) -> BoxFuture<'_, Result<()>>;

    /// Lets go of the connections.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Refuses messages of more than `max` bytes before anything is sent; `limit` is the name of what
/// limits them.
///
/// # Errors
/// [`LimitError`].
pub fn check_sizes(
    messages: &[Bytes],
    max: usize,
    limit: &'static str,
    advice: &'static str,
) -> Result<()> {
    match messages.iter().map(Bytes::len).max() {
        Some(longest) if longest > max => Err(Error::Limit(LimitError {
            what: "the size of a message in bytes".to_owned(),
            value: longest as u64,
            limit,
            max: max as u64,
            advice,
        })),
        _ => Ok(()),
    }
}

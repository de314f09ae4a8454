//! The message that every log begins with.
//!
//! Over AMQP 0.9.1, nothing tells an empty stream from one that is slow to answer, and nothing
//! tells a stream from another that was made in its place. So a process that finds a log empty appends a
//! message without a body and with a random id, which readers skip. A log that is in use is never
//! empty then, and its first message says which log it is. When two find it empty, both append
//! one: the first counts.

use std::time::Duration;

use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use tokio::time::Instant;

use super::delivery::{FIRST_MESSAGE, From, Subscription};
use super::link::{Link, answered};
use crate::error::{EngineError, Error, Result};
use crate::shared_log::Server;

/// How long a log is given to show that it is not empty. Being wrong costs one message more.
const PAUSE: Duration = Duration::from_millis(300);

/// A log's first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FirstMessage {
    /// More than 0 when older ones were removed.
    pub(super) offset: u64,
    id: String,
}

impl FirstMessage {
    /// Looks up a log's first message, and appends one when the log seems to be empty.
    pub(super) async fn find_or_append(
        link: &Link,
        server: &Server,
        queue: &str,
        until: Instant,
    ) -> Result<Self> {
        let mut oldest = Subscription::start(link, server, queue, From::First, 1, until).await?;
        let pause = tokio::time::timeout(PAUSE, oldest.next(server));
        let first = match pause.await {
            Ok(first) => first?,
            Err(_) => {
                append(link, server, queue, until).await?;
                oldest.next_until(server, until).await?
            }
        };
        Ok(Self {
            offset: first.offset,
            id: first.log_id.unwrap_or_default(),
        })
    }

    /// Looks up the first message of a log that has one.
    pub(super) async fn find(
        link: &Link,
        server: &Server,
        queue: &str,
        until: Instant,
    ) -> Result<Self> {
        let mut oldest = Subscription::start(link, server, queue, From::First, 1, until).await?;
        let first = oldest.next_until(server, until).await?;
        Ok(Self {
            offset: first.offset,
            id: first.log_id.unwrap_or_default(),
        })
    }

    /// Checks that `now` is the beginning of the same log, and that it has what is at `from`.
    pub(super) fn check(&self, now: &Self, server: &Server, from: u64) -> Result<()> {
        if now.offset == self.offset && now.id != self.id {
            return Err(gone(server));
        }
        if now.offset > from {
            Err(Error::Engine(EngineError::Corrupt(format!(
                "the server at `{}` has removed messages from the log: it begins at {}, and {from} \
                 was to be read; remove the policy that limits its age or its size",
                server.shown, now.offset
            ))))
        } else {
            Ok(())
        }
    }
}

/// The error of a log that is not the one that was opened.
pub(super) fn gone(server: &Server) -> Error {
    Error::Engine(EngineError::Corrupt(format!(
        "the log was removed from the server at `{}`; restart to begin a new one",
        server.shown
    )))
}

pub(super) async fn append(
    link: &Link,
    server: &Server,
    queue: &str,
    until: Instant,
) -> Result<()> {
    let id = format!("{:032x}", fastrand::u128(..));
    let properties = BasicProperties::default()
        .with_delivery_mode(super::PERSISTENT)
        .with_type(FIRST_MESSAGE.into())
        .with_message_id(id.as_str().into());
    let channel = link.channel(server, until).await?;
    let confirms = channel.confirm_select(ConfirmSelectOptions::default());
    answered(server, until, confirms).await?;
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let publishing = async {
        let published = channel.basic_publish("".into(), queue.into(), options, &[], properties);
        published.await?.await
    };
    let confirmed = answered(server, until, publishing).await?;
    if confirmed.is_ack() && confirmed.take_message().is_none() {
        Ok(())
    } else {
        Err(server.unavailable("it did not take the log's first message"))
    }
}

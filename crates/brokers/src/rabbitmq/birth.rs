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

use super::delivery::{From, Subscription};
use super::session::{Session, answered};
use crate::error::{EngineError, Error, Result};
use crate::shared_log::Server;

/// How long a log is given to show that it is not empty. Being wrong costs one message more.
const PAUSE: Duration = Duration::from_millis(300);
/// The type of such messages.
const KIND: &str = "ensue.birth";

/// A log's first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Birth {
    /// More than 0 when older ones were removed.
    pub(super) offset: u64,
    id: String,
}

impl Birth {
    /// Looks up a log's first message, which is made when there seems to be none.
    pub(super) async fn of(
        session: &Session,
        server: &Server,
        queue: &str,
        until: Instant,
    ) -> Result<Self> {
        let mut oldest = Subscription::start(session, server, queue, From::First, 1, until).await?;
        let pause = tokio::time::timeout(PAUSE, oldest.next(server));
        let first = match pause.await {
            Ok(first) => first?,
            Err(_) => {
                append(session, server, queue, until).await?;
                oldest.next_until(server, until).await?
            }
        };
        Ok(Self {
            offset: first.offset,
            id: first.birth.unwrap_or_default(),
        })
    }

    /// Looks the first message up again, of a log that has one.
    pub(super) async fn again(
        session: &Session,
        server: &Server,
        queue: &str,
        until: Instant,
    ) -> Result<Self> {
        let mut oldest = Subscription::start(session, server, queue, From::First, 1, until).await?;
        let first = oldest.next_until(server, until).await?;
        Ok(Self {
            offset: first.offset,
            id: first.birth.unwrap_or_default(),
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

/// The id of a log's beginning, if that is what a message is.
pub(super) fn id_of(properties: &BasicProperties) -> Option<String> {
    let kind = properties.kind().as_ref()?;
    let id = properties.message_id().as_ref();
    (kind.as_str() == KIND).then(|| id.map_or_else(String::new, |id| id.to_string()))
}

pub(super) async fn append(
    session: &Session,
    server: &Server,
    queue: &str,
    until: Instant,
) -> Result<()> {
    let id = format!("{:032x}", fastrand::u128(..));
    let properties = BasicProperties::default()
        .with_delivery_mode(super::PERSISTENT)
        .with_type(KIND.into())
        .with_message_id(id.as_str().into());
    let channel = session.channel(server, until).await?;
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

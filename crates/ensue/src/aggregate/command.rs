//! Commands: requests whose answer is a decision.

use std::time::Duration;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::receipt::Receipt;
use crate::effect::Effects;
use crate::engine::Position;
use crate::error::Result;
use crate::event::{Codec, Envelope, InvalidEvent};
use crate::outgoing::Outgoing;
use crate::request::Requester;

/// The type of the reply to a command.
const DECIDED: &str = "ensue.decided";

/// What a decision says to who sent the command: `{"accepted":{"version":3,"events":1}}`, or
/// `{"refused":…}` with the refusal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer<R> {
    Accepted { version: u64, events: u64 },
    Refused(R),
}

/// The effects that answer a command.
pub(super) fn reply<R: Serialize>(answer: &Answer<R>) -> Result<Effects> {
    let payload = Codec::Json.encode(answer).map_err(InvalidEvent::from)?;
    // A reply gets the topic of its requester.
    let reply = Envelope::builder("reply", DECIDED).payload(Codec::Json, payload);
    Ok(Effects::none().reply_raw(reply))
}

impl Requester {
    /// Sends a command to the service that decides for its aggregate
    /// ([`Context::decide`](crate::Context::decide)), and waits for the decision for `deadline` at the most.
    /// The inner `Result` is the refusal.
    ///
    /// A command with an id of its own ([`Outgoing::id`]) is decided once, however often it is sent, and
    /// each gets the answer of the first; [`Receipt::is_repeated`] is not known here.
    ///
    /// # Errors
    /// As for [`Requester::request`]; after
    /// [`RequestError::Deadline`](crate::error::RequestError::Deadline) it may still be decided.
    pub async fn command<R: DeserializeOwned>(
        &self,
        command: impl Into<Outgoing>,
        deadline: Duration,
    ) -> Result<Result<Receipt, R>> {
        let (position, reply) = self.request_recorded(command.into(), deadline).await?;
        let answer = reply.codec()?.decode::<Answer<R>>(reply.payload())?;
        Ok(match answer {
            Answer::Refused(refusal) => Err(refusal),
            Answer::Accepted { version, events } => Ok(Receipt {
                version,
                events,
                position: last_of(position, events),
                is_repeated: false,
            }),
        })
    }
}

/// Where the last event of a decision is whose reply is at `position`: the reply is right behind the events, in the
/// same commit.
fn last_of(position: Position, events: u64) -> Option<Position> {
    let last = position.get().checked_sub(1).filter(|_| events > 0);
    last.map(Position::new)
}

/// The same of any reply; `None` if it is not to a command, or nothing happened.
#[doc(hidden)]
pub fn decided_at(position: Position, reply: &Envelope) -> Option<Position> {
    if reply.event_type() != DECIDED {
        return None;
    }
    match reply
        .codec()
        .ok()?
        .decode::<Answer<IgnoredAny>>(reply.payload())
    {
        Ok(Answer::Accepted { events, .. }) => last_of(position, events),
        Ok(Answer::Refused(_)) | Err(_) => None,
    }
}

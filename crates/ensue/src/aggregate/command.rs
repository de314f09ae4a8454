//! Commands: requests whose answer is a decision.

use std::time::Duration;

use serde::de::DeserializeOwned;
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
                // The reply is right behind the events, in the same commit.
                position: (position.get().checked_sub(1))
                    .filter(|_| events > 0)
                    .map(Position::new),
                is_repeated: false,
            }),
        })
    }
}

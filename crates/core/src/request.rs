//! How a request and its reply are written: the extensions and topics that both sides agree on.

use serde::{Deserialize, Serialize};

use crate::event::{Codec, Envelope, EnvelopeBuilder, EventId};
use crate::time::{Clock, Timestamp};
use crate::topic::REPLIES;

/// The extension of a request that names the topic of its reply.
pub const REPLY_TO: &str = "replyto";
/// The extension of a request that says how long the requester waits.
pub const DEADLINE: &str = "deadline";
/// In a reply: the source of its request, whose id is the reply's key.
pub const REQUEST_SOURCE: &str = "requestsource";
/// The type of a reply that tells of a failure.
pub const FAILED: &str = "ensue.request.failed";

/// What such a reply says.
#[derive(Debug, Serialize, Deserialize)]
pub struct RequestFailed {
    /// Why.
    pub reason: String,
}

/// Where the reply to `request` goes, if a requester waits for one.
pub fn reply_topic(request: &Envelope) -> Option<&str> {
    request
        .extension(REPLY_TO)
        // Nothing that a request says may send the reply among other records, or fail its handler.
        .filter(|topic| topic.starts_with(REPLIES) && crate::topic::validate(topic).is_ok())
}

/// Until when the requester waits, if there is one.
pub fn deadline(request: &Envelope) -> Option<Timestamp> {
    // An event that is no request may have an extension of that name for other purposes.
    reply_topic(request)?;
    request.extension(DEADLINE)?.parse().ok()
}

/// Makes an event the reply to `request`, sent to `topic`, where its requester waits.
pub fn answer(reply: EnvelopeBuilder, request: &Envelope, topic: &str) -> EnvelopeBuilder {
    reply
        .topic(topic)
        .key(request.id())
        .extension(REQUEST_SOURCE, request.source().to_owned())
}

/// Which request an event replies to.
pub fn answered(reply: &Envelope) -> Option<EventId> {
    Some(EventId::new(reply.extension(REQUEST_SOURCE)?, reply.key()))
}

/// Whether the requester has given up already. Asks for the time only when it matters.
pub fn is_expired(request: &Envelope, clock: &Clock) -> bool {
    deadline(request).is_some_and(|deadline| deadline < clock.now())
}

/// The reply that tells a requester that its request failed.
pub fn failure_reply(request: &Envelope, reason: &str) -> Option<EnvelopeBuilder> {
    let topic = reply_topic(request)?;
    let failed = RequestFailed {
        reason: reason.to_owned(),
    };
    let payload = Codec::Json.encode(&failed).ok()?;
    let reply = Envelope::builder(topic, FAILED).payload(Codec::Json, payload);
    Some(answer(reply, request, topic))
}

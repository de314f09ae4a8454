//! Why a request has no reply.

use super::Outlook;

/// Why a request has no reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No reply came in time. The request may still be handled.
    #[error(
        "no reply to `{event_type}` within {waited_ms} ms, and no service gets the request any more; ask again \
         with a new id"
    )]
    Deadline {
        /// The request's type.
        event_type: String,
        /// How long the requester waited, in milliseconds.
        waited_ms: u64,
    },
    /// Its handler gave up on it.
    #[error("the request failed: {0}")]
    Failed(String),
    /// The request has the id of an event that asked for no reply, or of a request in another topic.
    #[error(
        "an event with the id `{id}` was published before, and it is not this request: it asks for no \
         reply, or is in another topic; give the request an id of its own"
    )]
    NotARequest {
        /// The id.
        id: String,
    },
}

impl RequestError {
    pub(super) fn outlook(&self) -> Outlook {
        match self {
            Self::Deadline { .. } => Outlook::Passes,
            Self::Failed(_) | Self::NotARequest { .. } => Outlook::Content,
        }
    }
}

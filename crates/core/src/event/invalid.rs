//! Why something is not an event.

use crate::topic::InvalidTopic;

/// An event that cannot be stored, with the rule that it breaks.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEvent {
    /// The topic's name is not one.
    #[error(transparent)]
    Topic(#[from] InvalidTopic),
    /// The topic belongs to Ensue itself.
    #[error("the topic `{0}` is reserved: names that start with `_` belong to Ensue; pick another")]
    ReservedTopic(String),
    /// An attribute that must not be empty is.
    #[error("the event's `{name}` is missing or empty; {}", who_needs(.0), name = .0)]
    Missing(&'static str),
    /// What goes with the event by a name has an empty one.
    #[error("the event's {0} has an empty name; a name is what finds it again")]
    Unnamed(&'static str),
    /// The text is not an event in the CloudEvents JSON format.
    #[error("not a CloudEvent in JSON: {problem}")]
    CloudEvent {
        /// What is wrong, and where.
        problem: String,
    },
    /// An event of a batch is not one.
    #[error("event {number} of the batch: {why}")]
    OfBatch {
        /// Which one; the first is 1.
        number: usize,
        /// What is wrong with it.
        why: Box<InvalidEvent>,
    },
    /// An attribute of a CloudEvent is not what it has to be.
    #[error("the attribute `{name}` {problem}")]
    Attribute {
        /// The attribute's name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Something is longer than its limit.
    #[error("the event's {what} has {bytes} bytes, the limit is {bytes_max}; {advice}")]
    TooLarge {
        /// What is too long.
        what: &'static str,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        bytes_max: usize,
        /// What to do about it.
        advice: &'static str,
    },
    /// An extension's name is not made of lower-case letters and digits.
    #[error("`{0}` cannot name an extension: CloudEvents allows lower-case letters and digits")]
    ExtensionName(String),
    /// An extension has the name of an attribute.
    #[error(
        "`{0}` cannot name an extension: it is an attribute; set it by the builder's own method"
    )]
    ExtensionIsAttribute(String),
    /// The payload could not be written.
    #[error(transparent)]
    Encode(#[from] super::EncodeError),
    /// What is personal in the event was not sealed.
    #[error(
        "what is personal in `{0}` is not sealed: publish the event itself, by an engine with keys \
         (`Engine::with_keys`)"
    )]
    Unsealed(String),
    /// The stored bytes are not an envelope.
    #[error("the stored bytes are not an event: {0}")]
    Malformed(&'static str),
}

/// Who wants an attribute that is missing, and where it is said.
fn who_needs(name: &str) -> &'static str {
    match name {
        "topic" => {
            "Ensue needs it: give it as an attribute, or over HTTP as the parameter `?topic=`"
        }
        _ => "CloudEvents requires it",
    }
}

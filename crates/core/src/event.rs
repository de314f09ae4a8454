//! What an event is: the typed side ([`Event`]) and the stored side ([`Envelope`]).

mod builder;
mod cloudevents;
mod codec;
mod envelope;
mod extension;
mod identity;
mod invalid;
mod layout;
mod personal;
mod strict;
mod text;
mod trace;

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::builder::EnvelopeBuilder;
#[doc(hidden)]
pub use self::builder::{Defaults, check_name, check_source};
#[doc(hidden)]
pub use self::cloudevents::is_in_uri;
pub use self::cloudevents::{CloudEvent, CloudEventBatch};
pub use self::codec::{Codec, DecodeError, EncodeError};
pub use self::envelope::{
    ATTRIBUTE_BYTES_MAX, EXTENSIONS_BYTES_MAX, Envelope, KEY_BYTES_MAX, PAYLOAD_BYTES_MAX,
};
pub use self::extension::ExtensionValue;
pub use self::identity::EventId;
pub use self::invalid::InvalidEvent;
#[doc(hidden)]
pub use self::layout::PayloadForm;
pub use self::personal::{Disclosure, Opened, Personal, Sealed};
#[doc(hidden)]
pub use self::personal::{PersonalField, PersonalValue, Sealable};
#[doc(hidden)]
pub use self::text::control_in;
#[doc(hidden)]
pub use self::trace::is_trace_state;
pub use self::trace::{TRACE_STATE_BYTES_MAX, TraceContext};

/// A payload in the output of `{:?}`: its size in bytes and its media type, never its content.
pub(crate) struct Redacted<'a>(usize, &'a str);

impl Redacted<'_> {
    /// What has no media type.
    pub(crate) fn bytes(bytes: usize) -> Self {
        Self(bytes, "")
    }
}

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(bytes, "") => write!(f, "{bytes} bytes"),
            Self(bytes, media_type) => write!(f, "{bytes} bytes of {media_type}"),
        }
    }
}

/// A fact that happened: an immutable struct with a type, a topic and a key.
///
/// Derived, hardly ever written by hand:
///
/// ```
/// use ensue::prelude::*;
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(type = "order.created", topic = "orders", key = order_id)]
/// struct OrderCreated {
///     order_id: String,
///     cents: u64,
/// }
///
/// let event = OrderCreated { order_id: "o-1".into(), cents: 4200 };
/// assert_eq!(OrderCreated::TYPE, "order.created");
/// assert_eq!(event.key(), "o-1");
/// ```
///
/// What happened is the event's *type*, the word of CloudEvents, and has no other name here:
/// `#[event(type = "…")]`, [`Event::TYPE`], [`Envelope::event_type`] (`type` alone is a keyword of Rust),
/// `types` wherever events are chosen, `--type` and `TYPE` in the command, `type` in JSON. It stands for
/// one schema, whatever the Rust struct is called.
///
/// Events of one topic with equal keys keep their order, everywhere and always; events with
/// different keys are handled in parallel.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "not an event",
    note = "derive it: `#[derive(Event, Serialize, Deserialize)]` and `#[event(type = \"…\", topic = \
            \"…\")]`",
    note = "events are given by value, not by reference"
)]
pub trait Event: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What happened: dotted, past tense, for instance `order.created`.
    const TYPE: &'static str;

    /// The topic, or the pattern of the topics, that events of this type are appended to.
    const TOPIC: &'static str;

    /// The version of the payload's schema, from 1.
    const VERSION: u16 = 1;

    /// How the payload is written.
    const CODEC: Codec = Codec::Json;

    /// The names of its fields that are personal: `#[event(personal = subject)]`.
    const PERSONAL: &'static [&'static str] = &[];

    /// What is personal in it.
    #[doc(hidden)]
    fn personal(&mut self) -> Vec<PersonalField<'_>> {
        Vec::new()
    }

    /// What the event is about (the CloudEvents `subject`): its order is kept per key. May be empty.
    fn key(&self) -> Cow<'_, str>;

    /// The topic of this very event: [`Event::TOPIC`], unless that is a pattern.
    fn topic(&self) -> Cow<'_, str> {
        Cow::Borrowed(Self::TOPIC)
    }

    /// Reads a payload that was written as `version` of this event.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not what the codec or the type expects, or when the
    /// version is one that this program does not know.
    fn decode(version: u16, codec: Codec, payload: &[u8]) -> Result<Self, DecodeError> {
        if version == Self::VERSION {
            codec.decode(payload)
        } else {
            Err(DecodeError::unknown_version(
                Self::TYPE,
                version,
                Self::VERSION,
            ))
        }
    }
}

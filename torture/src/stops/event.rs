//! The user's events, which misbehave when they are encoded, decoded, asked or dropped.

use std::borrow::Cow;

use ensue::{Codec, DecodeError, Envelope, EnvelopeBuilder, Event, PAYLOAD_BYTES_MAX};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::act::Act;
use super::odd::{deliberately_panic, is_wild, panic_in_drop};
use super::plan::Order;

pub(super) const THINGS: &str = "things";
pub(super) const DONE: &str = "done";
const FILLER: &str = "filler";

/// The event that handlers get.
#[derive(Debug)]
pub(super) struct Thing {
    pub(super) order: Order,
    pub(super) drop_panics: bool,
}

impl Serialize for Thing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.order.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Thing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let order = Order::deserialize(deserializer)?;
        if is_wild() && order.whole() == Act::DecodePanics {
            deliberately_panic("deserialize");
        }
        Ok(Self {
            order,
            drop_panics: false,
        })
    }
}

impl Event for Thing {
    const TYPE: &'static str = "thing.ordered";
    const TOPIC: &'static str = THINGS;
    const VERSION: u16 = 2;

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.order.key)
    }

    fn decode(version: u16, codec: Codec, payload: &[u8]) -> Result<Self, DecodeError> {
        if !(1..=Self::VERSION).contains(&version) {
            let (name, newest) = (Self::TYPE, Self::VERSION);
            return Err(DecodeError::unknown_version(name, version, newest));
        }
        let thing: Self = codec.decode(payload)?;
        if is_wild() && thing.order.whole() == Act::UpcastPanics {
            deliberately_panic("upcast");
        }
        Ok(thing)
    }
}

impl Drop for Thing {
    fn drop(&mut self) {
        if self.drop_panics {
            panic_in_drop("the event's drop");
        }
    }
}

/// Says that a group handled an event.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) group: String,
    pub(super) key: String,
    pub(super) n: u64,
}

impl Event for Done {
    const TYPE: &'static str = "thing.done";
    const TOPIC: &'static str = DONE;

    fn key(&self) -> Cow<'_, str> {
        Cow::Owned(format!("{}/{}", self.group, self.key))
    }
}

/// An effect of any size, and some that cannot be written.
#[derive(Debug)]
pub(super) struct Filler {
    pub(super) bytes: usize,
    pub(super) act: Option<Act>,
}

impl Filler {
    pub(super) fn of(bytes: usize) -> Self {
        Self { bytes, act: None }
    }

    pub(super) fn odd(act: Act) -> Self {
        Self {
            bytes: 1,
            act: Some(act),
        }
    }
}

impl<'de> Deserialize<'de> for Filler {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self::of(text.len()))
    }
}

impl Serialize for Filler {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.act {
            Some(Act::EncodePanics | Act::StateEncodePanics) => deliberately_panic("serialize"),
            Some(Act::EncodeFails | Act::StateEncodeFails) => Err(S::Error::custom("not this one")),
            Some(Act::NotANumber) => serializer.serialize_f64(f64::NAN),
            _ => serializer.serialize_str(&"x".repeat(self.bytes)),
        }
    }
}

impl Event for Filler {
    const TYPE: &'static str = "thing.filled";
    const TOPIC: &'static str = FILLER;

    fn key(&self) -> Cow<'_, str> {
        match self.act {
            Some(Act::KeyPanics) => deliberately_panic("key"),
            _ => Cow::Borrowed(""),
        }
    }

    fn topic(&self) -> Cow<'_, str> {
        match self.act {
            Some(Act::TopicPanics) => deliberately_panic("topic"),
            _ => Cow::Borrowed(Self::TOPIC),
        }
    }
}

/// A cell of state that cannot be read.
pub(super) struct Unreadable<const PANICS: bool>;

impl<'de, const PANICS: bool> Deserialize<'de> for Unreadable<PANICS> {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        if PANICS {
            deliberately_panic("deserialize a cell")
        } else {
            Err(D::Error::custom("not this one"))
        }
    }
}

/// An event for the app: its payload is what the order says, or is not.
pub(super) fn event(order: &Order) -> EnvelopeBuilder {
    let mut payload = Codec::Json.encode(order).unwrap_or_default();
    let (source, id) = order.id();
    let builder = Envelope::builder(THINGS, Thing::TYPE)
        .key(&order.key)
        .id(id)
        .source(source);
    match order.whole() {
        Act::Undecodable => builder.payload(Codec::Json, b"{\"key\":".to_vec()),
        Act::UnknownCodec => builder.opaque_payload("application/x-odd", payload),
        Act::UnknownVersion => builder.payload(Codec::Json, payload).version(9),
        Act::OldVersion | Act::UpcastPanics => builder.payload(Codec::Json, payload).version(1),
        Act::LargePayload => {
            payload.resize(PAYLOAD_BYTES_MAX, b' ');
            builder
                .payload(Codec::Json, payload)
                .version(Thing::VERSION)
        }
        _ => builder
            .payload(Codec::Json, payload)
            .version(Thing::VERSION),
    }
}

//! The words of Ensue: what an event is, what an engine promises, and the one clock.
//!
//! Programs depend on [`ensue`](https://docs.rs/ensue), which has all of it. This crate is for those
//! who write an engine: [`engine`] is the contract that it keeps.

#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![warn(clippy::print_stdout, clippy::print_stderr)]

#[doc(hidden)]
pub mod background;
#[doc(hidden)]
pub mod contained;
mod cursor;
pub mod engine;
pub mod error;
pub mod event;
mod position;
#[doc(hidden)]
pub mod request;
pub mod time;
pub mod topic;

#[doc(hidden)]
pub use bytes::Bytes;
#[doc(hidden)]
pub use futures_util::future::BoxFuture;

pub use crate::cursor::{Cursor, InvalidCursor};
pub use crate::engine::{Driver, Expect, Guarantees, Position, SharedEngine, Start, Vault};
pub use crate::error::{Error, Result};
pub use crate::event::{
    ATTRIBUTE_BYTES_MAX, CloudEvent, CloudEventBatch, Codec, DecodeError, Disclosure,
    EXTENSIONS_BYTES_MAX, EncodeError, Envelope, EnvelopeBuilder, Event, EventId, ExtensionValue,
    InvalidEvent, KEY_BYTES_MAX, Opened, PAYLOAD_BYTES_MAX, Personal, Sealed,
    TRACE_STATE_BYTES_MAX, TraceContext,
};
pub use crate::time::{
    Backoff, Clock, InvalidDuration, InvalidTimestamp, Timestamp, VirtualClock, parse_duration,
};
pub use crate::topic::{InvalidTopic, TOPIC_BYTES_MAX, TopicPattern};

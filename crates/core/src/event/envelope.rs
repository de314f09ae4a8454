//! The envelope: an event as it is stored, moved and delivered.
//!
//! Encoded once, on the publisher's thread, and never re-encoded: what the log stores is what a
//! handler's [`Envelope`] points into. One reference-counted buffer holds, back to back,
//!
//! ```text
//! topic │ key │ fixed part │ type │ id │ source │ correlation │ causation │ content type │ trace │ extensions │ payload
//! ```
//!
//! and the *fixed part* says how long each piece is ([`layout`](super::layout)).

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use super::builder::{Content, add_trace_state};
use super::extension::{self, ExtensionValue};
use super::layout::{
    EXTENSIONS_AT, FIXED_BYTES, FORM_BITS, LAYOUT_VERSION, PARTITION_KEY_BIT, PayloadForm, TRACE_AT,
};
use super::trace::TRACE_STATE;
use super::{Codec, DecodeError, EnvelopeBuilder, Event, InvalidEvent, TraceContext};
use crate::time::Timestamp;

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 512;
/// The longest id, type, source, correlation, causation, content type or extension name, in bytes.
pub const ATTRIBUTE_BYTES_MAX: usize = 255;
/// How much all extensions of an event may take, in bytes.
pub const EXTENSIONS_BYTES_MAX: usize = 16 * 1024;
/// The largest payload, in bytes. What is larger belongs in an object store, its address in the
/// event.
pub const PAYLOAD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// An event as it is stored: CloudEvents attributes, correlation, trace context and a payload.
///
/// Immutable; cloning copies a pointer. Accessors read in place.
///
/// ```
/// use ensue::{Codec, Envelope};
///
/// let envelope = Envelope::builder("orders", "order.created")
///     .key("o-1")
///     .source("/shop")
///     .payload(Codec::Json, br#"{"order_id":"o-1"}"#.to_vec())
///     .build()?;
/// assert_eq!(envelope.topic(), "orders");
/// assert_eq!(envelope.event_type(), "order.created");
/// assert_eq!(envelope.correlation(), envelope.id(), "the first event of a chain names it");
/// # Ok::<(), ensue::InvalidEvent>(())
/// ```
#[derive(Clone)]
pub struct Envelope {
    bytes: Bytes,
    /// Ends of topic, key, fixed part and the pieces after it, in `bytes`.
    ends: Ends,
}

#[derive(Clone, Copy)]
struct Ends {
    topic: u32,
    key: u32,
    kind: u32,
    id: u32,
    source: u32,
    correlation: u32,
    causation: u32,
    content_type: u32,
    trace: u32,
    extensions: u32,
}

impl Envelope {
    /// Starts an event of type `event_type` for `topic`.
    pub fn builder(topic: impl Into<String>, event_type: impl Into<String>) -> EnvelopeBuilder {
        EnvelopeBuilder::new(Cow::Owned(topic.into()), Cow::Owned(event_type.into()))
    }

    /// Starts an envelope with the topic, type, key, version and payload of `event`.
    ///
    /// # Errors
    /// [`InvalidEvent::Encode`] when the event cannot be written by its codec.
    pub fn of<E: Event>(event: &E) -> Result<EnvelopeBuilder, InvalidEvent> {
        Ok(Self::without_payload(event).payload(E::CODEC, E::CODEC.encode_readable(event)?))
    }

    /// The same without the payload.
    #[doc(hidden)]
    pub fn without_payload<E: Event>(event: &E) -> EnvelopeBuilder {
        let topic = match event.topic() {
            // Most often, and nothing to copy.
            topic if topic == E::TOPIC => Cow::Borrowed(E::TOPIC),
            topic => Cow::Owned(topic.into_owned()),
        };
        EnvelopeBuilder::new(topic, Cow::Borrowed(E::TYPE))
            .key(event.key())
            .version(E::VERSION)
    }

    /// Reads an envelope from `content`: topic, key and body, back to back.
    ///
    /// # Errors
    /// [`InvalidEvent::Malformed`] when the lengths do not fit or a text is not UTF-8.
    pub fn from_content(
        content: Bytes,
        topic_bytes: usize,
        key_bytes: usize,
    ) -> Result<Self, InvalidEvent> {
        let envelope = Self::of_texts(content, topic_bytes, key_bytes)?;
        let start = topic_bytes + key_bytes;
        let texts = [
            (0, start),
            (start + FIXED_BYTES, envelope.ends.content_type as usize),
        ];
        for (from, to) in texts {
            let text = envelope.bytes.get(from..to).unwrap_or_default();
            std::str::from_utf8(text)
                .map_err(|_| InvalidEvent::Malformed("a text is not UTF-8"))?;
        }
        Ok(envelope)
    }

    /// The same for a content whose texts are known to be UTF-8.
    pub(super) fn of_texts(
        content: Bytes,
        topic_bytes: usize,
        key_bytes: usize,
    ) -> Result<Self, InvalidEvent> {
        let malformed = InvalidEvent::Malformed;
        // Lengths may come from a disk.
        let start = topic_bytes.saturating_add(key_bytes);
        let fixed: &[u8; FIXED_BYTES] = content
            .get(start..)
            .and_then(|body| body.first_chunk())
            .ok_or(malformed("it is shorter than its fixed part"))?;
        let [version, _, _, _, _, _, _, _, _, _, _, _, lengths @ ..] = fixed;
        if *version != LAYOUT_VERSION {
            return Err(malformed(
                "its layout version is not 2; was it written by a newer Ensue?",
            ));
        }
        let [
            kind,
            id,
            source,
            correlation,
            causation,
            content_type,
            trace,
            _,
            e0,
            e1,
            _,
            _,
        ] = *lengths;
        let mut end = (start + FIXED_BYTES) as u32;
        let mut after = |bytes: u32| {
            end += bytes;
            end
        };
        let ends = Ends {
            topic: topic_bytes as u32,
            key: start as u32,
            kind: after(kind.into()),
            id: after(id.into()),
            source: after(source.into()),
            correlation: after(correlation.into()),
            causation: after(causation.into()),
            content_type: after(content_type.into()),
            trace: after(trace.into()),
            extensions: after(u16::from_le_bytes([e0, e1]).into()),
        };
        if ends.extensions as usize > content.len() {
            return Err(malformed("its parts are longer than the whole"));
        }
        Ok(Self {
            bytes: content,
            ends,
        })
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        self.text(0, self.ends.topic)
    }

    /// The key (CloudEvents `subject`); empty when the event has none.
    pub fn key(&self) -> &str {
        self.text(self.ends.topic, self.ends.key)
    }

    /// The event's type ([`Event::TYPE`]), for instance `order.created`.
    pub fn event_type(&self) -> &str {
        self.text(self.ends.key + FIXED_BYTES as u32, self.ends.kind)
    }

    /// The event's id: unique per event, the same when the event is published again.
    pub fn id(&self) -> &str {
        self.text(self.ends.kind, self.ends.id)
    }

    /// Who published the event (a URI reference, such as `/shop/checkout`).
    pub fn source(&self) -> &str {
        self.text(self.ends.id, self.ends.source)
    }

    /// The id that all events of one causal chain share: the id of the first.
    pub fn correlation(&self) -> &str {
        match self.stored_correlation() {
            "" => self.id(),
            correlation => correlation,
        }
    }

    /// The correlation id as it is stored: empty when it is the event's own id.
    #[doc(hidden)]
    pub fn stored_correlation(&self) -> &str {
        self.text(self.ends.source, self.ends.correlation)
    }

    /// The id of the event that this one followed from.
    pub fn causation(&self) -> Option<&str> {
        Some(self.text(self.ends.correlation, self.ends.causation)).filter(|id| !id.is_empty())
    }

    /// The media type of the payload, with its parameters; empty when the event declares none.
    pub fn content_type(&self) -> &str {
        match self.text(self.ends.causation, self.ends.content_type) {
            "" => self.stored_codec().map_or("", Codec::content_type),
            named => named,
        }
    }

    /// The codec of the payload.
    ///
    /// # Errors
    /// [`DecodeError`] when the media type has no codec here.
    pub fn codec(&self) -> Result<Codec, DecodeError> {
        self.stored_codec()
            .ok_or_else(|| DecodeError::unknown_content_type(self.content_type()))
    }

    pub(super) fn stored_codec(&self) -> Option<Codec> {
        match self.fixed(1) {
            [1] => Some(Codec::Json),
            [2] => Some(Codec::MessagePack),
            [3] => Some(Codec::Cbor),
            _ => None,
        }
    }

    /// Whether the payload was given as text or as bytes, where its type leaves that open.
    #[doc(hidden)]
    pub fn payload_form(&self) -> PayloadForm {
        match self.flags() & FORM_BITS {
            1 => PayloadForm::Text,
            2 => PayloadForm::Binary,
            _ => PayloadForm::ByType,
        }
    }

    /// Whether the key is the CloudEvents extension `partitionkey`, not the subject.
    #[doc(hidden)]
    pub fn is_keyed_by_partition(&self) -> bool {
        self.flags() & PARTITION_KEY_BIT != 0
    }

    fn flags(&self) -> u8 {
        let [flags] = self.fixed(19);
        flags
    }

    /// The version of the payload's schema.
    pub fn version(&self) -> u16 {
        u16::from_le_bytes(self.fixed(2))
    }

    /// The CloudEvents `dataschema`: the type and version of the payload as a URI.
    pub fn data_schema(&self) -> String {
        match self.rare(extension::DATA_SCHEMA) {
            Some(schema) => schema.to_owned(),
            None => format!("urn:ensue:{}:{}", self.event_type(), self.version()),
        }
    }

    /// The CloudEvents `dataschema`, if its publisher gave one.
    #[doc(hidden)]
    pub fn given_data_schema(&self) -> Option<&str> {
        self.rare(extension::DATA_SCHEMA)
    }

    /// When the event happened, as its publisher says.
    pub fn time(&self) -> Timestamp {
        Timestamp::from_micros(i64::from_le_bytes(self.fixed(4)))
    }

    /// [`Envelope::time`] as its publisher wrote it, if that says more or says it differently.
    #[doc(hidden)]
    pub fn time_text(&self) -> Option<&str> {
        self.rare(extension::TIME)
    }

    /// The W3C trace context, if the event carries one.
    pub fn trace(&self) -> Option<TraceContext> {
        TraceContext::from_bytes(self.slice(self.ends.content_type, self.ends.trace))
    }

    /// What other systems say of the trace: W3C `tracestate`, a CloudEvents extension attribute.
    pub fn trace_state(&self) -> Option<&str> {
        self.trace()?;
        self.extension(TRACE_STATE)
    }

    /// This event in a trace, if it is in none of its own: for those who take it in where its
    /// publisher said so beside the event, as in the headers of a request.
    #[must_use]
    pub fn traced(&self, trace: TraceContext, state: Option<&str>) -> Self {
        if self.trace().is_some() {
            return self.clone();
        }
        let (from, to) = (
            self.ends.content_type as usize,
            self.ends.extensions as usize,
        );
        let mut extensions = self.stored_extensions().to_vec();
        if let Some(state) = state
            && self.extension(TRACE_STATE).is_none()
        {
            add_trace_state(&mut extensions, state);
        }
        let trace = trace.to_bytes();
        let added = trace.len() + extensions.len();
        let mut bytes = Vec::with_capacity(self.bytes.len() + added);
        bytes.extend_from_slice(self.bytes.get(..from).unwrap_or_default());
        bytes.extend_from_slice(&trace);
        bytes.extend_from_slice(&extensions);
        bytes.extend_from_slice(self.bytes.get(to..).unwrap_or_default());
        let fixed = self.ends.key as usize;
        // Within EXTENSIONS_BYTES_MAX, which is below u16::MAX.
        let [e0, e1] = (extensions.len() as u16).to_le_bytes();
        for (at, byte) in [
            (TRACE_AT, trace.len() as u8),
            (EXTENSIONS_AT, e0),
            (EXTENSIONS_AT + 1, e1),
        ] {
            if let Some(old) = bytes.get_mut(fixed + at) {
                *old = byte;
            }
        }
        let ends = Ends {
            trace: (from + trace.len()) as u32,
            extensions: (from + added) as u32,
            ..self.ends
        };
        Self {
            bytes: bytes.into(),
            ends,
        }
    }

    /// The value of a CloudEvents extension attribute, as text.
    pub fn extension(&self, name: &str) -> Option<&str> {
        extension::decode(self.stored_extensions())
            .find(|stored| stored.kind != extension::RARE && stored.name == name)
            .map(|stored| stored.value)
    }

    /// All CloudEvents extension attributes, in the types that they were given.
    pub fn extensions(&self) -> impl Iterator<Item = (&str, ExtensionValue<'_>)> {
        extension::decode(self.stored_extensions())
            .filter(|stored| stored.kind != extension::RARE)
            .map(|stored| (stored.name, stored.typed()))
    }

    /// An attribute that most events do not have.
    fn rare(&self, name: &str) -> Option<&str> {
        extension::decode(self.stored_extensions())
            .find(|stored| stored.kind == extension::RARE && stored.name == name)
            .map(|stored| stored.value)
    }

    fn stored_extensions(&self) -> &[u8] {
        self.slice(self.ends.trace, self.ends.extensions)
    }

    /// The payload's bytes.
    pub fn payload(&self) -> &[u8] {
        self.bytes
            .get(self.ends.extensions as usize..)
            .unwrap_or_default()
    }

    /// The payload as an `E`, from whichever version it was written in. One that declares no content type is
    /// read as JSON: some publishers send that without saying so.
    ///
    /// # Errors
    /// [`DecodeError`] when the payload is not an `E`. The type's name is not compared.
    pub fn decode<E: Event>(&self) -> Result<E, DecodeError> {
        if self.content_type().is_empty() {
            let decoded = E::decode(self.version(), Codec::Json, self.payload());
            return decoded.map_err(DecodeError::undeclared);
        }
        E::decode(self.version(), self.codec()?, self.payload())
    }

    /// Topic and key, back to back: what order is kept by. Cheaper than the two texts.
    #[doc(hidden)]
    pub fn stream(&self) -> &[u8] {
        self.slice(0, self.ends.key)
    }

    #[doc(hidden)]
    pub fn topic_bytes(&self) -> &[u8] {
        self.slice(0, self.ends.topic)
    }

    pub(super) fn id_bytes(&self) -> &[u8] {
        self.slice(self.ends.kind, self.ends.id)
    }

    pub(super) fn source_bytes(&self) -> &[u8] {
        self.slice(self.ends.id, self.ends.source)
    }

    #[doc(hidden)]
    pub fn type_bytes(&self) -> &[u8] {
        self.slice(self.ends.key + FIXED_BYTES as u32, self.ends.kind)
    }

    /// What an engine stores behind topic and key.
    pub fn body(&self) -> &[u8] {
        self.bytes.get(self.ends.key as usize..).unwrap_or_default()
    }

    /// Topic, key and body, back to back: what [`Envelope::from_content`] reads.
    pub fn content(&self) -> &Bytes {
        &self.bytes
    }

    /// A copy in a buffer of its own. A delivered envelope points into a large shared buffer; who
    /// keeps a few of them for long keeps all of it, unless they detach them.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self {
            bytes: Bytes::copy_from_slice(&self.bytes),
            ends: self.ends,
        }
    }

    /// A builder that starts with everything of this envelope, its id included.
    pub fn to_builder(&self) -> EnvelopeBuilder {
        EnvelopeBuilder {
            topic: Cow::Owned(self.topic().to_owned()),
            kind: Cow::Owned(self.event_type().to_owned()),
            key: self.key().to_owned(),
            id: Some(self.id().to_owned()),
            source: Some(self.source().to_owned()),
            time: Some(self.time()),
            version: self.version(),
            content: Content {
                codec: self.stored_codec(),
                named: self
                    .text(self.ends.causation, self.ends.content_type)
                    .to_owned(),
            },
            form: self.payload_form(),
            is_partition_key: self.is_keyed_by_partition(),
            time_text: self.time_text().map(str::to_owned),
            data_schema: self.given_data_schema().map(str::to_owned),
            correlation: Some(self.stored_correlation().to_owned())
                .filter(|correlation| !correlation.is_empty()),
            causation: self.causation().map(str::to_owned),
            trace: self.trace(),
            extensions: self
                .extensions()
                .map(|(name, value)| (name.to_owned(), value.into_owned()))
                .collect(),
            payload: self.payload().to_vec(),
            is_stored: false,
        }
    }

    fn slice(&self, from: u32, to: u32) -> &[u8] {
        self.bytes
            .get(from as usize..to as usize)
            .unwrap_or_default()
    }

    fn text(&self, from: u32, to: u32) -> &str {
        // Checked when the envelope was made: a slice between two ends is UTF-8 because the whole
        // is and every end lies on a boundary that a publisher's string made; a hostile one that
        // splits a character reads as empty.
        std::str::from_utf8(self.slice(from, to)).unwrap_or_default()
    }

    fn fixed<const N: usize>(&self, at: usize) -> [u8; N] {
        let from = self.ends.key as usize + at;
        let piece = self
            .bytes
            .get(from..from + N)
            .and_then(|piece| piece.first_chunk());
        piece.copied().unwrap_or([0; N])
    }
}

impl PartialEq for Envelope {
    fn eq(&self, other: &Self) -> bool {
        self.ends.topic == other.ends.topic
            && self.ends.key == other.ends.key
            && self.bytes == other.bytes
    }
}

impl Eq for Envelope {}

impl fmt::Debug for Envelope {
    /// Shows which event it is, and of the payload how much of what: its content may be personal
    /// data, and what is printed by `{:?}` ends up in logs, where it cannot be deleted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload = super::Redacted(self.payload().len(), self.content_type());
        f.debug_struct("Envelope")
            .field("topic", &self.topic())
            .field("type", &self.event_type())
            .field("key", &self.key())
            .field("id", &self.id())
            .field("time", &format_args!("{}", self.time()))
            .field("version", &self.version())
            .field("payload", &payload)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

//! Putting an envelope together: defaults, limits, encoding.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::cloudevents::{check_absolute_uri, check_uri, is_attribute};
use super::extension::{self, ExtensionValue};
use super::layout::{FIXED_BYTES, LAYOUT_VERSION, PARTITION_KEY_BIT, PayloadForm};
use super::text;
use super::trace::{TRACE_STATE, is_trace_state};
use super::{
    ATTRIBUTE_BYTES_MAX, Codec, EXTENSIONS_BYTES_MAX, Envelope, InvalidEvent, KEY_BYTES_MAX,
    PAYLOAD_BYTES_MAX, TraceContext,
};
use crate::time::Timestamp;
use crate::topic;

/// What a payload is.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) codec: Option<Codec>,
    /// The content type, unless it is the codec's own; empty when there is none.
    pub(super) named: String,
}

/// Puts an [`Envelope`] together; what is left out gets its default when it is built.
#[derive(Clone)]
#[must_use = "a builder does nothing until it is built"]
pub struct EnvelopeBuilder {
    pub(super) topic: Cow<'static, str>,
    pub(super) kind: Cow<'static, str>,
    pub(super) key: String,
    pub(super) id: Option<String>,
    pub(super) source: Option<String>,
    pub(super) time: Option<Timestamp>,
    pub(super) version: u16,
    pub(super) content: Content,
    pub(super) correlation: Option<String>,
    pub(super) causation: Option<String>,
    pub(super) trace: Option<TraceContext>,
    pub(super) extensions: Vec<(String, ExtensionValue<'static>)>,
    pub(super) payload: Vec<u8>,
    pub(super) form: PayloadForm,
    pub(super) is_partition_key: bool,
    pub(super) time_text: Option<String>,
    pub(super) data_schema: Option<String>,
    pub(super) is_stored: bool,
}

impl fmt::Debug for EnvelopeBuilder {
    /// As an envelope: the payload's size, not its content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let media_type = match (&*self.content.named, self.content.codec) {
            ("", codec) => codec.map_or("", Codec::content_type),
            (named, _) => named,
        };
        f.debug_struct("EnvelopeBuilder")
            .field("topic", &self.topic)
            .field("type", &self.kind)
            .field("key", &self.key)
            .field("id", &self.id)
            .field("version", &self.version)
            .field("payload", &super::Redacted(self.payload.len(), media_type))
            .finish_non_exhaustive()
    }
}

impl EnvelopeBuilder {
    pub(super) fn new(topic: Cow<'static, str>, kind: Cow<'static, str>) -> Self {
        Self {
            topic,
            kind,
            key: String::new(),
            id: None,
            source: None,
            time: None,
            version: 1,
            content: Content {
                codec: Some(Codec::Json),
                named: String::new(),
            },
            correlation: None,
            causation: None,
            trace: None,
            extensions: Vec::new(),
            payload: Vec::new(),
            form: PayloadForm::ByType,
            is_partition_key: false,
            time_text: None,
            data_schema: None,
            is_stored: false,
        }
    }

    /// The topic, in place of the one given first.
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = Cow::Owned(topic.into());
        self
    }

    /// The key. Default: empty.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self.is_partition_key = false;
        self
    }

    /// The key, where CloudEvents calls it `partitionkey` and there is no `subject`.
    #[doc(hidden)]
    pub fn partition_key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self.is_partition_key = true;
        self
    }

    /// The id. Default: a new UUID, version 7.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The source. Default: `/`.
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// When the event happened. Default: now.
    pub fn time(mut self, time: Timestamp) -> Self {
        self.time = Some(time);
        self.time_text = None;
        self
    }

    /// The time in its publisher's words, which are kept if they are not ours.
    #[doc(hidden)]
    pub fn time_text(mut self, text: impl Into<String>) -> Self {
        let text = text.into();
        let ours = self.time.map(|time| time.to_string());
        self.time_text = (ours.as_ref() != Some(&text)).then_some(text);
        self
    }

    /// The version of the payload's schema. Default: 1.
    pub fn version(mut self, version: u16) -> Self {
        self.version = version;
        self
    }

    /// The CloudEvents `dataschema`, an absolute URI. Default: one of the type and the version.
    pub fn data_schema(mut self, schema: impl Into<String>) -> Self {
        self.data_schema = Some(schema.into());
        self
    }

    /// The correlation id. Default: the event's own id.
    pub fn correlation(mut self, correlation: impl Into<String>) -> Self {
        self.correlation = Some(correlation.into());
        self
    }

    /// The id of the event that this one follows from. Default: none.
    pub fn causation(mut self, causation: impl Into<String>) -> Self {
        self.causation = Some(causation.into());
        self
    }

    /// The trace context. Default: that of the event that this one follows from, or none.
    pub fn trace(mut self, trace: TraceContext) -> Self {
        self.trace = Some(trace);
        self
    }

    /// Sets an extension attribute, in place of an earlier one of the same name.
    pub fn extension(
        mut self,
        name: impl Into<String>,
        value: impl Into<ExtensionValue<'static>>,
    ) -> Self {
        let name = name.into();
        self.extensions.retain(|(found, _)| *found != name);
        self.extensions.push((name, value.into()));
        self
    }

    /// Removes an extension attribute.
    #[doc(hidden)]
    pub fn without_extension(mut self, name: &str) -> Self {
        self.extensions.retain(|(found, _)| found != name);
        self
    }

    /// The payload, in a codec's encoding.
    pub fn payload(mut self, codec: Codec, payload: Vec<u8>) -> Self {
        self.content = Content {
            codec: Some(codec),
            named: String::new(),
        };
        self.payload = payload;
        self.form = PayloadForm::ByType;
        self
    }

    /// The payload, as it is, and its media type; empty for one that declares none.
    pub fn opaque_payload(mut self, content_type: impl Into<String>, payload: Vec<u8>) -> Self {
        let mut named = content_type.into();
        let codec = Codec::from_content_type(&named);
        if codec.is_some_and(|codec| codec.content_type() == named) {
            named.clear();
        }
        self.content = Content { codec, named };
        self.payload = payload;
        self.form = PayloadForm::ByType;
        self
    }

    /// Whether the payload is text or bytes, where its content type leaves that open.
    #[doc(hidden)]
    pub fn payload_form(mut self, form: PayloadForm) -> Self {
        self.form = form;
        self
    }

    /// Without a key, the id is the key.
    #[doc(hidden)]
    pub fn key_or_id(mut self) -> Self {
        if self.key.is_empty() {
            let id = self.id.get_or_insert_with(|| Uuid::now_v7().to_string());
            self.key.clone_from(id);
        }
        self
    }

    #[doc(hidden)]
    pub fn key_text(&self) -> &str {
        &self.key
    }

    #[doc(hidden)]
    pub fn topic_name(&self) -> &str {
        &self.topic
    }

    /// The source, if one was given.
    #[doc(hidden)]
    pub fn given_source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    #[doc(hidden)]
    pub fn type_name(&self) -> &str {
        &self.kind
    }

    #[doc(hidden)]
    pub fn id_text(&self) -> Option<&str> {
        self.id.as_deref()
    }

    #[doc(hidden)]
    pub fn has_trace(&self) -> bool {
        self.trace.is_some()
    }

    #[doc(hidden)]
    pub fn has_id(&self) -> bool {
        self.id.is_some()
    }

    /// Of an event that a log has already: what one may not have any more stays in it.
    #[doc(hidden)]
    pub fn as_stored(mut self) -> Self {
        self.is_stored = true;
        self
    }

    /// Checks every limit and encodes.
    ///
    /// # Errors
    /// [`InvalidEvent`] names the first rule that is broken.
    pub fn build(self) -> Result<Envelope, InvalidEvent> {
        self.build_with(&Defaults::default())
    }

    /// The same, with these defaults for what is left out.
    #[doc(hidden)]
    pub fn build_with(&self, defaults: &Defaults<'_>) -> Result<Envelope, InvalidEvent> {
        topic::validate(&self.topic)?;
        if !self.is_stored {
            self.check_texts()?;
        }
        let mut made = [0; Hyphenated::LENGTH];
        let id = match &self.id {
            Some(id) => id.as_str(),
            None => {
                let id = defaults.id.unwrap_or_else(Uuid::now_v7);
                &*id.hyphenated().encode_lower(&mut made)
            }
        };
        if self.kind.is_empty() {
            return Err(InvalidEvent::Missing("type"));
        }
        if id.is_empty() {
            return Err(InvalidEvent::Missing("id"));
        }
        if let Some(source) = &self.source {
            check_source(source)?;
        }
        if let Some(schema) = &self.data_schema {
            check_absolute_uri("dataschema", schema)?;
        }
        within(
            "key",
            self.key.len(),
            KEY_BYTES_MAX,
            "a key names a thing; it does not hold it",
        )?;
        within(
            "payload",
            self.payload.len(),
            PAYLOAD_BYTES_MAX,
            "put it into an object store and its address into the event",
        )?;
        let correlation = self.correlation.as_deref();
        let correlation = correlation.unwrap_or(defaults.correlation);
        let causation = self.causation.as_deref().unwrap_or(defaults.causation);
        let attributes = [
            attribute("type", &self.kind)?,
            attribute("id", id)?,
            attribute("source", self.source.as_deref().unwrap_or(defaults.source))?,
            attribute("correlation", correlation)?,
            attribute("causation", causation)?,
            attribute("content type", &self.content.named)?,
        ];
        self.encode(attributes, defaults)
    }

    /// What it inherits was in an event before.
    fn check_texts(&self) -> Result<(), InvalidEvent> {
        for (name, value) in [
            ("type", &*self.kind),
            ("id", self.id.as_deref().unwrap_or_default()),
            ("key", &self.key),
            ("content type", &self.content.named),
            (
                "correlation",
                self.correlation.as_deref().unwrap_or_default(),
            ),
            ("causation", self.causation.as_deref().unwrap_or_default()),
        ] {
            text::check(name, value)?;
        }
        for (name, value) in &self.extensions {
            if let ExtensionValue::Text(value) = value {
                text::check(name, value)?;
            }
        }
        Ok(())
    }

    fn encode(
        &self,
        attributes: [(u8, &str); 6],
        defaults: &Defaults<'_>,
    ) -> Result<Envelope, InvalidEvent> {
        let codec = match self.content.codec {
            None => 0,
            Some(Codec::Json) => 1,
            Some(Codec::MessagePack) => 2,
            Some(Codec::Cbor) => 3,
        };
        let time = match self.time {
            Some(time) if time != time.within_rfc_3339() => {
                return Err(InvalidEvent::Attribute {
                    name: "time".to_owned(),
                    problem: format!("is {time}: RFC 3339 writes the years 0 to 9999"),
                });
            }
            Some(time) => time,
            // That a clock is wrong is not the event's fault.
            None => {
                let now = defaults.time.unwrap_or_else(Timestamp::now);
                now.within_rfc_3339()
            }
        };
        let context = self.trace.or(defaults.trace);
        let trace = context.map(TraceContext::to_bytes);
        let trace: &[u8] = trace.as_ref().map_or(&[], |trace| trace.as_slice());
        let mut extensions = self.encode_extensions()?;
        if let (Some(state), Some(context)) = (defaults.trace_state, context) {
            self.inherit_trace_state(&mut extensions, state, context, defaults.trace);
        }
        let pieces: usize = attributes.iter().map(|(_, text)| text.len()).sum();
        let start = self.topic.len() + self.key.len();
        let mut bytes = Vec::with_capacity(
            start + FIXED_BYTES + pieces + trace.len() + extensions.len() + self.payload.len(),
        );
        bytes.extend_from_slice(self.topic.as_bytes());
        bytes.extend_from_slice(self.key.as_bytes());
        bytes.extend_from_slice(&[LAYOUT_VERSION, codec]);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&time.as_micros().to_le_bytes());
        bytes.extend_from_slice(&attributes.map(|(length, _)| length));
        bytes.extend_from_slice(&[trace.len() as u8, self.flags()]);
        // Within EXTENSIONS_BYTES_MAX, which is below u16::MAX.
        bytes.extend_from_slice(&(extensions.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&[0, 0]);
        for (_, text) in &attributes {
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend_from_slice(trace);
        bytes.extend_from_slice(&extensions);
        bytes.extend_from_slice(&self.payload);
        Envelope::of_texts(Bytes::from(bytes), self.topic.len(), self.key.len())
    }

    /// What other systems say of a trace goes with it, unless the event says it itself.
    fn inherit_trace_state(
        &self,
        extensions: &mut Vec<u8>,
        state: &str,
        context: TraceContext,
        inherited: Option<TraceContext>,
    ) {
        let is_same = inherited.is_some_and(|it| it.trace_id() == context.trace_id());
        let is_given = self.extensions.iter().any(|(name, _)| name == TRACE_STATE);
        if is_same && !is_given {
            add_trace_state(extensions, state);
        }
    }

    fn flags(&self) -> u8 {
        let form = match self.form {
            PayloadForm::ByType => 0,
            PayloadForm::Text => 1,
            PayloadForm::Binary => 2,
        };
        let key = if self.is_partition_key {
            PARTITION_KEY_BIT
        } else {
            0
        };
        form | key
    }

    fn encode_extensions(&self) -> Result<Vec<u8>, InvalidEvent> {
        let mut bytes = Vec::new();
        let rare = [
            (extension::TIME, &self.time_text),
            (extension::DATA_SCHEMA, &self.data_schema),
        ];
        for (name, value) in rare {
            if let Some(value) = value {
                add_extension(&mut bytes, extension::RARE, name, value)?;
            }
        }
        for (name, value) in &self.extensions {
            let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            if is_attribute(name) {
                return Err(InvalidEvent::ExtensionIsAttribute(name.clone()));
            }
            if name.is_empty() || !name.bytes().all(is_name) {
                return Err(InvalidEvent::ExtensionName(name.chars().take(80).collect()));
            }
            add_extension(&mut bytes, value.kind(), name, &value.as_text())?;
        }
        within(
            "extensions together",
            bytes.len(),
            EXTENSIONS_BYTES_MAX,
            "large values go into the payload",
        )?;
        Ok(bytes)
    }
}

/// What an event gets where its builder says nothing.
#[doc(hidden)]
pub struct Defaults<'a> {
    /// Default: a new one.
    pub id: Option<Uuid>,
    pub source: &'a str,
    /// Default: now.
    pub time: Option<Timestamp>,
    pub correlation: &'a str,
    pub causation: &'a str,
    pub trace: Option<TraceContext>,
    /// The `tracestate` that goes with it.
    pub trace_state: Option<&'a str>,
}

impl Default for Defaults<'_> {
    fn default() -> Self {
        Self {
            id: None,
            source: "/",
            time: None,
            correlation: "",
            causation: "",
            trace: None,
            trace_state: None,
        }
    }
}

/// Adds a `tracestate` that the event's publisher did not give, if it is one and there is room: an
/// event is not refused for it.
pub(super) fn add_trace_state(extensions: &mut Vec<u8>, state: &str) {
    let bytes = extensions.len() + TRACE_STATE.len() + state.len() + extension::HEAD_BYTES;
    if is_trace_state(state) && bytes <= EXTENSIONS_BYTES_MAX {
        extension::encode_text(extensions, TRACE_STATE, state);
    }
}

fn within(
    what: &'static str,
    bytes: usize,
    bytes_max: usize,
    advice: &'static str,
) -> Result<(), InvalidEvent> {
    if bytes <= bytes_max {
        Ok(())
    } else {
        Err(InvalidEvent::TooLarge {
            what,
            bytes,
            bytes_max,
            advice,
        })
    }
}

/// Checks a name that goes with an event: as long as an attribute may be, of what one may be, and not empty.
#[doc(hidden)]
pub fn check_name(what: &'static str, name: &str) -> Result<(), InvalidEvent> {
    if name.is_empty() {
        return Err(InvalidEvent::Unnamed(what));
    }
    text::check(what, name)?;
    attribute(what, name).map(drop)
}

/// Checks the source of an event, which is there and is a URI reference.
#[doc(hidden)]
pub fn check_source(source: &str) -> Result<(), InvalidEvent> {
    if source.is_empty() {
        Err(InvalidEvent::Missing("source"))
    } else {
        check_uri("source", source)
    }
}

fn attribute<'a>(what: &'static str, text: &'a str) -> Result<(u8, &'a str), InvalidEvent> {
    within(
        what,
        text.len(),
        ATTRIBUTE_BYTES_MAX,
        "attributes are names, not contents",
    )?;
    // Within ATTRIBUTE_BYTES_MAX, which is u8::MAX.
    Ok((text.len() as u8, text))
}

fn add_extension(
    bytes: &mut Vec<u8>,
    kind: u8,
    name: &str,
    value: &str,
) -> Result<(), InvalidEvent> {
    attribute("extension's name", name)?;
    within(
        "extension",
        value.len(),
        EXTENSIONS_BYTES_MAX,
        "large values go into the payload",
    )?;
    extension::encode(bytes, kind, name, value);
    Ok(())
}

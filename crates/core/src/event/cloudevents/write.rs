//! Envelopes as CloudEvents.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::ser::{Error as _, Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::text::{push_escaped, push_number, push_string, standing};
use super::{APPENDED, DataForm, PARTITION_KEY, POSITION, data_form};
use crate::event::{Codec, Envelope, ExtensionValue, PayloadForm, TraceContext};
use crate::time::{Timestamp, Written};

/// An event in the CloudEvents 1.0 JSON format: what it serializes as, and displays.
///
/// A JSON payload is part of it byte by byte. It is meant for `serde_json`: other formats cannot
/// hold JSON as it is.
#[derive(Clone, Copy, Debug)]
pub struct CloudEvent<'a> {
    envelope: &'a Envelope,
    read: Option<(u64, Timestamp)>,
    is_line: bool,
}

impl Envelope {
    /// The event in the CloudEvents 1.0 JSON format.
    pub fn to_cloudevent(&self) -> CloudEvent<'_> {
        CloudEvent {
            envelope: self,
            read: None,
            is_line: false,
        }
    }
}

impl Envelope {
    /// The attribute of this name as the event has it in the CloudEvents format, in its type; what
    /// filters go by. The payload is not an attribute.
    ///
    /// ```
    /// use ensue_core::event::{Envelope, ExtensionValue};
    ///
    /// let event = Envelope::builder("orders", "paid").key("o-1").extension("shard", 7).build()?;
    /// assert_eq!(event.cloudevent_attribute("subject"), Some("o-1".into()));
    /// assert_eq!(event.cloudevent_attribute("shard"), Some(ExtensionValue::Integer(7)));
    /// assert_eq!(event.cloudevent_attribute("causationid"), None);
    /// # Ok::<(), ensue_core::InvalidEvent>(())
    /// ```
    pub fn cloudevent_attribute(&self, name: &str) -> Option<ExtensionValue<'_>> {
        let some = |text: &'static str| Some(text.into());
        let borrowed = |text| Some(ExtensionValue::Text(Cow::Borrowed(text)));
        match name {
            "specversion" => some("1.0"),
            "id" => borrowed(self.id()),
            "source" => borrowed(self.source()),
            "type" => borrowed(self.event_type()),
            "topic" => borrowed(self.topic()),
            PARTITION_KEY if self.is_keyed_by_partition() => borrowed(self.key()),
            "subject" if self.is_keyed_by_partition() || self.key().is_empty() => None,
            "subject" => borrowed(self.key()),
            "time" => match self.time_text() {
                Some(text) => borrowed(text),
                None => Some(self.time().to_string().into()),
            },
            "datacontenttype" if self.content_type().is_empty() => None,
            "datacontenttype" => borrowed(self.content_type()),
            "dataschema" => Some(self.data_schema().into()),
            "dataversion" => Some(i32::from(self.version()).into()),
            "correlationid" => borrowed(self.correlation()),
            "causationid" => borrowed(self.causation()?),
            "traceparent" => Some(self.trace()?.to_string().into()),
            other => {
                let mut extensions = self.extensions();
                extensions
                    .find(|(name, _)| *name == other)
                    .map(|(_, value)| value)
            }
        }
    }
}

/// The payload, as it is written.
enum Data<'a> {
    None,
    Json(&'a str),
    Text(&'a str),
    Binary(&'a [u8]),
}

/// The value of a member of an event.
enum Value<'a> {
    Text(&'a str),
    Time(Timestamp),
    /// The schema that Ensue gives a type and a version.
    Schema(&'a str, u16),
    Version(u16),
    Trace(TraceContext),
    /// The format's integers have 32 bits: a larger number is a string.
    Position(u64),
    Extension(ExtensionValue<'a>),
    /// JSON as it stands.
    Json(&'a str),
    Base64(&'a [u8]),
}

impl CloudEvent<'_> {
    /// With the position that the event was read from, and when it was appended there.
    #[must_use]
    pub fn read_from(mut self, position: crate::Position, appended: Timestamp) -> Self {
        self.read = Some((position.get(), appended));
        self
    }

    /// Writes the event behind what is there.
    pub fn write_to(&self, text: &mut Vec<u8>) {
        let mut separator = b'{';
        let written = self.members(|name, value| {
            text.extend_from_slice(&[separator, b'"']);
            // Of letters and digits, but for what a disk may have made of it.
            push_escaped(text, name);
            text.extend_from_slice(b"\":");
            value.write_to(text);
            separator = b',';
            Ok::<_, Infallible>(())
        });
        match written {
            Ok(()) => text.push(b'}'),
            Err(never) => match never {},
        }
    }

    /// On one line: a JSON payload of several lines becomes `data_base64`.
    #[must_use]
    pub fn on_one_line(mut self) -> Self {
        self.is_line = true;
        self
    }

    fn data(&self) -> Data<'_> {
        let payload = self.envelope.payload();
        let form = match self.envelope.payload_form() {
            PayloadForm::Binary => return Data::Binary(payload),
            PayloadForm::ByType if payload.is_empty() => return Data::None,
            // Readers take `data` without a content type for JSON.
            _ if self.envelope.content_type().is_empty() => return Data::Binary(payload),
            _ if self.envelope.stored_codec() == Some(Codec::Json) => Some(DataForm::Json),
            _ => data_form(self.envelope.content_type()),
        };
        let text = std::str::from_utf8(payload);
        match (form, text) {
            (Some(DataForm::Json), Ok(text)) => self.json(text),
            (Some(DataForm::Text), Ok(text)) => Data::Text(text),
            _ => Data::Binary(payload),
        }
    }

    /// JSON can be part of the event if it is read back as the same bytes.
    fn json<'b>(&self, text: &'b str) -> Data<'b> {
        match standing(text) {
            Some(standing) if !(self.is_line && standing.has_lines) => Data::Json(text),
            _ => Data::Binary(text.as_bytes()),
        }
    }

    /// Gives every member of the event, in the order in which they are written.
    fn members<E>(
        &self,
        mut member: impl FnMut(&str, Value<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let event = self.envelope;
        member("specversion", Value::Text("1.0"))?;
        member("id", Value::Text(event.id()))?;
        member("source", Value::Text(event.source()))?;
        member("type", Value::Text(event.event_type()))?;
        member("topic", Value::Text(event.topic()))?;
        if event.is_keyed_by_partition() {
            member(PARTITION_KEY, Value::Text(event.key()))?;
        } else if !event.key().is_empty() {
            member("subject", Value::Text(event.key()))?;
        }
        match event.time_text() {
            Some(text) => member("time", Value::Text(text))?,
            None => member("time", Value::Time(event.time()))?,
        }
        if !event.content_type().is_empty() {
            member("datacontenttype", Value::Text(event.content_type()))?;
        }
        match event.given_data_schema() {
            Some(schema) => member("dataschema", Value::Text(schema))?,
            None => {
                let schema = Value::Schema(event.event_type(), event.version());
                member("dataschema", schema)?;
            }
        }
        member("dataversion", Value::Version(event.version()))?;
        member("correlationid", Value::Text(event.correlation()))?;
        if let Some(causation) = event.causation() {
            member("causationid", Value::Text(causation))?;
        }
        if let Some(trace) = event.trace() {
            member("traceparent", Value::Trace(trace))?;
        }
        for (name, value) in event.extensions() {
            member(name, Value::Extension(value))?;
        }
        if let Some((position, appended)) = self.read {
            member(POSITION, Value::Position(position))?;
            member(APPENDED, Value::Time(appended))?;
        }
        match self.data() {
            Data::None => Ok(()),
            Data::Json(text) => member("data", Value::Json(text)),
            Data::Text(text) => member("data", Value::Text(text)),
            Data::Binary(bytes) => member("data_base64", Value::Base64(bytes)),
        }
    }
}

impl Value<'_> {
    /// Writes the value as JSON behind what is there.
    fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => push_string(out, text),
            Self::Time(time) => match Written::of(*time) {
                Some(written) => {
                    out.push(b'"');
                    out.extend_from_slice(written.as_bytes());
                    out.push(b'"');
                }
                None => push_string(out, &time.to_string()),
            },
            Self::Schema(kind, version) => {
                out.extend_from_slice(b"\"urn:ensue:");
                push_escaped(out, kind);
                out.push(b':');
                push_number(out, (*version).into());
                out.push(b'"');
            }
            Self::Version(version) => push_number(out, (*version).into()),
            Self::Trace(trace) => push_string(out, &trace.to_string()),
            Self::Position(position) => {
                out.push(b'"');
                push_number(out, *position);
                out.push(b'"');
            }
            Self::Extension(ExtensionValue::Text(text)) => push_string(out, text),
            Self::Extension(plain) => out.extend_from_slice(plain.as_text().as_bytes()),
            Self::Json(text) => out.extend_from_slice(text.as_bytes()),
            Self::Base64(bytes) => {
                out.push(b'"');
                let start = out.len();
                // Three bytes are four characters; there is room for them.
                out.resize(start + bytes.len().div_ceil(3) * 4, 0);
                let room = out.get_mut(start..).unwrap_or_default();
                let written = BASE64.encode_slice(bytes, room).unwrap_or_default();
                out.truncate(start + written);
                out.push(b'"');
            }
        }
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Time(time) => time.serialize(serializer),
            Self::Schema(kind, version) => {
                serializer.collect_str(&format_args!("urn:ensue:{kind}:{version}"))
            }
            Self::Version(version) => serializer.serialize_u16(*version),
            Self::Trace(trace) => serializer.collect_str(trace),
            Self::Position(position) => serializer.collect_str(position),
            Self::Extension(value) => value.serialize(serializer),
            Self::Json(text) => serde_json::from_str::<&RawValue>(text)
                .map_err(S::Error::custom)?
                .serialize(serializer),
            Self::Base64(bytes) => serializer.collect_str(&Base64Display::new(bytes, &BASE64)),
        }
    }
}

impl Serialize for CloudEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.members(|name, value| map.serialize_entry(name, &value))?;
        map.end()
    }
}

impl fmt::Display for CloudEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(self.envelope.content().len() * 2);
        self.write_to(&mut text);
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

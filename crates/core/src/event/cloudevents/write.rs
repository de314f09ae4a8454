//! Envelopes as CloudEvents.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::{APPENDED, DataForm, PARTITION_KEY, POSITION, data_form};
use crate::event::{Codec, Envelope, ExtensionValue, PayloadForm};
use crate::time::Timestamp;

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

/// JSON that is nested deeper than this is not read by common parsers.
const DEPTH_MAX: usize = 100;

/// Whether common parsers read a JSON text: one that they refuse would take all events of its page with
/// it. It is not nested too deep, and its escapes of surrogates come in pairs.
fn is_common(text: &str) -> bool {
    let opens = |byte: &&u8| matches!(byte, b'[' | b'{');
    let bytes = text.as_bytes();
    if !bytes.contains(&b'\\') && bytes.iter().filter(opens).count() <= DEPTH_MAX {
        // Most often, and told at a glance.
        return true;
    }
    let mut rest = bytes;
    let (mut depth, mut is_string) = (0_usize, false);
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'"' => is_string = !is_string,
            b'\\' if is_string => {
                let (length, is_whole) = escape(rest);
                if !is_whole {
                    return false;
                }
                rest = rest.get(length..).unwrap_or_default();
            }
            b'[' | b'{' if !is_string => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return false;
                }
            }
            b']' | b'}' if !is_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

/// How long an escape is, and the other half of a character after it; and whether it is a character.
fn escape(rest: &[u8]) -> (usize, bool) {
    let unit = |at: usize| {
        let escape = rest.get(at..at + 5)?;
        let digits = std::str::from_utf8(escape.strip_prefix(b"u")?).ok()?;
        u16::from_str_radix(digits, 16).ok()
    };
    match unit(0) {
        Some(0xD800..=0xDBFF) => {
            let is_pair = rest.get(5) == Some(&b'\\') && matches!(unit(6), Some(0xDC00..=0xDFFF));
            (11, is_pair)
        }
        Some(0xDC00..=0xDFFF) => (5, false),
        Some(_) => (5, true),
        None => (1, true),
    }
}

enum Data<'a> {
    None,
    Json(&'a RawValue),
    Text(&'a str),
    Binary(&'a [u8]),
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
        // Of texts and numbers, into memory: it cannot fail.
        let _ = serde_json::to_writer(text, self);
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
        let breaks_line = self.is_line && text.contains(['\n', '\r']);
        match serde_json::from_str::<&RawValue>(text) {
            Ok(raw) if raw.get().len() == text.len() && !breaks_line && is_common(text) => {
                Data::Json(raw)
            }
            _ => Data::Binary(text.as_bytes()),
        }
    }
}

impl Serialize for CloudEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.envelope;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("specversion", "1.0")?;
        map.serialize_entry("id", event.id())?;
        map.serialize_entry("source", event.source())?;
        map.serialize_entry("type", event.event_type())?;
        map.serialize_entry("topic", event.topic())?;
        if event.is_keyed_by_partition() {
            map.serialize_entry(PARTITION_KEY, event.key())?;
        } else if !event.key().is_empty() {
            map.serialize_entry("subject", event.key())?;
        }
        match event.time_text() {
            Some(text) => map.serialize_entry("time", text)?,
            None => map.serialize_entry("time", &event.time())?,
        }
        if !event.content_type().is_empty() {
            map.serialize_entry("datacontenttype", event.content_type())?;
        }
        match event.given_data_schema() {
            Some(schema) => map.serialize_entry("dataschema", schema)?,
            None => {
                let schema = format_args!("urn:ensue:{}:{}", event.event_type(), event.version());
                map.serialize_entry("dataschema", &schema)?;
            }
        }
        map.serialize_entry("dataversion", &event.version())?;
        map.serialize_entry("correlationid", event.correlation())?;
        if let Some(causation) = event.causation() {
            map.serialize_entry("causationid", causation)?;
        }
        if let Some(trace) = event.trace() {
            map.serialize_entry("traceparent", &format_args!("{trace}"))?;
        }
        for (name, value) in event.extensions() {
            map.serialize_entry(name, &value)?;
        }
        if let Some((position, appended)) = &self.read {
            // The format's integers have 32 bits: a larger number is a string.
            map.serialize_entry(POSITION, &format_args!("{position}"))?;
            map.serialize_entry(APPENDED, appended)?;
        }
        match self.data() {
            Data::None => {}
            Data::Json(raw) => map.serialize_entry("data", raw)?,
            Data::Text(text) => map.serialize_entry("data", text)?,
            Data::Binary(bytes) => map.serialize_entry("data_base64", &BASE64.encode(bytes))?,
        }
        map.end()
    }
}

impl fmt::Display for CloudEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

//! CloudEvents as envelopes.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{APPENDED, ATTRIBUTES, DataForm, PARTITION_KEY, POSITION, data_form, invalid};
use crate::event::{Envelope, EnvelopeBuilder, ExtensionValue, InvalidEvent, PayloadForm};
use crate::time::Timestamp;

impl Envelope {
    /// Reads the CloudEvents 1.0 JSON format; `topic` is used when the event does not name one.
    ///
    /// # Errors
    /// [`InvalidEvent::Attribute`] names an attribute that is missing, empty, of the wrong type or
    /// malformed; other variants say what Ensue cannot store.
    pub fn from_cloudevent(json: &[u8], topic: Option<&str>) -> Result<Self, InvalidEvent> {
        Members::parse(json)?.event(topic)
    }

    /// Reads the binary mode of CloudEvents 1.0: the attributes beside the payload, as the headers
    /// of HTTP and of brokers have them, each with its name (without `ce-`) and decoded. All are
    /// text, also those that the JSON format gives as numbers and booleans. `topic` is used when
    /// the attributes do not name one.
    ///
    /// ```
    /// use ensue_core::event::Envelope;
    ///
    /// let attributes = [("specversion", "1.0"), ("id", "1"), ("source", "/shop"), ("type", "paid")];
    /// let attributes = attributes.map(|(name, value)| (name.into(), value.into()));
    /// let event = Envelope::from_cloudevent_parts(attributes, Some("text/plain"), b"42".to_vec(), Some("orders"))?;
    /// assert_eq!((event.event_type(), event.payload()), ("paid", &b"42"[..]));
    /// # Ok::<(), ensue_core::InvalidEvent>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Envelope::from_cloudevent`].
    pub fn from_cloudevent_parts<'a>(
        attributes: impl IntoIterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
        content_type: Option<&str>,
        data: Vec<u8>,
        topic: Option<&str>,
    ) -> Result<Self, InvalidEvent> {
        let mut members = Members::new();
        let twice = |name: Cow<'_, str>| invalid(&name, "is there twice");
        for (name, value) in attributes {
            if BESIDE.contains(&&*name) {
                return Err(invalid(
                    &name,
                    "is not an attribute of the binary mode: the payload and its content type stand \
                     beside the attributes",
                ));
            }
            members.add(name, Given::Text(value)).map_err(twice)?;
        }
        members.end().map_err(twice)?;
        let builder = members.builder(topic)?;
        builder
            .opaque_payload(content_type.unwrap_or_default(), data)
            .build()
    }
}

impl EnvelopeBuilder {
    /// Reads an event that is on its way to its publisher, in the CloudEvents 1.0 JSON format: as
    /// [`Envelope::from_cloudevent`] does, but `specversion`, `id` and `source` may be missing. They are
    /// the publisher's to fill in.
    ///
    /// # Errors
    /// As for [`Envelope::from_cloudevent`].
    pub fn from_cloudevent(json: &[u8], topic: Option<&str>) -> Result<Self, InvalidEvent> {
        let event = Members::parse(json)?;
        let mut builder = event.unsigned(topic)?;
        if let Some(id) = event.text("id")? {
            builder = builder.id(id);
        }
        if let Some(source) = event.text("source")? {
            builder = builder.source(source);
        }
        event.payload(builder)
    }
}

/// What the JSON format has among the attributes, and the binary mode beside them.
const BESIDE: [&str; 3] = ["data", "data_base64", "datacontenttype"];

/// The value of a member, as it was given.
#[derive(Clone)]
pub(super) enum Given<'a> {
    Json(&'a RawValue),
    Text(Cow<'a, str>),
}

/// What an event has: what every event may have by its place in the list of these, others by their names, ascending.
pub(super) struct Members<'a> {
    known: [Option<Given<'a>>; KNOWN],
    others: Vec<Member<'a>>,
}

type Member<'a> = (Cow<'a, str>, Given<'a>);

/// How many attributes there are, the key of other systems among them.
const KNOWN: usize = ATTRIBUTES.len() + 1;

/// The place of an attribute. For a name that is known when this is compiled, nothing is compared.
#[inline]
fn place(name: &str) -> Option<usize> {
    Some(match name {
        "specversion" => 0,
        "id" => 1,
        "source" => 2,
        "type" => 3,
        "topic" => 4,
        "subject" => 5,
        "time" => 6,
        "datacontenttype" => 7,
        "dataschema" => 8,
        "dataversion" => 9,
        "correlationid" => 10,
        "causationid" => 11,
        "traceparent" => 12,
        "data" => 13,
        POSITION => 14,
        APPENDED => 15,
        "data_base64" => 16,
        PARTITION_KEY => 17,
        _ => return None,
    })
}

impl<'a> Members<'a> {
    fn new() -> Self {
        Self {
            known: [const { None }; KNOWN],
            others: Vec::new(),
        }
    }

    /// Adds a member; or gives the name of one that is there already.
    fn add(&mut self, name: Cow<'a, str>, given: Given<'a>) -> Result<(), Cow<'a, str>> {
        match place(&name).and_then(|place| self.known.get_mut(place)) {
            Some(Some(_)) => return Err(name),
            Some(place) => *place = Some(given),
            None => self.others.push((name, given)),
        }
        Ok(())
    }

    /// All of them are there; or the name of one that is there twice.
    fn end(&mut self) -> Result<(), Cow<'a, str>> {
        // Order goes by the subject where there is one.
        if self.get("subject").is_some()
            && let Some(key) = self.known.last_mut().and_then(Option::take)
        {
            self.others.push((PARTITION_KEY.into(), key));
        }
        let others = &mut self.others;
        others.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        let pairs = others.windows(2);
        let twice = pairs.filter_map(|pair| match pair {
            [(left, _), (right, _)] if left == right => Some(left.clone()),
            _ => None,
        });
        twice.take(1).next().map_or(Ok(()), Err)
    }

    #[inline]
    fn get(&self, name: &str) -> Option<&Given<'a>> {
        self.known.get(place(name)?)?.as_ref()
    }

    /// The event that they are.
    pub(super) fn event(&self, topic: Option<&str>) -> Result<Envelope, InvalidEvent> {
        self.payload(self.builder(topic)?)?.build()
    }

    fn parse(json: &'a [u8]) -> Result<Self, InvalidEvent> {
        serde_json::from_slice(json).map_err(|error| InvalidEvent::CloudEvent {
            problem: error.to_string(),
        })
    }

    /// The event without its payload.
    fn builder(&self, topic: Option<&str>) -> Result<EnvelopeBuilder, InvalidEvent> {
        self.required("specversion")?;
        let builder = self.unsigned(topic)?;
        Ok(builder
            .id(self.required("id")?)
            .source(self.required("source")?))
    }

    /// The event without its payload and without what its publisher gives it.
    fn unsigned(&self, topic: Option<&str>) -> Result<EnvelopeBuilder, InvalidEvent> {
        let event = self;
        if event.text("specversion")?.is_some_and(|it| it != "1.0") {
            return Err(invalid("specversion", "is not `1.0`"));
        }
        let kind = event.required("type")?;
        let topic = match (event.text("topic")?, topic) {
            (Some(topic), _) => topic,
            (None, Some(topic)) => topic.into(),
            (None, None) => return Err(InvalidEvent::Missing("topic")),
        };
        let mut builder = Envelope::builder(topic, kind);
        builder = event.key(builder)?;
        builder = event.times_and_traces(builder)?;
        builder = event.schema(builder)?;
        for (name, value) in event.extensions() {
            builder = builder.extension(name, extension(name, value)?);
        }
        Ok(builder)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Collect)
    }
}

struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CloudEvent, which is a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let twice = |name: Cow<'_, str>| {
            serde::de::Error::custom(format_args!("it has the attribute `{name}` twice"))
        };
        let mut members = Members::new();
        while let Some((name, value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            members.add(name.0, Given::Json(value)).map_err(twice)?;
        }
        // CloudEvents takes `null` for absent; a payload may be `null`.
        let data = place("data");
        for (place, given) in members.known.iter_mut().enumerate() {
            if data != Some(place) && given.as_ref().is_some_and(|it| it.json() == "null") {
                *given = None;
            }
        }
        members.end().map_err(twice)?;
        members.others.retain(|(_, value)| value.json() != "null");
        Ok(members)
    }
}

/// A text that is borrowed where it can be.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl<'a> Given<'a> {
    /// The value as it stands in the event.
    fn json(&self) -> &str {
        match self {
            Self::Json(value) => value.get(),
            Self::Text(text) => text,
        }
    }

    /// The value, if it is a string.
    fn text(&self) -> Option<Cow<'a, str>> {
        match self {
            Self::Json(value) => {
                let json = value.get();
                let inner = json.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
                match inner {
                    // It is JSON: without an escape, the string is what is between the quotes.
                    Some(plain) if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
                    _ => serde_json::from_str::<Name<'a>>(json).ok().map(|it| it.0),
                }
            }
            Self::Text(text) => Some(text.clone()),
        }
    }
}

impl<'a> Members<'a> {
    /// An attribute that is a string.
    fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, InvalidEvent> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match value.text() {
            Some(text) if text.is_empty() => Err(invalid(name, "is empty")),
            Some(text) => Ok(Some(text)),
            None => Err(invalid(name, wrong_type(value.json(), "a string"))),
        }
    }

    /// An attribute that every event has.
    fn required(&self, name: &'static str) -> Result<Cow<'a, str>, InvalidEvent> {
        self.text(name)?.ok_or(InvalidEvent::Missing(name))
    }

    fn key(&self, builder: EnvelopeBuilder) -> Result<EnvelopeBuilder, InvalidEvent> {
        if let Some(subject) = self.text("subject")? {
            return Ok(builder.key(subject));
        }
        Ok(match self.text(PARTITION_KEY)? {
            Some(key) => builder.partition_key(key),
            None => builder,
        })
    }

    fn times_and_traces(
        &self,
        mut builder: EnvelopeBuilder,
    ) -> Result<EnvelopeBuilder, InvalidEvent> {
        if let Some(text) = self.text("time")? {
            let time = is_rfc_3339(&text).then(|| text.parse::<Timestamp>().ok());
            let wrong = || invalid("time", "is not a time in RFC 3339");
            let time = time.flatten().ok_or_else(wrong)?;
            builder = builder.time(time).time_text(text);
        }
        if let Some(correlation) = self.text("correlationid")?
            && self.text("id")?.as_ref() != Some(&correlation)
        {
            builder = builder.correlation(correlation);
        }
        if let Some(causation) = self.text("causationid")? {
            builder = builder.causation(causation);
        }
        if let Some(trace) = self.text("traceparent")? {
            let trace = trace
                .parse()
                .map_err(|_| invalid("traceparent", "is not a W3C traceparent"))?;
            builder = builder.trace(trace);
        }
        Ok(builder)
    }

    fn schema(&self, mut builder: EnvelopeBuilder) -> Result<EnvelopeBuilder, InvalidEvent> {
        let given = match self.get("dataversion") {
            None => None,
            Some(value) => {
                let version: Result<u16, _> = value.json().parse();
                let wrong = |_| invalid("dataversion", "is not a number up to 65535");
                Some(version.map_err(wrong)?)
            }
        };
        let schema = self.text("dataschema")?;
        let own = schema.as_deref().and_then(|schema| {
            let rest = schema.strip_prefix("urn:ensue:")?;
            let version = rest.strip_prefix(&*self.required("type").ok()?)?;
            version.strip_prefix(':')?.parse().ok()
        });
        if let Some(version) = given.or(own) {
            builder = builder.version(version);
        }
        match schema {
            Some(schema) if own.is_none() || own != given.or(own) => {
                Ok(builder.data_schema(schema))
            }
            _ => Ok(builder),
        }
    }

    fn extensions(&self) -> impl Iterator<Item = (&str, &Given<'a>)> {
        let others = self.others.iter();
        others.map(|(name, value)| (name.as_ref(), value))
    }

    fn payload(&self, builder: EnvelopeBuilder) -> Result<EnvelopeBuilder, InvalidEvent> {
        let content_type = self.text("datacontenttype")?;
        let data = self.get("data");
        let base64 = self.get("data_base64");
        let (payload, form) = match (data, base64) {
            (Some(_), Some(_)) => {
                return Err(invalid(
                    "data",
                    "is there twice: as `data` and as `data_base64`",
                ));
            }
            (Some(data), None) => {
                data_of(content_type.as_deref().unwrap_or_default(), data.json())?
            }
            (None, Some(data)) => {
                let wrong = || invalid("data_base64", "is not a string of standard base64");
                let text = data.text().ok_or_else(wrong)?;
                let bytes = BASE64.decode(text.as_bytes()).map_err(|_| wrong())?;
                (bytes, PayloadForm::Binary)
            }
            (None, None) => (Vec::new(), PayloadForm::ByType),
        };
        Ok(match content_type {
            Some(content_type) => builder.opaque_payload(content_type, payload),
            // CloudEvents: without a content type, `data` is JSON and `data_base64` anything.
            None if data.is_some() => builder.payload(crate::Codec::Json, payload),
            None => builder.opaque_payload("", payload),
        }
        .payload_form(form))
    }
}

/// The payload that `data` is.
fn data_of(content_type: &str, data: &str) -> Result<(Vec<u8>, PayloadForm), InvalidEvent> {
    match data_form(content_type) {
        Some(DataForm::Json) => Ok((data.as_bytes().to_vec(), PayloadForm::ByType)),
        Some(DataForm::Text) => match serde_json::from_str::<String>(data) {
            Ok(text) => Ok((text.into_bytes(), PayloadForm::Text)),
            Err(_) => Err(invalid(
                "data",
                format!("is not a string, though its content type `{content_type}` is not JSON"),
            )),
        },
        None => Err(invalid(
            "data",
            format!("has the content type `{content_type}`: send it as `data_base64`"),
        )),
    }
}

fn extension(name: &str, value: &Given<'_>) -> Result<ExtensionValue<'static>, InvalidEvent> {
    let text = match value {
        Given::Json(value) => value.get(),
        Given::Text(text) => return Ok(text.clone().into_owned().into()),
    };
    match text.as_bytes() {
        b"true" => Ok(true.into()),
        b"false" => Ok(false.into()),
        [b'"', ..] => serde_json::from_str::<String>(text)
            .map(Into::into)
            .map_err(|error| invalid(name, error.to_string())),
        [b'0'..=b'9' | b'-', ..] => match text.parse::<i32>() {
            // `-0` would come back as `0`.
            Ok(number) if number.to_string() == text => Ok(number.into()),
            _ => Err(invalid(
                name,
                format!("is {text}: CloudEvents has integers of 32 bits and no other numbers"),
            )),
        },
        _ => Err(invalid(
            name,
            wrong_type(text, "a string, a boolean or an integer"),
        )),
    }
}

/// Whether a text has the form of a time in RFC 3339: parsing takes others of ISO 8601 as well.
fn is_rfc_3339(text: &str) -> bool {
    const FORM: &[u8] = b"0000-00-00T00:00:00";
    let is_of = |text: &[u8], form: &[u8]| {
        text.len() == form.len()
            && text.iter().zip(form).all(|(byte, of)| match of {
                b'0' => byte.is_ascii_digit(),
                of => byte.eq_ignore_ascii_case(of),
            })
    };
    let Some((seconds, rest)) = text.as_bytes().split_at_checked(FORM.len()) else {
        return false;
    };
    let fraction = match rest {
        [b'.', rest @ ..] => match rest.iter().take_while(|b| b.is_ascii_digit()).count() {
            0 => return false,
            digits => 1 + digits,
        },
        _ => 0,
    };
    let zone = rest.get(fraction..).unwrap_or_default();
    let is_zone = [&b"Z"[..], b"+00:00", b"-00:00"];
    is_of(seconds, FORM) && is_zone.iter().any(|form| is_of(zone, form))
}

fn wrong_type(json: &str, expected: &str) -> String {
    let found = match json.as_bytes().first() {
        Some(b'"') => "a string with an invalid escape",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "a boolean",
        _ => "a number",
    };
    format!("is {found}, expected {expected}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attribute_has_its_place() {
        let all = ATTRIBUTES.iter().chain([&PARTITION_KEY]);
        for (number, name) in all.enumerate() {
            assert_eq!(place(name), Some(number), "{name}");
        }
        assert_eq!(place("shard"), None);
    }
}

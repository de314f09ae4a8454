//! CloudEvents as envelopes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{DataForm, PARTITION_KEY, data_form, invalid, is_attribute};
use crate::event::{Envelope, EnvelopeBuilder, ExtensionValue, InvalidEvent, PayloadForm};
use crate::time::Timestamp;

impl Envelope {
    /// Reads the CloudEvents 1.0 JSON format; `topic` is used when the event does not name one.
    ///
    /// # Errors
    /// [`InvalidEvent::Attribute`] names an attribute that is missing, empty, of the wrong type or
    /// malformed; other variants say what Ensue cannot store.
    pub fn from_cloudevent(json: &[u8], topic: Option<&str>) -> Result<Self, InvalidEvent> {
        let event: Members<'_> =
            serde_json::from_slice(json).map_err(|error| InvalidEvent::CloudEvent {
                problem: error.to_string(),
            })?;
        if event.required("specversion")? != "1.0" {
            return Err(invalid("specversion", "is not `1.0`"));
        }
        let kind = event.required("type")?;
        let topic = match (event.text("topic")?, topic) {
            (Some(topic), _) => topic,
            (None, Some(topic)) => topic.into(),
            (None, None) => return Err(InvalidEvent::Missing("topic")),
        };
        let mut builder = Self::builder(topic, kind)
            .id(event.required("id")?)
            .source(event.required("source")?);
        builder = event.key(builder)?;
        builder = event.times_and_traces(builder)?;
        builder = event.schema(builder)?;
        for (name, value) in event.extensions() {
            builder = builder.extension(name, extension(name, value)?);
        }
        event.payload(builder)?.build()
    }
}

/// The members of a JSON object that are not `null`: CloudEvents takes those for absent.
struct Members<'a>(BTreeMap<Cow<'a, str>, &'a RawValue>);

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
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            if members.insert(name.0.clone(), value).is_some() {
                let problem = format_args!("it has the attribute `{}` twice", name.0);
                return Err(serde::de::Error::custom(problem));
            }
        }
        // A payload may be `null`.
        members.retain(|name, value| name == "data" || value.get() != "null");
        Ok(Members(members))
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

impl<'a> Members<'a> {
    /// An attribute that is a string.
    fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, InvalidEvent> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        match serde_json::from_str::<Name<'a>>(value.get()) {
            Ok(text) if text.0.is_empty() => Err(invalid(name, "is empty")),
            Ok(text) => Ok(Some(text.0)),
            Err(_) => Err(invalid(name, wrong_type(value.get(), "a string"))),
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
        let given = match self.0.get("dataversion") {
            None => None,
            Some(value) => {
                let version: Result<u16, _> = value.get().parse();
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

    fn extensions(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        let is_key = !self.0.contains_key("subject");
        let is_other = move |name: &str| is_attribute(name) || (is_key && name == PARTITION_KEY);
        self.0
            .iter()
            .map(|(name, value)| (name.as_ref(), *value))
            .filter(move |(name, _)| !is_other(name))
    }

    fn payload(&self, builder: EnvelopeBuilder) -> Result<EnvelopeBuilder, InvalidEvent> {
        let content_type = self.text("datacontenttype")?;
        let data = self.0.get("data");
        let base64 = self.0.get("data_base64");
        let (payload, form) = match (data, base64) {
            (Some(_), Some(_)) => {
                return Err(invalid(
                    "data",
                    "is there twice: as `data` and as `data_base64`",
                ));
            }
            (Some(data), None) => data_of(content_type.as_deref().unwrap_or_default(), data)?,
            (None, Some(data)) => {
                let wrong = || invalid("data_base64", "is not a string of standard base64");
                let text: Name<'_> = serde_json::from_str(data.get()).map_err(|_| wrong())?;
                let bytes = BASE64.decode(text.0.as_bytes()).map_err(|_| wrong())?;
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
fn data_of(content_type: &str, data: &RawValue) -> Result<(Vec<u8>, PayloadForm), InvalidEvent> {
    match data_form(content_type) {
        Some(DataForm::Json) => Ok((data.get().as_bytes().to_vec(), PayloadForm::ByType)),
        Some(DataForm::Text) => match serde_json::from_str::<String>(data.get()) {
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

fn extension(name: &str, value: &RawValue) -> Result<ExtensionValue<'static>, InvalidEvent> {
    let text = value.get();
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

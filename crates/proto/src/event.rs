//! Events, what is asked of an append, and what became of it.

use ensue_core::engine::{Append, Appended, Expect, Recorded, Schedule, Scheduled};
use ensue_core::event::PayloadForm;
use ensue_core::{
    Envelope, EnvelopeBuilder, EventId, ExtensionValue, InvalidEvent, Position, Timestamp,
};

use crate::malformed::Malformed;
use crate::v1;
use crate::v1::expectation::Last;
use crate::v1::extension::Value;
use crate::v1::scheduled_event::Content;

impl From<&Envelope> for v1::Event {
    fn from(envelope: &Envelope) -> Self {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let form = match envelope.payload_form() {
            PayloadForm::ByType => v1::PayloadForm::Unspecified,
            PayloadForm::Text => v1::PayloadForm::Text,
            PayloadForm::Binary => v1::PayloadForm::Binary,
        };
        let payload = envelope.payload();
        let start = envelope.content().len() - payload.len();
        Self {
            topic: envelope.topic().to_owned(),
            key: envelope.key().to_owned(),
            r#type: envelope.event_type().to_owned(),
            id: envelope.id().to_owned(),
            source: envelope.source().to_owned(),
            time_us: Some(envelope.time().as_micros()),
            time_text: text(envelope.time_text()),
            content_type: envelope.content_type().to_owned(),
            data_schema: text(envelope.given_data_schema()),
            version: Some(envelope.version().into()),
            correlation: envelope.stored_correlation().to_owned(),
            causation: text(envelope.causation()),
            traceparent: envelope
                .trace()
                .map(|trace| trace.to_string())
                .unwrap_or_default(),
            extensions: envelope.extensions().map(extension).collect(),
            payload: envelope.content().slice(start..),
            payload_form: form.into(),
            is_partition_key: envelope.is_keyed_by_partition(),
        }
    }
}

fn extension((name, value): (&str, ExtensionValue<'_>)) -> v1::Extension {
    v1::Extension {
        name: name.to_owned(),
        value: Some(match value {
            ExtensionValue::Text(text) => Value::Text(text.into_owned()),
            ExtensionValue::Boolean(value) => Value::Boolean(value),
            ExtensionValue::Integer(value) => Value::Integer(value),
        }),
    }
}

impl TryFrom<v1::Event> for Envelope {
    type Error = InvalidEvent;

    fn try_from(event: v1::Event) -> Result<Self, InvalidEvent> {
        builder(event)?.build()
    }
}

fn builder(event: v1::Event) -> Result<EnvelopeBuilder, InvalidEvent> {
    let form = event.payload_form();
    let mut builder = Envelope::builder(event.topic, event.r#type)
        .opaque_payload(event.content_type, event.payload.into())
        .payload_form(match form {
            v1::PayloadForm::Unspecified => PayloadForm::ByType,
            v1::PayloadForm::Text => PayloadForm::Text,
            v1::PayloadForm::Binary => PayloadForm::Binary,
        });
    builder = if event.is_partition_key {
        builder.partition_key(event.key)
    } else {
        builder.key(event.key)
    };
    if !event.id.is_empty() {
        builder = builder.id(event.id);
    }
    if !event.source.is_empty() {
        builder = builder.source(event.source);
    }
    if let Some(time) = event.time_us {
        builder = builder.time(Timestamp::from_micros(time));
    }
    if !event.time_text.is_empty() {
        builder = with_time_text(builder, &event.time_text)?;
    }
    if !event.data_schema.is_empty() {
        builder = builder.data_schema(event.data_schema);
    }
    if let Some(version) = event.version {
        let version = u16::try_from(version)
            .map_err(|_| wrong("version", "is beyond 65535, the newest that there can be"))?;
        builder = builder.version(version);
    }
    if !event.correlation.is_empty() {
        builder = builder.correlation(event.correlation);
    }
    if !event.causation.is_empty() {
        builder = builder.causation(event.causation);
    }
    if !event.traceparent.is_empty() {
        let trace = event.traceparent.parse();
        let trace = trace.map_err(|_| wrong("traceparent", "is not a W3C traceparent"))?;
        builder = builder.trace(trace);
    }
    for extension in event.extensions {
        let value: ExtensionValue<'static> = match extension.value {
            Some(Value::Text(text)) => text.into(),
            Some(Value::Boolean(value)) => value.into(),
            Some(Value::Integer(value)) => value.into(),
            None => String::new().into(),
        };
        builder = builder.extension(extension.name, value);
    }
    Ok(builder)
}

/// The time as its publisher wrote it, which has to say the same.
fn with_time_text(builder: EnvelopeBuilder, text: &str) -> Result<EnvelopeBuilder, InvalidEvent> {
    let not_a_time = |_| wrong("time_text", "is not a time as RFC 3339 writes it");
    let time: Timestamp = text.parse().map_err(not_a_time)?;
    Ok(builder.time(time).time_text(text))
}

fn wrong(name: &str, problem: &str) -> InvalidEvent {
    InvalidEvent::Attribute {
        name: name.to_owned(),
        problem: problem.to_owned(),
    }
}

impl From<&EventId> for v1::EventId {
    fn from(id: &EventId) -> Self {
        Self {
            source: id.source().to_owned(),
            id: id.id().to_owned(),
        }
    }
}

impl From<v1::EventId> for EventId {
    fn from(id: v1::EventId) -> Self {
        Self::new(id.source, id.id)
    }
}

impl From<&Append> for v1::Append {
    fn from(append: &Append) -> Self {
        Self {
            event: Some((&append.envelope).into()),
            expect: append.expect.map(|expect| v1::Expectation {
                last: Some(match expect {
                    Expect::Absent => Last::Absent(true),
                    Expect::At(position) => Last::Position(position.get()),
                }),
            }),
            schedule: append.schedule.as_ref().map(|schedule| v1::Schedule {
                at_us: schedule.at.as_micros(),
                timer: schedule.timer.clone(),
            }),
        }
    }
}

impl TryFrom<v1::Append> for Append {
    type Error = Malformed;

    fn try_from(append: v1::Append) -> Result<Self, Malformed> {
        Ok(Self {
            envelope: envelope(append.event)?,
            expect: append.expect.map(expected).transpose()?,
            schedule: append.schedule.map(|schedule| Schedule {
                at: Timestamp::from_micros(schedule.at_us),
                timer: schedule.timer,
            }),
        })
    }
}

/// What is expected of a key.
///
/// # Errors
/// [`Malformed`] when it does not say what.
pub fn expected(expect: v1::Expectation) -> Result<Expect, Malformed> {
    match expect.last {
        Some(Last::Absent(true)) => Ok(Expect::Absent),
        Some(Last::Position(position)) => Ok(Expect::At(Position::new(position))),
        Some(Last::Absent(false)) | None => Err(Malformed::Field {
            name: "expect",
            problem: "says nothing: give `absent: true` or a position",
        }),
    }
}

/// An event that has to be there.
fn envelope(event: Option<v1::Event>) -> Result<Envelope, Malformed> {
    let event = event.ok_or(Malformed::missing("event"))?;
    Ok(Envelope::try_from(event)?)
}

/// The same of one that a log has: it is not refused for what no event may have any more.
pub(crate) fn stored(event: Option<v1::Event>) -> Result<Envelope, Malformed> {
    let event = event.ok_or(Malformed::missing("event"))?;
    Ok(builder(event)?.as_stored().build()?)
}

impl From<Appended> for v1::Receipt {
    fn from(appended: Appended) -> Self {
        Self {
            position: appended.position.get(),
            is_duplicate: appended.is_duplicate,
        }
    }
}

impl From<v1::Receipt> for Appended {
    fn from(receipt: v1::Receipt) -> Self {
        Self {
            position: Position::new(receipt.position),
            is_duplicate: receipt.is_duplicate,
        }
    }
}

impl From<&Recorded> for v1::RecordedEvent {
    fn from(recorded: &Recorded) -> Self {
        Self {
            event: Some((&recorded.envelope).into()),
            position: recorded.position.get(),
            appended_us: recorded.appended.as_micros(),
        }
    }
}

/// An event that was read.
///
/// # Errors
/// [`Malformed`] when it is not one.
pub fn recorded(recorded: v1::RecordedEvent) -> Result<Recorded, Malformed> {
    Ok(Recorded {
        envelope: stored(recorded.event)?,
        position: Position::new(recorded.position),
        appended: Timestamp::from_micros(recorded.appended_us),
    })
}

impl From<&Scheduled> for v1::ScheduledEvent {
    fn from(scheduled: &Scheduled) -> Self {
        Self {
            name: Some((&scheduled.name).into()),
            at_us: scheduled.at.as_micros(),
            content: Some(match &scheduled.envelope {
                Ok(envelope) => Content::Event(envelope.into()),
                Err(damage) => Content::Damage(damage.clone()),
            }),
        }
    }
}

/// An event that waits for its time.
///
/// # Errors
/// [`Malformed`] when it is not one.
pub fn scheduled(scheduled: v1::ScheduledEvent) -> Result<Scheduled, Malformed> {
    Ok(Scheduled {
        name: scheduled.name.ok_or(Malformed::missing("name"))?.into(),
        at: Timestamp::from_micros(scheduled.at_us),
        envelope: match scheduled.content {
            Some(Content::Event(event)) => Ok(stored(Some(event))?),
            Some(Content::Damage(damage)) => Err(damage),
            None => return Err(Malformed::missing("content")),
        },
    })
}

#[cfg(test)]
mod tests {
    use ensue_core::{CloudEvent, Codec, TraceContext};
    use prost::Message as _;

    use super::*;

    /// By way of the wire.
    fn sent(envelope: &Envelope) -> Envelope {
        let bytes = v1::Event::from(envelope).encode_to_vec();
        let event = v1::Event::decode(&*bytes).unwrap();
        event.try_into().unwrap()
    }

    #[test]
    fn an_event_arrives_byte_by_byte_as_it_was_sent() {
        let builder = || Envelope::builder("orders", "order.created").id("1");
        let full = builder()
            .key("größe/1 ✓")
            .source("/shop")
            .version(7)
            .time(Timestamp::from_micros(-1))
            .correlation("1")
            .causation("c-0")
            .data_schema("https://example.com/schema")
            .trace(TraceContext::root())
            .extension("tenant", "nord")
            .extension("flag", true)
            .extension("count", -5)
            .extension("empty", "")
            .opaque_payload("image/png", (0..=255).collect());
        for envelope in [
            builder().build().unwrap(),
            full.build().unwrap(),
            builder().version(0).build().unwrap(),
            builder()
                .payload(Codec::MessagePack, vec![0xc1])
                .build()
                .unwrap(),
            builder().payload(Codec::Cbor, vec![]).build().unwrap(),
            builder().opaque_payload("", vec![1]).build().unwrap(),
            builder()
                .opaque_payload("application/json; charset=utf-8", b"1.10".to_vec())
                .build()
                .unwrap(),
        ] {
            assert_eq!(sent(&envelope), envelope);
        }
    }

    #[test]
    fn what_only_cloudevents_say_arrives_as_well() {
        for json in [
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","partitionkey":"k"}"#,
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":"text"}"#,
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"AAE="}"#,
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"text/xml","data":"<a/>"}"#,
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"application/json","data":1.10}"#,
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","time":"2020-01-01T01:00:00.123456789+01:00"}"#,
        ] {
            let envelope = Envelope::from_cloudevent(json.as_bytes(), Some("orders")).unwrap();
            assert_eq!(sent(&envelope), envelope, "{json}");
            let written = |envelope: &Envelope| -> String {
                let event: CloudEvent<'_> = envelope.to_cloudevent();
                event.on_one_line().to_string()
            };
            assert_eq!(written(&sent(&envelope)), written(&envelope));
        }
    }

    #[test]
    fn what_a_log_has_is_read_and_what_is_new_is_checked() {
        let event = v1::Event {
            key: "a\0".into(),
            topic: "orders".into(),
            r#type: "t".into(),
            ..v1::Event::default()
        };
        let refused = Envelope::try_from(event.clone()).unwrap_err().to_string();
        assert!(refused.contains("U+0000"), "{refused}");
        let event = Some(event);
        let read = recorded(v1::RecordedEvent {
            event,
            ..v1::RecordedEvent::default()
        });
        assert_eq!(read.unwrap().envelope.key(), "a\0");
    }

    #[test]
    fn what_is_not_an_event_is_refused_with_its_reason() {
        let good = || v1::Event {
            topic: "orders".into(),
            r#type: "t".into(),
            ..v1::Event::default()
        };
        assert!(Envelope::try_from(good()).is_ok());
        for (event, part) in [
            (v1::Event::default(), "not a topic name"),
            (
                v1::Event {
                    version: Some(70_000),
                    ..good()
                },
                "version",
            ),
            (
                v1::Event {
                    traceparent: "x".into(),
                    ..good()
                },
                "traceparent",
            ),
            (
                v1::Event {
                    time_text: "soon".into(),
                    ..good()
                },
                "time_text",
            ),
            (
                v1::Event {
                    source: "a b".into(),
                    ..good()
                },
                "source",
            ),
            (
                v1::Event {
                    data_schema: "no uri".into(),
                    ..good()
                },
                "dataschema",
            ),
        ] {
            let error = Envelope::try_from(event).unwrap_err().to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}

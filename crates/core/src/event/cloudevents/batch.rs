//! Several CloudEvents in one text: the JSON batch format, a JSON array.

use std::fmt;

use serde::Serialize;
use serde::de::{Deserializer as _, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::CloudEvent;
use super::read::Members;
use crate::event::{Envelope, InvalidEvent};

/// Events in the CloudEvents 1.0 JSON batch format: what it serializes as, and displays.
///
/// ```
/// use ensue_core::event::{CloudEventBatch, Envelope};
/// # fn main() -> Result<(), ensue_core::event::InvalidEvent> {
/// let events = [
///     Envelope::builder("orders", "order.created").id("1").build()?,
///     Envelope::builder("orders", "order.created").id("2").build()?,
/// ];
/// let batch: CloudEventBatch = events.iter().map(Envelope::to_cloudevent).collect();
/// let read = Envelope::from_cloudevent_batch(batch.to_string().as_bytes(), None)?;
/// assert_eq!(read, events);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct CloudEventBatch<'a>(Vec<CloudEvent<'a>>);

impl CloudEvent<'_> {
    /// The content type of one event in this format.
    pub const CONTENT_TYPE: &'static str = "application/cloudevents+json";
}

impl CloudEventBatch<'_> {
    /// The content type of this format.
    pub const CONTENT_TYPE: &'static str = "application/cloudevents-batch+json";
}

impl<'a> FromIterator<CloudEvent<'a>> for CloudEventBatch<'a> {
    fn from_iter<I: IntoIterator<Item = CloudEvent<'a>>>(events: I) -> Self {
        Self(events.into_iter().collect())
    }
}

impl fmt::Display for CloudEventBatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl Envelope {
    /// Reads the batch format in one go: the events, or what is wrong with each. `None` when one of them is not
    /// even an object whose members have different names, or there are more than `events_max`: they have to be
    /// looked at one by one.
    #[doc(hidden)]
    pub fn from_plain_batch(
        json: &[u8],
        topic: Option<&str>,
        events_max: usize,
    ) -> Option<Vec<Result<Self, InvalidEvent>>> {
        // Looked at once, not text by text.
        let json = std::str::from_utf8(json).ok()?;
        let mut reader = serde_json::Deserializer::from_str(json);
        let events = reader.deserialize_seq(Plain { topic, events_max });
        reader.end().ok().and(events.ok())
    }

    /// Reads the CloudEvents 1.0 JSON batch format, a JSON array of events, which may be empty;
    /// `topic` is that of events which name none.
    ///
    /// # Errors
    /// [`InvalidEvent::CloudEvent`] when the text is not a JSON array; [`InvalidEvent::OfBatch`] says
    /// which event is invalid and why.
    pub fn from_cloudevent_batch(
        json: &[u8],
        topic: Option<&str>,
    ) -> Result<Vec<Self>, InvalidEvent> {
        let events: Vec<&RawValue> =
            serde_json::from_slice(json).map_err(|error| InvalidEvent::CloudEvent {
                problem: error.to_string(),
            })?;
        let read = |(index, event): (usize, &RawValue)| {
            let event = Self::from_cloudevent(event.get().as_bytes(), topic);
            event.map_err(|why| InvalidEvent::OfBatch {
                number: index + 1,
                why: Box::new(why),
            })
        };
        events.into_iter().enumerate().map(read).collect()
    }
}

struct Plain<'a> {
    topic: Option<&'a str>,
    events_max: usize,
}

impl<'de> Visitor<'de> for Plain<'_> {
    type Value = Vec<Result<Envelope, InvalidEvent>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut events = Vec::new();
        while let Some(members) = items.next_element::<Members<'de>>()? {
            if events.len() == self.events_max {
                return Err(A::Error::custom("there are too many"));
            }
            // At once: all members of all events would take many times the text.
            events.push(members.event(self.topic));
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Codec;

    fn event(id: &str, payload: &str) -> Envelope {
        let event = Envelope::builder("t", "e").id(id).key("k");
        let event = event.payload(Codec::Json, payload.as_bytes().to_vec());
        event.build().unwrap()
    }

    #[test]
    fn what_is_written_as_a_batch_is_read_back_byte_by_byte() {
        let payloads = [
            r#"{"n":123456789012345678901234567890,"n":1}"#,
            "[1 ,2]",
            "null",
        ];
        let events: Vec<_> = payloads.iter().map(|it| event(it, it)).collect();
        for count in 0..=events.len() {
            let events = &events[..count];
            let batch: CloudEventBatch<'_> = events.iter().map(Envelope::to_cloudevent).collect();
            let read = Envelope::from_cloudevent_batch(batch.to_string().as_bytes(), None);
            assert_eq!(read.unwrap(), events);
        }
    }

    #[test]
    fn a_batch_in_one_go_is_what_its_events_are_one_by_one() {
        let text = |id: &str| event(id, "{\"n\": 1.10}").to_cloudevent().to_string();
        let nameless = text("2").replace("\"id\":\"2\",", "");
        let texts = [text("1"), nameless, text("3")];
        let batch = format!("[{}]", texts.join(" , "));
        let read = Envelope::from_plain_batch(batch.as_bytes(), None, 3).unwrap();
        let one = |text: &String| Envelope::from_cloudevent(text.as_bytes(), None);
        let shown = |it: Result<Envelope, InvalidEvent>| format!("{it:?}");
        let read = read.into_iter().map(shown);
        assert!(read.eq(texts.iter().map(one).map(shown)));
        for other in [
            &batch[1..],
            &format!("{batch} x"),
            "[1]",
            "{}",
            "[{\"a\": 1, \"a\": 2}]",
            "",
        ] {
            let read = Envelope::from_plain_batch(other.as_bytes(), None, 3);
            assert!(read.is_none(), "{other}");
        }
        assert!(Envelope::from_plain_batch(batch.as_bytes(), None, 2).is_none());
        assert_eq!(Envelope::from_plain_batch(b"[]", None, 0).unwrap().len(), 0);
    }

    #[test]
    fn an_invalid_event_of_a_batch_is_named_with_its_reason() {
        let good = event("1", "1").to_cloudevent().to_string();
        let batch = format!("[{good}, {{\"specversion\": \"1.0\", \"type\": \"e\"}}]");
        let error = Envelope::from_cloudevent_batch(batch.as_bytes(), Some("t")).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("event 2 of the batch"), "{text}");
        assert!(text.contains("`id` is missing"), "{text}");
        for none in [good.as_str(), "", "[", "[1]", "[[]]", "{}", "[{}] x"] {
            let read = Envelope::from_cloudevent_batch(none.as_bytes(), Some("t"));
            assert!(read.is_err(), "{none}");
        }
    }
}

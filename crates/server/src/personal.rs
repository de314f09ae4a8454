//! What is personal in events, and the events without it.
//!
//! A masked event says so (`ensuemasked`). Its payload is what it was byte by byte, with `null` in the
//! places of what is personal; a payload in which those places cannot be found is left out as a whole.

mod field;
mod json;
mod settings;

use ensue::{Codec, Envelope, InvalidEvent, TopicPattern};

use self::field::Field;
pub use self::settings::Personal;
pub(crate) use self::settings::check;

/// The attribute of an event of which something was left out.
const MARK: &str = "ensuemasked";

/// What is personal, by topic.
#[derive(Debug, Default)]
pub(crate) struct Masks(Vec<Mask>);

#[derive(Debug)]
struct Mask {
    topics: TopicPattern,
    fields: Vec<Field>,
}

impl Masks {
    /// What the configuration says, which has been checked.
    pub(crate) fn new(personal: &[Personal]) -> Self {
        let mask = |entry: &Personal| Mask {
            topics: entry.topic.clone(),
            fields: entry
                .fields
                .iter()
                .filter_map(|it| it.parse().ok())
                .collect(),
        };
        Self(personal.iter().map(mask).collect())
    }

    /// Whether nothing is personal.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What these leave out and `newer` does not, of which topics.
    pub(crate) fn lost_in(&self, newer: &Self) -> Option<&TopicPattern> {
        let is_kept = |topics: &TopicPattern, field: &Field| {
            let mut masks = newer.0.iter();
            masks.any(|mask| mask.topics.covers(topics) && mask.fields.contains(field))
        };
        let mut masks = self.0.iter();
        let lost = masks.find(|mask| !mask.fields.iter().all(|field| is_kept(&mask.topics, field)));
        lost.map(|mask| &mask.topics)
    }

    /// The event without what is personal in events of this topic; `None` if it has nothing of it.
    pub(crate) fn masked(
        &self,
        topic: &str,
        event: &Envelope,
    ) -> Option<Result<Envelope, InvalidEvent>> {
        let masks = self.0.iter();
        let fields: Vec<&Field> = masks
            .filter(|mask| mask.topics.matches(topic))
            .flat_map(|mask| &mask.fields)
            .collect();
        if fields.is_empty() {
            return None;
        }
        let pointers: Vec<&[String]> = fields.iter().filter_map(|it| it.pointer()).collect();
        let payload = masked_payload(event, &pointers);
        let extensions: Vec<&str> = fields.iter().filter_map(|it| it.extension()).collect();
        let extensions: Vec<&str> = extensions
            .into_iter()
            .filter(|name| event.extension(name).is_some())
            .collect();
        if payload.is_none() && extensions.is_empty() {
            return None;
        }
        let without = |payload: Option<Vec<u8>>| {
            let mut builder = event.to_builder().as_stored();
            if let Some(payload) = payload {
                let form = event.payload_form();
                builder = builder
                    .opaque_payload(event.content_type(), payload)
                    .payload_form(form);
            }
            let names = extensions.iter();
            names.fold(builder, |builder, name| builder.without_extension(name))
        };
        let marked = |payload| without(payload).extension(MARK, true).build();
        // A `null` may be longer than what it stands for, and an event as large as it may be; or it has no
        // room for one attribute more.
        let masked = marked(payload).or_else(|_| marked(Some(Vec::new())));
        Some(masked.or_else(|_| without(Some(Vec::new())).build()))
    }
}

/// The payload without what is personal in it; `None` if nothing is.
fn masked_payload(event: &Envelope, pointers: &[&[String]]) -> Option<Vec<u8>> {
    let payload = event.payload();
    if pointers.is_empty() || payload.is_empty() {
        return None;
    }
    if event.codec().ok() != Some(Codec::Json) {
        return Some(Vec::new());
    }
    match json::masked(payload, pointers) {
        Ok(masked) => masked,
        Err(json::Unreadable) => Some(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_no_more_is_found_whatever_it_is_written_as() {
        let of = |entries: &[(&str, &[&str])]| {
            let all = entries
                .iter()
                .flat_map(|(topic, fields)| masks(topic, fields).0);
            Masks(all.collect())
        };
        let old = of(&[("orders.*", &["/email", "mail"]), ("users", &["/name"])]);
        let kept = of(&[
            ("orders.>", &["mail"]),
            ("users", &["/name", "/address"]),
            ("orders.*", &["/email"]),
        ]);
        assert_eq!(old.lost_in(&kept), None);
        assert_eq!(Masks::default().lost_in(&old), None);
        for (newer, lost) in [
            (Masks::default(), "orders.*"),
            (of(&[("orders.*", &["/email", "mail"])]), "users"),
            (
                of(&[("orders.*", &["/email"]), ("users", &["/name"])]),
                "orders.*",
            ),
            (
                of(&[("orders.eu", &["/email", "mail"]), ("users", &["/name"])]),
                "orders.*",
            ),
        ] {
            assert_eq!(old.lost_in(&newer).unwrap().as_str(), lost);
        }
    }

    fn masks(topic: &str, fields: &[&str]) -> Masks {
        Masks::new(&[Personal {
            topic: topic.parse().unwrap(),
            fields: fields.iter().map(|it| (*it).to_owned()).collect(),
        }])
    }

    fn event(content_type: &str, payload: &[u8]) -> Envelope {
        Envelope::builder("users.eu", "user.created")
            .id("1")
            .key("k")
            .extension("mail", "erika@example.org")
            .extension("plan", "free")
            .opaque_payload(content_type, payload.to_vec())
            .build()
            .unwrap()
    }

    #[test]
    fn a_masked_event_is_as_it_was_but_for_what_is_personal_and_says_so() {
        let masks = masks("users.>", &["/email", "mail"]);
        let payload = br#"{"price": 1.10, "email" : "e@x.org", "n": 36893488147419103232}"#;
        let event = event("application/vnd.shop+json", payload);
        let masked = masks.masked(event.topic(), &event).unwrap().unwrap();
        let expected = br#"{"price": 1.10, "email" : null, "n": 36893488147419103232}"#;
        assert_eq!(masked.payload(), expected);
        assert_eq!(masked.content_type(), event.content_type());
        assert_eq!(masked.extension("mail"), None);
        assert_eq!(masked.extension("plan"), Some("free"));
        assert_eq!(masked.extension(MARK), Some("true"));
        assert_eq!((masked.id(), masked.key()), (event.id(), event.key()));
        assert_eq!(masked.time(), event.time());
        assert_eq!(masked.correlation(), event.correlation());
    }

    #[test]
    fn an_event_with_nothing_personal_or_of_another_topic_is_not_touched() {
        let payload = br#"{"other": 1}"#;
        let of = |topic: &str, fields: &[&str]| {
            let event = event("application/json", payload);
            masks(topic, fields).masked(event.topic(), &event).is_none()
        };
        assert!(of("users.>", &["/email"]) && of("users.>", &["phone"]));
        assert!(of("orders", &["/other"]) && !of("users.eu", &["/other"]));
        assert!(Masks::default().is_empty());
    }

    #[test]
    fn a_payload_in_which_nothing_can_be_found_is_left_out_as_a_whole() {
        let masks = masks("users.>", &["/email"]);
        for (content_type, payload) in [
            ("text/plain", &br#"{"email": "e@x.org"}"#[..]),
            ("application/cbor", b"\xa1\x65email\x01"),
            ("application/octet-stream", b"e@x.org"),
            ("application/json", br#"{"email": "e@x.org""#),
            ("application/json", b"{\"email\": \"\xff\"}"),
            ("application/json; charset=utf-16", b"{\0}\0"),
        ] {
            let event = event(content_type, payload);
            let masked = masks.masked(event.topic(), &event).unwrap().unwrap();
            assert_eq!(masked.payload(), b"", "{content_type}");
            assert_eq!(masked.extension(MARK), Some("true"));
            let text = masked.to_cloudevent().to_string();
            assert!(!text.contains("e@x.org"), "{text}");
        }
        let most = ensue::PAYLOAD_BYTES_MAX;
        let large = format!("[{}1]", "1,".repeat(most / 2 - 2));
        let large = event("application/json", large.as_bytes());
        let of_each = self::masks("users.>", &["/*"]);
        let masked = of_each.masked(large.topic(), &large).unwrap().unwrap();
        assert_eq!(masked.payload(), b"", "a `null` for each is too long");
        assert_eq!(masked.extension(MARK), Some("true"));
        let empty = event("text/plain", b"");
        assert!(masks.masked(empty.topic(), &empty).is_none());
    }
}

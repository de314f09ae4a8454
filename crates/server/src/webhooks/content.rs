//! An event as the body and the headers of a request, in the modes of CloudEvents over HTTP.

use std::fmt::Write as _;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use ensue::{CloudEvent, Envelope, TraceContext};
use uuid::Uuid;

use super::settings::ContentMode;
use crate::trace;

/// The attributes that every event may have, as they are called in headers.
const ATTRIBUTES: [&str; 12] = [
    "specversion",
    "id",
    "source",
    "type",
    "topic",
    "subject",
    "partitionkey",
    "time",
    "dataschema",
    "dataversion",
    "correlationid",
    "causationid",
];
/// The longest event id that stands for itself in `webhook-id`, in bytes.
const ID_BYTES_MAX: usize = 255;
/// What other ids are made from, in the manner of UUIDs of version 5.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f0d_1c5e_58b5_5c55_9a0f_0f4c_6be2_7d1a);

/// The id of an event's deliveries, the same for every attempt: that of the event, if it can be a
/// header; else one made from its source and id.
pub(super) fn webhook_id(event: &Envelope) -> String {
    let id = event.id();
    if id.len() <= ID_BYTES_MAX && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return id.to_owned();
    }
    let name = format!("{}\n{id}", event.source());
    Uuid::new_v5(&NAMESPACE, name.as_bytes()).to_string()
}

/// An event, written; `trace` is that of the request.
pub(super) fn written(
    event: &Envelope,
    trace: Option<TraceContext>,
    mode: ContentMode,
) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    if let Some(parent) = trace {
        let name = HeaderName::from_static(trace::PARENT);
        insert(&mut headers, name, &parent.to_string());
    }
    if let Some(state) = event.trace_state() {
        insert(&mut headers, HeaderName::from_static(trace::STATE), state);
    }
    match mode {
        ContentMode::Structured => {
            let content_type = HeaderValue::from_static(CloudEvent::CONTENT_TYPE);
            headers.insert(header::CONTENT_TYPE, content_type);
            (headers, event.to_cloudevent().to_string().into())
        }
        ContentMode::Binary => {
            if !event.content_type().is_empty() {
                insert(&mut headers, header::CONTENT_TYPE, event.content_type());
            }
            for name in ATTRIBUTES.into_iter().chain([trace::PARENT]) {
                if let Some(value) = event.cloudevent_attribute(name) {
                    add_attribute(&mut headers, name, &value.as_text());
                }
            }
            for (name, value) in event.extensions() {
                add_attribute(&mut headers, name, &value.as_text());
            }
            (headers, Bytes::copy_from_slice(event.payload()))
        }
    }
}

fn add_attribute(headers: &mut HeaderMap, name: &str, value: &str) {
    if let Ok(name) = format!("ce-{name}").parse() {
        insert(headers, name, &encoded(value));
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // What the event's limits let in can be a header's value, now that it is encoded.
    if let Ok(value) = value.parse() {
        headers.insert(name, value);
    }
}

/// A value of an attribute in a header: percent-encoded but for printable ASCII characters that are
/// neither blanks, quotes nor percent signs (CloudEvents HTTP binding, 3.1.3.2).
fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'!'..=b'~' if byte != b'"' && byte != b'%' => text.push(byte.into()),
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Envelope {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        Envelope::builder("orders", "order.paid")
            .id("o 1/ü")
            .source("/shop")
            .time(ensue::Timestamp::EPOCH)
            .key("100% \"grün\"")
            .trace(trace.parse::<TraceContext>().unwrap())
            .extension("shard", 7)
            .extension("tracestate", "a=1")
            .opaque_payload("application/json", br#"{"price": 1.10}"#.to_vec())
            .build()
            .unwrap()
    }

    #[test]
    fn the_structured_mode_has_everything_in_the_body() {
        let (headers, body) = written(&event(), event().trace(), ContentMode::Structured);
        assert_eq!(headers["content-type"], "application/cloudevents+json");
        assert!(
            headers[trace::PARENT]
                .to_str()
                .unwrap()
                .starts_with("00-4bf9")
        );
        let read = Envelope::from_cloudevent(&body, None).unwrap();
        assert_eq!(read.content(), event().content());
        assert!(body.windows(5).any(|it| it == b" 1.10"));
    }

    #[test]
    fn the_binary_mode_has_attributes_in_headers_and_the_payload_as_it_is() {
        let (headers, body) = written(&event(), event().trace(), ContentMode::Binary);
        assert_eq!(&body[..], br#"{"price": 1.10}"#);
        for (name, value) in [
            ("content-type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-id", "o%201/%C3%BC"),
            ("ce-subject", "100%25%20%22gr%C3%BCn%22"),
            ("ce-topic", "orders"),
            ("ce-shard", "7"),
            ("ce-tracestate", "a=1"),
            (trace::STATE, "a=1"),
            (
                trace::PARENT,
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            ),
        ] {
            assert_eq!(headers[name], value, "{name}");
        }
    }

    #[test]
    fn the_id_of_deliveries_is_that_of_the_event_unless_no_header_can_have_it() {
        let of = |source: &str, id: &str| {
            let event = Envelope::builder("t", "e").source(source).id(id).build();
            webhook_id(&event.unwrap())
        };
        assert_eq!(of("/a", "o-1"), "o-1");
        assert_eq!(of("/a", "o 1").len(), 36);
        assert_eq!(of("/a", "o 1"), of("/a", "o 1"));
        assert_ne!(of("/a", "o 1"), of("/b", "o 1"));
    }
}

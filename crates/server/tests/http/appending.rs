//! One event: in every mode, byte by byte, once.

use hyper::Method;
use serde_json::json;

use crate::site::{Site, event};

#[tokio::test]
async fn a_structured_event_is_in_the_log_where_its_receipt_says_and_once() {
    let site = Site::start().await;
    let mut client = site.client().await;
    let text = event(
        "1",
        r#","subject":"o-1","topic":"orders","data":{"cents":4200}"#,
    );
    let receipt = client.event("/v1/events", text.clone()).await.ok();
    let events = site.events().await;
    assert_eq!(events.len(), 1);
    let position = events[0].position.to_string();
    assert_eq!(receipt, json!({"position": position, "duplicate": false}));
    assert_eq!(events[0].envelope.topic(), "orders");
    assert_eq!(events[0].envelope.key(), "o-1");
    let again = client.event("/v1/events", text).await.ok();
    assert_eq!(again, json!({"position": position, "duplicate": true}));
    assert_eq!(site.events().await.len(), 1);
    site.end().await;
}

#[tokio::test]
async fn payloads_pass_through_byte_by_byte_in_the_structured_mode() {
    let site = Site::start().await;
    let mut client = site.client().await;
    let payloads = [
        r#"{"big":123456789012345678901234567890,"price":1.10,"e":1E+2}"#,
        r#"{"z":1,"a":2,"z":3}"#,
        r#"[ 1 ,2]"#,
        r#""text with \u00fc and \/""#,
        "null",
        "-0",
    ];
    for (index, payload) in payloads.iter().enumerate() {
        let text = event(&index.to_string(), &format!(r#","data":{payload}"#));
        client.event("/v1/events?topic=t", text).await.ok();
    }
    let text = event(
        "base64",
        r#","datacontenttype":"image/png","data_base64":"AP+A""#,
    );
    client.event("/v1/events?topic=t", text).await.ok();
    let events = site.events().await;
    for (event, payload) in events.iter().zip(payloads) {
        assert_eq!(event.envelope.payload(), payload.as_bytes());
    }
    assert_eq!(events[payloads.len()].envelope.payload(), b"\x00\xff\x80");
    site.end().await;
}

#[tokio::test]
async fn payloads_pass_through_byte_by_byte_in_the_binary_mode() {
    let site = Site::start().await;
    let mut client = site.client().await;
    let payloads: [(&str, &[u8]); 5] = [
        (
            "application/json",
            br#"{"n":1.10,"n":123456789012345678901234567890}"#,
        ),
        ("application/json", b"not JSON at all"),
        ("text/plain", "grün\r\n".as_bytes()),
        ("image/png", b"\x89PNG\r\n\x1a\n\x00\xff"),
        ("application/xml; charset=latin1", b"<gr\xfcn/>"),
    ];
    for (index, (content_type, payload)) in payloads.iter().enumerate() {
        let id = index.to_string();
        let headers = [
            ("content-type", *content_type),
            ("ce-specversion", "1.0"),
            ("ce-id", &id),
            ("ce-source", "/shop"),
            ("ce-type", "order.created"),
            ("ce-subject", "Euro%20%E2%82%AC"),
            ("ce-topic", "orders"),
            ("ce-tenant", "a"),
        ];
        let answer = client
            .send(Method::POST, "/v1/events", &headers, payload.to_vec())
            .await;
        answer.ok();
    }
    for (event, (content_type, payload)) in site.events().await.iter().zip(payloads) {
        let event = &event.envelope;
        assert_eq!(event.payload(), payload);
        assert_eq!(event.content_type(), content_type);
        assert_eq!((event.topic(), event.key()), ("orders", "Euro €"));
        assert_eq!(event.extension("tenant"), Some("a"));
        // And out again, as what it is.
        let text = event.to_cloudevent().to_string();
        let back = ensue::Envelope::from_cloudevent(text.as_bytes(), None).unwrap();
        assert_eq!(back.payload(), payload);
    }
    site.end().await;
}

#[tokio::test]
async fn what_is_not_an_event_is_refused_and_nothing_is_appended() {
    let site = Site::start().await;
    let mut client = site.client().await;
    for (text, part) in [
        ("{", "not a CloudEvent"),
        ("[]", "JSON object"),
        (r#"{"specversion":"1.0"}"#, "`type` is missing"),
        (&event("1", r#","topic":"_reply.x""#), "reserved"),
        (&event("1", r#","topic":"a b""#), "a b"),
        (&event("1", r#","topic":"t","time":"now""#), "`time`"),
    ] {
        let problem = client.event("/v1/events", text.to_owned()).await;
        let problem = problem.problem(400, "invalid_event");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{text}: {detail}");
        assert_eq!(problem["in_doubt"], false);
    }
    let no_topic = client.event("/v1/events", event("1", "")).await;
    let no_topic = no_topic.problem(400, "invalid_event");
    assert!(
        no_topic["detail"].as_str().unwrap().contains("topic"),
        "{no_topic}"
    );
    let invalid = client
        .event("/v1/events?topic=t", b"\xff\xfe".to_vec())
        .await;
    invalid.problem(400, "invalid_event");
    let headers = [("content-type", "application/json")];
    let plain = client
        .send(Method::POST, "/v1/events?topic=t", &headers, "{}")
        .await;
    plain.problem(415, "unsupported_media_type");
    let unknown = client.event("/v1/events?topics=t", event("1", "")).await;
    unknown.problem(400, "unknown_parameter");
    assert!(site.events().await.is_empty());
    site.end().await;
}

#[tokio::test]
async fn a_conditional_append_goes_by_the_last_event_of_the_key() {
    let site = Site::start().await;
    let mut client = site.client().await;
    let of = |id: &str| event(id, r#","topic":"t","subject":"k""#);
    let first = client.event("/v1/events?expect=absent", of("1")).await.ok();
    let position = first["position"].as_str().unwrap().to_owned();
    let conflict = client.event("/v1/events?expect=absent", of("2")).await;
    let conflict = conflict.problem(409, "conflict");
    assert_eq!(conflict["found"], position);
    assert_eq!(conflict["expected"], json!(null));
    let at = format!("/v1/events?expect={position}");
    client.event(&at, of("3")).await.ok();
    client.event(&at, of("4")).await.problem(409, "conflict");
    // The same again is a duplicate, not a conflict: its answer may have been lost.
    let again = client.event(&at, of("3")).await.ok();
    assert_eq!(again["duplicate"], true);
    client
        .event("/v1/events?expect=x", of("5"))
        .await
        .problem(400, "invalid_parameter");
    assert_eq!(site.events().await.len(), 2);
    site.end().await;
}

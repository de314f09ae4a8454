use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::event::{Envelope, EnvelopeBuilder, InvalidEvent};
use crate::time::Timestamp;

fn read(event: &Value) -> Result<Envelope, InvalidEvent> {
    Envelope::from_cloudevent(event.to_string().as_bytes(), Some("topic"))
}

fn written(envelope: &Envelope) -> Value {
    serde_json::from_str(&envelope.to_cloudevent().to_string()).unwrap()
}

/// The smallest event, with `more` in it.
fn event(more: Value) -> Value {
    let mut event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "e"});
    if let (Value::Object(event), Value::Object(more)) = (&mut event, more) {
        event.extend(more);
    }
    event
}

#[test]
fn json_round_trips_with_every_attribute() {
    let event = Envelope::builder("orders", "order.created")
        .key("o-1")
        .id("id-1")
        .version(2)
        .correlation("id-0")
        .causation("id-0")
        .trace(crate::TraceContext::root())
        .extension("sampled", false)
        .extension("shard", i32::MIN)
        .extension("tenant", "acme")
        .data_schema("https://schemas.example/2")
        .payload(Codec::Json, br#"{"cents":1}"#.to_vec())
        .build()
        .unwrap();
    let json = event.to_cloudevent().to_string();
    let read = Envelope::from_cloudevent(json.as_bytes(), None).unwrap();
    assert_eq!(read, event);
    let value = written(&event);
    assert_eq!(value["data"]["cents"], 1);
    assert_eq!(value["subject"], "o-1");
    assert_eq!(value["sampled"], false);
    assert_eq!(value["shard"], i32::MIN);
}

/// What serde writes of an event.
fn serialized(event: &CloudEvent<'_>) -> String {
    serde_json::to_string(event).unwrap()
}

#[test]
fn payloads_pass_through_byte_by_byte() {
    for payload in [
        r#"{"n":123456789012345678901234567890,"a":1,"a":2}"#,
        r#"{"b":1.10,"a":1e400,"c":-0}"#,
        r#"{ "z" : [ 1 ,2 ] , "a":"\u0041\/" }"#,
        "{\n  \"a\": 1\r\n}",
        " 1 ",
        "null",
        r#""\ud800""#,
        "{not json",
    ] {
        let event = Envelope::builder("t", "e")
            .id("1")
            .payload(Codec::Json, payload.as_bytes().to_vec())
            .build()
            .unwrap();
        for shown in [event.to_cloudevent(), event.to_cloudevent().on_one_line()] {
            let json = shown.to_string();
            let read = Envelope::from_cloudevent(json.as_bytes(), None).unwrap();
            assert_eq!(read.payload(), payload.as_bytes(), "{json}");
            assert_eq!(read.content_type(), "application/json");
        }
        let line = event.to_cloudevent().on_one_line().to_string();
        assert!(!line.contains('\n'), "{line}");
    }
}

#[test]
fn a_payload_is_what_its_content_type_says() {
    let json = |content_type: &str| {
        read(&event(
            json!({"datacontenttype": content_type, "data": {"a": 1}}),
        ))
    };
    for content_type in [
        "application/json",
        "application/json; charset=utf-8",
        "application/vnd.acme+json",
        "text/json",
    ] {
        let read = json(content_type).unwrap();
        assert_eq!(read.codec().unwrap(), Codec::Json);
        assert_eq!(read.content_type(), content_type);
        assert_eq!(read.payload(), br#"{"a":1}"#);
    }
    let error = json("text/plain").unwrap_err().to_string();
    assert!(error.contains("`data` is not a string"), "{error}");

    let text = event(json!({"datacontenttype": "text/plain", "data": "\"hello\" ä"}));
    let read_text = read(&text).unwrap();
    assert_eq!(read_text.payload(), "\"hello\" ä".as_bytes());
    let latin = event(json!({"datacontenttype": "text/plain;charset=latin1", "data": "ä"}));
    let error = read(&latin).unwrap_err().to_string();
    assert!(error.contains("data_base64"), "{error}");

    let binary = read(&event(json!({"data_base64": "eyJhIjoxfQ=="}))).unwrap();
    assert_eq!(binary.payload(), br#"{"a":1}"#);
    assert_eq!(binary.content_type(), "");
    assert!(binary.codec().is_err(), "nothing says that it is JSON");
    let typed = event(json!({"data_base64": "MQ==", "datacontenttype": "application/json"}));
    assert_eq!(read(&typed).unwrap().codec().unwrap(), Codec::Json);
    assert_eq!(
        read(&event(json!({"data": null}))).unwrap().payload(),
        b"null"
    );
    assert_eq!(read(&event(json!({}))).unwrap().payload(), b"");
}

#[test]
fn the_key_is_the_subject_or_else_the_partition_key() {
    let key = |more| {
        let read = read(&event(more)).unwrap();
        (
            read.key().to_owned(),
            read.extension(PARTITION_KEY).is_some(),
        )
    };
    assert_eq!(key(json!({"subject": "a"})), ("a".into(), false));
    assert_eq!(key(json!({"partitionkey": "b"})), ("b".into(), false));
    let both = json!({"subject": "a", "partitionkey": "b"});
    assert_eq!(key(both), ("a".into(), true));
    assert_eq!(key(json!({"subject": null})), (String::new(), false));
}

#[test]
fn what_is_not_a_cloudevent_is_refused_by_the_name_of_the_attribute() {
    for (more, part) in [
        (json!({"specversion": null}), "`specversion` is missing"),
        (json!({"specversion": "0.3"}), "`specversion` is not `1.0`"),
        (json!({"specversion": 1.0}), "`specversion` is a number"),
        (json!({"id": null}), "`id` is missing"),
        (json!({"id": ""}), "`id` is empty"),
        (json!({"id": 7}), "`id` is a number, expected a string"),
        (json!({"source": null}), "`source` is missing"),
        (json!({"source": "a b"}), "`source` is not a URI"),
        (json!({"type": ["e"]}), "`type` is an array"),
        (json!({"subject": 7}), "`subject` is a number"),
        (json!({"subject": ""}), "`subject` is empty"),
        (json!({"time": "yesterday"}), "`time` is not a time"),
        (
            json!({"dataschema": "no-uri"}),
            "`dataschema` is not an absolute URI",
        ),
        (json!({"dataversion": "2"}), "`dataversion`"),
        (json!({"traceparent": "00-1"}), "`traceparent`"),
        (
            json!({"data": 1, "data_base64": "AA=="}),
            "`data` is there twice",
        ),
        (json!({"data_base64": "?"}), "`data_base64`"),
        (json!({"data_base64": 7}), "`data_base64`"),
        (json!({"shard": 1.5}), "`shard` is 1.5"),
        (json!({"shard": 4_294_967_296_u64}), "`shard` is 4294967296"),
        (json!({"tenant": {"a": 1}}), "`tenant` is an object"),
        (json!({"Tenant": "a"}), "`Tenant` cannot name an extension"),
    ] {
        let error = read(&event(more.clone())).unwrap_err().to_string();
        assert!(error.contains(part), "{more}: {error}");
    }
    for (text, part) in [
        ("[]", "JSON object"),
        (r#"{"id":"1","id":"2"}"#, "`id` twice"),
        ("{", "EOF"),
    ] {
        let error = Envelope::from_cloudevent(text.as_bytes(), None).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    let error = Envelope::from_cloudevent(event(json!({})).to_string().as_bytes(), None);
    assert!(matches!(error, Err(InvalidEvent::Missing("topic"))));
}

fn parts(more: &[(&'static str, &'static str)]) -> Result<Envelope, InvalidEvent> {
    let own = [
        ("specversion", "1.0"),
        ("id", "1"),
        ("source", "/s"),
        ("type", "e"),
    ];
    let all = own.iter().chain(more);
    let all = all.map(|(name, value)| ((*name).into(), (*value).into()));
    let all: Vec<_> = all.collect();
    Envelope::from_cloudevent_parts(all, Some("application/json"), b"1.10".to_vec(), Some("t"))
}

#[test]
fn an_event_in_binary_mode_is_the_one_of_the_json_format() {
    let time = "2026-01-02T03:04:05.123456789+02:00";
    let both = parts(&[
        ("subject", "k"),
        ("time", time),
        ("dataversion", "7"),
        ("shard", "3"),
    ]);
    let both = both.unwrap();
    let json = format!(
        r#"{{"specversion":"1.0","id":"1","source":"/s","type":"e","subject":"k","time":"{time}",
        "dataversion":7,"shard":"3","datacontenttype":"application/json","data":1.10}}"#
    );
    let read = Envelope::from_cloudevent(json.as_bytes(), Some("t")).unwrap();
    assert_eq!(read, both);
    assert_eq!(parts(&[("topic", "a.b")]).unwrap().topic(), "a.b");
    assert_eq!(parts(&[("partitionkey", "p")]).unwrap().key(), "p");
}

#[test]
fn what_is_not_an_event_in_binary_mode_is_refused_by_the_name_of_the_attribute() {
    for (name, value, part) in [
        ("id", "2", "`id` is there twice"),
        ("subject", "", "`subject` is empty"),
        ("data", "1", "`data` is not an attribute"),
        ("data_base64", "AA==", "`data_base64` is not an attribute"),
        (
            "datacontenttype",
            "text/plain",
            "`datacontenttype` is not an attribute",
        ),
        ("time", "now", "`time` is not a time"),
        ("dataversion", "x", "`dataversion`"),
        ("Tenant", "a", "`Tenant` cannot name an extension"),
    ] {
        let error = parts(&[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(part), "{name}: {error}");
    }
    let none = Envelope::from_cloudevent_parts([], None, Vec::new(), Some("t"));
    assert!(matches!(none, Err(InvalidEvent::Missing("specversion"))));
}

#[test]
fn where_an_event_was_is_said_and_not_kept() {
    let first = read(&event(json!({}))).unwrap();
    let shown = first
        .to_cloudevent()
        .read_from(crate::Position::new(u64::MAX), Timestamp::EPOCH)
        .to_string();
    let value: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(value[POSITION], u64::MAX.to_string());
    assert_eq!(value[APPENDED], "1970-01-01T00:00:00Z");
    let again = Envelope::from_cloudevent(shown.as_bytes(), None).unwrap();
    assert_eq!(again, first);
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9/._-]{1,20}", "\\PC{1,20}"]
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn data() -> impl Strategy<Value = Map<String, Value>> {
    let of = |content_type: Option<&'static str>, name: &'static str, value: Value| {
        let mut map = Map::new();
        map.insert(name.into(), value);
        map.extend(content_type.map(|it| ("datacontenttype".into(), it.into())));
        map
    };
    let bytes = prop::collection::vec(any::<u8>(), 0..40);
    let json_type = prop::sample::select(vec![
        "application/json",
        "application/vnd.acme+json; charset=UTF-8",
    ]);
    let text_type = prop::sample::select(vec!["text/plain", "application/xml; a=b", "x"]);
    let any_type = prop::sample::select(vec![
        None,
        Some("application/json"),
        Some("application/cbor"),
        Some("image/png"),
        Some("text/plain; charset=latin1"),
    ]);
    prop_oneof![
        Just(Map::new()),
        (json_type, json_value()).prop_map(move |(it, value)| of(Some(it), "data", value)),
        (text_type, any::<String>()).prop_map(move |(it, text)| of(Some(it), "data", text.into())),
        (any_type, bytes).prop_map(move |(it, bytes)| {
            use base64::Engine as _;
            let text = base64::engine::general_purpose::STANDARD.encode(bytes);
            of(it, "data_base64", text.into())
        }),
    ]
}

fn attributes() -> impl Strategy<Value = Map<String, Value>> {
    let value = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        Just(Value::Null),
    ];
    let own = prop::collection::btree_map("[a-z0-9]{1,10}x", value, 0..5);
    let known = prop::sample::subsequence(
        vec![
            ("subject", json!("s")),
            ("partitionkey", json!("p ü")),
            ("time", json!("2026-01-02T03:04:05.123456789+02:00")),
            ("dataschema", json!("https://schemas.example/order?v=1#a")),
            ("dataversion", json!(7)),
            ("correlationid", json!("c")),
            ("causationid", json!("d")),
            ("topic", json!("a.b")),
            (
                "traceparent",
                json!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ),
        ],
        0..=9,
    );
    (own, known).prop_map(|(own, known)| {
        let known = known.into_iter().map(|(name, value)| (name.into(), value));
        own.into_iter().chain(known).collect()
    })
}

#[test]
fn what_is_no_cloudevent_is_not_built() {
    let builder = || Envelope::builder("t", "e");
    let written = Timestamp::from_micros(253_402_207_200_000_000);
    for (what, builder, part) in [
        ("source", builder().source(""), "`source`"),
        ("source", builder().source("my app"), "percent-encoded"),
        ("source", builder().source("a<b"), "percent-encoded"),
        ("source", builder().source("a\nb"), "percent-encoded"),
        ("dataschema", builder().data_schema(""), "`dataschema`"),
        ("dataschema", builder().data_schema("order"), "absolute"),
        ("dataschema", builder().data_schema("a b:c"), "absolute"),
        ("time", builder().time(Timestamp::MAX), "`time`"),
        (
            "time",
            builder().time(Timestamp::from_micros(i64::MIN)),
            "`time`",
        ),
        (
            "time",
            builder().time(written.plus(Duration::from_micros(1))),
            "`time`",
        ),
        // The year before the year 0.
        (
            "time",
            builder().time(Timestamp::from_micros(-62_167_219_200_000_001)),
            "`time`",
        ),
    ] {
        let error = builder.build().expect_err(what).to_string();
        assert!(error.contains(part), "{what}: {error}");
    }
    for builder in [
        builder().source("https://schmidt.example/größe?a=b#c"),
        builder().data_schema("urn:x"),
        builder().time(written),
        builder().time(Timestamp::from_micros(-62_167_219_200_000_000)),
    ] {
        let built = builder.build().unwrap();
        let text = built.to_cloudevent().to_string();
        let back = Envelope::from_cloudevent(text.as_bytes(), None).expect(&text);
        assert_eq!(back.content(), built.content());
    }
}

#[test]
fn a_time_is_one_of_rfc_3339() {
    for (time, is_one) in [
        ("2026-01-02T03:04:05Z", true),
        ("2026-01-02t03:04:05.123456789z", true),
        ("2026-01-02T03:04:05-00:30", true),
        ("2026-01-02T03:04:05+01:00[Europe/Berlin]", false),
        ("2026-01-02T03:04Z", false),
        ("20260102T030405Z", false),
        ("2026-01-02T03:04:05,5Z", false),
        ("2026-01-02T03:04:05.Z", false),
        ("2026-01-02T03:04:05+01", false),
        ("2026-01-02T03:04:05", false),
        ("+002026-01-02T03:04:05Z", false),
    ] {
        let text = event(json!({ "time": time })).to_string();
        let read = Envelope::from_cloudevent(text.as_bytes(), Some("t"));
        assert_eq!(read.is_ok(), is_one, "{time}: {read:?}");
    }
}

proptest! {
    /// What Ensue adds are attributes that the event did not have.
    #[test]
    fn a_valid_cloudevent_comes_out_as_it_went_in(
        id in text(),
        kind in text(),
        attributes in attributes(),
        data in data(),
    ) {
        let mut event = event(json!({"id": id, "type": kind}));
        event.as_object_mut().unwrap().extend(attributes);
        event.as_object_mut().unwrap().extend(data);
        let text = event.to_string();
        let stored = Envelope::from_cloudevent(text.as_bytes(), Some("topic")).unwrap();
        let out = stored.to_cloudevent().to_string();
        let read = stored.to_cloudevent().read_from(crate::Position::new(7), Timestamp::EPOCH);
        for event in [stored.to_cloudevent(), read, read.on_one_line()] {
            prop_assert_eq!(event.to_string(), serialized(&event));
        }
        let value: Value = serde_json::from_str(&out).unwrap();
        for (name, given) in event.as_object().unwrap() {
            let is_absent = given.is_null() && name != "data";
            prop_assert_eq!(value.get(name), (!is_absent).then_some(given), "{}", name);
        }
        for name in value.as_object().unwrap().keys() {
            let is_added = ["topic", "time", "dataschema", "dataversion", "correlationid", "datacontenttype"]
                .contains(&name.as_str());
            prop_assert!(is_added || event.get(name).is_some(), "{}", name);
        }
        for (name, written) in value.as_object().unwrap() {
            let found = stored.cloudevent_attribute(name);
            let found = found.map(|found| serde_json::to_value(found).unwrap());
            let is_payload = name.starts_with("data") && !name.starts_with("datav")
                && !["datacontenttype", "dataschema"].contains(&name.as_str());
            prop_assert_eq!(found, (!is_payload).then(|| written.clone()), "{}", name);
        }
        let again = Envelope::from_cloudevent(out.as_bytes(), None).unwrap();
        prop_assert_eq!(again.payload(), stored.payload());
        prop_assert_eq!(written(&again), value);
    }
}

#[test]
fn an_event_on_its_way_to_its_publisher_needs_neither_version_nor_id_nor_source() {
    let json = br#"{"type":"paid","topic":"orders","subject":"o-1","data":{"price": 1.10}}"#;
    let builder = EnvelopeBuilder::from_cloudevent(json, None).unwrap();
    assert!(!builder.has_id());
    let event = builder.source("/services/billing").build().unwrap();
    assert_eq!((event.topic(), event.key()), ("orders", "o-1"));
    assert_eq!(event.payload(), br#"{"price": 1.10}"#);
    let named = br#"{"specversion":"1.0","id":"7","source":"/s","type":"paid"}"#;
    let named = EnvelopeBuilder::from_cloudevent(named, Some("orders")).unwrap();
    let named = named.build().unwrap();
    assert_eq!((named.id(), named.source()), ("7", "/s"));
    for wrong in [
        &br#"{"topic":"orders"}"#[..],
        br#"{"type":"paid"}"#,
        br#"{"specversion":"0.3","type":"paid","topic":"orders"}"#,
        br#"{"id":"","type":"paid","topic":"orders"}"#,
        br#"[]"#,
    ] {
        assert!(EnvelopeBuilder::from_cloudevent(wrong, None).is_err());
    }
}

#[test]
fn json_that_common_parsers_refuse_is_given_in_base64() {
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let written = |payload: &str| {
        let event = Envelope::builder("t", "thing.happened").id("1");
        let event = event.payload(crate::event::Codec::Json, payload.as_bytes().to_vec());
        let event = event.build().unwrap();
        let text = event.to_cloudevent().to_string();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    for payload in [
        deep(100).as_str(),
        r#"{"a":"[[[[","b":"\u0041\ud83d\ude00 \"\\"}"#,
        r#"["\\ud800"]"#,
    ] {
        assert!(written(payload).get("data").is_some(), "{payload}");
    }
    for payload in [
        deep(101).as_str(),
        &format!("{{\"a\":\"]\",\"b\":{}}}", deep(100)),
        r#"["\ud800"]"#,
        r#"["\udc00\ud800"]"#,
        r#"["\ud800\u0041"]"#,
    ] {
        assert!(written(payload).get("data_base64").is_some(), "{payload}");
    }
}

//! Envelopes: what reads back, what is refused, what is printed.

use super::*;

fn full() -> Envelope {
    Envelope::builder("orders.eu", "order.created")
        .key("o-1")
        .id("id-1")
        .source("/shop")
        .time(Timestamp::from_micros(1_506_941_793_000_000))
        .version(3)
        .correlation("id-0")
        .causation("id-0")
        .trace(TraceContext::root())
        .extension("tenant", "acme")
        .extension("region", "eu")
        .extension("sampled", true)
        .extension("shard", -7)
        .data_schema("https://schemas.example/order")
        .payload(Codec::Cbor, vec![1, 2, 3])
        .build()
        .unwrap()
}

#[test]
fn every_attribute_reads_back() {
    let envelope = full();
    assert_eq!(envelope.topic(), "orders.eu");
    assert_eq!(envelope.key(), "o-1");
    assert_eq!(envelope.event_type(), "order.created");
    assert_eq!(envelope.id(), "id-1");
    assert_eq!(envelope.source(), "/shop");
    assert_eq!(envelope.time().to_string(), "2017-10-02T10:56:33Z");
    assert_eq!(envelope.version(), 3);
    assert_eq!(envelope.correlation(), "id-0");
    assert_eq!(envelope.causation(), Some("id-0"));
    assert_eq!(envelope.extension("tenant"), Some("acme"));
    assert_eq!(envelope.extension("region"), Some("eu"));
    assert_eq!(envelope.extension("nothing"), None);
    assert_eq!(envelope.extension("shard"), Some("-7"));
    let extensions: Vec<_> = envelope.extensions().collect();
    assert_eq!(extensions[2], ("sampled", true.into()));
    assert_eq!(extensions[3], ("shard", (-7).into()));
    assert_eq!(extensions.len(), 4, "an attribute is not an extension");
    assert_eq!(envelope.data_schema(), "https://schemas.example/order");
    assert_eq!(envelope.codec().unwrap(), Codec::Cbor);
    assert_eq!(envelope.payload(), [1, 2, 3]);
    assert_eq!(envelope.to_builder().build().unwrap(), envelope);
}

#[test]
fn what_is_printed_for_logs_has_the_time_and_the_size_of_the_payload_but_not_its_content() {
    let builder = Envelope::builder("people", "person.moved")
        .time(Timestamp::from_micros(1_506_941_793_000_000))
        .payload(Codec::Json, br#"{"street":"Elm"}"#.to_vec());
    let built = builder.clone().build().unwrap();
    for printed in [format!("{builder:?}"), format!("{built:?}")] {
        assert!(
            printed.contains("16 bytes of application/json"),
            "{printed}"
        );
        // As text and as the bytes of `Elm`.
        for content in ["Elm", "street", "69, 108, 109"] {
            assert!(!printed.contains(content), "{printed}");
        }
    }
    let printed = format!("{built:?}");
    assert!(printed.contains("time: 2017-10-02T10:56:33Z"), "{printed}");
}

#[test]
fn a_damaged_envelope_is_refused_or_reads_without_a_panic() {
    let envelope = full();
    let content = envelope.content().to_vec();
    for cut in 0..content.len() {
        let _ = Envelope::from_content(Bytes::copy_from_slice(&content[..cut]), 9, 3);
    }
    for at in 0..content.len() {
        for bit in 0..8 {
            let mut bad = content.clone();
            bad[at] ^= 1 << bit;
            if let Ok(bad) = Envelope::from_content(Bytes::from(bad), 9, 3) {
                let _ = (
                    bad.topic(),
                    bad.key(),
                    bad.event_type(),
                    bad.id(),
                    bad.correlation(),
                );
                let _ = (bad.trace(), bad.extensions().count(), bad.payload().len());
                let _ = (bad.codec(), bad.content_type().len(), format!("{bad:?}"));
            }
        }
    }
}

#[test]
fn limits_are_named_in_the_error() {
    let long = "x".repeat(ATTRIBUTE_BYTES_MAX + 1);
    let error = Envelope::builder("t", "e")
        .id(&long)
        .build()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("id has 256 bytes") && error.contains("255"),
        "{error}"
    );
    let huge = vec![0; PAYLOAD_BYTES_MAX + 1];
    let error = Envelope::builder("t", "e")
        .payload(Codec::Json, huge)
        .build()
        .unwrap_err();
    assert!(error.to_string().contains("object store"), "{error}");
    assert!(matches!(
        Envelope::builder("t", "e")
            .extension("Bad-Name", "x")
            .build(),
        Err(InvalidEvent::ExtensionName(_))
    ));
    for name in ["id", "data", "topic", "dataschema", "ensueposition"] {
        assert!(matches!(
            Envelope::builder("t", "e").extension(name, "x").build(),
            Err(InvalidEvent::ExtensionIsAttribute(_))
        ));
    }
    assert!(matches!(
        Envelope::builder("", "e").build(),
        Err(InvalidEvent::Topic(_))
    ));
    assert!(matches!(
        Envelope::builder("t", "").build(),
        Err(InvalidEvent::Missing("type"))
    ));
}

#[test]
fn an_event_that_is_traced_later_is_as_if_its_publisher_had_done_it() {
    let trace: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        .parse()
        .unwrap();
    let event = |trace: Option<TraceContext>, state: Option<&str>| {
        let mut event = Envelope::builder("orders", "order.created")
            .key("o-1")
            .id("1")
            .time(Timestamp::EPOCH)
            .extension("tenant", "acme")
            .opaque_payload("text/plain", b"payload".to_vec());
        if let Some(trace) = trace {
            event = event.trace(trace);
        }
        if let Some(state) = state {
            event = event.extension("tracestate", state);
        }
        event.build().unwrap()
    };
    let (plain, whole) = (event(None, None), event(Some(trace), Some("a=1")));
    for traced in [
        plain.traced(trace, Some("a=1")),
        event(None, Some("a=1")).traced(trace, Some("b=2")),
    ] {
        assert_eq!(traced, whole);
        let content = traced.content().clone();
        let read = Envelope::from_content(content, "orders".len(), "o-1".len()).unwrap();
        assert_eq!(read.trace_state(), Some("a=1"));
        assert_eq!(read.payload(), b"payload");
    }
    assert_eq!(plain.traced(trace, None), event(Some(trace), None));
    assert_eq!(
        plain.traced(trace, Some("not a state")),
        event(Some(trace), None)
    );
    let other = TraceContext::root();
    assert_eq!(whole.traced(other, Some("b=2")), whole);
}

#[test]
fn a_state_without_a_trace_says_nothing() {
    let event = Envelope::builder("t", "e").extension("tracestate", "a=1");
    assert_eq!(event.build().unwrap().trace_state(), None);
}

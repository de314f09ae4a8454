//! What bad input gets: a typed error that says what to do, or a dead letter; never a panic, a hang
//! or a silent drop.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use ensue::engine::{DeadLetterFilter, DeathCause, Query};
use ensue::error::{AppendError, EngineError, GroupError, OpenError};
use ensue::prelude::*;
use ensue::testing::TestApp;
use ensue::{Codec, Envelope, Error, HandlerOptions};

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(type = "order.created", topic = "orders", key = order_id)]
struct OrderCreated {
    order_id: String,
}

fn order(id: &str) -> OrderCreated {
    OrderCreated {
        order_id: id.into(),
    }
}

fn directory() -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("embedded:{}", directory.path().join("log").display());
    (directory, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_payload_is_a_dead_letter_at_once_with_the_reason_and_the_bytes() {
    let app = TestApp::start(|app| app.on("orders", |_: OrderCreated| async {}))
        .await
        .unwrap();
    let malformed = Envelope::builder("orders", "order.created")
        .key("o-1")
        .payload(Codec::Json, b"{\"order_id\": 7".to_vec());
    app.publish(Outgoing::raw(malformed)).await.unwrap();
    app.publish(order("o-2")).await.unwrap();
    app.settle().await.unwrap();
    let dead = app.dead_letters("orders").await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(
        (dead[0].cause, dead[0].attempts),
        (DeathCause::Undecodable, 1)
    );
    assert!(
        dead[0].reason.contains("not the JSON expected"),
        "{}",
        dead[0].reason
    );
    assert_eq!(
        dead[0].envelope.as_ref().unwrap().payload(),
        b"{\"order_id\": 7"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_of_an_unknown_version_or_type_is_a_dead_letter() {
    let app = TestApp::start(|app| app.on("orders", |_: OrderCreated| async {}))
        .await
        .unwrap();
    let payload = br#"{"order_id":"o"}"#.to_vec();
    let newer = Envelope::builder("orders", "order.created")
        .key("newer")
        .version(9)
        .payload(Codec::Json, payload.clone());
    let foreign = Envelope::builder("orders", "order.created")
        .key("foreign")
        .opaque_payload("application/xml", payload);
    app.publish(Outgoing::raw(newer)).await.unwrap();
    app.publish(Outgoing::raw(foreign)).await.unwrap();
    app.settle().await.unwrap();
    let dead = app.dead_letters("orders").await.unwrap();
    let reasons: Vec<_> = dead.iter().map(|dead| dead.reason.as_str()).collect();
    assert!(reasons[0].contains("version 9"), "{reasons:?}");
    assert!(reasons[1].contains("application/xml"), "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_without_a_content_type_is_read_as_json() {
    let app = TestApp::start(|app| app.on("orders", |_: OrderCreated| async {}))
        .await
        .unwrap();
    for (key, payload) in [("json", &br#"{"order_id":"o"}"#[..]), ("other", b"\xff")] {
        let event = Envelope::builder("orders", "order.created").key(key);
        let event = event.opaque_payload("", payload.to_vec());
        app.publish(Outgoing::raw(event)).await.unwrap();
    }
    app.settle().await.unwrap();
    let dead = app.dead_letters("orders").await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].envelope.as_ref().unwrap().key(), "other");
    let reason = &dead[0].reason;
    assert!(reason.contains("declares no content type"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_always_fails_leaves_a_dead_letter_and_the_others_go_on() {
    let app = TestApp::start(|app| {
        let options = HandlerOptions::default()
            .attempts(3)
            .backoff(Duration::from_millis(1), Duration::from_millis(2));
        app.on_with("orders", options, |order: OrderCreated, _| async move {
            if order.order_id == "bad" {
                Err(Failure::retry("no gateway"))
            } else {
                Ok(())
            }
        })
    })
    .await
    .unwrap();
    for id in ["good", "bad", "better"] {
        app.publish(order(id)).await.unwrap();
    }
    app.settle().await.unwrap();
    let dead = app.dead_letters("orders").await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(
        (dead[0].cause, dead[0].attempts),
        (DeathCause::Exhausted, 3)
    );
    assert_eq!(
        app.engine()
            .status()
            .await
            .unwrap()
            .group("orders")
            .unwrap()
            .lag,
        0
    );
}

#[tokio::test]
async fn a_bad_url_says_what_is_known() {
    for (url, part) in [
        ("", "no scheme"),
        ("zeromq://host", "`zeromq` is not an engine"),
        ("embedded:", "director"),
        ("memory:?durability=perhaps", "durability"),
        ("memory:?segment_bytes=12", "segment_bytes"),
    ] {
        let error = ensue::connect(url).await.unwrap_err();
        assert!(
            matches!(error, Error::Open(OpenError::Url { .. })),
            "{url}: {error:?}"
        );
        assert!(error.to_string().contains(part), "{url}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_owner_of_a_directory_is_told_the_first_ones_pid() {
    let (_directory, url) = directory();
    let owner = ensue::connect(&url).await.unwrap();
    match ensue::connect(&url).await.unwrap_err() {
        Error::Open(OpenError::Locked { pid, directory }) => {
            assert_eq!(pid, Some(std::process::id()));
            assert!(url.ends_with(&directory), "{directory}");
        }
        other => panic!("{other:?}"),
    }
    owner.close().await.unwrap();
    drop(owner);
    ensue::connect(&url).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_event_and_a_bad_topic_are_refused_with_the_limit() {
    let engine = ensue::connect("memory:").await.unwrap();
    let publisher = Publisher::new(engine.clone(), "/test");
    let huge = Envelope::builder("orders", "order.created")
        .payload(Codec::Json, vec![b' '; ensue::PAYLOAD_BYTES_MAX + 1]);
    let error = publisher
        .publish(Outgoing::raw(huge))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("8388608") && error.contains("object store"),
        "{error}"
    );
    for topic in [
        "",
        "a b",
        "orders..eu",
        "orders.*",
        "_ensue.groups",
        &"x".repeat(300),
    ] {
        let error = publisher
            .publish(Outgoing::new(order("o")).topic(topic))
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Append(AppendError::Invalid(_))),
            "{topic}: {error:?}"
        );
    }
    assert!(
        engine
            .read(Query::default())
            .await
            .unwrap()
            .events
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_segment_is_refused_with_file_and_offset() {
    let (directory, url) = directory();
    let engine = ensue::connect(&url).await.unwrap();
    let publisher = Publisher::new(engine.clone(), "/test");
    for number in 0..50 {
        publisher
            .publish(order(&format!("o-{number}")))
            .await
            .unwrap();
    }
    engine.close().await.unwrap();
    drop((publisher, engine));

    let needle = b"\"order_id\":\"o-25\"";
    let find = |bytes: &[u8]| {
        bytes
            .windows(needle.len())
            .position(|window| window == needle)
    };
    let segments = std::fs::read_dir(directory.path().join("log").join("log")).unwrap();
    let (segment, mut bytes, at) = segments
        .map(|file| file.unwrap().path())
        .find_map(|path| {
            let bytes = std::fs::read(&path).unwrap();
            let at = find(&bytes)?;
            Some((path, bytes, at))
        })
        .unwrap();
    bytes[at + needle.len() - 2] ^= 1;
    std::fs::write(&segment, bytes).unwrap();

    let corrupt = match ensue::connect(&url).await {
        Err(error) => error,
        Ok(engine) => engine.read(Query::default()).await.unwrap_err(),
    };
    let Error::Engine(EngineError::Corrupt(message)) = &corrupt else {
        panic!("{corrupt:?}")
    };
    assert!(
        message.contains(segment.file_name().unwrap().to_str().unwrap()),
        "{message}"
    );
    assert!(
        message.contains("offset") || message.contains("byte"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn discarding_what_does_not_exist_and_asking_for_unknown_groups_is_said() {
    let engine = ensue::connect("memory:").await.unwrap();
    let all = DeadLetterFilter::default();
    for error in [
        engine.redrive("unknown", all.clone()).await.unwrap_err(),
        engine.discard("unknown", all).await.unwrap_err(),
        engine
            .reset("unknown", ensue::Start::Latest.into())
            .await
            .unwrap_err(),
        engine.delete_group("unknown").await.unwrap_err(),
    ] {
        assert!(
            matches!(error, Error::Group(GroupError::Unknown { .. })),
            "{error:?}"
        );
        assert!(error.to_string().contains("ensue groups"), "{error}");
    }
}

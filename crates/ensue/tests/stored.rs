//! What is stored is what was sent: seen through an app on the memory engine.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use ensue::Codec;
use ensue::prelude::*;
use ensue::testing::TestApp;

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(type = "reading.taken", topic = "readings")]
struct ReadingTaken {
    place: String,
}

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(type = "reading.stored", topic = "stored")]
struct ReadingStored {
    place: String,
}

fn reading_of(source: &str) -> Outgoing {
    let payload = Codec::Json.encode(&ReadingTaken {
        place: source.into(),
    });
    let builder = Envelope::builder("readings", "reading.taken")
        .id("1")
        .source(source)
        .payload(Codec::Json, payload.unwrap());
    Outgoing::raw(builder)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_two_sources_with_one_id_are_two_and_so_are_their_effects() {
    let app = TestApp::start(|app| {
        app.on("store", |reading: ReadingTaken| async move {
            ReadingStored {
                place: reading.place,
            }
        })
    })
    .await
    .unwrap();
    let both = [reading_of("/hall"), reading_of("/yard")];
    let appended = app.publisher().publish_all(both.clone()).await.unwrap();
    assert!(appended.iter().all(|it| !it.is_duplicate), "{appended:?}");
    let again = app.publisher().publish_all(both).await.unwrap();
    assert!(again.iter().all(|it| it.is_duplicate), "{again:?}");
    app.settle().await.unwrap();
    let mut stored = app.events::<ReadingStored>().await.unwrap();
    stored.sort_by(|a, b| a.place.cmp(&b.place));
    let places: Vec<_> = stored.iter().map(|it| it.place.as_str()).collect();
    assert_eq!(places, ["/hall", "/yard"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_means_the_services_own_event_and_cancel_event_any() {
    let app = TestApp::start(|app| {
        app.on("remind", |reading: ReadingTaken| async move {
            let own = reading.place == "/own";
            let reminder = Outgoing::new(ReadingStored {
                place: reading.place,
            });
            let reminder = reminder.id("r").after(Duration::from_secs(60));
            match own {
                true => Effects::none().cancel("r"),
                false => Effects::none().publish(reminder),
            }
        })
    })
    .await
    .unwrap();
    let reminder = ReadingStored { place: "/".into() };
    let reminder = Outgoing::new(reminder);
    let reminder = reminder.id("r").after(Duration::from_secs(60));
    app.publisher().publish(reminder).await.unwrap();
    app.publisher().publish(reading_of("/hall")).await.unwrap();
    app.settle().await.unwrap();
    let engine = app.engine();
    assert_eq!(engine.scheduled(9).await.unwrap().len(), 2);
    app.publisher().publish(reading_of("/own")).await.unwrap();
    app.settle().await.unwrap();
    let left = engine.scheduled(9).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_ne!(left[0].name.source(), "/services/remind");
    assert!(app.publisher().cancel("r").await.unwrap());
}

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(type = "level.measured", topic = "levels", key = place)]
struct LevelMeasured {
    place: String,
    values: Vec<f64>,
}

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(type = "level.sent", topic = "sent", key = place, codec = "cbor")]
struct LevelSent {
    place: String,
    value: f64,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_the_codec_cannot_hold_is_refused_before_it_is_stored() {
    let app = TestApp::start(|app| {
        app.on("levels", |level: LevelSent| async move {
            LevelMeasured {
                place: level.place,
                values: vec![1.0, level.value],
            }
        })
    })
    .await
    .unwrap();
    let level = LevelMeasured {
        place: "a".into(),
        values: vec![f64::NAN],
    };
    let error = app.publish(level).await.unwrap_err().to_string();
    assert!(error.contains("`values[0]` is NaN"), "{error}");

    for (place, value) in [("bad", f64::INFINITY), ("good", 2.5)] {
        let level = LevelSent {
            place: place.into(),
            value,
        };
        app.publish(level).await.unwrap();
    }
    app.settle().await.unwrap();
    let measured = app.events::<LevelMeasured>().await.unwrap();
    assert_eq!(measured.len(), 1, "{measured:?}");
    assert_eq!(measured[0].values, [1.0, 2.5]);
    let dead = app.dead_letters("levels").await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].key, "bad");
    assert!(dead[0].reason.contains("`values[1]`"), "{}", dead[0].reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_of_any_name_publishes_is_a_valid_cloudevent() {
    let names = [
        "plain",
        "with space",
        "new\nline",
        "a/b?c#d",
        "100%",
        "a%20b",
        "<ü>",
    ];
    let mut sources = std::collections::BTreeSet::new();
    for name in names {
        let app = TestApp::start(move |app| {
            app.on(name, |reading: ReadingTaken| async move {
                let place = reading.place;
                ReadingStored { place }
            })
        })
        .await
        .unwrap();
        app.publish(reading_of("/hall")).await.unwrap();
        app.settle().await.unwrap();
        let stored = app.envelopes().await.unwrap().pop().unwrap();
        assert_eq!(stored.event_type(), "reading.stored", "{name:?}");
        let text = stored.to_cloudevent().to_string();
        let back = Envelope::from_cloudevent(text.as_bytes(), None).expect(name);
        assert_eq!(back.source(), stored.source(), "{name:?}");
        sources.insert(back.source().to_owned());
    }
    assert_eq!(sources.len(), names.len(), "{sources:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_name_is_too_long_for_a_source_is_refused_at_the_start() {
    for (name, is_fine) in [
        ("g".repeat(245), true),
        ("g".repeat(246), false),
        (" ".repeat(100), false),
    ] {
        let name = name.as_str();
        let engine = ensue::connect("memory:").await.unwrap();
        let app = App::new(engine).on(name, |_: ReadingTaken| async {});
        match app.start().await {
            Ok(_) => assert!(is_fine, "{}", name.len()),
            Err(error) => {
                assert!(!is_fine, "{error}");
                assert!(error.to_string().contains("ATTRIBUTE_BYTES_MAX"), "{error}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_beyond_all_calendars_stops_no_events() {
    let app = TestApp::start(|app| {
        app.on("store", |reading: ReadingTaken| async move {
            let place = reading.place;
            ReadingStored { place }
        })
    })
    .await
    .unwrap();
    for at in [
        ensue::Timestamp::MAX,
        ensue::Timestamp::from_micros(i64::MIN),
    ] {
        app.clock().set(at);
        app.publish(ReadingTaken {
            place: at.to_string(),
        })
        .await
        .unwrap();
        app.settle().await.unwrap();
    }
    assert_eq!(app.dead_letters("store").await.unwrap().len(), 0);
    assert_eq!(app.events::<ReadingStored>().await.unwrap().len(), 2);
    for event in app.envelopes().await.unwrap() {
        let text = event.to_cloudevent().to_string();
        Envelope::from_cloudevent(text.as_bytes(), None).expect(&text);
    }
}

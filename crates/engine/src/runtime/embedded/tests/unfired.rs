//! Scheduled events that cannot be appended.

use super::*;
use crate::runtime::engine_inner::EngineInner;
use crate::runtime::maintenance;
use crate::runtime::unfired::Unfired;

fn sized(bed: &Bed, id: &str, bytes: usize, seconds: u64) -> Append {
    let payload = format!("\"{}\"", "x".repeat(bytes)).into_bytes();
    let large = Envelope::builder("t", "thing.happened")
        .key(id)
        .id(id)
        .payload(Codec::Json, payload);
    Append {
        schedule: Some(Schedule::at(bed.in_seconds(seconds))),
        ..large.build().unwrap().into()
    }
}

/// The status as soon as only `count` events are scheduled.
async fn until_scheduled(engine: &Embedded, count: usize) -> crate::engine::EngineStatus {
    let begun = std::time::Instant::now();
    loop {
        let status = engine.status().await.unwrap();
        if status.scheduled <= count {
            return status;
        }
        assert!(begun.elapsed() < HANG, "the others are not appended");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The status as soon as something is wrong.
async fn until_trouble(engine: &Embedded) -> String {
    let begun = std::time::Instant::now();
    loop {
        if let Some(trouble) = engine.status().await.unwrap().trouble {
            return trouble;
        }
        assert!(
            begun.elapsed() < HANG,
            "the status does not say what is wrong"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Changes a bit of the first place in the log that holds `text`.
fn damage(bed: &Bed, text: &str) {
    let storage: &dyn log::Storage = &bed.storage;
    for name in storage.list("log").unwrap() {
        let file = storage.open(&format!("log/{name}")).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        let mut places = bytes.windows(text.len());
        if let Some(at) = places.position(|it| it == text.as_bytes()) {
            let changed = [bytes[at] ^ 1];
            let changed = [std::io::IoSlice::new(&changed)];
            file.write_at(&changed, at as u64).unwrap();
            return;
        }
    }
    panic!("no file holds {text}");
}

/// Appends until what was appended before is in a segment that is sealed and indexed.
async fn seal(bed: &Bed, engine: &Embedded) {
    for number in 0.. {
        if engine.inner().log().status().segments >= 3 {
            break;
        }
        let mut large = sized(bed, &format!("large-{number}"), 20_000, 0);
        large.schedule = None;
        engine.append(vec![large]).await.unwrap();
    }
    let has_index = || {
        let names = log::Storage::list(&bed.storage, "idx").unwrap();
        names
            .iter()
            .any(|it| it.starts_with("00000000000000000000."))
    };
    let begun = std::time::Instant::now();
    while !has_index() {
        assert!(begun.elapsed() < HANG, "no index is written");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Schedules these, in a segment that is sealed and indexed afterwards: it is not read when the log
/// is opened. Returns the end of the log.
async fn schedule_in_a_sealed_segment(bed: &mut Bed, events: &[(&str, u64)]) -> Position {
    bed.settings.segment_bytes = 64 * 1024;
    let engine = bed.open().await;
    for (id, seconds) in events {
        let later = sized(bed, id, 10, *seconds);
        engine.append(vec![later]).await.unwrap();
    }
    seal(bed, &engine).await;
    let end = engine.status().await.unwrap().end.position();
    engine.close().await.unwrap();
    end
}

#[tokio::test]
async fn a_schedule_whose_record_is_damaged_holds_up_no_other_and_status_names_it() {
    let mut bed = Bed::new();
    let events = [("before", 20), ("damaged", 10), ("after", 10)];
    let end = schedule_in_a_sealed_segment(&mut bed, &events).await;
    damage(&bed, "damaged");
    bed.hands.advance(Duration::from_secs(30));
    let engine = bed.open().await;
    until_scheduled(&engine, 1).await;
    let trouble = until_trouble(&engine).await;
    let names_it = |text: &str| text.contains("damaged of /") && text.contains("checksum");
    assert!(names_it(&trouble), "{trouble}");
    let elsewhere = {
        let (locked, now) = (engine.inner().locked(), bed.hands.now());
        let schedules = locked.state().schedules();
        Unfired::look(schedules, engine.inner().view(), now).trouble(schedules)
    };
    assert_eq!(
        elsewhere.as_ref(),
        Some(&trouble),
        "another process says so"
    );

    // It stays scheduled, whichever process opens the log, until it is cancelled.
    engine.close().await.unwrap();
    let engine = bed.open().await;
    assert_eq!(until_trouble(&engine).await, trouble);
    let name = EventId::new("/", "damaged");
    assert_eq!(engine.cancel(vec![name]).await.unwrap(), 1);
    let status = engine.status().await.unwrap();
    assert_eq!((status.scheduled, status.trouble), (0, None));
    let fired = Query {
        from: end.into(),
        ..Query::default()
    };
    let page = engine.read(fired).await.unwrap();
    let fired: Vec<_> = page.events.iter().map(|it| it.envelope.id()).collect();
    assert_eq!(fired, ["after", "before"]);
}

#[tokio::test]
async fn a_scheduled_event_whose_record_is_damaged_is_listed_with_the_reason_among_the_others() {
    let mut bed = Bed::new();
    let events = [("before", 20), ("damaged", 10), ("after", 10)];
    schedule_in_a_sealed_segment(&mut bed, &events).await;
    damage(&bed, "damaged");
    let engine = bed.open().await;
    let listed = engine.scheduled(10).await.unwrap();
    let names: Vec<_> = listed.iter().map(|it| it.name.id()).collect();
    assert_eq!(names, ["damaged", "after", "before"]);
    let reason = listed[0].envelope.as_ref().unwrap_err();
    assert!(reason.contains("checksum"), "{reason}");
    for good in &listed[1..] {
        assert_eq!(good.envelope.as_ref().unwrap().id(), good.name.id());
    }
}

#[tokio::test]
async fn a_dead_letter_whose_record_is_damaged_is_listed_with_the_reason_among_the_others() {
    let mut bed = Bed::new();
    bed.settings.segment_bytes = 64 * 1024;
    let engine = bed.open().await;
    // Each in a frame of its own: a frame that is damaged is refused as a whole.
    for event in ["a:before", "b:damaged", "c:after"] {
        publish(&engine, &[event]).await;
    }
    let member = join(&engine).await;
    for delivery in take_all(&*member, 3).await {
        member.commit(dead(&delivery, OnDead::Park)).await.unwrap();
    }
    member.leave().await.unwrap();
    seal(&bed, &engine).await;
    engine.close().await.unwrap();
    damage(&bed, "damaged");

    let engine = bed.open().await;
    let all = crate::engine::DeadLetterFilter::default();
    let letters = engine.dead_letters(Some("g"), all).await.unwrap();
    let ids: Vec<_> = letters.iter().map(|it| it.event.id()).collect();
    assert_eq!(ids, ["before", "damaged", "after"]);
    let reason = letters[1].envelope.as_ref().unwrap_err();
    assert!(reason.contains("checksum"), "{reason}");
    let damaged = &letters[1];
    assert_eq!(
        (
            &*damaged.topic,
            &*damaged.event_type,
            &*damaged.key,
            &*damaged.reason
        ),
        ("t", "thing.happened", "b", "never")
    );
    for good in [&letters[0], &letters[2]] {
        assert_eq!(good.envelope.as_ref().unwrap().event_id(), good.event);
    }
}

#[tokio::test]
async fn a_schedule_that_the_log_refuses_for_good_holds_up_no_other_and_status_names_it() {
    let bed = Bed::new();
    let engine = bed.open().await;
    for (id, bytes) in [("1", 10), ("large", 50_000), ("2", 10)] {
        let later = sized(&bed, id, bytes, 10);
        engine.append(vec![later]).await.unwrap();
    }
    engine.close().await.unwrap();

    bed.hands.advance(Duration::from_secs(30));
    let options = log::Options {
        record_bytes_max: 20_000,
        ..bed.settings.log_options()
    };
    let storage = Arc::new(bed.storage.clone());
    let inner = EngineInner::open_with(storage, bed.settings.clone(), options);
    let engine = Embedded::of(Arc::new(inner.unwrap()));
    maintenance::start(engine.inner());
    until_scheduled(&engine, 1).await;
    let trouble = until_trouble(&engine).await;
    let names_it = trouble.contains("large of /") && trouble.contains("record_bytes_max");
    assert!(names_it, "{trouble}");
}

#[tokio::test]
async fn while_no_scheduled_event_can_be_appended_status_says_why() {
    let mut bed = Bed::new();
    bed.settings.segment_bytes = 64 * 1024;
    let disk = log::storage::Fault::new();
    let storage = Arc::new(disk.clone());
    let engine = Embedded::open(storage, bed.settings.clone()).await.unwrap();
    let later = sized(&bed, "1", 4 * 1024 * 1024, 10);
    engine.append(vec![later]).await.unwrap();
    disk.set_capacity(Some(disk.used()));
    bed.hands.advance(Duration::from_secs(30));
    let trouble = until_trouble(&engine).await;
    let says_why = trouble.contains("scheduled events") && trouble.contains("the disk is full");
    assert!(says_why, "{trouble}");

    disk.set_capacity(None);
    let begun = std::time::Instant::now();
    loop {
        let status = engine.status().await.unwrap();
        if status.scheduled == 0 && status.trouble.is_none() {
            break;
        }
        // No clock has to be moved for that.
        assert!(begun.elapsed() < HANG, "it is not tried again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

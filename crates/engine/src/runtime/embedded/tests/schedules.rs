//! Events that are appended later.

use super::*;
use crate::error::LimitError;

fn later(bed: &Bed, id: &str, seconds: u64) -> Append {
    Append {
        schedule: Some(Schedule::at(bed.in_seconds(seconds))),
        ..event("t", "k", id).into()
    }
}

/// The id of a scheduled event, which may have a timer of another name.
fn event_id(scheduled: &crate::engine::Scheduled) -> &str {
    scheduled.envelope.as_ref().unwrap().id()
}

async fn appended(engine: &Embedded) -> Vec<String> {
    let page = engine.read(Query::default()).await.unwrap();
    page.events
        .iter()
        .map(|recorded| recorded.envelope.id().to_owned())
        .collect()
}

/// Waits until `count` events are there.
async fn until(engine: &Embedded, count: usize) -> Vec<String> {
    let begun = std::time::Instant::now();
    while begun.elapsed() < HANG {
        let found = appended(engine).await;
        if found.len() >= count {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!(
        "the scheduled events did not come: {:?}",
        appended(engine).await
    );
}

#[tokio::test]
async fn an_event_is_appended_when_its_time_comes_once() {
    let bed = Bed::new();
    let engine = bed.open().await;
    let batch = vec![
        later(&bed, "2", 20),
        later(&bed, "1", 10),
        event("t", "k", "0").into(),
    ];
    engine.append(batch).await.unwrap();
    assert_eq!(appended(&engine).await, ["0"]);
    let pending = engine.scheduled(10).await.unwrap();
    assert_eq!(pending.len(), 2);
    assert_eq!(
        (pending[0].name.id(), pending[0].at),
        ("1", bed.in_seconds(10))
    );

    bed.hands.advance(Duration::from_secs(10));
    assert_eq!(until(&engine, 2).await, ["0", "1"]);
    assert_eq!(engine.scheduled(10).await.unwrap().len(), 1);
    engine.close().await.unwrap();

    // It falls due while no process has the log open.
    bed.hands.advance(Duration::from_secs(10));
    let engine = bed.open().await;
    assert_eq!(until(&engine, 3).await, ["0", "1", "2"]);
    assert_eq!(engine.status().await.unwrap().scheduled, 0);
    let again = engine
        .append(vec![event("t", "k", "2").into()])
        .await
        .unwrap();
    assert!(again[0].is_duplicate, "it has the id it was scheduled with");
}

#[tokio::test]
async fn an_id_that_is_pending_is_a_duplicate_and_can_be_cancelled_once() {
    let bed = Bed::new();
    let engine = bed.open().await;
    let first = engine.append(vec![later(&bed, "1", 10)]).await.unwrap()[0];
    assert!(!first.is_duplicate);
    let twice = engine.append(vec![
        later(&bed, "1", 99),
        later(&bed, "2", 5),
        later(&bed, "2", 5),
    ]);
    let twice = twice.await.unwrap();
    let expected = [(true, true), (false, true), (true, true)];
    for (appended, (is_duplicate, _)) in twice.iter().zip(expected) {
        assert_eq!(appended.is_duplicate, is_duplicate);
    }
    assert_eq!(
        (twice[0].position, twice[1].position),
        (first.position, twice[2].position)
    );
    assert_eq!(
        engine.scheduled(10).await.unwrap()[1].at,
        bed.in_seconds(10)
    );

    assert_eq!(
        engine
            .cancel(vec![EventId::new("/", "1"), EventId::new("/", "unknown")])
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        engine.cancel(vec![EventId::new("/", "1")]).await.unwrap(),
        0
    );
    bed.hands.advance(Duration::from_secs(100));
    assert_eq!(until(&engine, 1).await, ["2"]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(appended(&engine).await, ["2"]);
}

#[tokio::test]
async fn a_commit_schedules_and_cancels() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish(&engine, &["a:1", "a:2"]).await;
    let member = join(&engine).await;
    let taken = take_all(&*member, 2).await;
    let remind = Commit {
        effects: vec![later(&bed, "reminder", 60).into()],
        ..settle(&taken[..1])
    };
    let unremind = Commit {
        effects: vec![Effect::Cancel(EventId::new("/", "reminder"))],
        ..settle(&taken[1..])
    };
    // Both are under way at the same time.
    let (reminded, unreminded) = tokio::join!(member.commit(remind), member.commit(unremind));
    reminded.unwrap();
    unreminded.unwrap();
    assert!(engine.scheduled(10).await.unwrap().is_empty());
    bed.hands.advance(Duration::from_secs(60));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(appended(&engine).await, ["1", "2"]);
}

#[tokio::test]
async fn schedules_are_bounded() {
    let mut bed = Bed::new();
    bed.settings.schedules_max = 2;
    let engine = bed.open().await;
    engine
        .append(vec![later(&bed, "1", 10), later(&bed, "2", 10)])
        .await
        .unwrap();
    match engine.append(vec![later(&bed, "3", 10)]).await {
        Err(Error::Limit(LimitError {
            limit: "schedules_max",
            value: 3,
            max: 2,
            ..
        })) => {}
        other => panic!("{other:?}"),
    }
    bed.hands.advance(Duration::from_secs(10));
    until(&engine, 2).await;
    engine.append(vec![later(&bed, "3", 10)]).await.unwrap();
}

fn set(bed: &Bed, timer: &str, id: &str, seconds: u64) -> Append {
    let timer = Some(timer.to_owned());
    let at = bed.in_seconds(seconds);
    Append {
        schedule: Some(Schedule { at, timer }),
        ..later(bed, id, seconds)
    }
}

#[tokio::test]
async fn a_timer_that_is_moved_survives_a_restart_as_it_was_set_last() {
    let bed = Bed::new();
    let engine = bed.open().await;
    let append = |one: Append| engine.append(vec![one]);
    append(set(&bed, "timer", "1", 10)).await.unwrap();
    let moved = append(set(&bed, "timer", "2", 20)).await.unwrap()[0];
    assert!(!moved.is_duplicate);
    engine.crash(Vec::new());

    let engine = bed.open().await;
    let pending = engine.scheduled(10).await.unwrap();
    let [only] = pending.as_slice() else {
        panic!("{pending:?}");
    };
    assert_eq!(
        (only.name.id(), only.envelope.as_ref().unwrap().id()),
        ("timer", "2")
    );
    assert_eq!(only.at, bed.in_seconds(20));
    bed.hands.advance(Duration::from_secs(20));
    assert_eq!(until(&engine, 1).await, ["2"]);
    // The name is free again.
    engine
        .append(vec![set(&bed, "timer", "3", 5)])
        .await
        .unwrap();
    bed.hands.advance(Duration::from_secs(5));
    assert_eq!(until(&engine, 2).await, ["2", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_that_are_moved_while_they_go_off_go_off_as_they_were_set_last() {
    let bed = Bed::new();
    let engine = Arc::new(bed.open().await);
    for round in 0..50 {
        let (old, new) = (format!("old-{round}"), format!("new-{round}"));
        engine
            .append(vec![set(&bed, "timer", &old, 1)])
            .await
            .unwrap();
        // Its time comes, and it is moved at the same moment.
        let moving = {
            let (engine, one) = (engine.clone(), set(&bed, "timer", &new, 3_600));
            tokio::spawn(async move { engine.append(vec![one]).await })
        };
        bed.hands.advance(Duration::from_secs(1));
        moving.await.unwrap().unwrap();
        let pending = engine.scheduled(10).await.unwrap();
        let ids: Vec<_> = pending.iter().map(event_id).collect();
        assert_eq!(ids, [&*new], "whether the old one went off or not");
    }
    let gone_off = appended(&engine).await;
    assert!(
        gone_off.iter().all(|id| id.starts_with("old")),
        "{gone_off:?}"
    );
}

#[tokio::test]
async fn an_id_in_the_same_batch_is_a_duplicate_when_it_is_scheduled() {
    let bed = Bed::new();
    let engine = bed.open().await;
    let batch = vec![event("t", "k", "1").into(), later(&bed, "1", 5)];
    let appended = engine.append(batch).await.unwrap();
    assert_eq!(appended[0].position, appended[1].position);
    assert!(!appended[0].is_duplicate && appended[1].is_duplicate);
    assert!(engine.scheduled(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn at_the_limit_what_makes_room_and_what_needs_none_goes_through() {
    let mut bed = Bed::new();
    bed.settings.schedules_max = 2;
    let engine = bed.open().await;
    let full = vec![later(&bed, "1", 10), set(&bed, "timer", "2", 10)];
    engine.append(full).await.unwrap();
    let again = engine.append(vec![later(&bed, "1", 20)]).await.unwrap();
    assert!(again[0].is_duplicate);
    let moved = engine.append(vec![set(&bed, "timer", "3", 20)]).await;
    assert!(!moved.unwrap()[0].is_duplicate);
    let refused = engine.append(vec![later(&bed, "4", 10)]).await;
    assert!(
        matches!(refused, Err(Error::Limit(LimitError { value: 3, .. }))),
        "{refused:?}"
    );

    // One for another, in one commit.
    publish(&engine, &["a:a"]).await;
    let member = join(&engine).await;
    let taken = take_all(&*member, 1).await;
    let instead = Commit {
        effects: vec![
            Effect::Cancel(EventId::new("/", "1")),
            later(&bed, "4", 10).into(),
        ],
        ..settle(&taken)
    };
    member.commit(instead).await.unwrap();
    let pending = engine.scheduled(10).await.unwrap();
    let ids: Vec<_> = pending.iter().map(event_id).collect();
    assert_eq!(ids, ["4", "3"]);
}

/// Waits until something sleeps until `due`, and nothing until before.
async fn asleep_until(bed: &Bed, due: Timestamp) {
    while bed.hands.next_wake() != Some(due) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn what_is_due_happens_when_the_clock_is_set_ahead() {
    let bed = Bed::new();
    let engine = bed.open().await;
    engine.append(vec![later(&bed, "1", 3_600)]).await.unwrap();
    publish(&engine, &["a:a"]).await;
    let member = join(&engine).await;
    let taken = take_all(&*member, 1).await;
    let due = bed.in_seconds(1_800);
    member.commit(retry(&taken[0], due)).await.unwrap();
    let next = tokio::spawn(async move { member.next(100).await });
    asleep_until(&bed, due).await;
    // As a time server sets it, or a machine that slept finds it: nothing has elapsed.
    bed.hands.set(bed.in_seconds(7_200));
    bed.hands.advance(Duration::from_secs(1));
    assert_eq!(ids(&next.await.unwrap().unwrap()), ["a"]);
    assert_eq!(until(&engine, 2).await, ["a", "1"]);
}

#[tokio::test]
async fn a_retry_does_not_wait_for_a_clock_that_was_set_back() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish(&engine, &["a:a"]).await;
    let member = join(&engine).await;
    let taken = take_all(&*member, 1).await;
    let due = bed.in_seconds(1);
    member.commit(retry(&taken[0], due)).await.unwrap();
    let scheduled = later(&bed, "1", 60);
    let time_of_day = scheduled.schedule.as_ref().unwrap().at;
    engine.append(vec![scheduled]).await.unwrap();
    let next = tokio::spawn(async move { (member.next(100).await, member) });
    asleep_until(&bed, due).await;
    let before = bed.hands.now();
    bed.hands
        .set(Timestamp::from_micros(before.as_micros() - 7_200_000_000));
    bed.hands.advance(Duration::from_secs(1));
    let (again, member) = next.await.unwrap();
    assert_eq!(
        ids(&again.unwrap()),
        ["a"],
        "it is unknown how long it has waited"
    );
    // What is scheduled is for a time of day.
    bed.hands.advance(Duration::from_secs(600));
    assert!(poll(&*member).await.is_empty());
    assert_eq!(appended(&engine).await, ["a"]);
    bed.hands.advance_to(time_of_day);
    assert_eq!(until(&engine, 2).await, ["a", "1"]);
}

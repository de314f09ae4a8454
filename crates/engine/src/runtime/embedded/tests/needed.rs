//! What keeps events in the log.

use super::*;

async fn needed(engine: &Embedded) -> Option<(u64, String)> {
    let needed = engine.status().await.unwrap().needed?;
    Some((needed.position.get(), needed.by))
}

#[tokio::test]
async fn status_names_what_needs_the_oldest_event_that_is_needed() {
    let bed = Bed::new();
    let engine = bed.open().await;
    assert_eq!(needed(&engine).await, None);
    let first = publish(&engine, &["a:1", "b:2"]).await;
    let at = |index: usize| first[index].position.get();
    assert_eq!(needed(&engine).await, None, "no group wants them");

    let member = join(&engine).await;
    let expected = |index: usize, what: &str| Some((at(index), format!("group `g`: {what}")));
    let unhandled = expected(0, "an event that is not handled yet");
    assert_eq!(needed(&engine).await, unhandled);

    let taken = take_all(&*member, 2).await;
    assert_eq!(ids(&taken), ["1", "2"]);
    let commit = dead(&taken[0], OnDead::Skip);
    member.commit(commit).await.unwrap();
    assert_eq!(needed(&engine).await, expected(0, "a dead letter"));

    let discarded = engine.discard("g", DeadLetterFilter::default()).await;
    assert_eq!(discarded.unwrap(), 1);
    let due = bed.in_seconds(60);
    member.commit(retry(&taken[1], due)).await.unwrap();
    let retried = expected(1, "an event that waits for another attempt");
    assert_eq!(needed(&engine).await, retried);
}

#[tokio::test]
async fn a_group_that_has_nothing_to_do_needs_nothing_of_what_is_not_for_it() {
    let bed = Bed::new();
    let engine = bed.open().await;
    let quiet = Subscription {
        topics: vec!["quiet".parse().unwrap()],
        ..subscription("g")
    };
    let member = engine.join(quiet).await.unwrap();
    publish(&engine, &["a:1", "b:2"]).await;
    let event = event("quiet", "k", "q").into();
    engine.append(vec![event]).await.unwrap();
    let unhandled = (0, "group `g`: an event that is not handled yet".to_owned());
    assert_eq!(needed(&engine).await, Some(unhandled));
    let taken = take_all(&*member, 1).await;
    member.commit(settle(&taken)).await.unwrap();
    publish(&engine, &["a:3", "b:4"]).await;
    assert_eq!(needed(&engine).await, None, "it has a member");
    member.leave().await.unwrap();
    let next = publish(&engine, &["a:5"]).await[0].position.get();
    let (at, by) = needed(&engine).await.unwrap();
    assert!(at <= next, "{at}");
    assert_eq!(
        by,
        "group `g`: it has no members that would pass what is not for it"
    );
}

#[tokio::test]
async fn status_names_the_scheduled_event_that_is_the_oldest_that_is_needed() {
    let bed = Bed::new();
    let engine = bed.open().await;
    let later = Append {
        schedule: Some(Schedule::at(bed.in_seconds(10))),
        ..event("t", "k", "later").into()
    };
    let at = engine.append(vec![later]).await.unwrap()[0].position;
    let expected = (at.get(), "the scheduled event later of /".to_owned());
    assert_eq!(needed(&engine).await, Some(expected));
    engine
        .cancel(vec![EventId::new("/", "later")])
        .await
        .unwrap();
    assert_eq!(needed(&engine).await, None);
}

#[tokio::test]
async fn retention_by_bytes_removes_segments_long_before_a_usual_checkpoint() {
    let mut bed = Bed::new();
    bed.settings.segment_bytes = 64 * 1024;
    bed.settings.retention_bytes = Some(256 * 1024);
    let engine = bed.open().await;
    for n in 0..100 {
        let large = Envelope::builder("t", "e").id(n.to_string());
        let large = large.payload(Codec::Json, vec![b'x'; 32 * 1024]);
        let large = large.build().unwrap().into();
        engine.append(vec![large]).await.unwrap();
    }
    let removed = async {
        while engine.status().await.unwrap().first == Cursor::START {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(HANG, removed).await.unwrap();
}

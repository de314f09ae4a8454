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

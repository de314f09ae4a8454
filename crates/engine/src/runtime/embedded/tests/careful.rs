//! Events that end their process.

use super::*;
use crate::error::EngineError;

fn crash(engine: Embedded, member: Box<dyn Member>) {
    engine.crash(vec![member]);
}

#[tokio::test]
async fn an_event_that_ends_its_process_counts_its_attempts() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish(&engine, &["a:1", "b:2", "c:3"]).await;
    let member = join(&engine).await;
    assert_eq!(take_all(&*member, 3).await[0].attempt, 1);
    crash(engine, member);

    // Without progress: any of them may have ended it, so none is blamed.
    let engine = bed.open().await;
    let member = join(&engine).await;
    let taken = take_all(&*member, 3).await;
    assert!(taken.iter().all(|delivery| delivery.attempt == 1));
    crash(engine, member);

    // Again: one at a time, and from now on counted.
    for attempt in 1..=2 {
        let engine = bed.open().await;
        let member = join(&engine).await;
        let taken = take(&*member).await;
        assert_eq!((ids(&taken), taken[0].attempt), (vec!["1"], attempt));
        assert!(poll(&*member).await.is_empty(), "the others wait for it");
        crash(engine, member);
    }

    let engine = bed.open().await;
    let member = join(&engine).await;
    let taken = take(&*member).await;
    assert_eq!(taken[0].attempt, 3);
    member.commit(dead(&taken[0], OnDead::Park)).await.unwrap();
    for id in ["2", "3"] {
        let taken = take(&*member).await;
        assert_eq!((ids(&taken), taken[0].attempt), (vec![id], 1));
        member.commit(settle(&taken)).await.unwrap();
    }
    publish(&engine, &["d:4", "e:5"]).await;
    assert_eq!(
        take(&*member).await.len(),
        2,
        "what came later is not suspected"
    );
}

#[tokio::test]
async fn a_process_killed_while_it_makes_progress_leaves_no_trace() {
    let bed = Bed::new();
    for round in 0..4 {
        let engine = bed.open().await;
        let events: Vec<String> = (0..4).map(|n| format!("k{n}:{round}.{n}")).collect();
        publish(
            &engine,
            &events.iter().map(String::as_str).collect::<Vec<_>>(),
        )
        .await;
        let member = join(&engine).await;
        let taken = take(&*member).await;
        assert!(taken.len() >= 4, "round {round}: {:?}", ids(&taken));
        assert!(taken.iter().all(|delivery| delivery.attempt == 1));
        member.commit(settle(&taken[..2])).await.unwrap();
        crash(engine, member);
    }
}

#[tokio::test]
async fn a_clean_close_without_progress_is_not_suspected() {
    let bed = Bed::new();
    for _ in 0..3 {
        let engine = bed.open().await;
        publish(&engine, &["a:1", "b:2"]).await;
        let member = join(&engine).await;
        let taken = take_all(&*member, 2).await;
        assert_eq!(taken[0].attempt, 1);
        engine.close().await.unwrap();
        assert!(matches!(
            member.next(1).await,
            Err(Error::Engine(EngineError::Closed))
        ));
    }
}

#[tokio::test]
async fn a_retry_that_ends_its_process_is_counted_after_two_crashes() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish(&engine, &["a:1"]).await;
    let member = join(&engine).await;
    let taken = take(&*member).await;
    member
        .commit(retry(&taken[0], bed.in_seconds(1)))
        .await
        .unwrap();
    bed.hands.advance(Duration::from_secs(1));
    assert_eq!(take(&*member).await[0].attempt, 2);
    crash(engine, member);
    let mut attempts = Vec::new();
    for n in 0..6 {
        let engine = bed.open().await;
        publish(&engine, &[&format!("b:{n}")]).await;
        let member = join(&engine).await;
        let mut retried = None;
        while retried.is_none() {
            let taken = take(&*member).await;
            let (one, others): (Vec<_>, Vec<_>) = taken
                .into_iter()
                .partition(|delivery| delivery.envelope.id() == "1");
            member.commit(settle(&others)).await.unwrap();
            retried = one.first().map(|delivery| delivery.attempt);
        }
        attempts.extend(retried);
        crash(engine, member);
    }
    assert!(
        attempts[0] == 2 && attempts[5] > 4 && attempts.is_sorted(),
        "{attempts:?}"
    );
}

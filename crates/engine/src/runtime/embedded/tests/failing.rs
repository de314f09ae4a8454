//! Retries, parking, dead letters.

use super::*;
use crate::engine::ATTEMPT_MAX;
use crate::error::GroupError;

#[tokio::test]
async fn a_retry_blocks_its_key_only_and_keeps_order_across_a_restart() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish(&engine, &["a:1", "a:2", "b:3", "a:4"]).await;
    let member = join(&engine).await;
    let taken = take_all(&*member, 4).await;
    let due = bed.in_seconds(60);
    let committed = member.commit(retry(&taken[0], due)).await.unwrap();
    assert_eq!(committed.generation, 1);
    // Dispatch hands back what was taken before: it is stale.
    let parked = vec![taken[1].clone(), taken[3].clone()];
    member
        .commit(Commit {
            parked,
            ..settle(&taken[2..3])
        })
        .await
        .unwrap();
    publish(&engine, &["a:5", "b:6"]).await;
    let others = take_all(&*member, 1).await;
    assert_eq!(ids(&others), ["6"], "the key `a` is blocked");
    member.commit(settle(&others)).await.unwrap();
    let group = group_of(&engine).await;
    assert_eq!((group.retrying, group.parked, group.lag), (1, 3, 0));
    assert_eq!(group.next_due, Some(due));
    engine.crash(vec![member]);

    let engine = bed.open().await;
    let member = join(&engine).await;
    assert!(poll(&*member).await.is_empty(), "not due yet");
    bed.hands.advance(Duration::from_secs(60));
    let again = take(&*member).await;
    assert_eq!((ids(&again), again[0].attempt), (vec!["1"], 2));
    assert!(poll(&*member).await.is_empty(), "nothing overtakes a retry");
    publish(&engine, &["a:7"]).await;
    assert!(poll(&*member).await.is_empty());
    member.commit(settle(&again)).await.unwrap();
    let rest = take_all(&*member, 4).await;
    assert_eq!(ids(&rest), ["2", "4", "5", "7"]);
    assert!(rest.iter().all(|delivery| delivery.attempt == 1));
    member.commit(settle(&rest)).await.unwrap();
    publish(&engine, &["a:8"]).await;
    assert_eq!(ids(&take(&*member).await), ["8"], "the key is free again");
}

#[tokio::test]
async fn what_is_parked_does_not_overtake_what_is_about_to_be_handed_back() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish(&engine, &["a:1", "a:2"]).await;
    let member = join(&engine).await;
    let taken = take_all(&*member, 2).await;
    member
        .commit(retry(&taken[0], bed.hands.now()))
        .await
        .unwrap();
    publish(&engine, &["a:3"]).await;
    let again = take(&*member).await;
    assert_eq!(ids(&again), ["1"]);
    member.commit(settle(&again)).await.unwrap();
    publish(&engine, &["a:4"]).await;
    let early = poll(&*member).await;
    assert!(early.is_empty(), "{:?} overtook 2", ids(&early));
    let parked = vec![taken[1].clone()];
    member
        .commit(Commit {
            parked,
            ..Commit::default()
        })
        .await
        .unwrap();
    let rest = take_all(&*member, 3).await;
    assert_eq!(ids(&rest), ["2", "3", "4"]);
}

#[tokio::test]
async fn a_waiting_member_gets_a_retry_when_it_is_due() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish(&engine, &["a:1"]).await;
    let member = join(&engine).await;
    for attempt in 1..=3 {
        let taken = take(&*member).await;
        assert_eq!((taken.len(), taken[0].attempt), (1, attempt));
        assert_eq!(taken[0].generation, u64::from(attempt) - 1);
        member
            .commit(retry(&taken[0], bed.in_seconds(10)))
            .await
            .unwrap();
        let mut next = member.next(10);
        let early = tokio::time::timeout(Duration::from_millis(20), &mut next).await;
        assert!(early.is_err());
        bed.hands.advance(Duration::from_secs(10));
        let taken = next.await.unwrap();
        assert_eq!(taken[0].attempt, attempt + 1);
        // Dropped without an outcome: not an attempt.
        member
            .commit(Commit {
                parked: taken,
                ..Commit::default()
            })
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn what_was_read_before_its_key_was_blocked_is_not_delivered() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish(&engine, &["a:1", "a:2", "b:3"]).await;
    let member = join(&engine).await;
    let first = member.next(1).await.unwrap();
    // The others were read together with it and wait in memory.
    member
        .commit(retry(&first[0], bed.in_seconds(1)))
        .await
        .unwrap();
    let taken = take(&*member).await;
    assert_eq!(ids(&taken), ["3"]);
    assert!(poll(&*member).await.is_empty());
    let group = group_of(&engine).await;
    assert_eq!((group.retrying, group.parked), (1, 1));
    assert_eq!(
        group.position,
        taken[0].position.into(),
        "nothing before it is undecided"
    );
}

#[tokio::test]
async fn dead_letters_are_listed_redriven_and_discarded() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish(&engine, &["a:1", "a:2", "b:3"]).await;
    let member = join(&engine).await;
    let taken = take_all(&*member, 3).await;
    member.commit(dead(&taken[0], OnDead::Park)).await.unwrap();
    let parked = Commit {
        parked: vec![taken[1].clone()],
        ..Commit::default()
    };
    member.commit(parked).await.unwrap();
    member.commit(settle(&taken[2..])).await.unwrap();

    let letters = engine
        .dead_letters(None, DeadLetterFilter::default())
        .await
        .unwrap();
    let [letter] = letters.as_slice() else {
        panic!("{letters:?}")
    };
    assert_eq!(letter.envelope.as_ref(), Ok(&taken[0].envelope));
    assert_eq!((letter.attempts, letter.parked, letter.redriven), (1, 1, 0));
    assert_eq!(
        (letter.cause, letter.reason.as_str()),
        (DeathCause::Rejected, "never")
    );
    assert_eq!(letter.died, bed.hands.now());

    let other = DeadLetterFilter {
        key: Some("b".into()),
        ..DeadLetterFilter::default()
    };
    assert_eq!(engine.redrive("g", other).await.unwrap(), 0);
    let waiting = async { take(&*member).await };
    let redriving = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let filter = DeadLetterFilter {
            ids: vec!["1".into()],
            ..DeadLetterFilter::default()
        };
        engine.redrive("g", filter).await.unwrap()
    };
    let (again, count) = tokio::join!(waiting, redriving);
    assert_eq!((ids(&again), again[0].attempt, count), (vec!["1"], 1, 1));
    member.commit(dead(&again[0], OnDead::Park)).await.unwrap();
    let letters = engine
        .dead_letters(Some("g"), DeadLetterFilter::default())
        .await
        .unwrap();
    assert_eq!((letters.len(), letters[0].redriven), (1, 1));

    assert_eq!(
        engine
            .discard("g", DeadLetterFilter::default())
            .await
            .unwrap(),
        1
    );
    let rest = take(&*member).await;
    assert_eq!(ids(&rest), ["2"]);
    member.commit(settle(&rest)).await.unwrap();
    assert!(group_of(&engine).await.is_idle());
    assert!(matches!(
        engine.redrive("unknown", DeadLetterFilter::default()).await,
        Err(Error::Group(GroupError::Unknown { .. }))
    ));
}

#[tokio::test]
async fn a_limit_of_dead_letters_leaves_those_that_died_first() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish(&engine, &["a:1", "b:2", "c:3"]).await;
    let member = join(&engine).await;
    let taken = take_all(&*member, 3).await;
    for last_first in taken.iter().rev() {
        member.commit(dead(last_first, OnDead::Park)).await.unwrap();
        bed.hands.advance(Duration::from_secs(1));
    }
    let oldest = || DeadLetterFilter {
        limit: 2,
        ..DeadLetterFilter::default()
    };
    for group in [Some("g"), None] {
        let letters = engine.dead_letters(group, oldest()).await.unwrap();
        let found: Vec<_> = letters.iter().map(|letter| letter.event.id()).collect();
        assert_eq!(found, ["3", "2"], "{group:?}");
    }
    assert_eq!(engine.discard("g", oldest()).await.unwrap(), 2);
    let left = engine.dead_letters(Some("g"), oldest()).await.unwrap();
    assert_eq!(left[0].event.id(), "1");
}

#[tokio::test]
async fn a_skipped_dead_letter_blocks_nothing_and_can_be_redriven() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish(&engine, &["a:1"]).await;
    let member = join(&engine).await;
    let taken = take(&*member).await;
    member.commit(dead(&taken[0], OnDead::Skip)).await.unwrap();
    publish(&engine, &["a:2"]).await;
    let taken = take(&*member).await;
    assert_eq!(ids(&taken), ["2"]);
    member.commit(settle(&taken)).await.unwrap();
    engine.close().await.unwrap();

    let engine = bed.open().await;
    let member = join(&engine).await;
    assert_eq!(
        engine
            .redrive("g", DeadLetterFilter::default())
            .await
            .unwrap(),
        1
    );
    assert_eq!(ids(&take(&*member).await), ["1"]);
}

#[tokio::test]
async fn put_aside_events_go_with_their_slot() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish(&engine, &["a:1", "a:2"]).await;
    let first = join(&engine).await;
    let taken = take_all(&*first, 2).await;
    first
        .commit(retry(&taken[0], bed.in_seconds(5)))
        .await
        .unwrap();
    let parked = Commit {
        parked: vec![taken[1].clone()],
        ..Commit::default()
    };
    first.commit(parked).await.unwrap();
    bed.hands.advance(Duration::from_secs(5));
    let taken = take(&*first).await;
    assert_eq!(ids(&taken), ["1"]);
    let second = join(&engine).await;
    drop(first);
    let again = take(&*second).await;
    assert_eq!(
        (ids(&again), again[0].attempt),
        (vec!["1"], 2),
        "not an attempt: it was let go"
    );
    second.commit(settle(&again)).await.unwrap();
    assert_eq!(ids(&take(&*second).await), ["2"]);
}

#[tokio::test]
async fn an_attempt_that_cannot_be_is_refused_and_the_log_opens_again() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish(&engine, &["a:1"]).await;
    let member = join(&engine).await;
    let mut taken = take(&*member).await;
    for number in [0, u32::MAX] {
        let mut commit = retry(&taken[0], bed.hands.now());
        commit.retries[0].attempt = number;
        let refused = member.commit(commit).await.unwrap_err();
        let is_said = matches!(
            &refused,
            Error::Group(GroupError::AttemptNumber { number: found, .. }) if *found == number
        );
        assert!(is_said, "{refused}");
    }
    let mut commit = dead(&taken[0], OnDead::Park);
    commit.dead[0].attempts = u32::MAX;
    member.commit(commit).await.unwrap_err();
    // The last one that is counted is followed by itself.
    for _ in 0..2 {
        let mut commit = retry(&taken[0], bed.hands.now());
        commit.retries[0].attempt = ATTEMPT_MAX;
        member.commit(commit).await.unwrap();
        taken = take(&*member).await;
        assert_eq!(taken[0].attempt, ATTEMPT_MAX);
    }
    engine.crash(vec![member]);
    let engine = bed.open().await;
    let member = join(&engine).await;
    assert_eq!(take(&*member).await[0].attempt, ATTEMPT_MAX);
}

//! Every limit has a name, and what is refused has not happened.

use super::*;
use crate::engine::{APPEND_EVENTS_MAX, Expect, StateWrite};
use crate::error::{AppendError, GroupError, LimitError};

fn limit_of(error: Error) -> &'static str {
    match error {
        Error::Limit(LimitError { limit, .. }) => limit,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_group_pauses_when_too_many_keys_wait() {
    let mut bed = Bed::new();
    bed.settings.parked_max = 3;
    let engine = bed.open().await;
    let member = join(&engine).await;
    for key in ["a", "b", "c", "d"] {
        publish(&engine, &[&format!("{key}:{key}")]).await;
        let taken = take(&*member).await;
        member.commit(dead(&taken[0], OnDead::Park)).await.unwrap();
    }
    publish(&engine, &["e:e", "a:a2"]).await;
    assert!(poll(&*member).await.is_empty());
    let group = group_of(&engine).await;
    assert_eq!((group.dead, group.lag), (4, 2), "nothing is lost");
    assert!(group.paused.unwrap().contains("parked_max"));

    let filter = DeadLetterFilter {
        key: Some("a".into()),
        ..DeadLetterFilter::default()
    };
    engine.discard("g", filter).await.unwrap();
    let mut handled = Vec::new();
    while handled.len() < 2 {
        let taken = take(&*member).await;
        member.commit(settle(&taken)).await.unwrap();
        handled.extend(ids(&taken).into_iter().map(str::to_owned));
    }
    handled.sort_unstable();
    assert_eq!(handled, ["a2", "e"]);
    assert_eq!(group_of(&engine).await.paused, None);
}

#[tokio::test]
async fn keys_that_fail_again_and_again_keep_no_more_than_a_quarter_over_the_limit_and_one_event_each()
 {
    const KEYS: usize = 30;
    const EVENTS: usize = 20;
    const HELD: usize = 10;
    let mut bed = Bed::new();
    bed.settings.parked_max = 40;
    let engine = bed.open().await;
    for number in 0..EVENTS {
        let events: Vec<_> = (0..KEYS)
            .map(|key| format!("{key}:{key}.{number}"))
            .collect();
        publish(
            &engine,
            &events.iter().map(String::as_str).collect::<Vec<_>>(),
        )
        .await;
    }
    let wanted = Subscription {
        in_flight_max: HELD,
        ..subscription("g")
    };
    let member = engine.join(wanted).await.unwrap();
    let kept = || {
        engine.inner().locked().state().groups()["g"]
            .set_aside()
            .len()
    };
    let (mut handled, mut most, mut rounds) = (vec![0; KEYS], 0, 0);
    while handled.iter().sum::<usize>() < KEYS * EVENTS {
        let taken = poll(&*member).await;
        if taken.is_empty() {
            rounds += 1;
            bed.hands.advance(Duration::from_secs(3_600));
        }
        for delivery in taken {
            if delivery.generation < engine.inner().locked().state().groups()["g"].generation() {
                // It may be behind one that failed meanwhile.
                let parked = vec![delivery];
                let back = Commit {
                    parked,
                    ..Commit::default()
                };
                member.commit(back).await.unwrap();
            } else if delivery.attempt == 1 && rounds < 3 {
                let due = bed.in_seconds(3_600);
                member.commit(retry(&delivery, due)).await.unwrap();
            } else {
                let key: usize = delivery.envelope.key().parse().unwrap();
                let due = format!("{key}.{}", handled[key]);
                assert_eq!(delivery.envelope.id(), due);
                handled[key] += 1;
                member.commit(settle(&[delivery])).await.unwrap();
            }
            most = most.max(kept());
        }
    }
    assert!(
        most > bed.settings.parked_max / 2,
        "the limit is far away: {most}"
    );
    let bound = bed.settings.parked_max * 5 / 4 + KEYS + HELD;
    assert!(most <= bound, "{most} were kept, {bound} may be");
}

#[tokio::test]
async fn state_is_bounded_and_durable() {
    let mut bed = Bed::new();
    bed.settings.state_bytes_max = 200;
    let engine = bed.open().await;
    publish(&engine, &["a:1"]).await;
    let member = join(&engine).await;
    let taken = take(&*member).await;
    let write = |value: Option<usize>| StateWrite {
        topic: "t".into(),
        key: "a".into(),
        name: "total".into(),
        value: value.map(|bytes| vec![7; bytes].into()),
    };
    let commit = |value| Commit {
        state: vec![write(value)],
        ..Commit::default()
    };
    let refused = member
        .commit(Commit {
            state: vec![write(Some(500))],
            ..settle(&taken)
        })
        .await;
    assert_eq!(limit_of(refused.unwrap_err()), "state_bytes_max");
    member
        .commit(Commit {
            state: vec![write(Some(5))],
            ..settle(&taken)
        })
        .await
        .unwrap();
    member.commit(commit(Some(6))).await.unwrap();
    engine.close().await.unwrap();

    let engine = bed.open().await;
    let cell = engine.state("g", "t", "a", "total").await.unwrap();
    assert_eq!(cell.unwrap().as_ref(), [7; 6]);
    assert_eq!(engine.state("g", "t", "b", "total").await.unwrap(), None);
    let member = join(&engine).await;
    member.commit(commit(None)).await.unwrap();
    assert_eq!(engine.state("g", "t", "a", "total").await.unwrap(), None);
}

#[tokio::test]
async fn appends_are_bounded() {
    let bed = Bed::new();
    let engine = bed.open().await;
    let many = vec![Append::from(event("t", "k", "i")); APPEND_EVENTS_MAX + 1];
    assert_eq!(
        limit_of(engine.append(many).await.unwrap_err()),
        "APPEND_EVENTS_MAX"
    );
    let large = |n: usize| {
        let payload = vec![b'x'; 8 * 1024 * 1024];
        Envelope::builder("t", "e")
            .id(n.to_string())
            .payload(Codec::Json, payload)
            .build()
            .unwrap()
    };
    let large: Vec<_> = (0..9).map(|n| Append::from(large(n))).collect();
    assert_eq!(
        limit_of(engine.append(large).await.unwrap_err()),
        "batch_bytes_max"
    );
    assert!(engine.append(Vec::new()).await.unwrap().is_empty());
    let control = Envelope::builder("_ensue.groups", "e").build().unwrap();
    assert!(matches!(
        engine.append(vec![control.into()]).await,
        Err(Error::Append(AppendError::Invalid(_)))
    ));
    let read = engine.read(Query::default()).await.unwrap();
    assert!(read.events.is_empty() && read.is_end);
}

#[tokio::test]
async fn a_group_needs_a_name_and_topics() {
    let bed = Bed::new();
    let engine = bed.open().await;
    let nameless = engine.join(subscription("")).await;
    assert!(matches!(
        nameless,
        Err(Error::Group(GroupError::Subscription { .. }))
    ));
    let aimless = Subscription {
        topics: Vec::new(),
        ..subscription("g")
    };
    assert!(matches!(
        engine.join(aimless).await,
        Err(Error::Group(GroupError::Subscription { .. }))
    ));
    let long = engine.join(subscription(&"x".repeat(300))).await;
    assert_eq!(limit_of(long.unwrap_err()), "GROUP_BYTES_MAX");
}

#[tokio::test]
async fn a_member_holds_no_more_than_it_asked_for() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish(&engine, &["a:1", "b:2", "c:3", "d:4", "e:5"]).await;
    let wanted = Subscription {
        in_flight_max: 2,
        ..subscription("g")
    };
    let member = engine.join(wanted).await.unwrap();
    let taken = take(&*member).await;
    assert_eq!(taken.len(), 2);
    assert!(poll(&*member).await.is_empty());
    let next = async { take(&*member).await };
    let commit = async { member.commit(settle(&taken[..1])).await };
    let (next, committed) = tokio::join!(next, commit);
    committed.unwrap();
    assert_eq!(ids(&next), ["3"]);
}

#[tokio::test]
async fn an_expectation_that_does_not_hold_appends_nothing() {
    let bed = Bed::new();
    let engine = bed.open().await;
    let conditional = |id: &str, expect| Append {
        expect: Some(expect),
        ..event("t", "k", id).into()
    };
    let first = engine
        .append(vec![conditional("1", Expect::Absent)])
        .await
        .unwrap()[0]
        .position;
    let batch = vec![
        event("t", "other", "2").into(),
        conditional("3", Expect::Absent),
    ];
    match engine.append(batch).await {
        Err(Error::Append(AppendError::Conflict {
            topic,
            key,
            expected,
            found,
        })) => {
            assert_eq!((topic.as_str(), key.as_str()), ("t", "k"));
            assert_eq!((expected, found), (None, Some(first)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(engine.read(Query::default()).await.unwrap().events.len(), 1);
    engine
        .append(vec![conditional("4", Expect::At(first))])
        .await
        .unwrap();

    // In a commit the conflict undoes the claim too.
    let member = join(&engine).await;
    let taken = take_all(&*member, 2).await;
    let effects = vec![conditional("5", Expect::At(first)).into()];
    let commit = Commit {
        effects,
        ..settle(&taken)
    };
    assert!(matches!(
        member.commit(commit).await,
        Err(Error::Append(AppendError::Conflict { .. }))
    ));
    member.commit(settle(&taken)).await.unwrap();
}

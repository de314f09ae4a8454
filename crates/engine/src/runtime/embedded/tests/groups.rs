//! Groups: positions, members, order.

use std::collections::BTreeSet;

use futures_util::FutureExt;

use super::*;
use crate::engine::{ReplayEffects, ReplayState};
use crate::error::GroupError;
use crate::model::change::Change;
use crate::model::record;

#[tokio::test]
async fn events_are_delivered_once_and_in_order_and_settled_for_good() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish(&engine, &["a:1", "b:2", "a:3"]).await;
    let member = join(&engine).await;
    let taken = take_all(&*member, 3).await;
    assert_eq!(ids(&taken), ["1", "2", "3"]);
    assert!(
        taken
            .iter()
            .all(|delivery| delivery.attempt == 1 && delivery.generation == 0)
    );
    member.commit(settle(&taken)).await.unwrap();
    assert!(poll(&*member).await.is_empty());

    publish(&engine, &["a:4"]).await;
    let taken = take(&*member).await;
    assert_eq!(ids(&taken), ["4"]);
    engine.close().await.unwrap();

    let engine = bed.open().await;
    let member = join(&engine).await;
    assert_eq!(
        ids(&take(&*member).await),
        ["4"],
        "unsettled when the engine was closed"
    );
}

#[tokio::test]
async fn what_is_settled_out_of_order_is_not_delivered_again() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish(&engine, &["a:1", "b:2", "c:3", "d:4", "e:5"]).await;
    let member = join(&engine).await;
    let taken = take_all(&*member, 5).await;
    member.commit(settle(&taken[3..4])).await.unwrap();
    member.commit(settle(&taken[1..2])).await.unwrap();
    drop(member);
    engine.crash(Vec::new());

    let engine = bed.open().await;
    let group = group_of(&engine).await;
    assert_eq!((group.lag, group.in_flight), (3, 0));
    let member = join(&engine).await;
    let taken = take_all(&*member, 3).await;
    assert_eq!(ids(&taken), ["1", "3", "5"]);
    member.commit(settle(&taken)).await.unwrap();
    let group = group_of(&engine).await;
    assert!(group.is_idle() && group.members.len() == 1, "{group:?}");
}

#[tokio::test]
async fn a_group_sees_its_topics_and_types_only() {
    let bed = Bed::new();
    let engine = bed.open().await;
    let other = Envelope::builder("t.x", "other.happened")
        .id("2")
        .build()
        .unwrap();
    let events = [
        event("t.x", "k", "1"),
        other,
        event("u", "k", "3"),
        event("t.y", "k", "4"),
    ];
    engine
        .append(events.map(Append::from).to_vec())
        .await
        .unwrap();
    let wanted = Subscription {
        topics: vec!["t.*".parse().unwrap(), "t.x".parse().unwrap()],
        types: Some(vec!["thing.happened".into()]),
        ..subscription("g")
    };
    let member = engine.join(wanted).await.unwrap();
    let taken = take_all(&*member, 2).await;
    assert_eq!(ids(&taken), ["1", "4"]);
    member.commit(settle(&taken)).await.unwrap();
    assert!(group_of(&engine).await.is_idle());
}

#[tokio::test]
async fn groups_start_where_they_say() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish(&engine, &["a:1"]).await;
    bed.hands.advance(Duration::from_secs(10));
    let second = publish(&engine, &["a:2"]).await[0].position;
    for (group, start, expected) in [
        ("earliest", Start::Earliest, vec!["1", "2", "3"]),
        ("latest", Start::Latest, vec!["3"]),
        ("position", Start::Cursor(second.into()), vec!["2", "3"]),
        ("time", Start::Time(bed.hands.now()), vec!["2", "3"]),
    ] {
        let wanted = Subscription {
            start,
            ..subscription(group)
        };
        drop(engine.join(wanted).await.unwrap());
        let _ = expected;
    }
    publish(&engine, &["a:3"]).await;
    for (group, expected) in [
        ("earliest", vec!["1", "2", "3"]),
        ("latest", vec!["3"]),
        ("position", vec!["2", "3"]),
        ("time", vec!["2", "3"]),
    ] {
        // The group is there already: another start changes nothing.
        let wanted = Subscription {
            start: Start::Latest,
            ..subscription(group)
        };
        let member = engine.join(wanted).await.unwrap();
        let taken = take_all(&*member, expected.len()).await;
        assert_eq!(ids(&taken), expected, "{group}");
    }
}

#[tokio::test]
async fn members_share_keys_and_a_dropped_one_gives_its_events_back_in_order() {
    let bed = Bed::new();
    let engine = bed.open().await;
    let first = join(&engine).await;
    let second = join(&engine).await;
    let events: Vec<String> = (0..80).map(|n| format!("k{}:{n}", n % 20)).collect();
    publish(
        &engine,
        &events.iter().map(String::as_str).collect::<Vec<_>>(),
    )
    .await;

    let (mut at_first, mut at_second) = (Vec::new(), Vec::new());
    let begun = std::time::Instant::now();
    while at_first.len() + at_second.len() < 80 {
        assert!(begun.elapsed() < HANG, "not all is delivered");
        at_first.extend(poll(&*first).await);
        at_second.extend(poll(&*second).await);
    }
    assert_eq!(at_first.len() + at_second.len(), 80);
    assert!(!at_first.is_empty() && !at_second.is_empty());
    let keys = |taken: &[Delivery]| -> BTreeSet<String> {
        taken
            .iter()
            .map(|delivery| delivery.envelope.key().to_owned())
            .collect()
    };
    assert!(
        keys(&at_first).is_disjoint(&keys(&at_second)),
        "a key has one owner"
    );

    // While the second one holds them, the first gets nothing of them.
    assert!(poll(&*first).await.is_empty());
    let held = at_second.len();
    drop(second);
    let again = take_all(&*first, held).await;
    assert_eq!(ids(&again), ids(&at_second));
    first.commit(settle(&again)).await.unwrap();
    first.commit(settle(&at_first)).await.unwrap();
    assert!(group_of(&engine).await.is_idle());
}

#[tokio::test]
async fn a_key_moves_to_a_new_member_only_when_none_of_its_events_is_out() {
    let bed = Bed::new();
    let engine = bed.open().await;
    let first = join(&engine).await;
    let events: Vec<String> = (0..64).map(|n| format!("k{n}:{n}")).collect();
    publish(
        &engine,
        &events.iter().map(String::as_str).collect::<Vec<_>>(),
    )
    .await;
    let taken = take_all(&*first, 64).await;

    let second = join(&engine).await;
    let events: Vec<String> = (0..64).map(|n| format!("k{n}:later{n}")).collect();
    publish(
        &engine,
        &events.iter().map(String::as_str).collect::<Vec<_>>(),
    )
    .await;
    assert!(
        poll(&*second).await.is_empty(),
        "every key has an event out at the first member"
    );
    first.commit(settle(&taken)).await.unwrap();
    let at_second = take(&*second).await;
    let at_first = take(&*first).await;
    assert_eq!(at_first.len() + at_second.len(), 64);
}

#[tokio::test]
async fn what_is_not_a_members_cannot_be_committed() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish(&engine, &["a:1", "b:2"]).await;
    let member = join(&engine).await;
    let taken = take_all(&*member, 2).await;

    let mut twice = settle(&taken);
    twice.settled.push(taken[0].position);
    assert!(matches!(
        member.commit(twice).await,
        Err(Error::Group(GroupError::Fenced { .. }))
    ));
    let mut effect = settle(&taken);
    effect.settled.push(Position::new(4711));
    effect.effects.push(event("out", "k", "effect").into());
    assert!(matches!(
        member.commit(effect).await,
        Err(Error::Group(GroupError::Fenced { .. }))
    ));
    let out = Query {
        topics: Some("out".parse().unwrap()),
        ..Query::default()
    };
    assert!(
        engine.read(out).await.unwrap().events.is_empty(),
        "nothing of it happened"
    );

    member.commit(settle(&taken)).await.unwrap();
    assert!(matches!(
        member.commit(settle(&taken)).await,
        Err(Error::Group(GroupError::Fenced { .. }))
    ));
    member.leave().await.unwrap();
    member.leave().await.unwrap();
    assert!(matches!(
        member.next(1).await,
        Err(Error::Group(GroupError::Fenced { .. }))
    ));
    assert!(matches!(
        member.commit(Commit::default()).await,
        Err(Error::Group(GroupError::Fenced { .. }))
    ));
}

#[tokio::test]
async fn a_reset_fences_and_moves() {
    let bed = Bed::new();
    let engine = Arc::new(bed.open().await);
    publish(&engine, &["a:1", "b:2", "c:3"]).await;
    let member = join(&engine).await;
    let taken = take_all(&*member, 3).await;
    member.commit(settle(&taken[..2])).await.unwrap();
    member.commit(dead(&taken[2], OnDead::Park)).await.unwrap();

    let waiting = tokio::spawn(async move {
        let outcome = member.next(10).await;
        (member, outcome)
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    engine.reset("g", Start::Earliest.into()).await.unwrap();
    let (member, outcome) = waiting.await.unwrap();
    assert!(matches!(
        outcome,
        Err(Error::Group(GroupError::Fenced { .. }))
    ));
    assert!(matches!(
        member.commit(settle(&taken)).await,
        Err(Error::Group(GroupError::Fenced { .. }))
    ));

    let member = join(&engine).await;
    let taken = take_all(&*member, 3).await;
    assert_eq!(ids(&taken), ["1", "2", "3"]);
    assert_eq!(
        group_of(&engine).await.dead,
        0,
        "its dead letter is among them"
    );
    assert!(matches!(
        engine.reset("unknown", Start::Latest.into()).await,
        Err(Error::Group(GroupError::Unknown { group, .. })) if group == "unknown"
    ));
}

/// As a log that was cut would have it.
#[tokio::test]
async fn a_group_beyond_the_end_of_its_log_takes_nothing_and_says_so() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish(&engine, &["a:1"]).await;
    join(&engine).await.leave().await.unwrap();
    let cut = Change::Reset(record::Reset {
        group: "g".into(),
        to: Position::new(1_000_000),
        at: crate::time::Timestamp::EPOCH,
        effects: ReplayEffects::Publish,
        state: ReplayState::Keep,
    });
    engine.inner().record(vec![cut]).await.unwrap();
    let paused = group_of(&engine).await.paused.unwrap();
    assert!(
        paused.contains("1000000") && paused.contains("reset"),
        "{paused}"
    );
    let refused = engine.join(subscription("g")).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Group(GroupError::BeyondEnd { group, .. }) if group == "g"),
        "{refused}"
    );
    engine.reset("g", Start::Latest.into()).await.unwrap();
    assert_eq!(group_of(&engine).await.paused, None);
    let member = join(&engine).await;
    publish(&engine, &["a:2"]).await;
    assert_eq!(ids(&take(&*member).await), ["2"]);
}

#[tokio::test]
async fn a_deleted_group_starts_from_the_beginning() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish(&engine, &["a:1"]).await;
    let member = join(&engine).await;
    member.commit(settle(&take(&*member).await)).await.unwrap();
    assert!(matches!(
        engine.delete_group("g").await,
        Err(Error::Group(GroupError::HasMembers { .. }))
    ));
    member.leave().await.unwrap();
    engine.delete_group("g").await.unwrap();
    assert!(matches!(
        engine.delete_group("g").await,
        Err(Error::Group(GroupError::Unknown { .. }))
    ));
    let member = join(&engine).await;
    assert_eq!(ids(&take(&*member).await), ["1"]);
}

#[tokio::test]
async fn a_next_that_is_given_up_loses_nothing() {
    let bed = Bed::new();
    let engine = bed.open().await;
    let member = join(&engine).await;
    let mut returned = 0;
    for round in 0..50 {
        let id = format!("k:{round}");
        let mut next = member.next(10);
        // What was published last time may be there at once.
        if let Some(taken) = (&mut next).now_or_never() {
            returned += taken.unwrap().len();
            next = member.next(10);
            assert!((&mut next).now_or_never().is_none());
        }
        publish(&engine, &[&id]).await;
        if round % 2 == 0 {
            // Half way through: woken, but not returned.
            tokio::task::yield_now().await;
        }
        drop(next);
    }
    let rest = take_all(&*member, 50 - returned).await;
    assert_eq!((returned, rest.len()), (49, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn members_that_come_and_go_on_several_threads_lose_nothing_and_overtake_nothing() {
    const EVENTS: usize = 3_000;
    const KEYS: usize = 32;
    let bed = Bed::new();
    let engine = Arc::new(bed.open().await);
    /// Per key, how many of its events were handled; and which events were settled.
    #[derive(Default)]
    struct Seen {
        handled: [usize; KEYS],
        settled: BTreeSet<usize>,
    }
    let seen = Arc::new(std::sync::Mutex::new(Seen::default()));
    let work = async |engine: Arc<Embedded>, seen: Arc<std::sync::Mutex<Seen>>, seed: u64| {
        let mut random = fastrand::Rng::with_seed(seed);
        while seen.lock().unwrap().settled.len() < EVENTS {
            let wanted = Subscription {
                in_flight_max: 64,
                ..subscription("g")
            };
            let member = engine.join(wanted).await.unwrap();
            for _ in 0..random.usize(1..20) {
                let next = member.next(random.usize(1..40));
                let wait = Duration::from_millis(random.u64(1..30));
                let Ok(taken) = tokio::time::timeout(wait, next).await else {
                    continue;
                };
                let taken = taken.unwrap();
                for delivery in &taken {
                    let id: usize = delivery.envelope.id().parse().unwrap();
                    let (key, turn) = (id % KEYS, id / KEYS);
                    let handled = &mut seen.lock().unwrap().handled[key];
                    assert!(turn <= *handled, "key {key}: {turn} after {handled}");
                    *handled = (*handled).max(turn + 1);
                }
                if random.u8(..) < 30 {
                    break; // Without a word, with events in its hands.
                }
                member.commit(settle(&taken)).await.unwrap();
                for delivery in &taken {
                    let id = delivery.envelope.id().parse().unwrap();
                    assert!(
                        seen.lock().unwrap().settled.insert(id),
                        "{id} was settled twice"
                    );
                }
            }
            if random.bool() {
                member.leave().await.unwrap();
            }
        }
    };
    let workers: Vec<_> = (0..3)
        .map(|seed| tokio::spawn(work(engine.clone(), seen.clone(), seed)))
        .collect();
    for batch in 0..EVENTS / 100 {
        let events = (0..100).map(|n| {
            let id = batch * 100 + n;
            Append::from(event("t", &format!("k{}", id % KEYS), &id.to_string()))
        });
        engine.append(events.collect()).await.unwrap();
    }
    for worker in workers {
        tokio::time::timeout(HANG, worker)
            .await
            .expect("it hangs")
            .unwrap();
    }
    engine.close().await.unwrap();
}

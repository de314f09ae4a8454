//! No key holds up another: whatever one does, the events of others are delivered.

use std::collections::VecDeque;

use super::*;

/// So many steps of the clock are waited for what has to come.
const STEPS_MAX: usize = 6_000;
/// How many events one append has.
const BATCH: usize = 5_000;

/// Appends `count` events of one key, with the ids `key-0`, `key-1` and so on.
async fn publish_many(engine: &Embedded, key: &str, count: usize) {
    publish_sized(engine, key, count, 2).await;
}

async fn publish_sized(engine: &Embedded, key: &str, count: usize, bytes: usize) {
    let sized = |n: usize| {
        let payload = vec![b'1'; bytes];
        let event = Envelope::builder("t", "thing.happened").key(key);
        let event = event.id(format!("{key}-{n}"));
        Append::from(event.payload(Codec::Json, payload).build().unwrap())
    };
    let batch = BATCH.min((32 << 20) / bytes).max(1);
    for from in (0..count).step_by(batch) {
        let events = (from..count.min(from + batch)).map(sized).collect();
        engine.append(events).await.unwrap();
    }
}

fn of(key: &str, delivery: &Delivery) -> bool {
    delivery.envelope.key() == key
}

/// Takes until an event of `key` comes; gives it, and what else came and is not settled. While
/// nothing comes the clock goes on, and if `settles`, the oldest one is settled then: gives those
/// too.
async fn take_until(
    bed: &Bed,
    member: &dyn Member,
    key: &str,
    settles: bool,
) -> (Delivery, VecDeque<Delivery>, Vec<String>) {
    let (mut held, mut settled) = (VecDeque::new(), Vec::new());
    let steps = if settles { 20 } else { STEPS_MAX };
    while settled.len() < 1_000 {
        let taken = next_within(bed, member, steps).await;
        let is_idle = taken.is_empty();
        for delivery in taken {
            if of(key, &delivery) {
                return (delivery, held, settled);
            }
            held.push_back(delivery);
        }
        if is_idle {
            let oldest = held.pop_front().filter(|_| settles);
            let oldest = oldest.expect("something comes");
            let only = std::slice::from_ref(&oldest);
            member.commit(settle(only)).await.unwrap();
            settled.push(oldest.envelope.id().to_owned());
        }
    }
    panic!(
        "{} other events, and none of {key}",
        held.len() + settled.len()
    );
}

/// What comes next while the clock goes on by up to so many steps of 10 ms; nothing after that.
async fn next_within(bed: &Bed, member: &dyn Member, steps: usize) -> Vec<Delivery> {
    let mut next = member.next(1_000);
    for _ in 0..steps {
        match tokio::time::timeout(Duration::from_millis(10), &mut next).await {
            Ok(taken) => return taken.unwrap(),
            Err(_) => bed.hands.advance(Duration::from_millis(10)),
        }
    }
    Vec::new()
}

/// Settles everything that comes, in the order in which it comes, until `count` events were; gives
/// their ids.
async fn drain(bed: &Bed, member: &dyn Member, count: usize) -> Vec<String> {
    let mut ids = Vec::with_capacity(count);
    while ids.len() < count {
        let taken = next_within(bed, member, STEPS_MAX).await;
        assert!(!taken.is_empty(), "{} of {count}", ids.len());
        member.commit(settle(&taken)).await.unwrap();
        ids.extend(taken.iter().map(|it| it.envelope.id().to_owned()));
    }
    assert_eq!(ids.len(), count);
    ids
}

fn numbered(key: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|n| format!("{key}-{n}")).collect()
}

fn only(key: &str, ids: &[String]) -> Vec<String> {
    let prefix = format!("{key}-");
    let of_key = ids.iter().filter(|id| id.starts_with(&prefix));
    of_key.cloned().collect()
}

async fn join_with(engine: &Embedded, in_flight_max: usize) -> Box<dyn Member> {
    let wanted = Subscription {
        in_flight_max,
        ..subscription("g")
    };
    engine.join(wanted).await.unwrap()
}

/// Publishes the first event of `key`, which fails and is tried again in an hour.
async fn fail_first(bed: &Bed, engine: &Embedded, member: &dyn Member, key: &str) {
    publish_many(engine, key, 1).await;
    let taken = take(member).await;
    let due = bed.in_seconds(3_600);
    member.commit(retry(&taken[0], due)).await.unwrap();
}

/// What a few slow keys have in hands is never settled: an event of another key comes through.
async fn others_go_on(in_flight_max: usize, slow: usize, count: usize, bytes: usize) {
    let bed = Bed::new();
    let engine = bed.open().await;
    // With many slow keys all that a member may hold is of them, each its share.
    let settles = slow * 4 > in_flight_max;
    for key in 0..slow {
        publish_sized(&engine, &format!("slow{key}"), count, bytes).await;
    }
    publish_many(&engine, "other", 1).await;
    let member = join_with(&engine, in_flight_max).await;
    let (other, mut held, mut ids) = take_until(&bed, &*member, "other", settles).await;
    member.commit(settle(&[other])).await.unwrap();
    let of_first = held.iter().filter(|it| of("slow0", it)).count();
    assert!(of_first <= in_flight_max.div_ceil(2), "{of_first} are held");
    // Everything comes, in order, whatever became a backlog.
    member.commit(settle(held.make_contiguous())).await.unwrap();
    ids.extend(held.drain(..).map(|it| it.envelope.id().to_owned()));
    ids.extend(drain(&bed, &*member, slow * count - ids.len()).await);
    for key in 0..slow {
        let name = format!("slow{key}");
        assert_eq!(only(&name, &ids), numbered(&name, 0..count));
    }
    let group = group_of(&engine).await;
    assert_eq!((group.lag, group.in_flight, group.parked), (0, 0, 0));
}

#[tokio::test]
async fn a_slow_key_with_a_long_backlog_does_not_hold_up_another() {
    others_go_on(100, 1, 20_000, 2).await;
}

#[tokio::test]
async fn several_slow_keys_do_not_hold_up_another() {
    others_go_on(64, 6, 4_000, 2).await;
    others_go_on(64, 20, 2_500, 2).await;
}

#[tokio::test]
async fn a_slow_key_with_large_events_does_not_hold_up_another() {
    others_go_on(1_000, 1, 60, 3 << 20).await;
}

#[tokio::test]
async fn a_member_that_holds_two_events_takes_turns() {
    others_go_on(2, 1, 20_000, 2).await;
}

#[tokio::test]
async fn a_member_that_holds_one_event_takes_turns() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish_many(&engine, "slow", 18_000).await;
    publish_many(&engine, "other", 3).await;
    let member = join_with(&engine, 1).await;
    let mut order = Vec::new();
    while order.len() < 200 && only("other", &order).len() < 3 {
        order.extend(drain(&bed, &*member, 1).await);
        // So long takes what each of them does.
        bed.hands.advance(Duration::from_millis(4));
    }
    assert_eq!(only("other", &order), numbered("other", 0..3), "{order:?}");
    let slow = only("slow", &order).len();
    assert_eq!(only("slow", &order), numbered("slow", 0..slow));
}

#[tokio::test]
async fn a_key_that_keeps_retrying_does_not_hold_up_others_however_much_is_behind_it() {
    const BEHIND: usize = 110_000;
    let bed = Bed::new();
    let engine = bed.open().await;
    let member = join_with(&engine, 1_000).await;
    fail_first(&bed, &engine, &*member, "bad").await;
    publish_many(&engine, "bad", 1 + BEHIND).await;
    publish_many(&engine, "other", 500).await;
    let others = drain(&bed, &*member, 500).await;
    assert_eq!(others, numbered("other", 0..500));
    // What is just being put aside counts as parked at once; the position passes it when that is
    // durable.
    let events = (1 + BEHIND + 500) as u64;
    let begun = std::time::Instant::now();
    let group = loop {
        let group = group_of(&engine).await;
        if group.lag == 0 && group.position >= Position::new(events).into() {
            break group;
        }
        assert!(begun.elapsed() < HANG, "{group:?}");
        next_within(&bed, &*member, 1).await;
    };
    assert_eq!(
        (group.retrying, group.parked, group.trouble),
        (1, BEHIND, None)
    );
    let [backlog] = group.backlogs.as_slice() else {
        panic!("{:?}", group.backlogs)
    };
    assert_eq!((backlog.topic.as_str(), backlog.key.as_str()), ("t", "bad"));
    assert!(backlog.events > BEHIND as u64 - 2_000, "{backlog:?}");
    let kept = engine.inner().locked().state().groups()["g"]
        .set_aside()
        .len();
    assert!(kept < 1_100, "{kept} events are kept one by one");

    // It recovers after a restart.
    engine.crash(vec![member]);
    let engine = bed.open().await;
    let member = join_with(&engine, 1_000).await;
    bed.hands.advance(Duration::from_secs(3_600));
    let ids = drain(&bed, &*member, 1 + BEHIND).await;
    assert_eq!(ids, numbered("bad", 0..1 + BEHIND));
    publish_many(&engine, "more", 1).await;
    drain(&bed, &*member, 1).await;
    let state = engine.inner().locked().state().groups()["g"].clone();
    assert!(state.set_aside().is_empty(), "{:?}", state.set_aside());
}

#[tokio::test]
async fn a_dead_letter_with_a_long_backlog_is_redriven_or_discarded_in_order() {
    for (is_redriven, behind) in [(true, 110_000), (false, 5_000)] {
        let bed = Bed::new();
        let engine = bed.open().await;
        publish_many(&engine, "bad", 1 + behind).await;
        publish_many(&engine, "other", 500).await;
        let member = join_with(&engine, 1_000).await;
        let taken = member.next(1).await.unwrap();
        member.commit(dead(&taken[0], OnDead::Park)).await.unwrap();
        let others = drain(&bed, &*member, 500).await;
        assert_eq!(others, numbered("other", 0..500));
        // What was met last is counted when it is durable.
        let begun = std::time::Instant::now();
        loop {
            let letters = engine.dead_letters(None, DeadLetterFilter::default()).await;
            let parked = letters.unwrap()[0].parked;
            if parked == behind {
                break;
            }
            assert!(begun.elapsed() < HANG, "{parked} are parked");
            poll(&*member).await;
        }
        let filter = DeadLetterFilter::default();
        let first = match is_redriven {
            true => engine.redrive("g", filter).await.unwrap() - 1,
            false => engine.discard("g", filter).await.unwrap(),
        };
        let ids = drain(&bed, &*member, 1 + behind - first).await;
        assert_eq!(ids, numbered("bad", first..1 + behind));
        assert!(group_of(&engine).await.is_idle());
    }
}

#[tokio::test]
async fn dead_letters_that_are_skipped_pause_nothing_and_at_the_limit_stop_their_own_keys() {
    let mut bed = Bed::new();
    bed.settings.parked_max = 100;
    let engine = bed.open().await;
    let member = join_with(&engine, 100).await;
    publish_many(&engine, "bad", 150).await;
    let mut died = 0;
    while died < 101 || group_of(&engine).await.parked < 49 {
        let taken = next_within(&bed, &*member, STEPS_MAX).await;
        for delivery in &taken {
            // Once its key is stopped, dispatch hands back what it holds of it.
            let is_stopped = group_of(&engine).await.trouble.is_some();
            let commit = match is_stopped {
                true => Commit {
                    parked: vec![delivery.clone()],
                    ..Commit::default()
                },
                false => dead(delivery, OnDead::Skip),
            };
            died += commit.dead.len();
            member.commit(commit).await.unwrap();
        }
    }
    assert_eq!(died, 101, "one more than the limit");
    publish_many(&engine, "other", 300).await;
    assert_eq!(drain(&bed, &*member, 300).await, numbered("other", 0..300));
    let group = group_of(&engine).await;
    assert_eq!((group.dead, group.parked), (101, 49));
    assert!(group.trouble.unwrap().contains("parked_max"));
    engine
        .discard("g", DeadLetterFilter::default())
        .await
        .unwrap();
    assert_eq!(drain(&bed, &*member, 49).await, numbered("bad", 101..150));
    let group = group_of(&engine).await;
    assert_eq!((group.trouble, group.backlogs), (None, vec![]));
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_make_others_wait_for_a_slow_key() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish_many(&engine, "slow", 8_000).await;
    publish_many(&engine, "other", 1).await;
    let member = join_with(&engine, 100).await;
    // Reading waits for the slow key.
    let mut next = member.next(1_000);
    while engine.at_rest().is_none() {
        if let Ok(taken) = tokio::time::timeout(Duration::from_millis(10), &mut next).await {
            assert!(taken.unwrap().iter().all(|it| of("slow", it)));
            next = member.next(1_000);
        }
    }
    drop(next);
    let before = bed.in_seconds(0).as_micros();
    bed.hands
        .set(Timestamp::from_micros(before - 7_200_000_000));
    let (other, _, _) = take_until(&bed, &*member, "other", false).await;
    member.commit(settle(&[other])).await.unwrap();
}

#[tokio::test]
async fn retention_keeps_a_backlog_and_a_reset_forgets_it() {
    let mut bed = Bed::new();
    bed.settings.retention_bytes = Some(1);
    bed.settings.segment_bytes = 1 << 20;
    let engine = bed.open().await;
    let member = join_with(&engine, 100).await;
    fail_first(&bed, &engine, &*member, "bad").await;
    publish_many(&engine, "bad", 20_000).await;
    publish_many(&engine, "other", 20_000).await;
    drain(&bed, &*member, 20_000).await;
    engine.checkpoint().await.unwrap();
    bed.hands.advance(Duration::from_secs(3_600));
    let ids = drain(&bed, &*member, 20_000).await;
    assert_eq!(ids, numbered("bad", 0..20_000));

    fail_first(&bed, &engine, &*member, "worse").await;
    publish_many(&engine, "worse", 5_000).await;
    while group_of(&engine).await.backlogs.is_empty() {
        next_within(&bed, &*member, 1).await;
    }
    engine.reset("g", Start::Latest.into()).await.unwrap();
    let group = group_of(&engine).await;
    assert_eq!(
        (group.retrying, group.parked, group.backlogs),
        (0, 0, vec![])
    );
}

#[tokio::test]
async fn a_key_of_a_member_that_leaves_keeps_its_order_and_its_backlog() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish_many(&engine, "slow", 8_000).await;
    publish_many(&engine, "other", 1).await;
    let first = join_with(&engine, 100).await;
    let (other, held, settled) = take_until(&bed, &*first, "other", false).await;
    assert!(settled.is_empty());
    first.commit(settle(&[other])).await.unwrap();
    let done: Vec<Delivery> = held.into_iter().take(3).collect();
    first.commit(settle(&done)).await.unwrap();
    let second = join_with(&engine, 100).await;
    drop(first);
    let ids = drain(&bed, &*second, 8_000 - 3).await;
    assert_eq!(ids, numbered("slow", 3..8_000));
}

#[tokio::test]
async fn a_group_that_is_moved_back_keeps_what_waits_before_the_place() {
    let bed = Bed::new();
    let engine = bed.open().await;
    let member = join_with(&engine, 100).await;
    fail_first(&bed, &engine, &*member, "bad").await;
    publish_many(&engine, "bad", 6_000).await;
    publish_many(&engine, "other", 10).await;
    drain(&bed, &*member, 10).await;
    let all = engine.read(Query::default()).await.unwrap();
    let place = all.events.iter().find(|it| it.envelope.id() == "bad-500");
    let place = place.unwrap().position;
    let reset = crate::engine::Reset {
        effects: crate::engine::ReplayEffects::HoldBack,
        ..Start::Cursor(place.into()).into()
    };
    engine.reset("g", reset).await.unwrap();
    let member = join_with(&engine, 100).await;
    bed.hands.advance(Duration::from_secs(3_600));
    let (mut ids, mut held_back) = (Vec::new(), Vec::new());
    while ids.len() < 6_010 {
        let taken = next_within(&bed, &*member, STEPS_MAX).await;
        member.commit(settle(&taken)).await.unwrap();
        for delivery in &taken {
            let id = delivery.envelope.id().to_owned();
            if delivery.run.holds_back {
                held_back.push(id.clone());
            }
            ids.push(id);
        }
    }
    assert_eq!(only("bad", &ids), numbered("bad", 0..6_000));
    assert_eq!(only("other", &ids), numbered("other", 0..10));
    // Of `bad`, nothing was handled before.
    assert_eq!(held_back, numbered("other", 0..10));
}

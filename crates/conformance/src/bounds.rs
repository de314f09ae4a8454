//! Point 12: memory stays bounded, whatever the backlog and however slow a handler is.

use std::collections::HashSet;

use super::flaw::{Verdict, ensure, equal};
use super::hand::{burying_first, delivery_labels, first, key_labels};
use super::lab::Lab;
use super::labels::labels;
use ensue_core::engine::{Append, Subscription};

/// Publishes `count` events over `keys` keys, in large batches.
async fn publish_backlog(lab: &Lab, count: usize, keys: usize) -> Verdict {
    const BATCH: usize = 2_000;
    let mut batch: Vec<Append> = Vec::with_capacity(BATCH);
    for event in 0..count {
        let number = (event / keys) as u64 + 1;
        let key = format!("k{}", event % keys);
        batch.push(lab.event("orders", &key, number)?.into());
        if batch.len() == BATCH || event + 1 == count {
            lab.engine()?.append(std::mem::take(&mut batch)).await?;
        }
    }
    Ok(())
}

pub(super) async fn bounds_of_what_a_member_holds(lab: &mut Lab) -> Verdict {
    let subscription = Subscription {
        in_flight_max: 10,
        ..lab.subscription("g", "orders")?
    };
    let hand = lab.join_as(subscription).await?;
    publish_backlog(lab, 200, 100).await?;
    let held = hand.hold(1_000).await?;
    ensure(held.len() <= 10, "at most 10 events in flight", held.len())?;
    let group = lab.status().await?.group(&lab.group("g")).cloned();
    let in_flight = group.map(|group| group.in_flight);
    equal("the status' in flight", in_flight, Some(held.len()))?;
    hand.gets_nothing("the member is full").await?;
    let (done, _) = held.split_at(3);
    hand.settle(done).await?;
    let more = hand.hold(1_000).await?;
    ensure(more.len() <= 3, "at most 3 more events", more.len())
}

/// `Hand::next` holds every answer against the maximum of the call; here it is small.
pub(super) async fn bounds_of_one_call(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    publish_backlog(lab, 100, 50).await?;
    let mut got = 0;
    for wanted in [1, 1, 2, 3, 5, 8, 13] {
        let taken = hand.next(wanted).await?;
        hand.settle(&taken).await?;
        got += taken.len();
    }
    equal("the rest", hand.drain(100 - got).await?.len(), 100 - got)
}

pub(super) async fn bounds_hold_over_a_large_backlog(lab: &mut Lab) -> Verdict {
    const IN_FLIGHT_MAX: usize = 256;
    let count = lab.terms.backlog;
    publish_backlog(lab, count, 500).await?;
    let subscription = Subscription {
        in_flight_max: IN_FLIGHT_MAX,
        ..lab.subscription("g", "orders")?
    };
    let hand = lab.join_as(subscription).await?;
    let mut seen: HashSet<(String, u64)> = HashSet::with_capacity(count);
    let mut calls = 0;
    while seen.len() < count {
        let missing = count - seen.len();
        let taken = hand.take(missing.min(50)).await?;
        calls += 1;
        if calls % 50 == 0 {
            let group = lab.status().await?.group(&lab.group("g")).cloned();
            let in_flight = group.map(|group| group.in_flight).unwrap_or_default();
            ensure(
                in_flight <= IN_FLIGHT_MAX,
                format_args!("at most {IN_FLIGHT_MAX} events in flight"),
                in_flight,
            )?;
        }
        hand.settle(&taken).await?;
        for delivery in &taken {
            let key = delivery.envelope.key().to_owned();
            let number = super::labels::number(&delivery.envelope);
            let is_new = seen.insert((key, number));
            ensure(
                is_new,
                "each event once",
                super::labels::label(&delivery.envelope),
            )?;
        }
    }
    hand.gets_nothing("everything was settled").await?;
    lab.group_is("g", "no lag", |group| {
        group.lag == 0 && group.in_flight == 0
    })
    .await
    .map(drop)
}

/// A member that is full may keep the keys that an engine gave it; the others' keys go on.
pub(super) async fn bounds_of_a_slow_member_do_not_stall_others(lab: &mut Lab) -> Verdict {
    const KEYS: usize = 64;
    let slow = Subscription {
        in_flight_max: 4,
        ..lab.subscription("g", "orders")?
    };
    let slow = lab.join_as(slow).await?;
    publish_backlog(lab, KEYS, KEYS).await?;
    let held = slow.take(4).await?;
    let engine = lab.colleague().await?;
    let quick = lab
        .join_at(&engine, lab.subscription("g", "orders")?)
        .await?;
    let first_round = quick.hold(KEYS).await?;
    quick.settle(&first_round).await?;
    let keys: Vec<_> = first_round.iter().map(|d| d.envelope.key()).collect();
    for number in 2..=5 {
        let events: Verdict<Vec<_>> = keys
            .iter()
            .map(|key| lab.event("orders", key, number))
            .collect();
        lab.append(events?).await?;
        let round = quick.drain(keys.len()).await?;
        let mut found: Vec<_> = round.iter().map(|d| d.envelope.key()).collect();
        found.sort_unstable();
        let mut expected = keys.clone();
        expected.sort_unstable();
        equal("the keys of the others", found, expected)?;
    }
    slow.settle(&held).await?;
    slow.member.leave().await?;
    let left = KEYS - held.len() - first_round.len();
    equal("the rest", quick.drain(left).await?.len(), left)
}

/// What is parked behind a blocked key must not fill up the window of the others.
pub(super) async fn bounds_of_a_blocked_key_do_not_stall_others(lab: &mut Lab) -> Verdict {
    let subscription = Subscription {
        in_flight_max: 16,
        ..lab.subscription("g", "orders")?
    };
    let hand = lab.join_as(subscription).await?;
    lab.publish("orders", "a", 1..=1).await?;
    let held = hand.hold(1).await?;
    hand.commit(burying_first(&held)?).await?;
    first(&held)?;
    lab.publish("orders", "a", 2..=3_000).await?;
    lab.publish("orders", "b", 1..=20).await?;
    let others = hand.drain(20).await?;
    equal(
        "another key",
        delivery_labels(&others),
        labels("orders", "b", 1..=20),
    )?;
    let filter = ensue_core::engine::DeadLetterFilter::default();
    lab.engine()?.discard(&lab.group("g"), filter).await?;
    let rest = hand.drain(2_999).await?;
    equal(
        "the parked key",
        key_labels(&rest, "a"),
        labels("orders", "a", 2..=3_000),
    )
}

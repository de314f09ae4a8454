//! Point 3: events of a topic and key are handled in order, one at a time, in every group.

use super::crew::{Habits, Storm};
use super::flaw::{Verdict, ensure, equal};
use super::hand::{delivery_labels, key_labels, retrying_first};
use super::lab::Lab;
use super::labels::{labels, number};
use ensue_core::engine::{Append, Delivery, Subscription};

/// Publishes `per_key` events of each key, the keys mixed at random, in batches of random size.
async fn publish_mixed(lab: &Lab, topic: &str, keys: u64, per_key: u64) -> Verdict {
    let mut random = lab.random();
    let mut next = vec![1; usize::try_from(keys).unwrap_or_default()];
    let mut batch: Vec<Append> = Vec::new();
    loop {
        let open: Vec<usize> = next
            .iter()
            .enumerate()
            .filter_map(|(key, n)| (*n <= per_key).then_some(key))
            .collect();
        let Some(&key) = random.choice(&open) else {
            break;
        };
        if let Some(n) = next.get_mut(key) {
            batch.push(lab.event(topic, &format!("k{key}"), *n)?.into());
            *n += 1;
        }
        if random.u8(..) < 40 {
            lab.engine()?.append(std::mem::take(&mut batch)).await?;
        }
    }
    lab.engine()?.append(batch).await?;
    Ok(())
}

/// Each key's events came from 1 to `per_key`, none twice.
fn in_order(taken: &[Delivery], topic: &str, keys: u64, per_key: u64) -> Verdict {
    for key in 0..keys {
        let key = format!("k{key}");
        equal(
            format_args!("the deliveries of key {key}"),
            key_labels(taken, &key),
            labels(topic, &key, 1..=per_key),
        )?;
    }
    Ok(())
}

pub(super) async fn order_is_kept_per_key(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    publish_mixed(lab, "orders", 20, 20).await?;
    let mut random = lab.random();
    let mut done = Vec::new();
    while done.len() < 400 {
        // Ask for one, few or many, and settle in as many commits as it takes.
        let wanted = random.usize(1..=60).min(400 - done.len());
        let taken = hand.hold(wanted).await?;
        for part in taken.chunks(random.usize(1..=9)) {
            hand.settle(part).await?;
        }
        done.extend(taken);
    }
    in_order(&done, "orders", 20, 20)?;
    hand.gets_nothing("everything was settled").await
}

pub(super) async fn order_is_kept_in_every_group(lab: &mut Lab) -> Verdict {
    let early = lab.join("early", "orders").await?;
    publish_mixed(lab, "orders", 6, 10).await?;
    let late = lab.join("late", "orders").await?;
    for hand in [&early, &late] {
        in_order(&hand.drain(60).await?, "orders", 6, 10)?;
    }
    Ok(())
}

pub(super) async fn order_holds_a_key_with_one_member(lab: &mut Lab) -> Verdict {
    const OTHERS: usize = 32;
    let subscription = Subscription {
        in_flight_max: 1,
        ..lab.subscription("g", "orders")?
    };
    let holder = lab.join_as(subscription).await?;
    lab.publish("orders", "a", 1..=1).await?;
    let held = holder.take(1).await?;
    let engine = lab.colleague().await?;
    let other = lab
        .join_at(&engine, lab.subscription("g", "orders")?)
        .await?;
    lab.publish("orders", "a", 2..=3).await?;
    other
        .gets_nothing("another member holds an earlier event of the key")
        .await?;
    for key in 0..OTHERS {
        lab.publish("orders", &format!("b{key}"), 1..=1).await?;
    }
    // Other keys go on; an engine may keep some of them for the holder.
    let mut rest = other.hold(OTHERS).await?;
    equal("of the key", key_labels(&rest, "a"), Vec::<String>::new())?;
    other.settle(&rest).await?;
    holder.settle(&held).await?;
    holder.member.leave().await?;
    rest.extend(other.drain(OTHERS + 2 - rest.len()).await?);
    equal(
        "the rest of the key",
        key_labels(&rest, "a"),
        labels("orders", "a", 2..=3),
    )
}

pub(super) async fn order_lets_other_keys_pass_a_slow_one(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "slow", 1..=1).await?;
    let slow = hand.take(1).await?;
    publish_mixed(lab, "orders", 5, 10).await?;
    let passed = hand.drain(50).await?;
    in_order(&passed, "orders", 5, 10)?;
    hand.settle(&slow).await.map(drop)
}

pub(super) async fn order_is_per_topic_and_key(lab: &mut Lab) -> Verdict {
    let mut subscription = lab.subscription("g", "orders")?;
    subscription.topics = vec![lab.topic("*").parse()?];
    let hand = lab.join_as(subscription).await?;
    lab.publish("orders", "a", 1..=2).await?;
    let taken = hand.take(1).await?;
    hand.commit(retrying_first(&taken, lab.later())?).await?;
    lab.publish("bills", "a", 1..=2).await?;
    let bills = hand.drain(2).await?;
    equal(
        "the same key in another topic",
        delivery_labels(&bills),
        labels("bills", "a", 1..=2),
    )
}

pub(super) async fn order_survives_retries(lab: &mut Lab) -> Verdict {
    let habits = Habits {
        retry: 25,
        ..Habits::default()
    };
    Storm::new(lab, habits).run(lab).await
}

pub(super) async fn order_survives_member_changes(lab: &mut Lab) -> Verdict {
    let habits = Habits {
        leave: 8,
        drop: 8,
        ..Habits::default()
    };
    Storm::new(lab, habits).run(lab).await
}

pub(super) async fn order_survives_a_crash(lab: &mut Lab) -> Verdict {
    const KEYS: u64 = 8;
    publish_mixed(lab, "orders", KEYS, 12).await?;
    let hand = lab.join("g", "orders").await?;
    let mut done = hand.drain(40).await?;
    hand.hold(20).await?;
    lab.crash_holding(hand).await?;
    let hand = lab.join("g", "orders").await?;
    let left = usize::try_from(KEYS * 12).unwrap_or_default() - done.len();
    done.extend(hand.drain(left).await?);
    in_order(&done, "orders", KEYS, 12)?;
    hand.gets_nothing("everything was settled").await
}

/// A batch may mix what is settled out of order: the group's position is no single number.
pub(super) async fn order_of_settling_is_free_between_keys(lab: &mut Lab) -> Verdict {
    for key in ["a", "b", "c", "d", "e"] {
        lab.publish("orders", key, 1..=1).await?;
    }
    let hand = lab.join("g", "orders").await?;
    let mut taken = hand.take(5).await?;
    taken.sort_unstable_by_key(|delivery| std::cmp::Reverse(delivery.position));
    let (late, early) = taken.split_at(3);
    hand.settle(late).await?;
    hand.die();
    lab.outlive_failover().await?;
    let other = lab.join("g", "orders").await?;
    let again = other.drain(2).await?;
    let (mut again, mut expected) = (delivery_labels(&again), delivery_labels(early));
    again.sort_unstable();
    expected.sort_unstable();
    equal("what was not settled", again, expected)?;
    let numbers = early.iter().map(|d| number(&d.envelope)).max();
    ensure(
        numbers == Some(1),
        "event 1 of each key",
        format_args!("{numbers:?}"),
    )?;
    other.gets_nothing("everything was settled").await
}

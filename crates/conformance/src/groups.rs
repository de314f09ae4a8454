//! Point 4: each event goes to one member of a group; when a member goes, others take over.

use super::crew::{Habits, Storm};
use super::flaw::{Verdict, ensure, equal};
use super::hand::{Hand, delivery_labels, drain_all};
use super::lab::Lab;
use super::labels::{labels, sorted};
use ensue_core::engine::Subscription;

/// One event of each of `count` keys.
async fn publish_keys(lab: &Lab, count: usize, number: u64) -> Verdict<Vec<String>> {
    let events: Verdict<Vec<_>> = (0..count)
        .map(|key| lab.event("orders", &format!("k{key}"), number))
        .collect();
    let events = events?;
    let labels = super::labels::labels_of(&events);
    lab.append(events).await?;
    Ok(sorted(labels))
}

/// A member that holds few events, of another process if there can be one.
async fn small_member(lab: &mut Lab, in_flight_max: usize) -> Verdict<Hand> {
    let engine = lab.colleague().await?;
    let subscription = Subscription {
        in_flight_max,
        ..lab.subscription("g", "orders")?
    };
    lab.join_at(&engine, subscription).await
}

pub(super) async fn groups_share_the_events(lab: &mut Lab) -> Verdict {
    let hands = [
        small_member(lab, 10).await?,
        small_member(lab, 10).await?,
        small_member(lab, 10).await?,
    ];
    let expected = publish_keys(lab, 100, 1).await?;
    let all = drain_all(&hands.each_ref(), 100).await?;
    equal(
        "what three members got",
        sorted(delivery_labels(&all)),
        expected,
    )?;
    for hand in &hands {
        hand.gets_nothing("everything was settled").await?;
    }
    Ok(())
}

pub(super) async fn groups_handle_each_event_once(lab: &mut Lab) -> Verdict {
    Storm::new(lab, Habits::default()).run(lab).await
}

pub(super) async fn groups_take_over_from_a_member_that_leaves(lab: &mut Lab) -> Verdict {
    let leaver = lab.join("g", "orders").await?;
    publish_keys(lab, 10, 1).await?;
    let mut held = leaver.take(10).await?;
    let kept = held.split_off(4);
    leaver.settle(&held).await?;
    let heir = small_member(lab, 100).await?;
    leaver.member.leave().await?;
    leaver.member.leave().await?;
    let taken = heir.take(6).await?;
    equal(
        "what the heir gets",
        sorted(delivery_labels(&taken)),
        sorted(delivery_labels(&kept)),
    )?;
    ensure(
        taken.iter().all(|delivery| delivery.attempt == 1),
        "leaving not to count as an attempt",
        format_args!("{:?}", taken.iter().map(|d| d.attempt).collect::<Vec<_>>()),
    )?;
    leaver.is_fenced(&kept).await?;
    heir.settle(&taken).await?;
    heir.gets_nothing("everything was settled").await
}

pub(super) async fn groups_take_over_from_a_member_that_dies(lab: &mut Lab) -> Verdict {
    let victim = lab.join("g", "orders").await?;
    let mut all = publish_keys(lab, 10, 1).await?;
    lab.publish("orders", "k0", 2..=3).await?;
    let held = victim.take(10).await?;
    let (settled, _) = held.split_at(4);
    victim.settle(settled).await?;
    let heir = small_member(lab, 100).await?;
    victim.die();
    lab.outlive_failover().await?;
    all.extend(labels("orders", "k0", 2..=3));
    let settled = delivery_labels(settled);
    all.retain(|label| !settled.contains(label));
    let taken = heir.drain(8).await?;
    equal(
        "what the heir gets",
        sorted(delivery_labels(&taken)),
        sorted(all),
    )?;
    heir.gets_nothing("everything was settled").await
}

pub(super) async fn groups_wake_a_waiting_heir(lab: &mut Lab) -> Verdict {
    let victim = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=1).await?;
    victim.take(1).await?;
    let heir = small_member(lab, 100).await?;
    let (taken, left) = futures_util::future::join(heir.take(1), async {
        tokio::time::sleep(lab.terms.quiet).await;
        victim.die();
        lab.outlive_failover().await
    })
    .await;
    left?;
    equal(
        "what the heir gets",
        delivery_labels(&taken?),
        ["orders/a/1"],
    )
}

pub(super) async fn groups_are_independent(lab: &mut Lab) -> Verdict {
    let slow = lab.join("slow", "orders").await?;
    let fast = lab.join("fast", "orders").await?;
    lab.publish("orders", "a", 1..=20).await?;
    let held = slow.take(1).await?;
    let got = fast.drain(20).await?;
    equal(
        "one group",
        delivery_labels(&got),
        labels("orders", "a", 1..=20),
    )?;
    slow.settle(&held).await?;
    let mut all = held;
    all.extend(slow.drain(19).await?);
    equal(
        "the other",
        delivery_labels(&all),
        labels("orders", "a", 1..=20),
    )
}

pub(super) async fn groups_grow_midway(lab: &mut Lab) -> Verdict {
    let first = small_member(lab, 5).await?;
    let expected = publish_keys(lab, 12, 1).await?;
    let held = first.take(5).await?;
    let second = small_member(lab, 100).await?;
    first.settle(&held).await?;
    let mut all = delivery_labels(&held);
    all.extend(delivery_labels(&drain_all(&[&first, &second], 7).await?));
    equal("what both got", sorted(all), expected)?;
    let expected = publish_keys(lab, 6, 2).await?;
    second.member.leave().await?;
    let all = delivery_labels(&first.drain(6).await?);
    equal("what came when one had left", sorted(all), expected)?;
    first.gets_nothing("everything was settled").await
}

pub(super) async fn groups_go_on_after_everybody_left(lab: &mut Lab) -> Verdict {
    let first = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=4).await?;
    first.drain(2).await?;
    first.member.leave().await?;
    first.die();
    lab.publish("orders", "a", 5..=6).await?;
    let second = lab.join("g", "orders").await?;
    let rest = second.drain(4).await?;
    equal(
        "the rest",
        delivery_labels(&rest),
        labels("orders", "a", 3..=6),
    )
}

pub(super) async fn groups_lose_nothing_when_a_wait_is_cancelled(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    let mut random = lab.random();
    let mut done = Vec::new();
    let mut published = 0;
    while done.len() < 100 {
        if published < 100 {
            published += 1;
            lab.publish(
                "orders",
                &format!("k{}", published % 7),
                published..=published,
            )
            .await?;
        }
        // Give up at any moment, also at once: what was not returned comes again.
        let patience = std::time::Duration::from_micros(random.u64(0..500));
        if let Ok(taken) = tokio::time::timeout(patience, hand.next(3)).await {
            let taken = taken?;
            hand.settle(&taken).await?;
            done.extend(delivery_labels(&taken));
        } else if published == 100 {
            let taken = hand.drain(100 - done.len()).await?;
            done.extend(delivery_labels(&taken));
        }
    }
    let all = done.len();
    done.sort_unstable();
    done.dedup();
    equal("different events of 100", (all, done.len()), (100, 100))
}

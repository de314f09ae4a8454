//! Point 7: a group starts where it was told to, and can be moved.

use super::flaw::{Flaw, Verdict, equal, fails};
use super::hand::{Hand, burying_first, delivery_labels, is_fenced, retrying_first};
use super::lab::Lab;
use super::labels::{labels, recorded_labels};
use ensue_core::engine::{DeadLetterFilter, Start, Subscription};
use ensue_core::error::{Error, GroupError};

async fn join_from(lab: &Lab, group: &str, start: Start) -> Verdict<Hand> {
    let subscription = Subscription {
        start,
        ..lab.subscription(group, "orders")?
    };
    lab.join_as(subscription).await
}

async fn reset(lab: &Lab, to: Start) -> Verdict {
    lab.engine()?.reset(&lab.group("g"), to.into()).await?;
    Ok(())
}

/// Two events, then, at a later time, two more; and the starts that lie between them.
async fn two_and_two(lab: &Lab) -> Verdict<[Start; 2]> {
    lab.publish("orders", "a", 1..=2).await?;
    lab.pass(lab.moment()).await;
    lab.publish("orders", "a", 3..=4).await?;
    let stored = lab.stored("orders").await?;
    let third = stored.get(2);
    let third = third.ok_or_else(|| Flaw::new("four events", stored.len()))?;
    equal(
        "the order of events",
        recorded_labels(&stored),
        labels("orders", "a", 1..=4),
    )?;
    Ok([
        Start::Cursor(third.position.into()),
        Start::Time(third.appended),
    ])
}

pub(super) async fn start_is_where_a_new_group_wants_it(lab: &mut Lab) -> Verdict {
    let [position, time] = two_and_two(lab).await?;
    for (group, start, first) in [
        ("earliest", Start::Earliest, 1),
        ("latest", Start::Latest, 5),
        ("position", position, 3),
        ("time", time, 3),
        ("epoch", Start::Time(ensue_core::Timestamp::EPOCH), 1),
        ("zero", Start::Cursor(ensue_core::Cursor::START), 1),
    ] {
        let hand = join_from(lab, group, start.clone()).await?;
        if first < 5 {
            let count = usize::try_from(5 - first).unwrap_or_default();
            let got = hand.drain(count).await?;
            equal(
                format_args!("a group that starts at {start:?}"),
                delivery_labels(&got),
                labels("orders", "a", first..=4),
            )?;
        }
        hand.gets_nothing("nothing was published after its start")
            .await?;
    }
    Ok(())
}

pub(super) async fn start_at_the_latest_sees_what_comes(lab: &mut Lab) -> Verdict {
    lab.publish("orders", "a", 1..=2).await?;
    let hand = join_from(lab, "g", Start::Latest).await?;
    lab.publish("orders", "a", 3..=4).await?;
    let got = hand.drain(2).await?;
    equal(
        "what came after the start",
        delivery_labels(&got),
        labels("orders", "a", 3..=4),
    )
}

pub(super) async fn start_matters_only_to_a_new_group(lab: &mut Lab) -> Verdict {
    let first = join_from(lab, "g", Start::Earliest).await?;
    lab.publish("orders", "a", 1..=4).await?;
    first.drain(1).await?;
    first.member.leave().await?;
    let second = join_from(lab, "g", Start::Latest).await?;
    let rest = second.drain(3).await?;
    equal(
        "the rest",
        delivery_labels(&rest),
        labels("orders", "a", 2..=4),
    )
}

/// The group exists from the moment it was joined, even if its member never took anything.
pub(super) async fn start_survives_a_crash(lab: &mut Lab) -> Verdict {
    lab.publish("orders", "a", 1..=2).await?;
    let hand = join_from(lab, "g", Start::Latest).await?;
    lab.publish("orders", "a", 3..=4).await?;
    lab.crash_holding(hand).await?;
    let hand = join_from(lab, "g", Start::Latest).await?;
    let got = hand.drain(2).await?;
    equal(
        "what came after the start",
        delivery_labels(&got),
        labels("orders", "a", 3..=4),
    )
}

pub(super) async fn reset_moves_a_group_anywhere(lab: &mut Lab) -> Verdict {
    let [position, time] = two_and_two(lab).await?;
    let mut hand = lab.join("g", "orders").await?;
    hand.drain(4).await?;
    for (to, first) in [
        (Start::Earliest, 1),
        (position, 3),
        (Start::Latest, 5),
        (time, 3),
        (Start::Latest, 5),
        (Start::Earliest, 1),
    ] {
        reset(lab, to.clone()).await?;
        hand.is_fenced(&[]).await?;
        hand = lab.join("g", "orders").await?;
        let count = usize::try_from(5 - first).unwrap_or_default();
        let got = hand.drain(count).await?;
        equal(
            format_args!("a group that was moved to {to:?}"),
            delivery_labels(&got),
            labels("orders", "a", first..=4),
        )?;
        hand.gets_nothing("everything after that was settled")
            .await?;
    }
    lab.publish("orders", "a", 5..=5).await?;
    let new = hand.drain(1).await?;
    equal(
        "what came later",
        delivery_labels(&new),
        labels("orders", "a", 5..=5),
    )
}

pub(super) async fn reset_survives_a_crash(lab: &mut Lab) -> Verdict {
    lab.publish("orders", "a", 1..=4).await?;
    let hand = lab.join("g", "orders").await?;
    hand.drain(4).await?;
    reset(lab, Start::Earliest).await?;
    lab.crash_holding(hand).await?;
    let hand = lab.join("g", "orders").await?;
    let all = hand.drain(4).await?;
    equal(
        "the group",
        delivery_labels(&all),
        labels("orders", "a", 1..=4),
    )
}

pub(super) async fn reset_fences_every_member(lab: &mut Lab) -> Verdict {
    let one = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=1).await?;
    lab.publish("orders", "b", 1..=1).await?;
    let held = one.take(2).await?;
    let two = lab.join("g", "orders").await?;
    // A member that waits is told, too.
    let (next, moved) = futures_util::future::join(
        tokio::time::timeout(lab.terms.arrive, two.member.next(1)),
        async {
            tokio::time::sleep(lab.terms.quiet).await;
            reset(lab, Start::Earliest).await
        },
    )
    .await;
    moved?;
    match next {
        Ok(next) => fails("a waiting next() to report `Fenced`", next, is_fenced)?,
        Err(_) => return Err(Flaw::new("a waiting next() to report `Fenced`", "it waits")),
    }
    one.is_fenced(&held).await?;
    two.is_fenced(&[]).await?;
    one.die();
    two.die();
    let hand = lab.join("g", "orders").await?;
    equal("what is delivered again", hand.drain(2).await?.len(), 2)
}

pub(super) async fn reset_drops_retries_and_parked_events(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=3).await?;
    let held = hand.hold(3).await?;
    hand.commit(retrying_first(&held, lab.later())?).await?;
    reset(lab, Start::Latest).await?;
    let hand = lab.join("g", "orders").await?;
    lab.pass(lab.delay()).await;
    hand.gets_nothing("the retry lies behind the group").await?;
    lab.group_is("g", "nothing retrying or parked", |group| {
        group.retrying == 0 && group.parked == 0 && group.lag == 0
    })
    .await?;
    // The key is free again.
    lab.publish("orders", "a", 4..=4).await?;
    let new = hand.drain(1).await?;
    equal(
        "what came later",
        delivery_labels(&new),
        labels("orders", "a", 4..=4),
    )?;
    reset(lab, Start::Earliest).await?;
    let hand = lab.join("g", "orders").await?;
    let all = hand.drain(4).await?;
    equal(
        "all of it",
        delivery_labels(&all),
        labels("orders", "a", 1..=4),
    )
}

pub(super) async fn reset_keeps_dead_letters(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=1).await?;
    let held = hand.hold(1).await?;
    hand.commit(burying_first(&held)?).await?;
    reset(lab, Start::Latest).await?;
    equal("dead letters", lab.dead_letters("g").await?.len(), 1)?;
    let hand = lab.join("g", "orders").await?;
    let engine = lab.engine()?;
    let all = DeadLetterFilter::default();
    equal("redriven", engine.redrive(&lab.group("g"), all).await?, 1)?;
    let again = hand.drain(1).await?;
    equal(
        "the redriven",
        delivery_labels(&again),
        labels("orders", "a", 1..=1),
    )
}

pub(super) async fn delete_forgets_a_group(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=2).await?;
    let held = hand.hold(2).await?;
    hand.commit(burying_first(&held)?).await?;
    let group = lab.group("g");
    let engine = lab.engine()?.clone();
    fails(
        "a group with members to be kept",
        engine.delete_group(&group).await,
        |error| matches!(error, Error::Group(GroupError::HasMembers { .. })),
    )?;
    equal("dead letters", lab.dead_letters("g").await?.len(), 1)?;
    hand.member.leave().await?;
    engine.delete_group(&group).await?;
    let status = lab.status().await?;
    equal(
        "the group's status",
        status.group(&group).map(|g| g.dead),
        None,
    )?;
    fails(
        "the group to be unknown",
        engine.delete_group(&group).await,
        |error| matches!(error, Error::Group(GroupError::Unknown { .. })),
    )?;
    drop(engine);
    let hand = lab.join("g", "orders").await?;
    let all = hand.drain(2).await?;
    equal(
        "a new group of the name",
        delivery_labels(&all),
        labels("orders", "a", 1..=2),
    )?;
    equal("its dead letters", lab.dead_letters("g").await?.len(), 0)
}

//! Point 13: topics, groups, members, lag, dead letters, schedules.

use super::flaw::{Flaw, Verdict, ensure, equal, fails, some};
use super::hand::{burying_first, retrying_first};
use super::lab::Lab;
use super::labels::positions;
use ensue_core::engine::{Handling, Position, Start};
use ensue_core::error::{Error, GroupError};

pub(super) async fn status_counts_topics(lab: &mut Lab) -> Verdict {
    let orders = positions(&lab.publish("orders", "a", 1..=5).await?);
    lab.publish("bills", "a", 1..=2).await?;
    lab.publish("orders", "a", 1..=5).await?;
    let status = lab.status().await?;
    for (name, events) in [("orders", 5), ("bills", 2)] {
        let name = lab.topic(name);
        let topic = status.topics.iter().find(|topic| topic.name == name);
        let topic = some(format_args!("topic {name}"), topic)?;
        equal(format_args!("events of {name}"), topic.events, events)?;
        if name == lab.topic("orders") {
            let (first, last) = (orders.first().copied(), orders.last().copied());
            equal("the first position", Some(topic.first), first)?;
            equal("the last position", Some(topic.last), last)?;
        }
    }
    let names: Vec<_> = status.topics.iter().map(|topic| &topic.name).collect();
    ensure(
        names.is_sorted(),
        "topics by name",
        format_args!("{names:?}"),
    )?;
    let last = orders.last().copied().unwrap_or_default();
    ensure(
        status.end > last.into(),
        format_args!("an end after {last}"),
        &status.end,
    )?;
    let first = orders.first().copied().unwrap_or_default();
    ensure(
        status.first <= first.into(),
        format_args!("a beginning up to {first}"),
        &status.first,
    )?;
    equal("trouble", status.trouble, None)?;
    let health = lab.engine()?.health().await?;
    equal("trouble", health.trouble, None)?;
    ensure(
        health.end >= status.end,
        format_args!("an end not before {}", status.end),
        &health.end,
    )?;
    ensure(
        health.first >= status.first && health.first <= first.into(),
        format_args!("a beginning from {} to {first}", status.first),
        &health.first,
    )?;
    equal(
        "the guarantees",
        &status.guarantees,
        lab.engine()?.guarantees(),
    )?;
    let url = lab.engine()?.url().to_owned();
    equal("the URL", status.url, url)
}

pub(super) async fn status_knows_the_lag(lab: &mut Lab) -> Verdict {
    lab.publish("orders", "a", 1..=10).await?;
    lab.publish("noise", "a", 1..=10).await?;
    let hand = lab.join("g", "orders").await?;
    lab.group_is("g", "something to do", |group| {
        group.lag + group.in_flight as u64 > 0 && !group.is_idle()
    })
    .await?;
    hand.drain(4).await?;
    lab.group_is("g", "something to do", |group| {
        let left = group.lag + group.in_flight as u64;
        (1..=6).contains(&left)
    })
    .await?;
    hand.drain(6).await?;
    let drained = |group: &ensue_core::engine::GroupStatus| group.is_idle() && group.parked == 0;
    lab.group_is("g", "nothing to do", drained).await?;
    hand.member.leave().await?;
    lab.publish("orders", "a", 11..=13).await?;
    lab.publish("noise", "a", 11..=13).await?;
    lab.group_is("g", "a lag of three", |group| group.lag == 3)
        .await?;
    lab.engine()?
        .reset(&lab.group("g"), Start::Earliest.into())
        .await?;
    lab.group_is("g", "a lag of thirteen", |group| group.lag == 13)
        .await?;
    lab.engine()?
        .reset(&lab.group("g"), Start::Latest.into())
        .await?;
    lab.group_is("g", "no lag", |group| group.lag == 0)
        .await
        .map(drop)
}

pub(super) async fn status_lists_groups_and_members(lab: &mut Lab) -> Verdict {
    let one = lab.join("g", "orders").await?;
    let two = lab.join("g", "orders").await?;
    let other = lab.join("h", "bills").await?;
    let group = lab
        .group_is("g", "two members", |g| g.members.len() == 2)
        .await?;
    equal("its topics", group.topics, vec![lab.topic("orders")])?;
    let nobody = lab.group("nobody");
    let nobody = lab.engine()?.group(&nobody).await;
    fails("that there is no such group", nobody, |error| {
        matches!(error, Error::Group(GroupError::Unknown { .. }))
    })?;
    let mut ids: Vec<_> = group.members.iter().map(|member| member.id).collect();
    ids.dedup();
    equal("different members", ids.len(), 2)?;
    ensure(
        ids.iter().all(|id| *id >= 1),
        "members from 1",
        format_args!("{ids:?}"),
    )?;
    lab.publish("orders", "a", 1..=1).await?;
    // Whichever of them the key belongs to.
    let (owner, held) = match tokio::time::timeout(lab.terms.quiet, one.next(1)).await {
        Ok(held) => (&one, held?),
        Err(_) => (&two, two.take(1).await?),
    };
    let group = lab
        .group_is("g", "one event in flight", |g| g.in_flight == 1)
        .await?;
    let in_flight: usize = group.members.iter().map(|member| member.in_flight).sum();
    equal("what its members hold", in_flight, 1)?;
    owner.settle(&held).await?;
    lab.group_is("g", "nothing in flight", |g| g.in_flight == 0)
        .await?;
    two.member.leave().await?;
    one.die();
    lab.outlive_failover().await?;
    let group = lab
        .group_is("g", "no members", |g| g.members.is_empty())
        .await?;
    equal("its trouble", group.trouble.or(group.paused), None)?;
    other.member.leave().await?;
    lab.group_is("h", "no members", |g| g.members.is_empty())
        .await
        .map(drop)
}

pub(super) async fn status_counts_what_waits(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=3).await?;
    let held = hand.hold(3).await?;
    let due = lab.later();
    hand.commit(retrying_first(&held, due)?).await?;
    let group = lab
        .group_is("g", "one retry, two parked", |group| {
            (group.retrying, group.parked, group.dead, group.blocked) == (1, 2, 0, 1)
        })
        .await?;
    equal("when the retry is due", group.next_due, Some(due))?;
    ensure(!group.is_idle(), "a retry not to be idleness", "idle")?;
    lab.pass(lab.delay()).await;
    let held = hand.hold(3).await?;
    hand.commit(burying_first(&held)?).await?;
    let group = lab
        .group_is("g", "one dead letter, two parked", |group| {
            (group.retrying, group.parked, group.dead, group.blocked) == (0, 2, 1, 1)
        })
        .await?;
    equal("when a retry is due", group.next_due, None)?;
    equal("in flight", group.in_flight, 0)
}

pub(super) async fn status_counts_schedules(lab: &mut Lab) -> Verdict {
    let before = lab.status().await?.scheduled;
    let due = lab.later();
    lab.schedule(lab.event("orders", "a", 1)?, due.plus(lab.moment()))
        .await?;
    lab.schedule(lab.event("orders", "a", 2)?, due).await?;
    let status = lab.status().await?;
    equal("scheduled", status.scheduled, before + 2)?;
    let next = some("a time for the next", status.next_due)?;
    ensure(
        next <= due,
        format_args!("the next at {due} or before"),
        next,
    )?;
    lab.pass(lab.delay() + lab.moment()).await;
    lab.stored_eventually("orders", 2).await?;
    equal("scheduled", lab.status().await?.scheduled, before)
}

pub(super) async fn status_tells_how_far_a_group_is_with_an_event(lab: &mut Lab) -> Verdict {
    let appended = positions(&lab.publish("orders", "a", 1..=2).await?);
    let (first, second) = match *appended.as_slice() {
        [first, second] => (first, second),
        _ => return Err(Flaw::new("two positions", format_args!("{appended:?}"))),
    };
    let engine = lab.engine()?.clone();
    let group = lab.group("g");
    fails(
        "an unknown group",
        engine.progress(&group, first).await,
        |error| matches!(error, Error::Group(GroupError::Unknown { .. })),
    )?;
    let hand = lab.join("g", "orders").await?;
    let held = hand.take(2).await?;
    let handling = engine.progress(&group, first).await?.handling;
    equal("an event in hand", handling, Handling::Ahead)?;
    hand.settle(held.get(..1).unwrap_or_default()).await?;
    handled(lab, first).await?;
    let handling = engine.progress(&group, second).await?.handling;
    equal("the event behind it", handling, Handling::Ahead)?;
    hand.settle(held.get(1..).unwrap_or_default()).await?;
    handled(lab, second).await
}

/// Waits until a group has handled the event at `position`.
async fn handled(lab: &Lab, position: Position) -> Verdict {
    let deadline = tokio::time::Instant::now() + lab.terms.arrive;
    let group = lab.group("g");
    loop {
        let progress = lab.engine()?.progress(&group, position).await?;
        match progress.handling {
            Handling::Done => return Ok(()),
            found if tokio::time::Instant::now() > deadline => {
                return equal("a settled event", found, Handling::Done);
            }
            _ => lab.engine()?.wait(progress.end).await?,
        }
    }
}

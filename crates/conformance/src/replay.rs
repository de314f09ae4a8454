//! Point 7, continued: what a reset means for effects, state and what was put aside.

use std::time::Duration;

use super::flaw::{Verdict, ensure, equal, fails, some};
use super::hand::{Hand, burying_first, delivery_labels, retrying_first, settling};
use super::lab::Lab;
use super::labels::{label, labels, sorted};
use ensue_core::engine::{
    Commit, Delivery, ReplayEffects, ReplayState, Reset, ResetPlan, Start, StateWrite,
};
use ensue_core::error::{Error, GroupError, ReadError};
use ensue_core::{Position, Timestamp};

async fn reset(lab: &Lab, reset: Reset) -> Verdict<ResetPlan> {
    Ok(lab.engine()?.reset(&lab.group("g"), reset).await?)
}

/// The labels of those whose effects are held back.
fn held_back(taken: &[Delivery]) -> Vec<String> {
    let held = taken.iter().filter(|delivery| delivery.run.holds_back);
    sorted(held.map(|delivery| label(&delivery.envelope)).collect())
}

/// The one run that all of these belong to.
fn run_of(taken: &[Delivery]) -> Verdict<u64> {
    let first = some("an event", taken.first())?;
    let is_same = |delivery: &Delivery| delivery.run.number == first.run.number;
    ensure(
        taken.iter().all(is_same),
        "one run",
        format_args!("{:?}", taken.iter().map(|it| it.run).collect::<Vec<_>>()),
    )?;
    Ok(first.run.number)
}

/// Deliveries of one run agree on its number, also after a crash; those of two runs do not, also
/// when the group was deleted in between.
pub(super) async fn reset_begins_another_run(lab: &mut Lab) -> Verdict {
    lab.publish("orders", "a", 1..=2).await?;
    let hand = lab.join("g", "orders").await?;
    let first = run_of(&hand.hold(2).await?)?;
    lab.crash_holding(hand).await?;
    // None may outlive its engine: the log would stay locked.
    let mut hand = lab.join("g", "orders").await?;
    equal(
        "the run after a crash",
        run_of(&hand.drain(2).await?)?,
        first,
    )?;

    reset(lab, Start::Earliest.into()).await?;
    hand = lab.join("g", "orders").await?;
    let second = run_of(&hand.hold(2).await?)?;
    ensure(second != first, "another run after a reset", second)?;
    lab.crash_holding(hand).await?;
    let hand = lab.join("g", "orders").await?;
    equal(
        "the run after a crash",
        run_of(&hand.drain(2).await?)?,
        second,
    )?;

    hand.member.leave().await?;
    lab.engine()?.delete_group(&lab.group("g")).await?;
    let hand = lab.join("g", "orders").await?;
    let third = run_of(&hand.drain(2).await?)?;
    ensure(
        third != first && third != second,
        "another run of a group that was deleted",
        third,
    )
}

/// Effects are held back of exactly those events that were settled before, also after a crash and
/// another reset on the way.
pub(super) async fn reset_holds_back_what_was_settled(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    for key in ["a", "b", "c"] {
        lab.publish("orders", key, 1..=1).await?;
    }
    let taken = hand.take(3).await?;
    equal("what is held back at first", held_back(&taken).len(), 0)?;
    // One is settled, one is held by a member, one is dead.
    let of_key = |key: &str| {
        let found = taken.iter().find(|it| it.envelope.key() == key);
        some("an event of each key", found).map(std::slice::from_ref)
    };
    hand.commit(settling(of_key("a")?)).await?;
    hand.commit(burying_first(of_key("c")?)?).await?;
    let plan = reset(lab, Start::Earliest.into()).await?;
    equal("the events to be handled again", plan.again, 1)?;
    equal("the dead letters among them", plan.dead_again, 1)?;
    equal(
        "what becomes of effects",
        plan.effects,
        ReplayEffects::HoldBack,
    )?;

    let settled = labels("orders", "a", 1..=1);
    lab.crash_holding(hand).await?;
    let hand = lab.join("g", "orders").await?;
    let taken = hand.take(3).await?;
    equal("what is held back", held_back(&taken), settled.clone())?;
    // A reset on the way there forgets nothing.
    reset(lab, Start::Earliest.into()).await?;
    let hand = lab.join("g", "orders").await?;
    let taken = hand.drain(3).await?;
    equal("what is held back again", held_back(&taken), settled)?;
    lab.publish("orders", "a", 2..=2).await?;
    let new = hand.drain(1).await?;
    equal("what is held back of new events", held_back(&new).len(), 0)?;

    let publish = Reset::to(Start::Earliest).effects(ReplayEffects::Publish);
    equal(
        "the events to be handled again",
        reset(lab, publish).await?.again,
        4,
    )?;
    let hand = lab.join("g", "orders").await?;
    let taken = hand.drain(4).await?;
    equal(
        "what is held back when asked not to",
        held_back(&taken).len(),
        0,
    )
}

/// What was put aside behind the new position stays there when the group goes back, and is read
/// again when it lies ahead.
pub(super) async fn reset_back_loses_nothing_that_was_put_aside(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=1).await?;
    let held = hand.hold(1).await?;
    hand.commit(retrying_first(&held, lab.later())?).await?;
    lab.publish("orders", "b", 1..=1).await?;
    hand.drain(1).await?;
    lab.publish("orders", "c", 1..=1).await?;
    let held = hand.hold(1).await?;
    hand.commit(burying_first(&held)?).await?;
    let b = lab.stored("orders").await?;
    let b = b.iter().find(|it| it.envelope.key() == "b");
    let b = some("the second event", b)?.position;

    let plan = reset(lab, Start::Cursor(b.into()).into()).await?;
    equal("what is given up", plan.dropped, 0)?;
    equal("dead letters", lab.dead_letters("g").await?.len(), 0)?;
    let hand = lab.join("g", "orders").await?;
    lab.pass(lab.delay()).await;
    let again = hand.drain(3).await?;
    let expected = ["a", "b", "c"].map(|key| format!("orders/{key}/1"));
    equal(
        "what comes",
        sorted(delivery_labels(&again)),
        expected.to_vec(),
    )?;
    let retried = again.iter().find(|it| it.envelope.key() == "a");
    equal(
        "the attempt that was waited for",
        retried.map(|it| it.attempt),
        Some(2),
    )
}

async fn count(lab: &Lab, hand: &Hand) -> Verdict {
    let taken = hand.take_one().await?;
    let write = StateWrite {
        topic: lab.topic("orders"),
        key: "a".into(),
        name: "n".into(),
        value: Some(b"1".as_slice().into()),
    };
    hand.commit(Commit {
        state: vec![write],
        ..settling(&[taken])
    })
    .await
    .map(drop)
}

/// Where state would be counted twice or forgotten, the caller has to say which.
pub(super) async fn reset_asks_what_becomes_of_state(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=1).await?;
    count(lab, &hand).await?;
    let group = lab.group("g");
    let back = Reset::to(Start::Earliest);
    let plan = lab.engine()?.plan_reset(&group, back.clone()).await?;
    equal("the cells", plan.cells, 1)?;
    equal("what becomes of them", plan.state, None)?;
    fails(
        "a reset that does not say what becomes of state to be refused",
        lab.engine()?.reset(&group, back.clone()).await,
        |error| matches!(error, Error::Group(GroupError::StateUndecided { .. })),
    )?;
    // Nothing happened.
    lab.publish("orders", "a", 2..=2).await?;
    count(lab, &hand).await?;
    let forward = reset(lab, Start::Latest.into()).await?;
    equal(
        "state, going forward",
        forward.state,
        Some(ReplayState::Keep),
    )?;
    equal(
        "the cell",
        lab.state("g", "orders", "a", "n").await?.is_some(),
        true,
    )?;
    reset(lab, back.clone().state(ReplayState::Keep)).await?;
    equal(
        "the cell",
        lab.state("g", "orders", "a", "n").await?.is_some(),
        true,
    )?;
    reset(lab, back.state(ReplayState::Afresh)).await?;
    hand.die();
    lab.crash().await?;
    equal("the cell", lab.state("g", "orders", "a", "n").await?, None)
}

/// A place that the log does not have is refused, and nothing happens.
pub(super) async fn start_and_reset_refuse_what_is_not_there(lab: &mut Lab) -> Verdict {
    lab.publish("orders", "a", 1..=2).await?;
    let hand = lab.join("g", "orders").await?;
    hand.drain(2).await?;
    let (engine, group) = (lab.engine()?.clone(), lab.group("g"));
    let is_refused = |error: &Error| {
        matches!(
            error,
            Error::Read(ReadError::BeyondEnd { .. }) | Error::Read(ReadError::InTheFuture { .. })
        ) && error.to_string().contains("latest")
    };
    let beyond = Position::new(u64::MAX);
    let tomorrow = lab.clock.now().plus(Duration::from_secs(86_400));
    let later = Start::Time(tomorrow);
    for start in [
        Start::Cursor(beyond.into()),
        later,
        Start::Time(Timestamp::MAX),
    ] {
        let subscription = ensue_core::engine::Subscription {
            start: start.clone(),
            ..lab.subscription("new", "orders")?
        };
        let joined = engine.join(subscription).await;
        fails(
            "a start that is not there to be refused",
            joined,
            is_refused,
        )?;
        fails(
            "a reset to what is not there to be refused",
            engine.reset(&group, start.into()).await,
            is_refused,
        )?;
    }
    let new = lab.group("new");
    let status = lab.status().await?;
    equal(
        "the refused group",
        status.group(&new).map(|it| it.lag),
        None,
    )?;
    let existing = ensue_core::engine::Subscription {
        start: Start::Cursor(beyond.into()),
        ..lab.subscription("g", "orders")?
    };
    // A group that exists is where it is.
    let second = lab.join_as(existing).await?;
    second.member.leave().await?;
    lab.publish("orders", "a", 3..=3).await?;
    let third = hand.drain(1).await?;
    equal(
        "the group that was not moved",
        delivery_labels(&third),
        labels("orders", "a", 3..=3),
    )
}

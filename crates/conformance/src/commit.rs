//! Point 5: settlements, effects and state are one commit.

use futures_util::FutureExt;

use super::flaw::{Verdict, ensure, equal, fails};
use super::hand::{delivery_labels, is_fenced, settling};
use super::lab::Lab;
use super::labels::{label, labels, recorded_labels};
use ensue_core::engine::{
    Append, Atomicity, Commit, Delivery, Effect, Expect, Schedule, Start, StateWrite,
};
use ensue_core::error::{AppendError, Error};

/// A cell of state for the event at hand.
fn cell(taken: &Delivery, name: &str, value: Option<&'static str>) -> StateWrite {
    StateWrite {
        topic: taken.envelope.topic().to_owned(),
        key: taken.envelope.key().to_owned(),
        name: name.to_owned(),
        value: value.map(|value| bytes::Bytes::from_static(value.as_bytes())),
    }
}

/// Settles `taken` with an effect and a cell of state.
fn with_effects(lab: &Lab, taken: &Delivery) -> Verdict<Commit> {
    let effect = lab.event("effects", taken.envelope.key(), 1)?;
    Ok(Commit {
        effects: vec![effect.into()],
        state: vec![cell(taken, "total", Some("7"))],
        ..settling(std::slice::from_ref(taken))
    })
}

/// None of [`with_effects`] is there.
async fn no_effects(lab: &Lab, when: &str) -> Verdict {
    let effects = lab.stored("effects").await?;
    equal(
        format_args!("effects {when}"),
        recorded_labels(&effects),
        Vec::<String>::new(),
    )?;
    let state = lab.state("g", "orders", "a", "total").await?;
    equal(format_args!("state {when}"), state, None::<Vec<u8>>)
}

async fn all_effects(lab: &Lab, when: &str) -> Verdict {
    let effects = lab.stored("effects").await?;
    equal(
        format_args!("effects {when}"),
        recorded_labels(&effects),
        labels("effects", "a", 1..=1),
    )?;
    let state = lab.state("g", "orders", "a", "total").await?;
    equal(format_args!("state {when}"), state, Some(b"7".to_vec()))
}

pub(super) async fn commit_has_settlement_effects_and_state(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=1).await?;
    let taken = hand.take_one().await?;
    no_effects(lab, "before the commit").await?;
    hand.commit(with_effects(lab, &taken)?).await?;
    all_effects(lab, "after the commit").await?;
    hand.die();
    lab.outlive_failover().await?;
    let other = lab.join("g", "orders").await?;
    other.gets_nothing("the event was settled").await
}

pub(super) async fn commit_survives_a_crash_whole(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=1).await?;
    let taken = hand.take_one().await?;
    hand.commit(with_effects(lab, &taken)?).await?;
    lab.crash_holding(hand).await?;
    all_effects(lab, "after a crash").await?;
    let hand = lab.join("g", "orders").await?;
    hand.gets_nothing("the event was settled").await
}

pub(super) async fn commit_that_never_came_leaves_nothing(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=1).await?;
    let taken = hand.take_one().await?;
    // Made, but never polled.
    drop(hand.member.commit(with_effects(lab, &taken)?));
    hand.die();
    lab.outlive_failover().await?;
    no_effects(lab, "without a commit").await?;
    let other = lab.join("g", "orders").await?;
    let again = other.take_one().await?;
    equal(
        "the event",
        delivery_labels(std::slice::from_ref(&again)),
        ["orders/a/1"],
    )?;
    other.commit(with_effects(lab, &again)?).await?;
    all_effects(lab, "after the commit").await
}

/// A process that dies amid a commit leaves all of it or nothing; at worst its effects, which the
/// next attempt does not repeat.
pub(super) async fn commit_cut_short_is_whole_or_nothing(lab: &mut Lab) -> Verdict {
    for round in 1..=20 {
        let hand = lab.join("g", "orders").await?;
        lab.publish("orders", "a", round..=round).await?;
        let taken = hand.take_one().await?;
        let commit = Commit {
            effects: vec![lab.event("effects", "a", round)?.into()],
            ..settling(std::slice::from_ref(&taken))
        };
        let patience = std::time::Duration::from_micros(round * 20);
        if round % 4 == 0 {
            let _ = hand.member.commit(commit.clone()).now_or_never();
        } else {
            let _ = tokio::time::timeout(patience, hand.member.commit(commit.clone())).await;
        }
        hand.die();
        if lab.engine()?.guarantees().survives_restart {
            lab.crash().await?;
        }
        lab.outlive_failover().await?;
        let other = lab.join("g", "orders").await?;
        // What comes first of the key tells whether the event was settled.
        let next = 100 + round;
        lab.publish("orders", "a", next..=next).await?;
        let mut first = other.take_one().await?;
        let is_settled = label(&first.envelope) != format!("orders/a/{round}");
        let effects = lab.stored("effects").await?;
        let has_effect = effects.len() as u64 == round;
        let is_atomic = lab.engine()?.guarantees().commit == Atomicity::Atomic;
        ensure(
            is_settled == has_effect || (has_effect && !is_atomic),
            "the settlement and the effect of one commit together",
            format_args!("settled: {is_settled}, effect: {has_effect}"),
        )?;
        if !is_settled {
            other.commit(commit).await?;
            first = other.take_one().await?;
        }
        let taken = std::slice::from_ref(&first);
        let expected = labels("orders", "a", next..=next);
        equal("the next event", delivery_labels(taken), expected)?;
        other.commit(settling(taken)).await?;
    }
    let effects = lab.stored("effects").await?;
    equal(
        "effects",
        recorded_labels(&effects),
        labels("effects", "a", 1..=20),
    )
}

pub(super) async fn commit_does_not_repeat_an_effect(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=2).await?;
    // What a process left that died between effects and settlement.
    lab.publish("effects", "a", 1..=1).await?;
    let taken = hand.take_one().await?;
    hand.commit(with_effects(lab, &taken)?).await?;
    all_effects(lab, "after the commit").await?;
    hand.drain(1).await?;
    hand.gets_nothing("both events were settled").await
}

pub(super) async fn commit_of_a_fenced_member_has_no_effect(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=1).await?;
    let taken = hand.take_one().await?;
    let commit = with_effects(lab, &taken)?;
    lab.engine()?
        .reset(&lab.group("g"), Start::Earliest.into())
        .await?;
    let refused = hand.member.commit(commit.clone()).await;
    fails(
        "a commit after a reset to report `Fenced`",
        refused,
        is_fenced,
    )?;
    no_effects(lab, "of a fenced member").await?;

    let leaver = lab.join("g", "orders").await?;
    leaver.take_one().await?;
    leaver.member.leave().await?;
    let refused = leaver.member.commit(commit.clone()).await;
    fails(
        "a commit after leaving to report `Fenced`",
        refused,
        is_fenced,
    )?;
    no_effects(lab, "of a member that left").await?;

    let heir = lab.join("g", "orders").await?;
    let again = heir.take_one().await?;
    heir.commit(with_effects(lab, &again)?).await?;
    all_effects(lab, "of the heir").await
}

pub(super) async fn commit_of_what_another_holds_is_fenced(lab: &mut Lab) -> Verdict {
    let owner = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=1).await?;
    let held = owner.take_one().await?;
    let thief = lab.join("g", "orders").await?;
    let refused = thief.member.commit(with_effects(lab, &held)?).await;
    fails(
        "a commit of another's event to report `Fenced`",
        refused,
        is_fenced,
    )?;
    no_effects(lab, "of a thief").await?;
    owner.commit(with_effects(lab, &held)?).await?;
    all_effects(lab, "of the owner").await?;
    // Once more: no member holds it any more.
    let refused = owner
        .member
        .commit(settling(std::slice::from_ref(&held)))
        .await;
    fails(
        "a second commit of an event to report `Fenced`",
        refused,
        is_fenced,
    )
}

pub(super) async fn commit_keeps_state_per_group_topic_key_and_name(lab: &mut Lab) -> Verdict {
    let (one, two) = (
        lab.join("g", "orders").await?,
        lab.join("h", "orders").await?,
    );
    lab.publish("orders", "a", 1..=3).await?;
    lab.publish("orders", "b", 1..=1).await?;
    let first = one.take_one().await?;
    let writes = vec![cell(&first, "x", Some("1")), cell(&first, "y", Some("2"))];
    let commit = Commit {
        state: writes,
        ..settling(std::slice::from_ref(&first))
    };
    one.commit(commit).await?;
    let other = two.take_one().await?;
    let commit = Commit {
        state: vec![cell(&other, "x", Some("3"))],
        ..settling(std::slice::from_ref(&other))
    };
    two.commit(commit).await?;
    let second = one.take_one().await?;
    let commit = Commit {
        state: vec![cell(&first, "x", None), cell(&first, "y", Some(""))],
        ..settling(std::slice::from_ref(&second))
    };
    let expected: &[(&str, &str, &str, Option<&str>)] = &[
        ("g", "a", "x", Some("1")),
        ("g", "a", "y", Some("2")),
        ("g", "a", "z", None),
        ("g", "b", "x", None),
        ("h", "a", "x", Some("3")),
        ("h", "a", "y", None),
    ];
    states_are(lab, expected).await?;
    one.commit(commit).await?;
    let expected: &[(&str, &str, &str, Option<&str>)] = &[
        ("g", "a", "x", None),
        ("g", "a", "y", Some("")),
        ("h", "a", "x", Some("3")),
    ];
    states_are(lab, expected).await?;
    if lab.engine()?.guarantees().survives_restart {
        one.die();
        two.die();
        lab.restart().await?;
        states_are(lab, expected).await?;
        lab.crash().await?;
        states_are(lab, expected).await?;
    }
    Ok(())
}

async fn states_are(lab: &Lab, expected: &[(&str, &str, &str, Option<&str>)]) -> Verdict {
    for (group, name) in [("g", "x"), ("h", "x")] {
        let mut keys: Vec<&str> = expected
            .iter()
            .filter(|(its, _, named, value)| (*its, *named) == (group, name) && value.is_some())
            .map(|(_, key, ..)| *key)
            .collect();
        keys.sort_unstable();
        let (joined, topic) = (lab.group(group), lab.topic("orders"));
        let engine = lab.engine()?;
        let found = engine.states(&joined, &topic, name, None, 0).await?;
        let found: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
        equal(
            format_args!("keys with state in group {group}"),
            found,
            keys,
        )?;
    }
    for (group, key, name, value) in expected {
        let found = lab.state(group, "orders", key, name).await?;
        let found = found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let what = format_args!("state `{name}` of group {group}, key {key}");
        equal(what, found.as_deref(), *value)?;
    }
    Ok(())
}

pub(super) async fn commit_of_an_unmet_expectation_has_no_effect(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=1).await?;
    lab.publish("bills", "a", 1..=1).await?;
    let taken = hand.take_one().await?;
    let mut commit = with_effects(lab, &taken)?;
    let bill = Append {
        expect: Some(Expect::Absent),
        ..lab.event("bills", "a", 2)?.into()
    };
    commit.effects.push(bill.into());
    let refused = hand.member.commit(commit).await;
    fails("a conflict", refused, |error| {
        matches!(error, Error::Append(AppendError::Conflict { .. }))
    })?;
    no_effects(lab, "of a commit that was refused").await?;
    equal("bills", lab.stored("bills").await?.len(), 1)?;
    // The member still holds the event and decides again.
    hand.commit(with_effects(lab, &taken)?).await?;
    all_effects(lab, "of the second commit").await
}

pub(super) async fn commit_effects_reach_other_groups_in_order(lab: &mut Lab) -> Verdict {
    let first = lab.join("g", "orders").await?;
    let second = lab.join("h", "effects").await?;
    lab.publish("orders", "a", 1..=10).await?;
    for n in 1..=10 {
        let taken = first.take_one().await?;
        let commit = Commit {
            effects: vec![lab.event("effects", "a", n)?.into()],
            ..settling(std::slice::from_ref(&taken))
        };
        first.commit(commit).await?;
    }
    let got = second.drain(10).await?;
    equal(
        "effects",
        delivery_labels(&got),
        labels("effects", "a", 1..=10),
    )
}

pub(super) async fn commit_may_be_empty(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    hand.commit(Commit::default()).await?;
    // Effects without a cause: a service that starts may have something to say.
    let commit = Commit {
        effects: vec![lab.event("effects", "a", 1)?.into()],
        ..Commit::default()
    };
    hand.commit(commit).await?;
    equal("effects", lab.stored("effects").await?.len(), 1)
}

pub(super) async fn commit_schedules_and_cancels(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=1).await?;
    lab.schedule(lab.event("effects", "a", 1)?, lab.later())
        .await?;
    let taken = hand.take_one().await?;
    let scheduled = Append {
        schedule: Some(Schedule::at(lab.later())),
        ..lab.event("effects", "a", 2)?.into()
    };
    let commit = Commit {
        effects: vec![
            scheduled.into(),
            Effect::Cancel(lab.event_id("effects", "a", 1)),
        ],
        ..settling(std::slice::from_ref(&taken))
    };
    hand.commit(commit).await?;
    equal("what is scheduled", lab.scheduled().await?, ["effects/a/2"])?;
    if lab.engine()?.guarantees().survives_restart {
        lab.crash_holding(hand).await?;
        equal(
            "what is scheduled after a crash",
            lab.scheduled().await?,
            ["effects/a/2"],
        )?;
    }
    lab.pass(lab.delay()).await;
    let stored = lab.stored_eventually("effects", 1).await?;
    equal("what came of it", recorded_labels(&stored), ["effects/a/2"])
}

/// What is cancelled and scheduled, in one commit, is as it was said last.
pub(super) async fn commit_applies_effects_in_order(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=2).await?;
    let schedule = |lab: &Lab, key: &str| -> Verdict<Effect> {
        Ok(Effect::Append(Append {
            schedule: Some(Schedule::at(lab.later())),
            ..lab.event("effects", key, 1)?.into()
        }))
    };
    let cancel = |lab: &Lab, key: &str| Effect::Cancel(lab.event_id("effects", key, 1));
    let first = Commit {
        effects: vec![
            cancel(lab, "kept"),
            schedule(lab, "kept")?,
            schedule(lab, "gone")?,
            cancel(lab, "gone"),
            schedule(lab, "again")?,
        ],
        ..settling(std::slice::from_ref(&hand.take_one().await?))
    };
    hand.commit(first).await?;
    let mut scheduled = lab.scheduled().await?;
    scheduled.sort_unstable();
    equal(
        "what is scheduled",
        scheduled,
        ["effects/again/1", "effects/kept/1"],
    )?;
    let second = Commit {
        effects: vec![
            cancel(lab, "again"),
            schedule(lab, "again")?,
            schedule(lab, "kept")?,
            cancel(lab, "kept"),
        ],
        ..settling(std::slice::from_ref(&hand.take_one().await?))
    };
    hand.commit(second).await?;
    equal(
        "what is scheduled",
        lab.scheduled().await?,
        ["effects/again/1"],
    )?;
    lab.pass(lab.delay()).await;
    let stored = lab.stored_eventually("effects", 1).await?;
    equal(
        "what came of it",
        recorded_labels(&stored),
        ["effects/again/1"],
    )
}

//! Point 6: a dead letter is durable before its event is settled, and later events of its key park
//! behind it, in order.

use super::flaw::{Verdict, ensure, equal, fails};
use super::hand::{Hand, burying_first, delivery_labels, dying, first, settling};
use super::lab::Lab;
use super::labels::{labels, labels_of};
use ensue_core::engine::OnDead;
use ensue_core::engine::{Commit, DeadLetter, DeadLetterFilter, DeathCause, Delivery};
use ensue_core::error::{Error, GroupError};

/// Takes an event and gives it up, with what was taken of its key behind it.
async fn bury_next(hand: &Hand) -> Verdict<Delivery> {
    let held = hand.hold(10).await?;
    hand.commit(burying_first(&held)?).await?;
    Ok(first(&held)?.0.clone())
}

fn letters(dead: &[DeadLetter]) -> Vec<String> {
    labels_of(dead.iter().filter_map(|dead| dead.envelope.as_ref().ok()))
}

pub(super) async fn redrive(lab: &Lab, filter: DeadLetterFilter) -> Verdict<usize> {
    Ok(lab.engine()?.redrive(&lab.group("g"), filter).await?)
}

pub(super) async fn discard(lab: &Lab, filter: DeadLetterFilter) -> Verdict<usize> {
    Ok(lab.engine()?.discard(&lab.group("g"), filter).await?)
}

pub(super) async fn dead_letter_tells_its_history(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    let before = lab.clock.now();
    let sent = lab.builder("orders", "a", 1).extension("tenant", "nord");
    let sent = sent.build()?;
    lab.append(vec![sent.clone()]).await?;
    let taken = hand.take_one().await?;
    let mut death = dying(&taken, OnDead::Park);
    death.attempts = 4;
    death.cause = DeathCause::Rejected;
    death.reason = "the card is stolen — naïve".to_owned();
    let commit = Commit {
        dead: vec![death],
        ..Commit::default()
    };
    hand.commit(commit).await?;
    if lab.engine()?.guarantees().survives_restart {
        lab.crash_holding(hand).await?;
    }
    let dead = lab.dead_letters("g").await?;
    equal("dead letters", letters(&dead), labels("orders", "a", 1..=1))?;
    for dead in &dead {
        equal("the group", &dead.group, &lab.group("g"))?;
        equal("the envelope", dead.envelope.as_ref(), Ok(&sent))?;
        equal("the position", dead.position, taken.position)?;
        equal("the attempts", dead.attempts, 4)?;
        equal("the cause", dead.cause, DeathCause::Rejected)?;
        equal(
            "the reason",
            dead.reason.as_str(),
            "the card is stolen — naïve",
        )?;
        equal("how often it was redriven", dead.redriven, 0)?;
        let (died, now) = (dead.died, lab.clock.now());
        ensure(
            died >= before && died <= now,
            format_args!("a death between {before} and {now}"),
            died,
        )?;
    }
    Ok(())
}

pub(super) async fn dead_letter_survives_a_crash_and_is_not_delivered(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=3).await?;
    lab.publish("orders", "b", 1..=1).await?;
    let held = hand.hold(4).await?;
    let (of_a, of_b): (Vec<_>, Vec<_>) = held.into_iter().partition(|d| d.envelope.key() == "a");
    let mut commit = burying_first(&of_a)?;
    commit.settled = settling(&of_b).settled;
    let left = 1 - of_b.len();
    hand.commit(commit).await?;
    lab.crash_holding(hand).await?;
    let hand = lab.join("g", "orders").await?;
    hand.drain(left).await?;
    hand.gets_nothing("the key is parked behind its dead letter")
        .await?;
    lab.publish("orders", "a", 4..=4).await?;
    lab.publish("orders", "b", 2..=2).await?;
    let others = hand.drain(1).await?;
    equal(
        "another key",
        delivery_labels(&others),
        labels("orders", "b", 2..=2),
    )?;
    equal(
        "dead letters",
        letters(&lab.dead_letters("g").await?),
        ["orders/a/1"],
    )?;
    equal(
        "redriven",
        redrive(lab, DeadLetterFilter::default()).await?,
        1,
    )?;
    let all = hand.drain(4).await?;
    equal(
        "all of the key",
        delivery_labels(&all),
        labels("orders", "a", 1..=4),
    )
}

pub(super) async fn dead_letter_parks_its_key(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=3).await?;
    bury_next(&hand).await?;
    lab.publish("orders", "a", 4..=5).await?;
    lab.publish("orders", "b", 1..=5).await?;
    let others = hand.drain(5).await?;
    equal(
        "another key",
        delivery_labels(&others),
        labels("orders", "b", 1..=5),
    )?;
    hand.gets_nothing("the key is parked behind its dead letter")
        .await?;
    let status = lab
        .group_is("g", "one dead letter, four parked, no lag", |group| {
            group.dead == 1 && group.parked == 4 && group.lag == 0
        })
        .await?;
    ensure(status.retrying == 0, "no retries", status.retrying)?;
    let parked: Vec<_> = lab
        .dead_letters("g")
        .await?
        .iter()
        .map(|d| d.parked)
        .collect();
    equal("how many are parked behind the dead letter", parked, [4])?;
    // Other groups know nothing of it.
    let other = lab.join("h", "orders").await?;
    equal("another group", other.drain(10).await?.len(), 10)
}

pub(super) async fn dead_letter_lets_its_key_pass_if_asked(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=1).await?;
    let taken = hand.take_one().await?;
    let commit = Commit {
        dead: vec![dying(&taken, OnDead::Skip)],
        ..Commit::default()
    };
    hand.commit(commit).await?;
    lab.publish("orders", "a", 2..=3).await?;
    let rest = hand.drain(2).await?;
    equal(
        "the rest of the key",
        delivery_labels(&rest),
        labels("orders", "a", 2..=3),
    )?;
    equal(
        "dead letters",
        letters(&lab.dead_letters("g").await?),
        ["orders/a/1"],
    )?;
    equal(
        "redriven",
        redrive(lab, DeadLetterFilter::default()).await?,
        1,
    )?;
    let again = hand.drain(1).await?;
    equal(
        "the redriven event",
        delivery_labels(&again),
        labels("orders", "a", 1..=1),
    )
}

pub(super) async fn redrive_hands_back_in_order(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=5).await?;
    bury_next(&hand).await?;
    lab.publish("orders", "a", 6..=8).await?;
    hand.gets_nothing("the key is parked").await?;
    equal(
        "redriven",
        redrive(lab, DeadLetterFilter::default()).await?,
        1,
    )?;
    equal(
        "dead letters after a redrive",
        letters(&lab.dead_letters("g").await?).len(),
        0,
    )?;
    lab.publish("orders", "a", 9..=9).await?;
    let all = hand.drain(9).await?;
    equal(
        "all of the key",
        delivery_labels(&all),
        labels("orders", "a", 1..=9),
    )?;
    equal(
        "the attempt of the redriven",
        all.first().map(|d| d.attempt),
        Some(1),
    )?;
    hand.gets_nothing("everything was settled").await?;
    equal(
        "redriven again",
        redrive(lab, DeadLetterFilter::default()).await?,
        0,
    )
}

pub(super) async fn redrive_wakes_a_waiting_member(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=1).await?;
    bury_next(&hand).await?;
    let (taken, redriven) = futures_util::future::join(hand.take_one(), async {
        tokio::time::sleep(lab.terms.quiet).await;
        redrive(lab, DeadLetterFilter::default()).await
    })
    .await;
    equal("redriven", redriven?, 1)?;
    equal(
        "the event",
        super::labels::label(&taken?.envelope),
        "orders/a/1",
    )
}

pub(super) async fn redrive_that_fails_again_parks_again(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=3).await?;
    bury_next(&hand).await?;
    for times in 1..=3 {
        redrive(lab, DeadLetterFilter::default()).await?;
        let buried = bury_next(&hand).await?;
        equal(
            "the redriven",
            super::labels::label(&buried.envelope),
            "orders/a/1",
        )?;
        let dead = lab.dead_letters("g").await?;
        let redriven: Vec<_> = dead.iter().map(|dead| dead.redriven).collect();
        equal("how often it was redriven", redriven, [times])?;
        hand.gets_nothing("the key is parked again").await?;
    }
    // Now it works, but the next one does not: that one holds up the rest.
    redrive(lab, DeadLetterFilter::default()).await?;
    hand.drain(1).await?;
    let second = bury_next(&hand).await?;
    equal(
        "the next",
        super::labels::label(&second.envelope),
        "orders/a/2",
    )?;
    hand.gets_nothing("the key is parked again").await?;
    redrive(lab, DeadLetterFilter::default()).await?;
    let rest = hand.drain(2).await?;
    equal(
        "the rest",
        delivery_labels(&rest),
        labels("orders", "a", 2..=3),
    )
}

pub(super) async fn redrive_survives_a_crash(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=4).await?;
    bury_next(&hand).await?;
    redrive(lab, DeadLetterFilter::default()).await?;
    lab.crash_holding(hand).await?;
    equal("dead letters", lab.dead_letters("g").await?.len(), 0)?;
    let hand = lab.join("g", "orders").await?;
    hand.drain(2).await?;
    lab.crash_holding(hand).await?;
    let hand = lab.join("g", "orders").await?;
    let rest = hand.drain(2).await?;
    equal(
        "the rest",
        delivery_labels(&rest),
        labels("orders", "a", 3..=4),
    )?;
    hand.gets_nothing("everything was settled").await
}

pub(super) async fn discard_lets_its_key_go_on_in_order(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=4).await?;
    bury_next(&hand).await?;
    lab.publish("orders", "a", 5..=6).await?;
    hand.gets_nothing("the key is parked").await?;
    equal(
        "discarded",
        discard(lab, DeadLetterFilter::default()).await?,
        1,
    )?;
    let rest = hand.drain(5).await?;
    equal(
        "the rest of the key",
        delivery_labels(&rest),
        labels("orders", "a", 2..=6),
    )?;
    hand.gets_nothing("the dead letter was discarded").await?;
    equal("dead letters", lab.dead_letters("g").await?.len(), 0)?;
    if lab.engine()?.guarantees().survives_restart {
        lab.crash_holding(hand).await?;
        equal(
            "dead letters after a crash",
            lab.dead_letters("g").await?.len(),
            0,
        )?;
        let hand = lab.join("g", "orders").await?;
        hand.gets_nothing("everything was settled or discarded")
            .await?;
    }
    equal(
        "discarded again",
        discard(lab, DeadLetterFilter::default()).await?,
        0,
    )
}

pub(super) async fn dead_letters_of_all_groups_are_listed_oldest_first(lab: &mut Lab) -> Verdict {
    let (one, two) = (
        lab.join("g", "orders").await?,
        lab.join("h", "orders").await?,
    );
    lab.publish("orders", "a", 1..=1).await?;
    bury_next(&two).await?;
    lab.pass(lab.moment()).await;
    bury_next(&one).await?;
    let own = [lab.group("h"), lab.group("g")];
    let all = lab
        .engine()?
        .dead_letters(None, DeadLetterFilter::default());
    let all = all.await?;
    let groups: Vec<_> = all.iter().map(|dead| dead.group.as_str()).collect();
    let groups: Vec<_> = groups
        .into_iter()
        .filter(|g| own.iter().any(|o| o == g))
        .collect();
    equal(
        "the groups, the oldest dead letter first",
        groups,
        own.each_ref(),
    )?;
    equal(
        "redriven",
        redrive(lab, DeadLetterFilter::default()).await?,
        1,
    )?;
    equal(
        "dead letters of the other group",
        lab.dead_letters("h").await?.len(),
        1,
    )
}

pub(super) async fn unknown_groups_are_named(lab: &mut Lab) -> Verdict {
    let engine = lab.engine()?;
    let unknown = lab.group("unknown");
    let is_unknown = |error: &Error| matches!(error, Error::Group(GroupError::Unknown { group, .. }) if *group == unknown);
    let expected = "an unknown group to be reported";
    let all = DeadLetterFilter::default;
    fails(expected, engine.redrive(&unknown, all()).await, is_unknown)?;
    fails(expected, engine.discard(&unknown, all()).await, is_unknown)?;
    fails(expected, engine.delete_group(&unknown).await, is_unknown)?;
    let letters = engine.dead_letters(Some(&unknown), all()).await;
    fails(expected, letters, is_unknown)?;
    let cell = engine.state(&unknown, "orders", "a", "total").await;
    fails(expected, cell, is_unknown)?;
    let start = ensue_core::Start::Earliest;
    fails(
        expected,
        engine.reset(&unknown, start.into()).await,
        is_unknown,
    )
}

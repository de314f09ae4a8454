//! Point 6: a failure blocks only its key.

use super::flaw::{Verdict, ensure, equal};
use super::hand::{
    Hand, delivery_labels, dying, first, key_labels, retrying, retrying_first, settling,
};
use super::lab::Lab;
use super::labels::labels;
use ensue_core::engine::OnDead;
use ensue_core::engine::{Commit, DeathCause};

pub(super) async fn retry_blocks_only_its_key(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=1).await?;
    let taken = hand.take(1).await?;
    let due = lab.later();
    hand.commit(retrying_first(&taken, due)?).await?;
    lab.publish("orders", "a", 2..=3).await?;
    lab.publish("orders", "b", 1..=10).await?;
    let others = hand.drain(10).await?;
    equal(
        "another key",
        delivery_labels(&others),
        labels("orders", "b", 1..=10),
    )?;
    hand.gets_nothing("the key waits for its retry").await?;
    lab.pass(lab.delay()).await;
    let again = hand.take_one().await?;
    equal(
        "the retry",
        super::labels::label(&again.envelope),
        "orders/a/1",
    )?;
    equal("its attempt", again.attempt, 2)?;
    let now = lab.clock.now();
    ensure(now >= due, format_args!("no retry before {due}"), now)?;
    hand.settle(&[again]).await?;
    let rest = hand.drain(2).await?;
    equal(
        "what waited",
        delivery_labels(&rest),
        labels("orders", "a", 2..=3),
    )
}

pub(super) async fn retry_comes_back_as_it_was(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    let sent = lab.builder("orders", "a", 1).extension("tenant", "nord");
    let sent = sent.build()?;
    lab.append(vec![sent.clone()]).await?;
    let first = hand.take(1).await?;
    hand.commit(retrying_first(&first, lab.later())?).await?;
    lab.pass(lab.delay()).await;
    let again = hand.take_one().await?;
    equal("the envelope", &again.envelope, &sent)?;
    let position = first.first().map(|delivery| delivery.position);
    equal("the position", Some(again.position), position)
}

pub(super) async fn retry_keeps_the_order_behind_it(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=4).await?;
    let held = hand.hold(4).await?;
    hand.commit(retrying_first(&held, lab.later())?).await?;
    lab.publish("orders", "a", 5..=6).await?;
    hand.gets_nothing("the key waits for its retry").await?;
    lab.pass(lab.delay()).await;
    let all = hand.drain(6).await?;
    equal(
        "all of the key",
        delivery_labels(&all),
        labels("orders", "a", 1..=6),
    )?;
    equal(
        "the retry's attempt",
        all.first().map(|d| d.attempt),
        Some(2),
    )?;
    ensure(
        all.iter().skip(1).all(|delivery| delivery.attempt == 1),
        "waiting not to count as an attempt",
        format_args!("{:?}", all.iter().map(|d| d.attempt).collect::<Vec<_>>()),
    )
}

/// Dispatch waits for events while it commits: what it got before it knew of the failure comes back
/// in a later commit.
pub(super) async fn retry_takes_events_back_late(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=4).await?;
    let held = hand.hold(4).await?;
    let (failed, behind) = first(&held)?;
    let (early, late) = behind.split_at(behind.len() / 2);
    let commit = Commit {
        retries: vec![retrying(failed, lab.later())],
        parked: early.to_vec(),
        ..Commit::default()
    };
    let committed = hand.commit(commit).await?;
    ensure(
        late.iter()
            .all(|late| late.generation < committed.generation),
        "what was taken before the failure to be of an older generation",
        format_args!(
            "{:?} and {}",
            late.iter().map(|d| d.generation).collect::<Vec<_>>(),
            committed.generation
        ),
    )?;
    lab.publish("orders", "a", 5..=6).await?;
    let parked = Commit {
        parked: late.to_vec(),
        ..Commit::default()
    };
    hand.commit(parked).await?;
    hand.gets_nothing("the key waits for its retry").await?;
    lab.pass(lab.delay()).await;
    let all = hand.drain(6).await?;
    equal(
        "all of the key",
        delivery_labels(&all),
        labels("orders", "a", 1..=6),
    )
}

/// The retry is due before its followers have come back: what follows them must not overtake them.
pub(super) async fn retry_is_not_overtaken_by_later_events(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=3).await?;
    let held = hand.hold(3).await?;
    let (failed, behind) = first(&held)?;
    let commit = Commit {
        retries: vec![retrying(failed, lab.clock.now())],
        ..Commit::default()
    };
    hand.commit(commit).await?;
    lab.publish("orders", "a", 4..=5).await?;
    // The retry itself may come, or wait, too; nothing else does while it is not settled and
    // events 2 and 3 are out.
    let early = tokio::time::timeout(lab.terms.quiet, hand.next(10)).await;
    let early = early.unwrap_or(Ok(Vec::new()))?;
    if !early.is_empty() {
        equal("what comes", delivery_labels(&early), ["orders/a/1"])?;
        hand.gets_nothing("the retry and what follows it are out")
            .await?;
    }
    let commit = Commit {
        parked: behind.to_vec(),
        ..Commit::default()
    };
    hand.commit(commit).await?;
    hand.settle(&early).await?;
    let mut done = early;
    done.extend(hand.drain(5 - done.len()).await?);
    equal(
        "all of the key",
        delivery_labels(&done),
        labels("orders", "a", 1..=5),
    )
}

/// What was taken after a failure was committed is not stale.
pub(super) async fn retry_has_a_generation(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=1).await?;
    let before = hand.take_one().await?;
    let retry = retrying(&before, lab.later());
    let commit = Commit {
        retries: vec![retry],
        ..Commit::default()
    };
    let committed = hand.commit(commit).await?;
    ensure(
        before.generation < committed.generation,
        format_args!("a generation after {}", before.generation),
        committed.generation,
    )?;
    lab.publish("orders", "b", 1..=1).await?;
    let other = hand.take_one().await?;
    lab.pass(lab.delay()).await;
    let again = hand.take_one().await?;
    for after in [&other, &again] {
        ensure(
            after.generation >= committed.generation,
            format_args!("{} or a later generation", committed.generation),
            after.generation,
        )?;
    }
    let settled = hand.settle(&[other, again.clone()]).await?;
    ensure(
        settled.generation >= committed.generation,
        "generations not to go back",
        settled.generation,
    )
}

pub(super) async fn retry_counts_its_attempts(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=2).await?;
    for attempt in 1..=4 {
        let taken = hand.hold(2).await?;
        let numbers = delivery_labels(&taken);
        equal(
            "the retry",
            numbers.first().map(String::as_str),
            Some("orders/a/1"),
        )?;
        equal(
            "its attempt",
            taken.first().map(|d| d.attempt),
            Some(attempt),
        )?;
        hand.commit(retrying_first(&taken, lab.later())?).await?;
        lab.pass(lab.delay()).await;
    }
    let rest = hand.drain(2).await?;
    equal(
        "all of the key",
        delivery_labels(&rest),
        labels("orders", "a", 1..=2),
    )
}

pub(super) async fn retry_survives_crashes(lab: &mut Lab) -> Verdict {
    lab.publish("orders", "a", 1..=3).await?;
    lab.publish("orders", "b", 1..=1).await?;
    for attempt in 1..=3 {
        let hand = lab.join("g", "orders").await?;
        if attempt > 1 {
            lab.pass(lab.delay()).await;
        }
        let held = hand.hold(10).await?;
        let mut of_key = held.clone();
        of_key.retain(|delivery| delivery.envelope.key() == "a");
        let (failed, _) = first(&of_key)?;
        equal(
            "the retry",
            super::labels::label(&failed.envelope),
            "orders/a/1",
        )?;
        equal("its attempt", failed.attempt, attempt)?;
        let others = held.iter().filter(|d| d.envelope.key() != "a");
        let mut commit = retrying_first(&of_key, lab.later())?;
        commit.settled = others.map(|delivery| delivery.position).collect();
        hand.commit(commit).await?;
        lab.crash_holding(hand).await?;
    }
    let hand = lab.join("g", "orders").await?;
    hand.gets_nothing("the key waits for its retry, also after a crash")
        .await?;
    lab.pass(lab.delay()).await;
    let rest = hand.drain(3).await?;
    equal(
        "all of the key",
        delivery_labels(&rest),
        labels("orders", "a", 1..=3),
    )
}

pub(super) async fn retry_goes_to_a_member_that_is_left(lab: &mut Lab) -> Verdict {
    let one = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=3).await?;
    let held = one.hold(3).await?;
    one.commit(retrying_first(&held, lab.later())?).await?;
    one.member.leave().await?;
    let two = lab.join("g", "orders").await?;
    two.gets_nothing("the key waits for its retry").await?;
    lab.pass(lab.delay()).await;
    let all = two.drain(3).await?;
    equal(
        "all of the key",
        delivery_labels(&all),
        labels("orders", "a", 1..=3),
    )
}

/// One commit settles, retries, parks and buries, each of another key.
pub(super) async fn retry_shares_a_commit_with_other_outcomes(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    for key in ["done", "failed", "dead", "skipped"] {
        lab.publish("orders", key, 1..=2).await?;
    }
    let held = hand.hold(8).await?;
    let of = |key: &str| -> Vec<_> {
        let of_key = held.iter().filter(|d| d.envelope.key() == key);
        of_key.cloned().collect()
    };
    let mut commit = settling(&of("done"));
    let (failed, behind) = (of("failed"), of("dead"));
    let (retried, waiting) = first(&failed)?;
    commit.retries.push(retrying(retried, lab.later()));
    commit.parked.extend_from_slice(waiting);
    let (buried, waiting) = first(&behind)?;
    commit.dead.push(dying(buried, OnDead::Park));
    commit.parked.extend_from_slice(waiting);
    let skipped = of("skipped");
    let (given_up, next) = first(&skipped)?;
    commit.dead.push(dying(given_up, OnDead::Skip));
    commit.settled.extend(next.iter().map(|d| d.position));
    let done = commit.settled.len() - next.len();
    hand.commit(commit).await?;
    // Whatever an engine that hands out one event of a key at a time still has.
    let left = (2 - done) + (1 - next.len());
    hand.drain(left).await?;
    hand.gets_nothing("the rest waits or is dead").await?;
    lab.pass(lab.delay()).await;
    let retried = hand.drain(2).await?;
    equal(
        "the retried key",
        delivery_labels(&retried),
        labels("orders", "failed", 1..=2),
    )?;
    let dead = lab.dead_letters("g").await?;
    let dead: Vec<_> = dead
        .iter()
        .filter_map(|dead| dead.envelope.as_ref().ok())
        .collect();
    let dead = super::labels::sorted(super::labels::labels_of(dead));
    equal("dead letters", dead, ["orders/dead/1", "orders/skipped/1"])
}

/// A process that dies with an event in its hands made an attempt; one that does so again and again
/// is found out, and the others go on.
pub(super) async fn crash_counts_as_an_attempt(lab: &mut Lab) -> Verdict {
    const LIMIT: u32 = 3;
    const CRASHES_MAX: u32 = 12;
    lab.publish("orders", "deadly", 1..=2).await?;
    let mut last = 0;
    for _ in 0..CRASHES_MAX {
        let hand = lab.join("g", "orders").await?;
        let taken = hand.take_one().await?;
        equal(
            "the event",
            super::labels::label(&taken.envelope),
            "orders/deadly/1",
        )?;
        ensure(
            taken.attempt >= last,
            format_args!("attempt {last} or more"),
            taken.attempt,
        )?;
        last = taken.attempt;
        if last > LIMIT {
            return bury_the_deadly(lab, &hand, &taken).await;
        }
        // A moment for the engine to note that the event is out; then the process dies.
        tokio::time::sleep(lab.terms.quiet).await;
        lab.crash_holding(hand).await?;
    }
    ensure(
        false,
        format_args!("attempt {} after {CRASHES_MAX} crashes", LIMIT + 1),
        format_args!("attempt {last}"),
    )
}

async fn bury_the_deadly(lab: &Lab, hand: &Hand, taken: &ensue_core::engine::Delivery) -> Verdict {
    let mut death = dying(taken, OnDead::Skip);
    death.cause = DeathCause::Crashed;
    let commit = Commit {
        dead: vec![death],
        ..Commit::default()
    };
    hand.commit(commit).await?;
    lab.publish("orders", "fine", 1..=3).await?;
    let rest = hand.drain(4).await?;
    equal(
        "its key",
        key_labels(&rest, "deadly"),
        labels("orders", "deadly", 2..=2),
    )?;
    equal(
        "the others",
        key_labels(&rest, "fine"),
        labels("orders", "fine", 1..=3),
    )?;
    let fresh = rest.iter().filter(|d| d.envelope.key() == "fine");
    ensure(
        fresh.into_iter().all(|delivery| delivery.attempt == 1),
        "an event that was never out to be at its first attempt",
        "a later one",
    )?;
    let dead = lab.dead_letters("g").await?;
    let causes: Vec<_> = dead.iter().map(|dead| dead.cause).collect();
    equal("causes", causes, [DeathCause::Crashed])
}

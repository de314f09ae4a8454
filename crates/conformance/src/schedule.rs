//! Point 8: an event can be appended for a later time, survives restarts, can be cancelled.

use super::flaw::{Verdict, ensure, equal};
use super::hand::delivery_labels;
use super::lab::Lab;
use super::labels::{labels, recorded_labels};
use ensue_core::engine::{Append, Schedule};
use ensue_core::event::Envelope;

pub(super) async fn schedule_appends_at_its_time_and_once(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    let due = lab.later();
    let event = lab.event("orders", "a", 1)?;
    lab.schedule(event.clone(), due).await?;
    hand.gets_nothing("the event is not due").await?;
    equal(
        "what is stored before it is due",
        lab.stored("orders").await?.len(),
        0,
    )?;
    lab.pass(lab.delay()).await;
    let got = hand.take_one().await?;
    equal("the event", &got.envelope, &event)?;
    let stored = lab.stored_eventually("orders", 1).await?;
    for recorded in &stored {
        let appended = recorded.appended;
        ensure(
            appended >= due,
            format_args!("an append at {due} or later"),
            appended,
        )?;
    }
    hand.settle(&[got]).await?;
    equal("what is still scheduled", lab.scheduled().await?.len(), 0)?;
    lab.pass(lab.delay()).await;
    hand.gets_nothing("the event was appended once").await?;
    let again = lab.append(vec![event]).await?;
    let flags: Vec<_> = again.iter().map(|appended| appended.is_duplicate).collect();
    equal("the same id afterwards", flags, [true])
}

pub(super) async fn schedule_for_the_past_is_now(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    let past = ensue_core::Timestamp::from_micros(lab.clock.now().as_micros() - 1_000_000);
    lab.schedule(lab.event("orders", "a", 1)?, past).await?;
    lab.schedule(lab.event("orders", "a", 2)?, lab.clock.now())
        .await?;
    let got = hand.drain(2).await?;
    equal(
        "the events",
        delivery_labels(&got),
        labels("orders", "a", 1..=2),
    )?;
    equal("what is scheduled", lab.scheduled().await?.len(), 0)
}

pub(super) async fn schedule_shares_a_batch_with_appends(lab: &mut Lab) -> Verdict {
    let batch = vec![
        lab.event("orders", "a", 1)?.into(),
        Append {
            schedule: Some(Schedule::at(lab.later())),
            ..lab.event("orders", "a", 2)?.into()
        },
        lab.event("orders", "a", 3)?.into(),
    ];
    let results = lab.engine()?.append(batch).await?;
    equal("results", results.len(), 3)?;
    let stored = lab.stored("orders").await?;
    equal(
        "what is stored",
        recorded_labels(&stored),
        ["orders/a/1", "orders/a/3"],
    )?;
    equal("what is scheduled", lab.scheduled().await?, ["orders/a/2"])?;
    lab.pass(lab.delay()).await;
    lab.stored_eventually("orders", 3).await.map(drop)
}

pub(super) async fn schedule_survives_crashes_and_restarts(lab: &mut Lab) -> Verdict {
    lab.schedule(lab.event("orders", "a", 1)?, lab.later())
        .await?;
    lab.crash().await?;
    equal(
        "what is scheduled after a crash",
        lab.scheduled().await?,
        ["orders/a/1"],
    )?;
    lab.restart().await?;
    equal(
        "what is scheduled after a restart",
        lab.scheduled().await?,
        ["orders/a/1"],
    )?;
    lab.pass(lab.delay()).await;
    lab.stored_eventually("orders", 1).await?;
    lab.crash().await?;
    lab.pass(lab.delay()).await;
    tokio::time::sleep(lab.terms.quiet).await;
    equal("what is stored", lab.stored("orders").await?.len(), 1)
}

/// It became due while no engine was running.
pub(super) async fn schedule_catches_up_after_a_restart(lab: &mut Lab) -> Verdict {
    lab.schedule(lab.event("orders", "a", 1)?, lab.later())
        .await?;
    lab.crash_and_wait(lab.delay()).await?;
    let stored = lab.stored_eventually("orders", 1).await?;
    equal(
        "what is stored",
        recorded_labels(&stored),
        labels("orders", "a", 1..=1),
    )?;
    let hand = lab.join("g", "orders").await?;
    hand.drain(1).await?;
    hand.gets_nothing("the event was appended once").await
}

pub(super) async fn schedule_can_be_cancelled(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    let engine = lab.engine()?.clone();
    for n in 1..=4 {
        lab.schedule(lab.event("orders", "a", n)?, lab.later())
            .await?;
    }
    let ids = vec![
        lab.event_id("orders", "a", 1),
        lab.event_id("orders", "a", 3),
        lab.event_id("orders", "unknown", 1),
    ];
    equal(
        "how many were pending",
        engine.cancel(ids.clone()).await?,
        2,
    )?;
    equal("how many still were", engine.cancel(ids).await?, 0)?;
    let mut left = lab.scheduled().await?;
    left.sort_unstable();
    equal("what is left", left, ["orders/a/2", "orders/a/4"])?;
    lab.pass(lab.delay()).await;
    let got = hand.drain(2).await?;
    equal(
        "what came",
        delivery_labels(&got),
        ["orders/a/2", "orders/a/4"],
    )?;
    hand.gets_nothing("the others were cancelled").await?;
    let late = vec![lab.event_id("orders", "a", 2)];
    equal(
        "a cancellation that comes too late",
        engine.cancel(late).await?,
        0,
    )
}

pub(super) async fn schedule_tells_sources_apart(lab: &mut Lab) -> Verdict {
    let of = |source: &str| lab.builder("orders", "a", 1).source(source).build();
    let events = [of("/one")?, of("/two")?];
    for event in &events {
        lab.schedule(event.clone(), lab.later()).await?;
    }
    equal("what is scheduled", lab.scheduled().await?.len(), 2)?;
    let one = events.iter().map(Envelope::event_id).take(1).collect();
    equal("how many were pending", lab.engine()?.cancel(one).await?, 1)?;
    let left = lab.engine()?.scheduled(usize::MAX).await?;
    let left: Vec<_> = left.iter().map(|it| it.name.source()).collect();
    equal("the source of what is left", left, ["/two"])
}

pub(super) async fn schedule_cancellation_survives_a_crash(lab: &mut Lab) -> Verdict {
    lab.schedule(lab.event("orders", "a", 1)?, lab.later())
        .await?;
    let ids = vec![lab.event_id("orders", "a", 1)];
    equal("how many were pending", lab.engine()?.cancel(ids).await?, 1)?;
    lab.crash().await?;
    equal("what is scheduled", lab.scheduled().await?.len(), 0)?;
    lab.pass(lab.delay()).await;
    tokio::time::sleep(lab.terms.quiet).await;
    equal("what is stored", lab.stored("orders").await?.len(), 0)
}

pub(super) async fn schedule_of_a_known_id_changes_nothing(lab: &mut Lab) -> Verdict {
    let first = lab.later();
    lab.schedule(lab.event("orders", "a", 1)?, first).await?;
    lab.schedule(lab.event("orders", "a", 1)?, first.plus(lab.delay()))
        .await?;
    let scheduled = lab.engine()?.scheduled(usize::MAX).await?;
    let id = lab.id("orders", "a", 1);
    let times: Vec<_> = scheduled
        .iter()
        .filter(|scheduled| scheduled.name.id() == id)
        .map(|scheduled| scheduled.at)
        .collect();
    equal("when it is due", times, [first])?;
    // An id that was appended is not appended again later, either, and the caller is told.
    let appended = lab.publish("orders", "b", 1..=1).await?;
    let again = lab.schedule(lab.event("orders", "b", 1)?, first).await?;
    equal(
        "an id that was appended is a duplicate",
        again.is_duplicate,
        true,
    )?;
    let at = appended.first().map(|appended| appended.position);
    equal("where it was appended", Some(again.position), at)?;
    lab.pass(lab.delay()).await;
    lab.stored_eventually("orders", 2).await?;
    lab.pass(lab.delay()).await;
    tokio::time::sleep(lab.terms.quiet).await;
    let stored = lab.stored("orders").await?;
    equal(
        "what is stored",
        recorded_labels(&stored),
        ["orders/b/1", "orders/a/1"],
    )
}

/// A timer's name stands for the last event that was scheduled under it, and can be used again.
pub(super) async fn schedule_of_a_timer_moves_it(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    let timer = lab.event_id("orders", "timer", 0);
    let first = lab.later();
    for (n, steps) in [(1, 0), (2, 2), (3, 1)] {
        let at = first.plus(lab.moment() * steps);
        let set = lab
            .set(timer.id(), lab.event("orders", "a", n)?, at)
            .await?;
        equal("whether it is a duplicate", set.is_duplicate, false)?;
    }
    equal("what is scheduled", lab.scheduled().await?, ["orders/a/3"])?;
    lab.pass(lab.delay() + lab.moment() * 3).await;
    let got = hand.take_one().await?;
    equal(
        "what came",
        delivery_labels(std::slice::from_ref(&got)),
        ["orders/a/3"],
    )?;
    hand.settle(&[got]).await?;
    hand.gets_nothing("the others were replaced").await?;
    // It has gone off: the name is free, and the id of its event is not.
    let again = lab
        .set(timer.id(), lab.event("orders", "a", 3)?, lab.later())
        .await?;
    equal("whether its event is a duplicate", again.is_duplicate, true)?;
    lab.set(timer.id(), lab.event("orders", "a", 4)?, lab.later())
        .await?;
    equal("what is scheduled", lab.scheduled().await?, ["orders/a/4"])?;
    let cancelled = lab.engine()?.cancel(vec![timer.clone()]).await?;
    equal("how many timers were set", cancelled, 1)?;
    // Setting it to now is now.
    lab.set(timer.id(), lab.event("orders", "a", 5)?, lab.later())
        .await?;
    lab.set(timer.id(), lab.event("orders", "a", 6)?, lab.clock.now())
        .await?;
    equal("what is scheduled", lab.scheduled().await?.len(), 0)?;
    let got = hand.take_one().await?;
    equal(
        "what came",
        delivery_labels(std::slice::from_ref(&got)),
        ["orders/a/6"],
    )?;
    lab.pass(lab.delay()).await;
    hand.gets_nothing("the timer was stopped").await
}

pub(super) async fn schedule_goes_by_due_time(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    let due = lab.later();
    let step = lab.moment();
    for (n, steps) in [(1, 2), (2, 0), (3, 3), (4, 1)] {
        lab.schedule(lab.event("orders", "a", n)?, due.plus(step * steps))
            .await?;
    }
    let expected = ["orders/a/2", "orders/a/4", "orders/a/1", "orders/a/3"];
    equal(
        "the list of what is scheduled",
        lab.scheduled().await?,
        expected,
    )?;
    let two = lab.engine()?.scheduled(2).await?;
    equal("how many of a list of two", two.len(), 2)?;
    // All of them are due at once: they still come in their order.
    lab.pass(lab.delay() + step * 4).await;
    let got = hand.drain(4).await?;
    equal("what came", delivery_labels(&got), expected)
}

//! Point 1: an append is durable and atomic for the whole batch when it returns.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::flaw::{Flaw, Verdict, ensure, equal, fails};
use super::lab::Lab;
use super::labels::{labels, labels_of, positions, recorded_labels};
use ensue::Outgoing;
use ensue::Publisher;
use ensue_core::engine::{APPEND_EVENTS_MAX, Append, Expect, Query};
use ensue_core::error::{AppendError, EngineError, Error};
use ensue_core::event::{Codec, Envelope, InvalidEvent, PAYLOAD_BYTES_MAX, TraceContext};

pub(super) async fn append_is_durable_when_it_returns(lab: &mut Lab) -> Verdict {
    lab.publish("orders", "a", 1..=3).await?;
    lab.crash().await?;
    let stored = lab.stored("orders").await?;
    equal(
        "the events after a crash",
        recorded_labels(&stored),
        labels("orders", "a", 1..=3),
    )?;
    // Once more: what a recovery wrote has to survive, too.
    let again = lab.publish("orders", "a", 4..=6).await?;
    lab.crash().await?;
    let stored = lab.stored("orders").await?;
    equal(
        "the events after another crash",
        recorded_labels(&stored),
        labels("orders", "a", 1..=6),
    )?;
    let found: Vec<_> = stored.iter().skip(3).map(|r| r.position).collect();
    equal("the positions after a crash", found, positions(&again))
}

pub(super) async fn append_survives_a_clean_restart(lab: &mut Lab) -> Verdict {
    let sent = lab.events("orders", "a", 1..=50)?;
    lab.append(sent.clone()).await?;
    lab.restart().await?;
    let stored = lab.stored("orders").await?;
    let stored: Vec<_> = stored.into_iter().map(|r| r.envelope).collect();
    equal("the events after a restart", stored, sent)
}

pub(super) async fn append_answers_each_event_in_order(lab: &mut Lab) -> Verdict {
    let mut sent = Vec::new();
    for n in 1..=5 {
        for (topic, key) in [
            ("orders", "a"),
            ("bills", "a"),
            ("orders", "b"),
            ("orders", ""),
        ] {
            sent.push(lab.event(topic, key, n)?);
        }
    }
    let appended = lab.append(sent.clone()).await?;
    let query = Query {
        topics: Some(lab.topic("*").parse()?),
        ..Query::default()
    };
    let stored = lab.read_all(query).await?;
    for (event, appended) in sent.iter().zip(&appended) {
        ensure(!appended.is_duplicate, "no duplicate", event.id())?;
        let there = stored
            .iter()
            .filter(|recorded| recorded.envelope == *event)
            .any(|recorded| recorded.position == appended.position);
        ensure(
            there,
            format_args!("{} at position {}", event.id(), appended.position),
            format_args!("{:?}", recorded_labels(&stored)),
        )?;
    }
    equal("how many events are there", stored.len(), sent.len())
}

pub(super) async fn append_positions_increase_per_key(lab: &mut Lab) -> Verdict {
    let mut last = None;
    for batch in 0..10 {
        let appended = lab
            .publish("orders", "a", batch * 3 + 1..=batch * 3 + 3)
            .await?;
        lab.publish("orders", "b", batch + 1..=batch + 1).await?;
        for position in positions(&appended) {
            ensure(
                last < Some(position),
                format_args!("a position after {last:?}"),
                position,
            )?;
            last = Some(position);
        }
    }
    Ok(())
}

pub(super) async fn append_keeps_every_attribute(lab: &mut Lab) -> Verdict {
    let bytes: Vec<u8> = (0..=255).collect();
    let full = lab
        .builder("orders", "größe/1 ✓", 1)
        .version(7)
        .correlation("c-1")
        .causation("c-0")
        .trace(TraceContext::root())
        .extension("tenant", "nord")
        .extension("empty", "")
        .opaque_payload("image/png", bytes)
        .build()?;
    let bare = lab
        .builder("orders", "", 2)
        .payload(Codec::MessagePack, Vec::new())
        .build()?;
    lab.append(vec![full.clone(), bare.clone()]).await?;
    let stored = lab.stored("orders").await?;
    let stored: Vec<_> = stored.into_iter().map(|r| r.envelope).collect();
    equal("what was appended", &stored, &vec![full.clone(), bare])?;
    let extensions: Vec<_> = stored.iter().flat_map(Envelope::extensions).collect();
    equal(
        "the extensions",
        extensions,
        full.extensions().collect::<Vec<_>>(),
    )
}

pub(super) async fn append_of_nothing_is_nothing(lab: &mut Lab) -> Verdict {
    let appended = lab.engine()?.append(Vec::new()).await?;
    equal("the results of an empty batch", appended.len(), 0)
}

/// An append with an expectation.
fn expecting(event: Envelope, expect: Expect) -> Append {
    Append {
        expect: Some(expect),
        ..event.into()
    }
}

fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::Append(AppendError::Conflict { .. }))
}

pub(super) async fn append_holds_a_keys_version_to_its_expectation(lab: &mut Lab) -> Verdict {
    let engine = lab.engine()?;
    let first = expecting(lab.event("orders", "a", 1)?, Expect::Absent);
    let first = positions(&engine.append(vec![first]).await?);
    let [first] = first.as_slice() else {
        return Err(Flaw::new("one result", first.len()));
    };
    let again = expecting(lab.event("orders", "a", 2)?, Expect::Absent);
    let key = "a";
    fails(
        "a conflict that names the key and its version",
        engine.append(vec![again]).await,
        |error| {
            matches!(error, Error::Append(AppendError::Conflict { key: found_key, expected: None, found, .. })
                if found_key == key && *found == Some(*first))
        },
    )?;
    let second = expecting(lab.event("orders", "a", 3)?, Expect::At(*first));
    engine.append(vec![second]).await?;
    let stale = expecting(lab.event("orders", "a", 4)?, Expect::At(*first));
    fails("a conflict", engine.append(vec![stale]).await, is_conflict)?;
    // Another topic and another key have versions of their own.
    let others = vec![
        expecting(lab.event("orders", "b", 1)?, Expect::Absent),
        expecting(lab.event("bills", "a", 1)?, Expect::Absent),
    ];
    engine.append(others).await?;
    let stored = lab.stored("orders").await?;
    equal(
        "what was appended",
        recorded_labels(&stored),
        vec!["orders/a/1", "orders/a/3", "orders/b/1"],
    )
}

pub(super) async fn append_conflict_in_one_appends_none(lab: &mut Lab) -> Verdict {
    let engine = lab.engine()?;
    lab.publish("orders", "a", 1..=1).await?;
    let batch = vec![
        lab.event("orders", "b", 1)?.into(),
        lab.event("bills", "a", 1)?.into(),
        expecting(lab.event("orders", "a", 2)?, Expect::Absent),
        lab.event("orders", "c", 1)?.into(),
    ];
    fails("a conflict", engine.append(batch).await, is_conflict)?;
    let query = Query {
        topics: Some(lab.topic("*").parse()?),
        ..Query::default()
    };
    let stored = lab.read_all(query).await?;
    equal(
        "what is there after a conflict",
        recorded_labels(&stored),
        labels("orders", "a", 1..=1),
    )?;
    // An event that was refused was not remembered either.
    let appended = lab.publish("orders", "b", 1..=1).await?;
    ensure(
        appended.iter().all(|appended| !appended.is_duplicate),
        "the refused event to be new",
        "a duplicate",
    )
}

pub(super) async fn append_race_has_one_winner(lab: &mut Lab) -> Verdict {
    let mut version = None;
    for round in 1..=5 {
        let mut racers = JoinSet::new();
        for racer in 0..6 {
            let engine = Arc::clone(lab.engine()?);
            let event = lab.builder("orders", "a", round);
            let event = event
                .id(lab.id("orders", "a", round * 10 + racer))
                .build()?;
            let expect = version.map_or(Expect::Absent, Expect::At);
            racers.spawn(async move { engine.append(vec![expecting(event, expect)]).await });
        }
        let mut winners = Vec::new();
        while let Some(outcome) = racers.join_next().await {
            match outcome? {
                Ok(appended) => winners.extend(positions(&appended)),
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        equal("how many of six writers win", winners.len(), 1)?;
        version = winners.first().copied();
    }
    equal(
        "how many events are there",
        lab.stored("orders").await?.len(),
        5,
    )
}

pub(super) async fn append_beyond_the_limit_is_refused(lab: &mut Lab) -> Verdict {
    let event = lab.event("orders", "a", 1)?;
    let batch: Vec<Append> = vec![event.into(); APPEND_EVENTS_MAX + 1];
    let is_limit = |error: &Error| matches!(error, Error::Limit(_));
    let refused = lab.engine()?.append(batch).await;
    fails(
        "an append of too many events to report `Limit`",
        refused.map(|_| "too many events"),
        is_limit,
    )?;
    equal(
        "how many events are there",
        lab.stored("orders").await?.len(),
        0,
    )?;
    // The engine still works.
    lab.publish("orders", "a", 1..=1).await.map(drop)
}

pub(super) async fn append_of_the_largest_payload_is_whole_or_refused(lab: &mut Lab) -> Verdict {
    let mut payload = vec![0; PAYLOAD_BYTES_MAX];
    lab.random().fill(&mut payload);
    let event = lab.builder("orders", "a", 1);
    let event = event.payload(Codec::MessagePack, payload).build()?;
    let small = lab.event("orders", "a", 2)?;
    let batch = vec![event.clone().into(), small.clone().into()];
    let appended = lab.engine()?.append(batch).await;
    let stored = lab.stored("orders").await?;
    let stored: Vec<_> = stored.into_iter().map(|r| r.envelope).collect();
    match appended {
        Ok(_) => ensure(
            stored == [event, small],
            "both events as they were sent",
            format_args!("{:?}", labels_of(&stored)),
        ),
        // Some backends have a smaller limit; they have to say so, and keep nothing.
        Err(Error::Limit(_)) => equal("how many events are there", stored.len(), 0),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn append_refuses_bad_topics(lab: &mut Lab) -> Verdict {
    let publisher = Publisher::new(lab.engine()?.clone(), "/contract");
    for topic in ["", "a b", "a..b", "a.*", "a.>"] {
        let event = Envelope::builder(topic, "contract.tested");
        let refused = publisher.publish(Outgoing::raw(event)).await;
        fails("an invalid topic to be refused", refused, |error| {
            matches!(
                error,
                Error::Append(AppendError::Invalid(InvalidEvent::Topic(_)))
            )
        })?;
    }
    let reserved = Envelope::builder("_reply.contract", "contract.tested");
    let refused = publisher.publish(Outgoing::raw(reserved)).await;
    fails("a reserved topic to be invalid", refused, |error| {
        matches!(
            error,
            Error::Append(AppendError::Invalid(InvalidEvent::ReservedTopic(_)))
        )
    })
}

pub(super) async fn append_in_parallel_keeps_every_event(lab: &mut Lab) -> Verdict {
    let mut publishers = JoinSet::new();
    for publisher in 0..8 {
        let engine = lab.engine()?.clone();
        let key = format!("p{publisher}");
        let events = lab.events("orders", &key, 1..=60)?;
        publishers.spawn(async move {
            for batch in events.chunks(7) {
                let batch = batch.iter().cloned().map(Append::from).collect();
                engine.append(batch).await?;
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(published) = publishers.join_next().await {
        published??;
    }
    let stored = lab.stored("orders").await?;
    equal("how many events are there", stored.len(), 8 * 60)?;
    for publisher in 0..8 {
        let key = format!("p{publisher}");
        let of_key = stored
            .iter()
            .map(|r| &r.envelope)
            .filter(|e| e.key() == key);
        equal(
            "the order of a publisher's events",
            labels_of(of_key),
            labels("orders", &key, 1..=60),
        )?;
    }
    Ok(())
}

pub(super) async fn close_is_final_and_idempotent(lab: &mut Lab) -> Verdict {
    let engine = lab.engine()?.clone();
    let hand = lab.join("g", "orders").await?;
    lab.publish("orders", "a", 1..=1).await?;
    engine.close().await?;
    engine.close().await?;
    let is_closed = |error: &Error| matches!(error, Error::Engine(EngineError::Closed));
    let event = lab.event("orders", "a", 2)?;
    fails(
        "an append to a closed engine to report `Closed`",
        engine.append(vec![event.into()]).await,
        is_closed,
    )?;
    let next = tokio::time::timeout(lab.terms.arrive, hand.member.next(1)).await;
    let Ok(next) = next else {
        return Err(Flaw::new(
            "next() to end when the engine is closed",
            "it waits",
        ));
    };
    ensure(
        next.is_err(),
        "next() to fail when the engine is closed",
        "an event",
    )
}

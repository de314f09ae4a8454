//! Point 2: an event whose id was appended within the dedup window is not appended again.

use std::collections::HashMap;

use tokio::task::JoinSet;

use super::flaw::{Flaw, Verdict, ensure, equal};
use super::lab::Lab;
use super::labels::{labels, positions, recorded_labels, sorted};
use ensue_core::engine::{Append, Appended, Expect};
use ensue_core::error::Error;

fn flags(appended: &[Appended]) -> Vec<bool> {
    appended
        .iter()
        .map(|appended| appended.is_duplicate)
        .collect()
}

pub(super) async fn dedup_returns_the_first_position(lab: &mut Lab) -> Verdict {
    let first = lab.publish("orders", "a", 1..=3).await?;
    lab.publish("orders", "b", 1..=5).await?;
    let again = lab.publish("orders", "a", 1..=3).await?;
    equal("duplicates", flags(&again), [true, true, true])?;
    equal("their positions", positions(&again), positions(&first))?;
    let stored = lab.stored("orders").await?;
    let expected = [labels("orders", "a", 1..=3), labels("orders", "b", 1..=5)].concat();
    equal("what is stored", recorded_labels(&stored), expected)
}

pub(super) async fn dedup_works_within_one_batch(lab: &mut Lab) -> Verdict {
    let mut batch = lab.events("orders", "a", 1..=2)?;
    batch.extend(lab.events("orders", "a", 1..=1)?);
    let appended = lab.append(batch).await?;
    equal("duplicates", flags(&appended), [false, false, true])?;
    equal(
        "the position of the duplicate",
        appended.last().map(|appended| appended.position),
        appended.first().map(|appended| appended.position),
    )?;
    let stored = lab.stored("orders").await?;
    equal(
        "what is stored",
        recorded_labels(&stored),
        labels("orders", "a", 1..=2),
    )
}

pub(super) async fn dedup_drops_the_known_part_of_a_batch(lab: &mut Lab) -> Verdict {
    let first = lab.publish("orders", "a", 2..=2).await?;
    let again = lab.publish("orders", "a", 1..=3).await?;
    equal("duplicates", flags(&again), [false, true, false])?;
    equal(
        "the position of the duplicate",
        again.get(1).map(|appended| appended.position),
        first.first().map(|appended| appended.position),
    )?;
    let stored = lab.stored("orders").await?;
    equal(
        "what is stored",
        recorded_labels(&stored),
        ["orders/a/2", "orders/a/1", "orders/a/3"],
    )
}

/// CloudEvents: an id is unique within its source only.
pub(super) async fn dedup_tells_sources_apart(lab: &mut Lab) -> Verdict {
    let of = |source: &str| lab.builder("orders", "a", 1).source(source).build();
    let batch = vec![of("/one")?, of("/two")?];
    let first = lab.append(batch.clone()).await?;
    equal("duplicates", flags(&first), [false, false])?;
    let again = lab.append(batch).await?;
    equal("duplicates of the second time", flags(&again), [true, true])?;
    let stored = lab.stored("orders").await?;
    let sources: Vec<_> = stored.iter().map(|it| it.envelope.source()).collect();
    equal("the sources of what is stored", sources, ["/one", "/two"])
}

pub(super) async fn dedup_delivers_once(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    for _ in 0..3 {
        lab.publish("orders", "a", 1..=4).await?;
    }
    let got = hand.drain(4).await?;
    let got = super::hand::delivery_labels(&got);
    equal("deliveries", got, labels("orders", "a", 1..=4))?;
    hand.gets_nothing("the rest were duplicates").await
}

pub(super) async fn dedup_survives_crashes_and_restarts(lab: &mut Lab) -> Verdict {
    let first = lab.publish("orders", "a", 1..=3).await?;
    lab.crash().await?;
    let again = lab.publish("orders", "a", 1..=4).await?;
    equal(
        "duplicates after a crash",
        flags(&again),
        [true, true, true, false],
    )?;
    lab.restart().await?;
    let third = lab.publish("orders", "a", 1..=4).await?;
    equal("duplicates after a restart", flags(&third), [true; 4])?;
    let known = positions(&third);
    let known = known.get(..3).unwrap_or_default();
    equal("their positions", known, positions(&first).as_slice())?;
    equal("how many are stored", lab.stored("orders").await?.len(), 4)
}

pub(super) async fn dedup_holds_between_concurrent_publishers(lab: &mut Lab) -> Verdict {
    const IDS: u64 = 60;
    let mut random = lab.random();
    let mut publishers = JoinSet::new();
    for _ in 0..6 {
        let engine = lab.colleague().await?;
        let mut events = lab.events("orders", "a", 1..=IDS)?;
        random.shuffle(&mut events);
        publishers.spawn(async move {
            let mut all = Vec::new();
            for batch in events.chunks(9) {
                let appends = batch.iter().cloned().map(Append::from).collect();
                let appended = engine.append(appends).await?;
                let ids = batch.iter().map(|event| event.id().to_owned());
                all.extend(ids.zip(appended));
            }
            Ok::<_, Error>(all)
        });
    }
    let mut answers: HashMap<String, Vec<Appended>> = HashMap::new();
    while let Some(all) = publishers.join_next().await {
        for (id, appended) in all?? {
            answers.entry(id).or_default().push(appended);
        }
    }
    for (id, answers) in &answers {
        let firsts = answers.iter().filter(|a| !a.is_duplicate).count();
        let first = answers.first().map(|a| a.position);
        let agree = answers.iter().all(|a| Some(a.position) == first);
        ensure(
            firsts == 1 && agree,
            format_args!("one append of {id}, and one position for everybody"),
            format_args!("{answers:?}"),
        )?;
    }
    let stored = recorded_labels(&lab.stored("orders").await?);
    let expected = sorted(labels("orders", "a", 1..=IDS));
    equal("what is stored", sorted(stored), expected)
}

/// An append whose answer was lost is repeated, its expectation with it.
pub(super) async fn dedup_comes_before_expectations(lab: &mut Lab) -> Verdict {
    let event = lab.event("orders", "a", 1)?;
    let append = Append {
        expect: Some(Expect::Absent),
        ..event.into()
    };
    let engine = lab.engine()?;
    let first = engine.append(vec![append.clone()]).await?;
    let again = engine.append(vec![append]).await.map_err(|error| {
        Flaw::new(
            "the same conditional append again to be a duplicate",
            format_args!("the error `{error}`"),
        )
    })?;
    equal("duplicates", flags(&again), [true])?;
    equal("the position", positions(&again), positions(&first))
}

//! What must be true, whatever was killed.

use std::collections::{BTreeMap, BTreeSet};

use ensue::engine::{DeadLetterFilter, Query, READ_EVENTS_MAX};
use ensue::prelude::*;
use ensue::{Cursor, SagaEntry, SagaMoment};

use super::app::{NAME, STEPS, is_refused, trips};
use super::world::{Done, World};

/// Looks at every trip that was asked for.
pub(super) async fn check(url: &str, world: &std::path::Path, rounds: u64) {
    let engine = Engine::open(url).await.unwrap();
    let letters = engine
        .dead_letters(None, DeadLetterFilter::default())
        .await
        .unwrap();
    assert!(letters.is_empty(), "{letters:?}");
    let requested = requested(&engine).await;
    let mut done: BTreeMap<String, Vec<Done>> = BTreeMap::new();
    for one in World::at(world).done() {
        done.entry(one.trip.clone()).or_default().push(one);
    }
    let (mut finished, mut late) = (0, 0);
    for trip in trips(rounds + 1).filter(|trip| requested.contains(trip)) {
        let path = path(&engine, &trip).await;
        let is_done = ends_once(&trip, &path);
        let done = done.remove(&trip).unwrap_or_default();
        in_the_world(&trip, &done, is_done);
        finished += usize::from(is_done);
        let over = |it: &SagaEntry| matches!(it.moment, SagaMoment::TimedOut { .. });
        late += usize::from(path.iter().any(over));
    }
    assert!(done.is_empty(), "of trips that nobody asked for: {done:?}");
    let scheduled = engine.scheduled(READ_EVENTS_MAX).await.unwrap();
    let timeouts = scheduled.iter().filter_map(|it| it.envelope.as_ref().ok());
    let timeouts = timeouts
        .filter(|it| it.event_type() == "saga.timeout")
        .count();
    assert_eq!(timeouts, 0, "a timeout has outlived its process");
    println!(
        "{} trips: {finished} finished, {late} with a timeout",
        requested.len()
    );
    assert!(
        finished > 0 && late > 0 && finished < requested.len(),
        "it tried something"
    );
    engine.close().await.unwrap();
}

/// The trips that were asked for.
async fn requested(engine: &Engine) -> BTreeSet<String> {
    let mut events = engine.read(Query {
        topics: Some("trips".parse().unwrap()),
        ..Query::default()
    });
    let mut trips = BTreeSet::new();
    while let Some(event) = events.next().await {
        let trip = event.unwrap().envelope.key().to_owned();
        assert!(trips.insert(trip.clone()), "`{trip}` was asked for twice");
    }
    trips
}

async fn path(engine: &Engine, trip: &str) -> Vec<SagaEntry> {
    let sagas = engine.sagas();
    let (mut path, mut from) = (Vec::new(), Cursor::START);
    loop {
        let page = sagas.path(NAME, trip, from, 0).await.unwrap();
        path.extend(page.entries);
        if page.is_end {
            return path;
        }
        from = page.next;
    }
}

/// A process has one end, and after it nothing but what others have sent. Whether it was done.
fn ends_once(trip: &str, path: &[SagaEntry]) -> bool {
    let mut ends = path
        .iter()
        .enumerate()
        .filter_map(|(at, entry)| match &entry.moment {
            SagaMoment::Ended { is_done, .. } => Some((at, *is_done)),
            _ => None,
        });
    let (at, is_done) = ends
        .next()
        .unwrap_or_else(|| panic!("`{trip}` has not ended: {path:#?}"));
    assert_eq!(ends.next(), None, "`{trip}` has ended twice: {path:#?}");
    for entry in &path[at + 1..] {
        let is_of_others = matches!(entry.moment, SagaMoment::Taken { .. });
        assert!(is_of_others, "`{trip}` goes on after its end: {path:#?}");
    }
    // What was begun is undone, the last first, unless all is done.
    let mut begun = Vec::new();
    for entry in &path[..at] {
        match &entry.moment {
            SagaMoment::Due { number, .. } if begun.last() != Some(number) => begun.push(*number),
            SagaMoment::Undo { number, .. } => {
                while begun.last().is_some_and(|last| last > number) {
                    begun.pop();
                }
                assert_eq!(begun.pop(), Some(*number), "`{trip}` in reverse: {path:#?}");
            }
            _ => {}
        }
    }
    assert!(is_done || begun.is_empty(), "`{trip}` is undone: {path:#?}");
    is_done
}

/// What was done is done once, and undone once, in reverse, unless all is done.
fn in_the_world(trip: &str, done: &[Done], is_done: bool) {
    let times = |what: &str| done.iter().filter(|it| it.what == what).count();
    for step in STEPS {
        let (acts, undos) = (times(&format!("+{step}")), times(&format!("-{step}")));
        assert!(acts <= 1 && undos <= 1, "`{trip}` {step} once: {done:#?}");
        match is_done {
            true => assert_eq!((acts, undos), (1, 0), "`{trip}` {step}: {done:#?}"),
            false => assert!(acts <= undos, "`{trip}` {step} is undone: {done:#?}"),
        }
    }
    assert!(!is_done || !is_refused(trip), "`{trip}` has no car");
    let undone: Vec<&str> = done
        .iter()
        .filter_map(|it| it.what.strip_prefix('-'))
        .collect();
    let reverse = STEPS.iter().rev().filter(|step| undone.contains(step));
    assert_eq!(
        undone,
        reverse.copied().collect::<Vec<_>>(),
        "`{trip}`: {done:#?}"
    );
}

//! What a handler returns, whatever it is, stops nothing but its own key; and stopping is orderly.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod contained;
mod limits;
mod stopping;

use std::time::{Duration, Instant};

use ensue::engine::{DeadLetter, DeadLetterFilter, EngineStatus, SharedEngine};
use ensue::prelude::*;

/// The group of every test.
const GROUP: &str = "g";
/// Long enough for any machine: only a test that would fail waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(type = "thing.happened", topic = "things", key = key)]
struct Thing {
    key: String,
    number: u32,
}

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(type = "thing.followed", topic = "followers", key = key)]
struct Followed {
    key: String,
    number: u32,
    text: String,
}

fn thing(key: &str, number: u32) -> Outgoing {
    let key = key.to_owned();
    Outgoing::new(Thing { key, number })
}

fn followed(thing: &Thing, text: &str) -> Followed {
    Followed {
        key: thing.key.clone(),
        number: thing.number,
        text: text.to_owned(),
    }
}

async fn publish(engine: &SharedEngine, things: impl IntoIterator<Item = Outgoing>) {
    let publisher = Publisher::new(engine.clone(), "/test");
    publisher.publish_all(things).await.unwrap();
}

/// Waits until the engine's status is as wanted.
async fn until(engine: &SharedEngine, wanted: impl Fn(&EngineStatus) -> bool) -> EngineStatus {
    let begun = Instant::now();
    loop {
        let status = engine.status().await.unwrap();
        if wanted(&status) {
            return status;
        }
        assert!(begun.elapsed() < PATIENCE, "{:?}", status.groups);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until the group has nothing left to do.
async fn settled(engine: &SharedEngine) -> EngineStatus {
    until(engine, |status| {
        status.group(GROUP).is_some_and(|group| group.is_idle())
    })
    .await
}

async fn dead(engine: &SharedEngine) -> Vec<DeadLetter> {
    engine
        .dead_letters(Some(GROUP), DeadLetterFilter::default())
        .await
        .unwrap()
}

/// How many events a topic holds.
fn events(status: &EngineStatus, topic: &str) -> u64 {
    let topic = status.topics.iter().find(|it| it.name == topic);
    topic.map_or(0, |topic| topic.events)
}

/// The events that followed, in the order in which they were appended.
async fn all_followed(engine: &SharedEngine) -> Vec<Followed> {
    let query = ensue::engine::Query {
        topics: Some("followers".parse().unwrap()),
        ..Default::default()
    };
    let page = engine.read(query).await.unwrap();
    let decoded = page.events.iter().map(|it| it.envelope.decode());
    decoded.collect::<Result<_, _>>().unwrap()
}

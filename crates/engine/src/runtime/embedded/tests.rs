//! Tests of the embedded engine on storage that outlives it, with a clock that the test moves.

mod careful;
mod failing;
mod fair;
mod groups;
mod joining;
mod lagging;
mod limits;
mod machine;
mod needed;
mod owning;
mod random;
mod room;
mod schedules;
mod slow;
mod storing;
mod unfired;

use std::time::Duration;

use super::*;
use crate::engine::OnDead;
use crate::engine::{
    Commit, Cursor, Death, DeathCause, Delivery, Effect, Position, Retry, Schedule, Start,
};
use crate::event::{Codec, Envelope, EventId};
use crate::time::{Timestamp, VirtualClock};

/// Opens the embedded engine of `url`.
pub(crate) async fn connect(url: &str) -> Result<SharedEngine> {
    connect_with(url, Clock::system()).await
}

/// Opens the embedded engine of `url` with this clock.
pub(crate) async fn connect_with(url: &str, clock: Clock) -> Result<SharedEngine> {
    open_directory(Url::parse(url)?, clock).await
}

/// Opens the log of `url` for reading.
pub(crate) async fn connect_reader(url: &str) -> Result<SharedEngine> {
    open_reader(Url::parse(url)?, Clock::system()).await
}

/// What outlives an engine.
struct Bed {
    storage: log::storage::Memory,
    hands: VirtualClock,
    settings: Settings,
}

impl Bed {
    fn new() -> Self {
        let hands = VirtualClock::new("2026-05-17T09:30:00Z".parse().unwrap());
        let settings = Settings {
            clock: hands.clone().into(),
            ..Settings::default()
        };
        Self {
            storage: log::storage::Memory::new(),
            hands,
            settings,
        }
    }

    async fn open(&self) -> Embedded {
        Embedded::open(Arc::new(self.storage.clone()), self.settings.clone())
            .await
            .unwrap()
    }

    fn in_seconds(&self, seconds: u64) -> Timestamp {
        self.hands.now().plus(Duration::from_secs(seconds))
    }
}

fn event(topic: &str, key: &str, id: &str) -> Envelope {
    Envelope::builder(topic, "thing.happened")
        .key(key)
        .id(id)
        .payload(Codec::Json, b"{}".to_vec())
        .build()
        .unwrap()
}

/// Appends events to topic `t`, given as `key:id`.
async fn publish(engine: &Embedded, events: &[&str]) -> Vec<Appended> {
    let append = |text: &&str| {
        let (key, id) = text.split_once(':').unwrap();
        Append::from(event("t", key, id))
    };
    engine
        .append(events.iter().map(append).collect())
        .await
        .unwrap()
}

fn subscription(group: &str) -> Subscription {
    Subscription {
        group: group.to_owned(),
        topics: vec!["t".parse().unwrap()],
        types: None,
        start: Start::Earliest,
        in_flight_max: 100,
    }
}

async fn join(engine: &Embedded) -> Box<dyn Member> {
    engine.join(subscription("g")).await.unwrap()
}

/// What a member gets now, or nothing.
async fn poll(member: &dyn Member) -> Vec<Delivery> {
    match tokio::time::timeout(Duration::from_millis(100), member.next(100)).await {
        Ok(taken) => taken.unwrap(),
        Err(_) => Vec::new(),
    }
}

/// What takes so long never happens, however slow the machine is.
const HANG: Duration = Duration::from_secs(300);

/// What a member gets next; fails the test when nothing comes.
async fn take(member: &dyn Member) -> Vec<Delivery> {
    let taken = tokio::time::timeout(HANG, member.next(100)).await;
    taken.expect("nothing is delivered").unwrap()
}

/// Takes until there are `count`.
async fn take_all(member: &dyn Member, count: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(take(member).await);
    }
    assert_eq!(all.len(), count, "{}", ids(&all).join(" "));
    all
}

fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries
        .iter()
        .map(|delivery| delivery.envelope.id())
        .collect()
}

fn settle(deliveries: &[Delivery]) -> Commit {
    let settled = deliveries
        .iter()
        .map(|delivery| delivery.position)
        .collect();
    Commit {
        settled,
        ..Commit::default()
    }
}

fn retry(delivery: &Delivery, due: Timestamp) -> Commit {
    let retry = Retry {
        envelope: delivery.envelope.clone(),
        position: delivery.position,
        attempt: delivery.attempt,
        due,
        reason: "not now".into(),
    };
    Commit {
        retries: vec![retry],
        ..Commit::default()
    }
}

fn dead(delivery: &Delivery, on_dead: OnDead) -> Commit {
    let death = Death {
        envelope: delivery.envelope.clone(),
        position: delivery.position,
        attempts: delivery.attempt,
        cause: DeathCause::Rejected,
        reason: "never".into(),
        on_dead,
    };
    Commit {
        dead: vec![death],
        ..Commit::default()
    }
}

async fn group_of(engine: &Embedded) -> crate::engine::GroupStatus {
    engine.status().await.unwrap().group("g").unwrap().clone()
}

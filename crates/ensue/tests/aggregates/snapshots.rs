//! Snapshots save reading, and are believed only as far as the log bears them out.

use std::sync::atomic::{AtomicU64, Ordering};

use ensue::engine::{Append, Recorded};
use ensue::prelude::*;
use ensue::{Aggregate, Codec, EventId, Position};

use super::account::{Account, Deposited, events};

static APPLIED: AtomicU64 = AtomicU64::new(0);

#[derive(Event, Serialize, Deserialize)]
#[event(type = "step.counted", topic = "steps")]
struct Counted;

/// Counts how many events are applied to any of its kind.
#[derive(Default, Serialize, Deserialize)]
struct Steps(u64);

#[aggregate(snapshot_every = 10)]
impl Steps {
    #[apply]
    fn counted(&mut self, _: Counted) {
        self.0 += 1;
        APPLIED.fetch_add(1, Ordering::SeqCst);
    }
}

async fn newest(engine: &Engine, aggregate: &str, key: &str) -> Option<Recorded> {
    engine
        .last(&format!("_snapshot.{aggregate}"), key)
        .await
        .unwrap()
}

#[tokio::test]
async fn what_a_snapshot_holds_is_not_applied_again() {
    let engine = Engine::open("memory:").await.unwrap();
    let steps = engine.aggregates::<Steps>("/test");
    for _ in 0..25 {
        let Ok(_) = steps.decide("s", |_| Counted).await.unwrap();
    }
    assert_eq!(
        APPLIED.swap(0, Ordering::SeqCst),
        25,
        "each was applied as it was decided"
    );
    let loaded = engine.aggregates::<Steps>("/test").load("s").await.unwrap();
    assert_eq!((loaded.state.0, loaded.version), (25, 25));
    assert_eq!(
        APPLIED.load(Ordering::SeqCst),
        5,
        "there is a snapshot of version 20"
    );
    // Users do not see them.
    assert!(
        engine
            .status()
            .await
            .unwrap()
            .topics
            .iter()
            .all(|it| it.name == "steps")
    );
}

/// A snapshot of the account `a` as a program might have written it.
#[derive(Serialize)]
struct Written {
    version: u64,
    position: Position,
    id: EventId,
    decider: Option<String>,
    decisions: Vec<u8>,
    state: Account,
}

async fn forge(engine: &Engine, schema: u16, snapshot: &impl Serialize) {
    let forged = Envelope::builder("_snapshot.account", "ensue.snapshot")
        .key("a")
        .version(schema)
        .payload(
            Codec::MessagePack,
            Codec::MessagePack.encode(snapshot).unwrap(),
        );
    let append = Append::from(forged.build().unwrap());
    engine.append(vec![append]).await.unwrap();
}

#[tokio::test]
async fn a_snapshot_that_the_log_does_not_bear_out_is_thrown_away() {
    let engine = Engine::open("memory:").await.unwrap();
    let accounts = engine.aggregates::<Account>("/bank").remember(0);
    for cents in 1..=12 {
        let Ok(_) = accounts.decide("a", |_| Deposited { cents }).await.unwrap();
        let Ok(_) = accounts.decide("b", |_| Deposited { cents }).await.unwrap();
    }
    let kept = newest(&engine, Account::NAME, "a").await.unwrap();
    assert_eq!(kept.envelope.version(), 1);
    let (of_a, of_b) = (events(&engine, "a").await, events(&engine, "b").await);
    let written = |event: &Recorded, version: u64| Written {
        version,
        position: event.position,
        id: event.envelope.event_id(),
        decider: None,
        decisions: Vec::new(),
        state: Account { cents: 1_000_000 },
    };
    // This is what makes it one that is used.
    forge(&engine, 1, &written(&of_a[11], 12)).await;
    assert_eq!(accounts.load("a").await.unwrap().state.cents, 1_000_000);

    let other_id = Written {
        id: EventId::new("/x", "y"),
        ..written(&of_a[11], 12)
    };
    let nowhere = Written {
        position: Position::new(1_000_000),
        ..written(&of_a[11], 12)
    };
    forge(&engine, 1, &other_id).await;
    assert_eq!(accounts.load("a").await.unwrap().state.cents, 78);
    for wrong in [nowhere, written(&of_a[11], 11), written(&of_b[11], 12)] {
        forge(&engine, 1, &wrong).await;
        let loaded = accounts.load("a").await.unwrap();
        assert_eq!((loaded.state.cents, loaded.version), (78, 12));
    }
    // Of another version of the state, and of no form that this program knows.
    forge(&engine, 2, &written(&of_a[11], 12)).await;
    assert_eq!(accounts.load("a").await.unwrap().state.cents, 78);
    forge(&engine, 1, &"nonsense").await;
    assert_eq!(accounts.load("a").await.unwrap().state.cents, 78);
    let withdrawn = accounts.decide("a", |it| it.withdraw(78)).await.unwrap();
    assert_eq!(withdrawn.unwrap().version, 13);
}

/// Too large for a snapshot.
#[derive(Default, Serialize, Deserialize)]
struct Pile(Vec<String>);

#[derive(Event, Serialize, Deserialize)]
#[event(type = "thing.piled", topic = "piles")]
struct Piled(String);

#[aggregate(snapshot_every = 2)]
impl Pile {
    #[apply]
    fn piled(&mut self, event: Piled) {
        self.0.push(event.0);
    }
}

#[tokio::test]
async fn a_state_too_large_for_a_snapshot_is_folded_from_the_log() {
    let engine = Engine::open("memory:").await.unwrap();
    let piles = engine.aggregates::<Pile>("/test").remember(0);
    let pile = async |bytes: usize| {
        let Ok(_) = (piles.decide("p", |_| Piled("x".repeat(bytes))))
            .await
            .unwrap();
        newest(&engine, Pile::NAME, "p").await.map(|it| it.position)
    };
    assert_eq!(pile(10).await, None);
    let first = pile(10).await;
    assert!(first.is_some());
    pile(10).await;
    assert_eq!(pile(ensue::SNAPSHOT_BYTES_MAX).await, first);
    assert_eq!(piles.load("p").await.unwrap().state.0.len(), 4);
}

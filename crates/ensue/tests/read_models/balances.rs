//! Accounts whose balances a model adds up: an event that is applied twice, or not, shows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ensue::engine::Query;
use ensue::prelude::*;
use ensue::{Position, ReadModel, RunningReadModel};

/// Far longer than anything takes that does not hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);
/// An amount that makes the method panic when it has changed half of what it changes.
pub(crate) const PANICS: i64 = 1_000_000;
/// An amount that the method refuses.
pub(crate) const REFUSED: i64 = 2_000_000;

#[derive(Event, Serialize, Deserialize, Clone)]
#[event(type = "money.moved", topic = "transfers", key = account)]
pub(crate) struct Moved {
    pub(crate) account: String,
    pub(crate) cents: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Balances {
    pub(crate) cents: BTreeMap<String, i64>,
    pub(crate) moves: u64,
    /// How many events this process has applied.
    #[serde(skip)]
    pub(crate) applied: Applied,
}

/// Counts, and makes no difference.
#[derive(Clone, Debug, Default)]
pub(crate) struct Applied(pub(crate) Arc<AtomicUsize>);

impl PartialEq for Applied {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Applied {}

impl Balances {
    pub(crate) fn moved(&mut self, event: Moved) -> Result<(), String> {
        if event.cents == REFUSED {
            return Err("it is refused".to_owned());
        }
        *self.cents.entry(event.account).or_default() += event.cents;
        assert_ne!(event.cents, PANICS, "half of it is done");
        self.moves += 1;
        self.applied.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

pub(crate) fn model() -> ReadModel<Balances> {
    ReadModel::new("balances", Balances::default).on(Balances::moved)
}

/// Publishes `count` movements at random; the last one's position.
pub(crate) async fn publish(engine: &Engine, count: usize) -> Position {
    let events = (0..count).map(|_| Moved {
        account: format!("a-{}", fastrand::u8(..20)),
        cents: fastrand::i64(-500..=500),
    });
    let appended = engine.publisher("/test").publish_all(events).await.unwrap();
    appended.last().unwrap().position
}

pub(crate) async fn publish_one(engine: &Engine, account: &str, cents: i64) -> Position {
    let account = account.to_owned();
    engine
        .publish(Moved { account, cents })
        .await
        .unwrap()
        .position
}

/// What the log makes of the accounts up to a position, without what is not applied.
pub(crate) async fn fold(engine: &Engine, until: Option<Position>) -> Balances {
    let mut balances = Balances::default();
    let mut events = engine.read(Query {
        topics: Some("transfers".parse().unwrap()),
        until: until.map(Into::into),
        ..Query::default()
    });
    while let Some(event) = events.next().await {
        let Ok(event) = event.unwrap().envelope.decode::<Moved>() else {
            continue;
        };
        if ![PANICS, REFUSED].contains(&event.cents) {
            balances.moved(event).unwrap();
        }
    }
    balances
}

/// Waits until the model has the event, and compares it with the log.
pub(crate) async fn verify(engine: &Engine, model: &RunningReadModel<Balances>, last: Position) {
    model.wait_until_applied(last, PATIENCE).await.unwrap();
    let (value, at) = model.read_at(|it, at| (it.clone(), at)).unwrap();
    assert!(at > last);
    assert_eq!(value, fold(engine, Some(at)).await);
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let looking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, looking).await;
    waited.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"));
}

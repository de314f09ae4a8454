//! Histories that cannot be folded are errors, never another state.

use ensue::engine::Append;
use ensue::error::AggregateError;
use ensue::prelude::*;
use ensue::{Codec, Error};

use super::account::{Account, Deposited, Withdrawn, events};

/// Appends an event as somebody might who knows nothing of the aggregate, or too little.
async fn write(engine: &Engine, event_type: &str, version: Option<u64>, payload: &str) {
    let mut event = Envelope::builder("accounts", event_type)
        .key("a")
        .payload(Codec::Json, payload.as_bytes().to_vec());
    if let Some(version) = version {
        event = event.extension("aggregateversion", version.to_string());
    }
    let append = Append::from(event.build().unwrap());
    engine.append(vec![append]).await.unwrap();
}

const DEPOSITED: &str = "account.deposited";

/// What loading the account `a` fails with; deciding fails with the same, and appends nothing.
async fn fails(engine: &Engine) -> AggregateError {
    let accounts = engine.aggregates::<Account>("/bank");
    let before = events(engine, "a").await.len();
    let error = accounts
        .decide("a", |_| Deposited { cents: 1 })
        .await
        .unwrap_err();
    assert_eq!(events(engine, "a").await.len(), before);
    let loading = accounts.load("a").await.unwrap_err();
    assert_eq!(loading.to_string(), error.to_string());
    match error {
        Error::Aggregate(error) => error,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn facts_that_nobody_decided_are_part_of_the_history() {
    let engine = Engine::open("memory:").await.unwrap();
    write(&engine, DEPOSITED, None, r#"{"cents":5}"#).await;
    let accounts = engine.aggregates::<Account>("/bank");
    let withdrawn = accounts
        .decide("a", |it| it.withdraw(2))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(withdrawn.version, 2);
    write(&engine, DEPOSITED, None, r#"{"cents":5}"#).await;
    let withdrawn = accounts
        .decide("a", |it| it.withdraw(8))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(withdrawn.version, 4);
}

#[tokio::test]
async fn two_that_wrote_without_knowing_of_each_other_are_noticed() {
    let engine = Engine::open("memory:").await.unwrap();
    let accounts = engine.aggregates::<Account>("/bank");
    let Ok(_) = accounts
        .decide("a", |_| Deposited { cents: 1 })
        .await
        .unwrap();
    write(&engine, DEPOSITED, Some(1), r#"{"cents":5}"#).await;
    let error = fails(&engine).await;
    let diverged = matches!(
        error,
        AggregateError::Diverged {
            expected: 2,
            found: 1,
            ..
        }
    );
    assert!(diverged, "{error}");
    // Also by one that remembers what was before.
    accounts.decide("a", |it| it.withdraw(1)).await.unwrap_err();
}

#[tokio::test]
async fn a_history_without_its_beginning_is_noticed() {
    let engine = Engine::open("memory:").await.unwrap();
    write(&engine, DEPOSITED, Some(2), r#"{"cents":5}"#).await;
    let error = fails(&engine).await;
    assert!(
        matches!(error, AggregateError::HistoryRemoved { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn an_event_that_this_program_does_not_know_is_not_passed_over() {
    let engine = Engine::open("memory:").await.unwrap();
    write(&engine, "account.noted", None, r#"{"text":"ignored"}"#).await;
    let accounts = engine.aggregates::<Account>("/bank");
    assert_eq!(accounts.load("a").await.unwrap().version, 1);
    write(&engine, "account.frozen", None, "{}").await;
    let error = fails(&engine).await;
    let names = error.to_string();
    assert!(
        names.contains("account.frozen") && names.contains("#[apply]"),
        "{names}"
    );
    assert!(error.waits_for_another_program());
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_not_passed_over() {
    let engine = Engine::open("memory:").await.unwrap();
    write(&engine, DEPOSITED, Some(1), r#"{"euros":5}"#).await;
    let error = fails(&engine).await;
    assert!(
        matches!(error, AggregateError::Undecodable { .. }),
        "{error}"
    );
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "account.deposited", topic = "accounts")]
struct DepositedInEuros {
    euros: u64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "account.deposited", topic = "accounts")]
#[event(version = 2, previous = DepositedInEuros)]
struct DepositedInCents {
    cents: u64,
}

impl From<DepositedInEuros> for DepositedInCents {
    fn from(old: DepositedInEuros) -> Self {
        Self {
            cents: old.euros * 100,
        }
    }
}

/// The account of a later program.
#[derive(Default, Serialize, Deserialize)]
struct Later {
    cents: u64,
}

#[aggregate(name = "account", version = 2)]
impl Later {
    #[apply]
    fn deposited(&mut self, event: DepositedInCents) {
        self.cents += event.cents;
    }

    #[apply]
    fn withdrawn(&mut self, event: Withdrawn) {
        self.cents -= event.cents;
    }
}

#[tokio::test]
async fn older_events_are_read_by_the_types_of_today() {
    let engine = Engine::open("memory:").await.unwrap();
    write(&engine, DEPOSITED, Some(1), r#"{"euros":5}"#).await;
    let accounts = engine.aggregates::<Later>("/bank");
    let Ok(_) = accounts
        .decide("a", |_| DepositedInCents { cents: 20 })
        .await
        .unwrap();
    assert_eq!(accounts.load("a").await.unwrap().state.cents, 520);
}

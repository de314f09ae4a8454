//! The aggregate of these tests, and an engine that gets in its way.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ensue::engine::{
    Append, Appended, Driver, Member, Query, Recorded, SharedEngine, Subscription,
};
use ensue::error::EngineError;
use ensue::prelude::*;
use ensue::{Error, Result};
use ensue_core::engine::forward_engine;
use futures_util::future::BoxFuture;

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(type = "account.deposited", topic = "accounts")]
pub(crate) struct Deposited {
    pub(crate) cents: u64,
}

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(type = "account.withdrawn", topic = "accounts")]
pub(crate) struct Withdrawn {
    pub(crate) cents: u64,
}

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(type = "account.noted", topic = "accounts")]
pub(crate) struct Noted {
    pub(crate) text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TooLittle {
    pub(crate) left: u64,
}

#[derive(Default, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Account {
    pub(crate) cents: u64,
}

#[aggregate(ignore = [Noted], snapshot_every = 10)]
impl Account {
    #[apply]
    fn deposited(&mut self, event: &Deposited) {
        self.cents += event.cents;
    }

    #[apply]
    fn withdrawn(&mut self, event: Withdrawn) {
        // Overflows, and so fails the test, if more was withdrawn than there was.
        self.cents -= event.cents;
    }

    pub(crate) fn withdraw(&self, cents: u64) -> Result<Withdrawn, TooLittle> {
        match self.cents >= cents {
            true => Ok(Withdrawn { cents }),
            false => Err(TooLittle { left: self.cents }),
        }
    }
}

/// All events of a key, as the log has them.
pub(crate) async fn events(engine: &Engine, key: &str) -> Vec<Recorded> {
    let mut events = engine.read(Query {
        topics: Some("accounts".parse().unwrap()),
        key: Some(key.into()),
        ..Query::default()
    });
    let mut all = Vec::new();
    while let Some(event) = events.next().await {
        all.push(event.unwrap());
    }
    all
}

/// What the events of a key come to; fails if any of them was decided on an old state.
pub(crate) async fn fold(engine: &Engine, key: &str) -> (u64, u64) {
    let mut cents = 0_u64;
    let events = events(engine, key).await;
    for event in &events {
        let event = &event.envelope;
        match event.event_type() {
            "account.deposited" => cents += event.decode::<Deposited>().unwrap().cents,
            "account.withdrawn" => {
                let withdrawn = event.decode::<Withdrawn>().unwrap().cents;
                cents = cents.checked_sub(withdrawn).expect("more than there was");
            }
            _ => {}
        }
    }
    (cents, events.len() as u64)
}

/// What an engine does before or behind the appends of a test.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Interference {
    /// Another one deposits a cent before each of so many appends of events.
    Deposits(u32),
    /// The acknowledgement of so many appends is lost.
    Silence(u32),
}

pub(crate) struct Interfering {
    inner: SharedEngine,
    left: AtomicU32,
    kind: Interference,
}

impl Interfering {
    pub(crate) fn around(inner: &Engine, kind: Interference) -> Engine {
        let (Interference::Deposits(left) | Interference::Silence(left)) = kind;
        let engine = Self {
            inner: inner.into(),
            left: AtomicU32::new(left),
            kind,
        };
        Arc::new(engine).into()
    }

    fn is_due(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        (self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less))
        .is_ok()
    }
}

impl fmt::Debug for Interfering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl Driver for Interfering {
    forward_engine!(inner);

    fn append(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Vec<Appended>>> {
        Box::pin(async move {
            let is_due = batch.iter().any(|it| it.expect.is_some()) && self.is_due();
            match self.kind {
                Interference::Deposits(_) if is_due => {
                    let other = Engine::from(self.inner.clone());
                    let others = other.aggregates::<Account>("/others");
                    let key = batch[0].envelope.key().to_owned();
                    others
                        .decide(&key, |_| Deposited { cents: 1 })
                        .await?
                        .unwrap();
                    self.inner.append(batch).await
                }
                Interference::Silence(_) if is_due => {
                    self.inner.append(batch).await?;
                    Err(Error::Engine(EngineError::Unavailable {
                        server: "a test".into(),
                        reason: "the answer was lost".into(),
                    }))
                }
                _ => self.inner.append(batch).await,
            }
        })
    }

    fn join(&self, subscription: Subscription) -> BoxFuture<'_, Result<Box<dyn Member>>> {
        self.inner.join(subscription)
    }
}

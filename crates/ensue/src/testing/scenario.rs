//! Given events, when handled, then effects.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::dispatch::Routes;
use crate::effect::{Effects, Said};
use crate::engine::{Delivery, Position, Run, SharedEngine};
use crate::error::{Error, Result};
use crate::event::{Envelope, Event};
use crate::service::{Context, Failure, PendingState, Service, Surroundings};

/// One service under test: what it returned before is its state, what it returns now is the
/// [`Outcome`].
///
/// ```
/// use ensue::prelude::*;
/// use ensue::testing::Scenario;
/// # #[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
/// # #[event(name = "order.created", topic = "orders", key = order_id)]
/// # struct OrderCreated { order_id: String }
/// # #[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
/// # #[event(name = "order.paid", topic = "orders", key = order_id)]
/// # struct OrderPaid { order_id: String }
/// # struct Payments;
/// # #[service]
/// # impl Payments {
/// #     #[on]
/// #     async fn charge(&self, order: OrderCreated) -> OrderPaid { OrderPaid { order_id: order.order_id } }
/// # }
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let mut payments = Scenario::of(Payments).await?;
/// let outcome = payments.when(OrderCreated { order_id: "o-1".into() }).await?;
/// outcome.then([OrderPaid { order_id: "o-1".into() }]);
/// # Ok::<(), ensue::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Scenario {
    group: Arc<str>,
    routes: Routes,
    engine: SharedEngine,
    state: Arc<State>,
    position: u64,
}

#[derive(Debug, Default)]
struct State(Mutex<HashMap<[String; 3], Option<Bytes>>>);

impl PendingState for State {
    fn pending(&self, topic: &str, key: &str, name: &str) -> Option<Option<Bytes>> {
        let cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(
            cells
                .get(&[topic, key, name].map(str::to_owned))
                .cloned()
                .flatten(),
        )
    }
}

impl Scenario {
    /// A scenario of one service.
    ///
    /// # Errors
    /// [`Error::Configuration`] when the service's handlers contradict themselves.
    pub async fn of<S: Service>(service: S) -> Result<Self> {
        Ok(Self {
            group: S::NAME.into(),
            routes: Routes::new(S::NAME, Arc::new(service).handlers())?,
            engine: crate::engine::connect("memory:").await?,
            state: Arc::default(),
            position: 0,
        })
    }

    /// Has the service handle an earlier event: its state stays, its events are of no interest.
    ///
    /// # Errors
    /// [`Error::Configuration`] when the handler fails or the service has none for it.
    pub async fn given<E: Event>(&mut self, event: E) -> Result<&mut Self> {
        let outcome = self.when(event).await?;
        match outcome.effects {
            Ok(_) => Ok(self),
            Err(failure) => Err(Error::Configuration(format!(
                "the given `{}` could not be handled: {failure}",
                E::NAME
            ))),
        }
    }

    /// Has the service handle an event, as its first attempt.
    ///
    /// # Errors
    /// [`Error::Configuration`] when the service has no handler for it, [`Error::Invalid`] when it
    /// is not a valid event.
    pub async fn when<E: Event>(&mut self, event: E) -> Result<Outcome> {
        self.when_envelope(Envelope::of(&event)?.build()?).await
    }

    /// [`Scenario::when`], with an envelope put together by hand.
    ///
    /// # Errors
    /// As for [`Scenario::when`].
    pub async fn when_envelope(&mut self, envelope: Envelope) -> Result<Outcome> {
        let Some(route) = self.routes.find(envelope.topic(), envelope.kind()) else {
            return Err(Error::Configuration(format!(
                "`{}` has no handler for `{}` from `{}`",
                self.group,
                envelope.kind(),
                envelope.topic()
            )));
        };
        let position = Position::new(self.position);
        self.position += 1;
        let delivery = Delivery {
            envelope: envelope.clone(),
            position,
            attempt: 1,
            generation: 0,
            run: Run::default(),
        };
        let surroundings = Surroundings {
            group: self.group.clone(),
            engine: self.engine.clone(),
            pending: self.state.clone(),
        };
        let context = Context::new(delivery, Arc::new(surroundings));
        let effects = route.handler.call(context).await;
        if let Ok(effects) = &effects {
            let mut cells = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
            for change in &effects.state {
                let cell = [envelope.topic(), envelope.key(), &change.name].map(str::to_owned);
                cells.insert(cell, change.value.clone());
            }
        }
        Ok(Outcome { effects })
    }
}

/// What a handler said.
#[derive(Debug)]
#[must_use = "an outcome that nobody looks at tests nothing"]
pub struct Outcome {
    effects: Result<Effects, Failure>,
}

/// The assertions of a test panic, as assertions do.
#[expect(clippy::panic, reason = "assertions for tests")]
impl Outcome {
    /// Asserts that exactly these events of one type follow, in this order.
    ///
    /// # Panics
    /// When they do not.
    #[track_caller]
    pub fn then<E: Event + PartialEq + Debug>(
        &self,
        expected: impl IntoIterator<Item = E>,
    ) -> &Self {
        let expected: Vec<E> = expected.into_iter().collect();
        let found: Vec<E> = self
            .envelopes()
            .iter()
            .filter(|envelope| envelope.kind() == E::NAME)
            .map(|envelope| match envelope.decode() {
                Ok(event) => event,
                Err(error) => panic!("`{}` does not decode: {error}", E::NAME),
            })
            .collect();
        assert_eq!(found, expected, "the `{}` that follow", E::NAME);
        self
    }

    /// Asserts that no event follows.
    ///
    /// # Panics
    /// When one does.
    #[track_caller]
    pub fn then_nothing(&self) -> &Self {
        let kinds: Vec<_> = self
            .envelopes()
            .iter()
            .map(|envelope| envelope.kind().to_owned())
            .collect();
        assert!(
            kinds.is_empty(),
            "nothing should follow, but {} did",
            kinds.join(", ")
        );
        self
    }

    /// Asserts that the handler failed and asks for another attempt.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn then_retry(self) -> Failure {
        let failure = self.failed();
        assert!(!failure.is_reject(), "it was rejected: {failure}");
        failure
    }

    /// Asserts that the handler rejected the event.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn then_reject(self) -> Failure {
        let failure = self.failed();
        assert!(failure.is_reject(), "it was not rejected: {failure}");
        failure
    }

    /// The events that follow, as they would be stored.
    ///
    /// # Panics
    /// When the handler failed, or one of them is not a valid event.
    #[track_caller]
    pub fn envelopes(&self) -> Vec<Envelope> {
        let effects = match &self.effects {
            Ok(effects) => effects,
            Err(failure) => panic!("the handler failed: {failure}"),
        };
        let build = |outgoing: &crate::Outgoing| {
            let built = outgoing
                .clone()
                .into_parts()
                .builder
                .and_then(|builder| builder.build());
            match built {
                Ok(envelope) => envelope,
                Err(error) => panic!("the handler returned an event that is none: {error}"),
            }
        };
        let outgoing = effects.said.iter().filter_map(Said::outgoing);
        outgoing.map(build).collect()
    }

    #[track_caller]
    fn failed(self) -> Failure {
        match self.effects {
            Err(failure) => failure,
            Ok(effects) => panic!(
                "the handler did not fail, {} events follow",
                effects.events()
            ),
        }
    }
}

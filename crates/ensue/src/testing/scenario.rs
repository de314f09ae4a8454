//! Given events, when handled, then effects.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::keys::TestKeys;
use super::outcome::Outcome;
use crate::dispatch::Routes;
use crate::engine::{Delivery, Position, Run, SharedEngine};
use crate::error::{Error, Result, TestError};
use crate::event::{Envelope, Event};
use crate::outgoing::Outgoing;
use crate::personal::OnForgotten;
use crate::service::{Context, PendingState, Service, Surroundings};

/// One service under test: what it returned before is its state, what it returns now is the
/// [`Outcome`].
///
/// ```
/// use ensue::prelude::*;
/// use ensue::testing::Scenario;
/// # #[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
/// # #[event(type = "order.created", topic = "orders", key = order_id)]
/// # struct OrderCreated { order_id: String }
/// # #[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
/// # #[event(type = "order.paid", topic = "orders", key = order_id)]
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
    state: Arc<Cells>,
    position: u64,
}

#[derive(Debug, Default)]
struct Cells(Mutex<HashMap<[String; 3], Option<Bytes>>>);

impl PendingState for Cells {
    fn pending(&self, event: &Envelope, name: &str) -> Option<Option<Bytes>> {
        let (topic, key) = (event.topic(), event.key());
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
    /// [`AppError`](crate::error::AppError) when the service's handlers contradict themselves.
    pub async fn of<S: Service>(service: S) -> Result<Self> {
        Ok(Self {
            group: S::NAME.into(),
            routes: Routes::new(S::NAME, Arc::new(service).handlers())?,
            engine: TestKeys::default().of(crate::engine::connect("memory:").await?)?,
            state: Arc::default(),
            position: 0,
        })
    }

    /// Has the service handle an earlier event: its state stays, its events are of no interest.
    ///
    /// # Errors
    /// [`TestError`] when the handler fails or the service has none for
    /// it.
    pub async fn given<E: Event>(&mut self, event: E) -> Result<&mut Self> {
        let outcome = self.when(event).await?;
        match outcome.failure() {
            None => Ok(self),
            Some(failure) => Err(Error::Test(TestError::Given {
                event: E::TYPE.to_owned(),
                reason: failure.to_string(),
            })),
        }
    }

    /// Has the service handle an event, as its first attempt.
    ///
    /// # Errors
    /// [`TestError::NoHandler`] when the service has no handler
    /// for it, [`AppendError::Invalid`](crate::error::AppendError::Invalid) when it is not a valid
    /// event.
    pub async fn when<E: Event>(&mut self, event: E) -> Result<Outcome> {
        // As it would be published: what is personal in it is sealed.
        let event = Outgoing::new(event).sealed(&*self.engine, OnForgotten::Refuse);
        let event = event.await?.into_parts().builder?.build()?;
        self.when_envelope(event).await
    }

    /// [`Scenario::when`], with an envelope put together by hand.
    ///
    /// # Errors
    /// As for [`Scenario::when`].
    pub async fn when_envelope(&mut self, envelope: Envelope) -> Result<Outcome> {
        let Some(route) = self.routes.find(envelope.topic(), envelope.event_type()) else {
            return Err(Error::Test(TestError::NoHandler {
                service: self.group.to_string(),
                event: envelope.event_type().to_owned(),
                topic: envelope.topic().to_owned(),
            }));
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
        Ok(Outcome::new(effects, Some(self.engine.clone())))
    }
}

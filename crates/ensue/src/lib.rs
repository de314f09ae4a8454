//! Event-driven services on a durable log: embedded by default, with no server and one directory.
//!
//! A *service* is a struct whose methods take a typed event and *return* the events that follow.
//! What follows and the service's position are committed together, so that retries, restarts and
//! crashes neither lose an event nor repeat its effects.
//!
//! ```
//! use ensue::prelude::*;
//!
//! #[derive(Event, Serialize, Deserialize)]
//! #[event(type = "order.created", topic = "orders", key = order_id)]
//! struct OrderCreated { order_id: String, cents: u64 }
//!
//! #[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
//! #[event(type = "order.paid", topic = "orders", key = order_id)]
//! struct OrderPaid { order_id: String }
//!
//! struct Payments;
//!
//! #[service]
//! impl Payments {
//!     #[on(attempts = 5, backoff = "200ms..30s", timeout = "10s")]
//!     async fn charge(&self, order: OrderCreated) -> Result<OrderPaid, Failure> {
//!         // Call the payment gateway here, with the event's id as the idempotency key.
//!         Ok(OrderPaid { order_id: order.order_id })
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
//! # let directory = tempfile::tempdir().unwrap();
//! # let url = format!("embedded:{}", directory.path().display());
//! # /*
//! let url = "embedded:./data"; // or memory:
//! # */
//! let engine = Engine::open(&url).await?;
//! let mut running = App::new(engine.clone()).service(Payments).start().await?;
//! let mut orders = engine.tail("orders").await?;
//!
//! engine.publish(OrderCreated { order_id: "o-1".into(), cents: 4200 }).await?;
//! running.settled().await?;
//!
//! // Every arrow is a read of the log: so is this one.
//! orders.next().await; // the order itself
//! let paid = orders.next().await.expect("a tail goes on")?;
//! assert_eq!(paid.envelope.decode::<OrderPaid>()?, OrderPaid { order_id: "o-1".into() });
//! running.stop().await?;
//! engine.close().await?;
//! # Ok::<(), ensue::Error>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is promised
//!
//! - **Durable**: an acknowledged event and an acknowledged position are on stable storage before
//!   the caller sees the acknowledgement.
//! - **Ordered**: events of one topic and key are handled in append order, one at a time, in every
//!   group, also across retries and restarts. Different keys run in parallel.
//! - **Once**: a handler may run again after a crash; what it returned is in the log once. What
//!   reaches outside the log gets [`Context::id`] as its idempotency key.
//! - **Contained**: a failure blocks its key and nothing else. After its last attempt an event is a
//!   dead letter, later events of its key wait behind it, and redriving keeps their order.
//! - **Bounded**: every queue, buffer, batch and retry has a limit with a name.
//!
//! [`engine`] has the contract in full, and the crate `ensue-conformance` proves it.
//!
//! # Where things are
//!
//! [`Event`] and [`Envelope`]: what happened. [`Engine`]: where the log lives. [`Publisher`],
//! [`Requester`]: saying what happened, and asking. [`Service`], [`Context`], [`Failure`],
//! [`Effects`]: handling. [`App`]: putting services on an engine. [`Events`]: reading.
//! [`State`]: what a service remembers of a key. [`Aggregate`]: state that decides.
//! [`middleware`], [`Metrics`]: around them. [`mod@engine`]: the contract that every engine keeps.
//! [`testing`]: all of it without waiting.
//!
//! # Features
//!
//! | feature | default | what |
//! | --- | --- | --- |
//! | `embedded` | yes | the engines `embedded:` and `memory:`, and [`testing`] |
//! | `nats` | no | the engine on NATS JetStream, `nats://` |
//! | `kafka` | no | the engine on Apache Kafka, `kafka://` |
//! | `rabbitmq` | no | the engine on RabbitMQ streams, `amqp://` |
//! | `redis` | no | the engine on Redis streams, `redis://` |
//! | `postgres` | no | the engine on PostgreSQL, `postgres://` |
//! | `personal` | no | keys for what is personal in events: [`Engine::with_keys`] |

#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![warn(clippy::print_stdout, clippy::print_stderr)]

// The derive macros name this crate by its public name, here as everywhere.
#[allow(
    unused_extern_crates,
    reason = "used wherever a test of this crate derives an event"
)]
extern crate self as ensue;

mod aggregate;
mod app;
mod contained;
mod dispatch;
mod effect;
pub mod engine;
mod failure;
mod forgetting;
#[cfg(all(feature = "fuzzing", feature = "embedded"))]
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod handled;
mod metrics;
mod outgoing;
mod personal;
mod publisher;
mod read_model;
mod request;
mod reservations;
mod retry;
mod saga;
mod service;
mod settling;
mod state;
mod stream;
#[cfg(feature = "embedded")]
pub mod testing;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use ensue_core::error;
pub(crate) use ensue_core::{background, event, time, topic};

#[doc(hidden)]
pub use crate::aggregate::decided_at;
pub use crate::aggregate::{
    Aggregate, Aggregates, Applies, CONFLICTS_MAX, DECISIONS_REMEMBERED, Decided, Deciding,
    Decision, Loaded, Never, Receipt, SNAPSHOT_BYTES_MAX,
};
pub use crate::app::{
    App, Description, HandlerDescription, IN_FLIGHT_MAX, Running, ServiceDescription, WORKERS_MAX,
    asked_to_stop,
};
pub use crate::effect::{Effects, IntoEffects, Reply, ReturnedEvent};
pub use crate::engine::{
    Cursor, Expect, Guarantees, InvalidCursor, OnDead, Position, SharedEngine, Start, Vault,
    connect, connect_reader,
};
pub use crate::failure::{Failure, FailureKind, Rejection, ResultExt};
pub use crate::forgetting::{ForgetReceipt, Forgotten, Holder};
pub use crate::handle::Engine;
pub use crate::metrics::{GroupMetrics, Metrics, PrometheusText};
pub use crate::outgoing::{Conditional, Due, EventTracer, Outgoing, Publish};
#[cfg(feature = "personal")]
pub use crate::personal::{FileKeys, KeyLookup, KeyStore, MemoryKeys, SubjectKey};
pub use crate::publisher::Publisher;
pub use crate::read_model::{
    Applied, LEFT_OUT_MAX, READ_MODEL_SNAPSHOT_BYTES_MAX, ReadModel, ReadModelError,
    RunningReadModel,
};
pub use crate::request::{REQUEST_WAITERS_MAX, REQUESTS_MAX, Requester};
pub use crate::reservations::{NotHeld, Reservations, Taken};
pub use crate::saga::{
    Flow, Saga, SagaEntry, SagaMoment, SagaPath, SagaPhase, SagaProcess, SagaStatus, SagaStuck,
    SagaUndoing, Sagas, Step,
};
pub use crate::service::*;
pub use crate::state::{State, StateError};
pub use crate::stream::Events;
#[doc(inline)]
pub use ensue_core::{
    ATTRIBUTE_BYTES_MAX, Backoff, Clock, CloudEvent, CloudEventBatch, Codec, DecodeError,
    Disclosure, EXTENSIONS_BYTES_MAX, EncodeError, Envelope, EnvelopeBuilder, Error, Event,
    EventId, ExtensionValue, InvalidDuration, InvalidEvent, InvalidTimestamp, InvalidTopic,
    KEY_BYTES_MAX, Opened, PAYLOAD_BYTES_MAX, Personal, Result, Sealed, TOPIC_BYTES_MAX,
    TRACE_STATE_BYTES_MAX, Timestamp, TopicPattern, TraceContext, VirtualClock, parse_duration,
};
pub use ensue_macros::{Event, State, aggregate, apply, on, service};

/// The examples of the page.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/patterns.md")]
mod patterns {}

/// The examples of the page.
#[cfg(all(doctest, feature = "personal"))]
#[doc = include_str!("../../../docs/personal-data.md")]
mod personal_data {}

/// A member of a group whose handlers are in another process: what a server gives to clients.
pub mod consumer {
    pub use crate::dispatch::consumer::{
        Consumer, ConsumerOptions, Done, Gate, Handled, Outcome, Refused, Suspects, Taken, Wanted,
    };
    #[doc(hidden)]
    pub use crate::state::{cell_json, json_cell};
}

/// What nearly every file of a program uses: `use ensue::prelude::*;`.
///
/// `Serialize` and `Deserialize` are serde's. What their derives write names the crate `serde`, so
/// a program that defines events depends on it too.
pub mod prelude {
    pub use ensue_macros::{Event, State, aggregate, apply, on, service};
    pub use serde::{Deserialize, Serialize};

    pub use crate::aggregate::{Aggregate, Decided};
    pub use crate::app::App;
    pub use crate::effect::{Effects, IntoEffects, Reply};
    pub use crate::error::Result;
    pub use crate::event::{Envelope, Event};
    pub use crate::failure::{Failure, Rejection, ResultExt};
    pub use crate::handle::Engine;
    pub use crate::outgoing::Outgoing;
    pub use crate::publisher::Publisher;
    pub use crate::request::Requester;
    pub use crate::service::{Context, Service};
    pub use crate::state::State;
}

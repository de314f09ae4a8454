//! OpenTelemetry for programs that use Ensue: traces and logs, sent by OTLP (HTTP with protobuf).
//!
//! ```no_run
//! use ensue::prelude::*;
//! use ensue_otel::Telemetry;
//! use tracing_subscriber::prelude::*;
//!
//! # #[derive(Event, Serialize, Deserialize)]
//! # #[event(type = "order.created", topic = "orders")]
//! # struct OrderCreated;
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! // By OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER and the other variables of OpenTelemetry.
//! let telemetry = Telemetry::start(ensue_otel::Settings::from_env("shop")?)?;
//! tracing_subscriber::registry()
//!     .with(tracing_subscriber::fmt::layer())
//!     .with(telemetry.logs())
//!     .init();
//!
//! let engine = Engine::open("embedded:./data").await?;
//! let shop = engine.publisher("/shop").traced(telemetry.tracer());
//! shop.publish(OrderCreated).await?;
//! App::new(engine)
//!     .layer(telemetry.handlers())
//!     .on("payments", async |_: OrderCreated| {})
//!     .run()
//!     .await?;
//! telemetry.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! One trace goes from whatever began it through every handler to what leaves the log: an event carries
//! the span that created it as `traceparent`, durably, so a trace outlives crashes and pauses. What a
//! collector cannot take in time is dropped and counted ([`Telemetry::write_metrics`]); nothing waits for
//! it.
//!
//! | span | kind | parent |
//! | --- | --- | --- |
//! | `POST /v1/events`, of a server | server | the `traceparent` of the request |
//! | `send TOPIC`, an event that a request or a program appends | producer | the request; what is active in the program |
//! | `process TOPIC`, an attempt of a handler | consumer | the event's `traceparent`; linked to the attempt before |
//! | `create TOPIC`, an event that a handler returns or publishes | producer | the attempt |
//! | `POST`, of a webhook | client | the attempt to deliver it |
//!
//! Attributes begin with `ensue.`. Those of OpenTelemetry's messaging conventions, which are not stable
//! yet, come in addition with `OTEL_SEMCONV_STABILITY_OPT_IN=messaging`. No payload and no key is in a
//! span.

#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_types, reason = "it calls a collector")]

mod attributes;
mod client;
mod context;
mod handlers;
mod metrics;
mod publishing;
mod queue;
mod recorder;
mod records;
mod request;
mod settings;
mod spans;
mod telemetry;

pub use crate::handlers::Handlers;
pub use crate::request::{CallSpan, RequestSpan};
pub use crate::settings::{Settings, SettingsError};
pub use crate::telemetry::{Telemetry, TelemetryError};

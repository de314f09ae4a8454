//! An engine of Ensue over HTTP and gRPC, for programs that are not this process or not in Rust.
//!
//! ```no_run
//! use ensue::prelude::*;
//! use ensue_server::Server;
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::open("embedded:./data").await?;
//! Server::new(engine.clone()).run().await?; // http://127.0.0.1:3678, until Ctrl-C
//! engine.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! A program that owns a log serves it beside its own services with [`Server::start`]; the command
//! `ensue serve` does nothing else. It listens on loopback addresses only, unless the configuration has
//! TLS and authentication.
//!
//! The API is described in `docs/server.md`: CloudEvents 1.0 throughout, errors as problem documents
//! (RFC 9457) with the stable names of [`Code`].

#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![warn(clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::disallowed_types, reason = "it serves HTTP")]

mod server;

mod address;
mod answering;
mod asking;
mod attributes;
mod busy;
mod closest;
mod config;
mod connection;
mod connections;
mod context;
mod counters;
mod duration;
mod finished;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod group_subscriptions;
mod grpc;
mod half_closed;
mod hangup;
mod http;
mod leases;
mod memory;
mod openapi;
mod outgoing;
mod personal;
mod phase;
mod preface;
mod private;
mod probe;
mod problem;
mod process;
mod range;
mod readiness;
mod scan;
mod security;
mod stalled;
mod subscribing;
mod suspects;
mod through;
mod trace;
mod webhooks;

/// The HTTP API as a document of OpenAPI 3.1, in JSON, generated from the code that serves it: what a server
/// publishes at `/v1/openapi.json`.
///
/// ```
/// let document: serde_json::Value = serde_json::from_str(ensue_server::openapi())?;
/// assert_eq!(document["openapi"], "3.1.0");
/// assert_eq!(document["paths"]["/v1/events"]["post"]["operationId"], "appendEvents");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[must_use]
pub fn openapi() -> &'static str {
    http::document()
}

pub use crate::address::{DEFAULT_ADDRESS, InvalidAddress, ListenAddress};
pub use crate::config::{
    Auth, ClientCertificates, Config, ConfigError, EngineUrl, Jwt, Limits, Login, Role, Tls,
};
pub use crate::outgoing::{InvalidNetwork, Network};
pub use crate::personal::Personal;
pub use crate::probe::{Probe, ProbeError};
pub use crate::problem::Code;
pub use crate::security::{AUDIT_TOPIC, AuditChain, AuditFinding, AuditHead, AuditReport};
pub use crate::security::{NewToken, TokenEntry, TokenError, TokenFile};
pub use crate::server::{Running, Server, ServerError};
pub use crate::webhooks::{
    AfterDead, ContentMode, EndpointConfig, ReceiverUrl, SecretSource, SenderConfig, SenderContent,
    StartAt, WebhookConfig,
};

//! The engine over gRPC (`ensue.v1`), on the same listener as HTTP: for programs of any language that want
//! streams, and for the remote engine.
//!
//! `docs/server.md` shows how to call it; the messages are the crate `ensue-proto`'s.

mod answer;
mod append;
mod ask;
mod claim;
mod health;
mod idempotency;
mod join;
mod layout;
mod lists;
mod metered;
mod method;
mod operate;
mod permit;
mod read;
mod service;
mod session;
mod sessions;
mod walk;

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{HeaderMap, Request, header};
use axum::response::{IntoResponse, Response};
use ensue_proto::v1::engine_service_server::EngineServiceServer;
use ensue_proto::{DESCRIPTORS, MESSAGE_BYTES_MAX};
use tonic_health::pb::health_server::HealthServer;
use tower_service::Service;

use self::health::Health;
use self::metered::Metered;
use self::service::Calls;
use crate::context::Context;
use crate::problem::Problem;

/// The engine.
pub(crate) fn engine(context: &Context) -> Metered<EngineServiceServer<Calls>> {
    let calls = EngineServiceServer::new(Calls::new(context.clone()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(usize::MAX);
    Metered::new(calls, context.clone())
}

/// Whether the server works (`grpc.health.v1`).
pub(crate) fn health(context: &Context) -> HealthServer<Health> {
    HealthServer::new(Health::new(context.clone()))
}

/// What the server can be called with, in both versions that clients ask in. It is `None` only if what is
/// built in cannot be read.
pub(crate) fn reflection() -> Option<(
    impl Service<Request<Body>, Response = impl IntoResponse, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static,
    impl Service<Request<Body>, Response = impl IntoResponse, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static,
)> {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let both = builder()
        .build_v1()
        .and_then(|newer| Ok((newer, builder().build_v1alpha()?)));
    both.inspect_err(|error| tracing::error!(%error, "there is no reflection"))
        .ok()
}

/// Whether a request is a call of gRPC, which is answered as one.
pub(crate) fn is_call(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    content_type.is_some_and(|it| it.starts_with("application/grpc"))
}

/// Refuses a call.
pub(crate) fn refuse(problem: &Problem) -> Response {
    answer::problem(problem).into_http::<Body>()
}

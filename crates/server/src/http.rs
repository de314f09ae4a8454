//! The routes, and what every request goes through: who is calling, then the handler, then counting.
//!
//! A resource is a file: its routes and what they do, side by side.

mod dead_letters;
mod events;
mod groups;
mod metrics;
mod probes;
mod schedules;
mod status;

mod body;
mod deadline;
mod json;
mod letter;
mod place;
mod query;
mod route;

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, Uri};
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use tower_service::Service as _;

use self::route::Route;
use crate::context::Context;
use crate::problem::{Code, Problem};

/// Every route there is.
pub(crate) fn router(context: Context) -> Router {
    let router = Router::new();
    let router = events::routes(router);
    let router = groups::routes(router);
    let router = dead_letters::routes(router);
    let router = schedules::routes(router);
    let router = status::routes(router);
    let router = probes::routes(router);
    let router = metrics::routes(router);
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(context)
}

/// Answers a request, whatever happens.
pub(crate) async fn answer<B>(
    context: Context,
    router: Router,
    request: hyper::Request<B>,
    peer: SocketAddr,
) -> Response
where
    B: hyper::body::Body<Data = hyper::body::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let started = Instant::now();
    let request = request.map(Body::new);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = AssertUnwindSafe(respond(&context, router, request, peer)).catch_unwind();
    let response = response.await.unwrap_or_else(|_| {
        let detail = "the handler of this request panicked; the log of the server has the reason";
        Problem::new(Code::Internal, detail).into_response()
    });
    let status = response.status().as_u16();
    let took = started.elapsed();
    let route = response.extensions().get::<Route>();
    let route = route.map_or("other", |route| route.path());
    context.counters().answered(route, status, took);
    tracing::debug!(%method, path, status, ?took, "answered");
    response
}

async fn respond(
    context: &Context,
    mut router: Router,
    mut request: Request,
    peer: SocketAddr,
) -> Response {
    let caller = match context.hosts().caller(&request, peer) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    tracing::debug!(?caller, "let in");
    request.extensions_mut().insert(caller);
    match router.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

async fn not_found(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(
        Code::NotFound,
        format!("there is nothing at `{path}`; the API is below /v1"),
    )
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    let method: String = method.as_str().chars().take(40).collect();
    Problem::new(
        Code::MethodNotAllowed,
        format!("`{path}` does not take {method}; the header `Allow` has what it takes"),
    )
}

//! The routes, and what every request goes through: who is calling, then the handler, then counting.
//!
//! A resource is a file: its routes and what they do, side by side.

mod dead_letters;
mod events;
mod groups;
mod login;
mod members;
mod metrics;
mod probes;
mod requests;
mod sagas;
mod schedules;
mod status;
mod webhooks;

mod audited;
mod body;
mod deadline;
mod described;
mod document;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod json;
mod leftover;
mod letter;
mod path;
mod pieces;
mod place;
mod query;
mod route;
mod rpc;

use std::panic::AssertUnwindSafe;
use std::sync::LazyLock;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, Uri, Version, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use tower_service::Service as _;

use self::leftover::Leftover;
use self::route::{Route, Routes};
use crate::context::Context;
use crate::grpc;
use crate::openapi;
use crate::problem::{Code, Problem};
use crate::security::{Caller, Peer};
use crate::trace::RequestTrace;

/// Every route there is.
pub(crate) fn router(context: Context) -> Router {
    rpc::routes(routes(), &context)
        .finish()
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(context)
}

fn routes() -> Routes {
    let routes = Routes::default();
    let routes = events::routes(routes);
    let routes = groups::routes(routes);
    let routes = members::routes(routes);
    let routes = requests::routes(routes);
    let routes = dead_letters::routes(routes);
    let routes = sagas::routes(routes);
    let routes = schedules::routes(routes);
    let routes = webhooks::routes(routes);
    let routes = status::routes(routes);
    let routes = login::routes(routes);
    let routes = probes::routes(routes);
    let routes = metrics::routes(routes);
    document::routes(routes, document)
}

/// What all of them are, as a document of OpenAPI: JSON.
pub(crate) fn document() -> &'static str {
    static DOCUMENT: LazyLock<String> =
        LazyLock::new(|| openapi::document(routes().described()).to_string());
    &DOCUMENT
}

/// Answers a request, whatever happens.
pub(crate) async fn answer<B>(
    context: Context,
    router: Router,
    request: hyper::Request<B>,
    peer: &Peer,
) -> Response
where
    B: hyper::body::Body<Data = hyper::body::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let started = Instant::now();
    let request = request.map(Body::new);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let trace = context.tracing().request(&method, &path, request.headers());
    // A call of gRPC is answered while its client goes on to send, by its protocol.
    let is_kept = request.version() == Version::HTTP_2 && !grpc::is_call(request.headers());
    let (request, leftover) = if is_kept {
        let (request, leftover) = Leftover::of(request);
        (request, Some(leftover))
    } else {
        (request, None)
    };
    let responding = respond(&context, router, request, (peer, &trace));
    let response = AssertUnwindSafe(trace.within(responding)).catch_unwind();
    let mut response = response.await.unwrap_or_else(|_| {
        let detail = "the handler of this request panicked; the log of the server has the reason";
        Problem::new(Code::Internal, detail).into_response()
    });
    if !grpc::is_call(response.headers()) {
        keep_private(&mut response);
    }
    let status = response.status().as_u16();
    let took = started.elapsed();
    let route = response.extensions().get::<Route>();
    let route = route.map(|route| route.path());
    let line = async { tracing::debug!(%method, path, status, ?took, "answered") };
    trace.within(line).await;
    trace.answered(&method, route, status);
    let took = (!waits(route, &path)).then_some(took);
    let route = route.unwrap_or("other");
    context.counters().answered(route, status, took);
    if let Some(leftover) = leftover {
        leftover.drain(context.limits().body_timeout).await;
    }
    response
}

/// Tells browsers and caches that an answer is for its caller alone, and nothing else than what it says it is.
fn keep_private(response: &mut Response) {
    let headers = response.headers_mut();
    let no_store = HeaderValue::from_static("no-store");
    headers.entry(header::CACHE_CONTROL).or_insert(no_store);
    let no_sniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, no_sniff);
}

/// Whether an answer waits for something as its client asks it to: how long it takes says nothing about the server.
fn waits(route: Option<&str>, path: &str) -> bool {
    let waiting = [members::TAKE, requests::PATH];
    route.is_some_and(|route| waiting.contains(&route)) || path == rpc::WAIT
}

/// Whether a request of this path is given events that come while its client waits for them.
pub(crate) fn waits_for_events(path: &str) -> bool {
    path == events::STREAM || members::is_take(path)
}

/// Whether a client may need the connection again, to commit what its member here has in its hands.
pub(crate) fn keeps_connection(response: &Response) -> bool {
    let route = response.extensions().get::<Route>();
    route.is_some_and(|route| members::keeps_connection(route.path()))
}

async fn respond(
    context: &Context,
    mut router: Router,
    mut request: Request,
    (peer, trace): (&Peer, &RequestTrace),
) -> Response {
    let now = context.engine().clock().now();
    let caller = match context.security().caller(&mut request, peer, now).await {
        Ok(caller) => caller,
        Err(problem) if grpc::is_call(request.headers()) => return grpc::refuse(&problem),
        // Probes answer everyone, and senders of webhooks sign.
        Err(problem) => Caller::refused(problem, peer.address),
    };
    tracing::debug!(caller = caller.name(), peer = %peer.address, "let in");
    request.extensions_mut().insert(trace.clone());
    request.extensions_mut().insert(caller);
    match router.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

async fn not_found(caller: Caller, uri: Uri) -> Problem {
    if let Err(problem) = caller.known() {
        return problem;
    }
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(
        Code::NotFound,
        format!("there is nothing at `{path}`; the API is below /v1"),
    )
}

async fn method_not_allowed(caller: Caller, method: Method, uri: Uri) -> Problem {
    if let Err(problem) = caller.known() {
        return problem;
    }
    let path: String = uri.path().chars().take(200).collect();
    let method: String = method.as_str().chars().take(40).collect();
    Problem::new(
        Code::MethodNotAllowed,
        format!("`{path}` does not take {method}; the header `Allow` has what it takes"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::Access;

    #[test]
    fn every_route_is_one_that_the_tests_of_permissions_try() {
        let tried = include_str!("../tests/http/owasp.rs");
        let tried: String = tried.split_whitespace().collect();
        for route in routes().described() {
            let row = format!("(\"{}\",\"{}\",", route.method, route.path);
            let is_tried = tried.contains(&row) || route.access == Access::Public;
            assert!(is_tried, "`ROUTES` in tests/http/owasp.rs lacks {row}");
        }
    }

    #[test]
    fn a_type_that_is_read_and_written_is_the_same_in_both() {
        assert_eq!(openapi::ambiguous(routes().described()), [""; 0]);
    }

    #[test]
    fn only_probes_logins_and_what_is_signed_are_public() {
        let routes = routes();
        let public = routes
            .described()
            .iter()
            .filter(|it| it.access == Access::Public);
        let public: Vec<_> = public.map(|it| (it.method, it.path)).collect();
        let receiving = "/v1/webhooks/in/{name}";
        assert_eq!(
            public,
            [
                ("POST", receiving),
                ("OPTIONS", receiving),
                ("GET", "/v1/login"),
                ("GET", "/v1/login/callback"),
                ("GET", "/livez"),
                ("GET", "/readyz")
            ]
        );
    }
}

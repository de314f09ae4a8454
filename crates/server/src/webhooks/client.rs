//! One request to a receiver: bounded in time and in what is read of the answer. Redirects are not
//! followed.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Request, Uri};
use ensue::error::with_causes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout_at;

use super::answer::{Answer, Head, retry_after};
use super::responses::BODY_BYTES_MAX;
use crate::outgoing::Connector;

/// How long a connection is kept that is not used.
const IDLE: Duration = Duration::from_secs(30);
/// The most headers that an answer may have, and the largest buffer for them, in bytes.
const HEADERS_MAX: usize = 64;
const HEADERS_BYTES_MAX: usize = 64 * 1024;

/// Sends to one endpoint, over connections that it keeps.
#[derive(Clone)]
pub(super) struct Client(legacy::Client<Connector, Full<Bytes>>);

impl Client {
    /// A client that keeps up to `connections`.
    pub(super) fn new(connector: Connector, connections: usize) -> Self {
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(connections)
            .http1_max_headers(HEADERS_MAX)
            .http1_max_buf_size(HEADERS_BYTES_MAX);
        Self(builder.build(connector))
    }

    /// Sends a request, and gives what came of it within `timeout`.
    pub(super) async fn post(
        &self,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> Answer {
        let started = Instant::now();
        let deadline = tokio::time::Instant::now() + timeout;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let answered = timeout_at(deadline, self.0.request(request)).await;
        let (result, body) = match answered {
            Ok(Ok(response)) => {
                let (parts, body) = response.into_parts();
                let head = Head {
                    status: parts.status,
                    retry_after: retry_after(&parts.headers),
                };
                (Ok(head), beginning(body, deadline).await)
            }
            Ok(Err(error)) => (Err(with_causes(&error)), Vec::new()),
            Err(_) => {
                let problem = format!("the receiver did not answer within {timeout:?}");
                (Err(problem), Vec::new())
            }
        };
        Answer {
            result,
            took: started.elapsed(),
            body,
        }
    }
}

/// The beginning of a body: as much as is kept, and as much as comes in time.
async fn beginning(mut body: Incoming, deadline: tokio::time::Instant) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < BODY_BYTES_MAX {
        let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await else {
            break;
        };
        if let Some(data) = frame.data_ref() {
            let room = BODY_BYTES_MAX - bytes.len();
            bytes.extend_from_slice(data.get(..room).unwrap_or(data));
        }
    }
    bytes
}

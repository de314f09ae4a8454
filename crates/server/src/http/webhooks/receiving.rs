//! `/v1/webhooks/in/NAME`: what a sender sends, and the handshake of CloudEvents
//! ([HTTP 1.1 Web Hooks for Event Delivery](https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md)).

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::context::Context;
use crate::http::events::single;
use crate::http::route::{Routes, options, post};
use crate::http::{body, deadline};
use crate::problem::{Code, Problem};
use crate::security::Access;
use crate::trace::RequestTrace;
use crate::webhooks::{Refusal, Sender, SenderContent, Unverified};

const REQUEST_ORIGIN: &str = "webhook-request-origin";
const REQUEST_RATE: &str = "webhook-request-rate";
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// For everyone: a sender is known by its signature, and the handshake comes before it has one.
pub(super) fn routes(routes: Routes) -> Routes {
    let methods = [
        post(Access::Public, receive),
        options(Access::Public, handshake),
    ];
    routes.add("/v1/webhooks/in/{name}", methods)
}

async fn receive(
    State(context): State<Context>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let sender = context.webhooks().sender(&name);
    let (parts, stream) = request.into_parts();
    let headers = &parts.headers;
    let now = context.engine().clock().now();
    let claim = match sender {
        Some(sender) => sender.claim(now, headers),
        None => Sender::claim_of_unknown(now, headers),
    };
    let claim = claim.map_err(unverified)?;
    let (bytes, _held) = body::read_of_stranger(&context, headers, stream)
        .await?
        .into_parts();
    let Some(sender) = sender else {
        // Names of senders are not told to strangers; the log has what is wrong.
        let name: String = name.chars().take(80).collect();
        tracing::info!(
            name,
            "a webhook came for a sender that the configuration does not have"
        );
        return Err(unverified(Unverified::Signature));
    };
    let id = match sender.verify(&claim, now, &bytes).await {
        Ok(id) => id,
        Err(Refusal::TooMany(wait)) => return Ok(too_many(wait)),
        Err(Refusal::Unverified(error)) => return Err(unverified(error)),
    };
    let event = match sender.config().content {
        SenderContent::Payload => sender.event(id, headers, bytes)?,
        SenderContent::CloudEvents => {
            sender.cloud_event(&single::read(headers, bytes, &sender.config().topic)?)?
        }
    };
    let event = RequestTrace::of(&parts.extensions).trace(event);
    let appending = context.engine().append(vec![event.into()]);
    let appended = deadline::within(&context, appending).await?;
    let Some(appended) = appended.first() else {
        return Err(Problem::new(Code::Internal, "the engine gave no receipt"));
    };
    let receipt = json!({
        "position": appended.position.to_string(),
        "duplicate": appended.is_duplicate,
    });
    Ok(Json(receipt).into_response())
}

fn unverified(error: Unverified) -> Problem {
    Problem::new(Code::InvalidSignature, error.to_string())
}

fn too_many(wait: std::time::Duration) -> Response {
    let problem = Problem::new(
        Code::RateLimited,
        "the sender has sent as many requests in a minute as it may; send this one again after the \
         time in the header `Retry-After`",
    );
    let mut response = problem.into_response();
    let seconds = wait.as_millis().div_ceil(1_000).max(1);
    if let Ok(seconds) = HeaderValue::try_from(seconds.to_string()) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

/// Whether a sender may send here, which it asks before it does. What would be called back to grant it
/// later (`WebHook-Request-Callback`) is not: the answer is the grant.
async fn handshake(
    State(context): State<Context>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let sender = context.webhooks().sender(&name);
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let mut response = StatusCode::OK.into_response();
    let granted = response.headers_mut();
    granted.insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"));
    let Some(origin) = text(REQUEST_ORIGIN) else {
        return Ok(response);
    };
    let Some(sender) = sender.filter(|sender| sender.allows(origin)) else {
        let shown: String = origin.chars().take(80).collect();
        return Err(Problem::new(
            Code::OriginNotAllowed,
            format!(
                "`{shown}` may not send here; the configuration needs a sender of this name with it among \
                 its `origins`"
            ),
        ));
    };
    if let Ok(origin) = HeaderValue::try_from(origin) {
        granted.insert(ALLOWED_ORIGIN, origin);
    }
    let rate = match sender.config().rate_per_minute {
        None => "*".to_owned(),
        Some(most) => {
            let asked = text(REQUEST_RATE).and_then(|rate| rate.parse().ok());
            most.min(asked.unwrap_or(most)).to_string()
        }
    };
    if let Ok(rate) = HeaderValue::try_from(rate) {
        granted.insert(ALLOWED_RATE, rate);
    }
    Ok(response)
}

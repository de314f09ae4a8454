//! `/v1/webhooks/in/NAME`: what a sender sends, and the handshake of CloudEvents
//! ([HTTP 1.1 Web Hooks for Event Delivery](https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md)).

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::context::Context;
use crate::http::events::single;
use crate::http::path::Path;
use crate::http::place::Place;
use crate::http::route::{Routes, options, post};
use crate::http::{body, deadline};
use crate::openapi::{self, Answer, BODY, Input, Kind, Operation, Parameter, Written, about};
use crate::problem::{Code, Problem};
use crate::security::Access;
use crate::trace::RequestTrace;
use crate::webhooks::{Refusal, SenderContent, Unverified};

const REQUEST_ORIGIN: &str = "webhook-request-origin";
const REQUEST_RATE: &str = "webhook-request-rate";
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// For everyone: a sender is known by its signature, and the handshake comes before it has one.
pub(super) fn routes(routes: Routes) -> Routes {
    let receives = about(
        "receiveWebhook",
        "Takes what a sender has signed, which becomes an event",
    )
    .refuses(&[
        Code::InvalidSignature,
        Code::RateLimited,
        Code::InvalidEvent,
        Code::Forbidden,
    ]);
    let grants = about(
        "allowWebhook",
        "The handshake of CloudEvents, before a sender sends",
    )
    .refuses(&[Code::OriginNotAllowed]);
    let methods = [
        post(Access::Public, receives, receive),
        options(Access::Public, grants, handshake),
    ];
    routes.add("/v1/webhooks/in/{name}", methods)
}

/// What a sender sends, not read yet.
struct Signed(Request);

impl<S: Sync> FromRequest<S> for Signed {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        Ok(Self(request))
    }
}

impl Input for Signed {
    fn describe(operation: &mut Operation) {
        for (name, what) in [
            (
                "webhook-id",
                "The name of the delivery: it becomes one event, however often it is sent.",
            ),
            (
                "webhook-timestamp",
                "When it was signed, in seconds since 1970.",
            ),
            (
                "webhook-signature",
                "Signatures of Standard Webhooks, separated by spaces.",
            ),
        ] {
            let parameter = Parameter::new(name, Kind::Text, what).required();
            operation.takes(openapi::Place::Header, &parameter);
        }
        let payload = json!({ "description": "The payload of the event, or a CloudEvent, as the sender is configured." });
        operation.body("*/*", payload);
        operation.refuses(BODY);
        operation.refuses(&[Code::InvalidHeader]);
    }
}

/// The event is in the log.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhookReceipt")]
struct Received {
    position: Place,
    /// It was in the log before.
    duplicate: bool,
}

async fn receive(
    State(context): State<Context>,
    Path(name): Path<String>,
    request: Signed,
) -> Result<Json<Received>, Problem> {
    let (parts, stream) = request.0.into_parts();
    let headers = &parts.headers;
    let now = context.engine().clock().now();
    let claim = context.webhooks().claim(now, headers);
    let claim = claim.map_err(unverified)?;
    let body = body::read_of_stranger(&context, headers, stream).await?;
    let Some(sender) = context.webhooks().sender(&name) else {
        // Names of senders are not told to strangers; the log has what is wrong.
        let name: String = name.chars().take(80).collect();
        tracing::info!(
            name,
            "a webhook came for a sender that the configuration does not have"
        );
        return Err(unverified(Unverified::Signature));
    };
    let (id, body) = match sender.verify(claim, now, body).await {
        Ok(verified) => verified,
        Err(Refusal::TooMany(wait)) => return Err(too_many(wait)),
        Err(Refusal::Unverified(error)) => return Err(unverified(error)),
        Err(error @ Refusal::Interrupted(_)) => {
            return Err(Problem::new(Code::Internal, error.to_string()));
        }
    };
    let (bytes, _held) = body.into_parts();
    let event = match sender.config().content {
        SenderContent::Payload => sender.event(&id, headers, bytes)?,
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
    Ok(Json(Received {
        position: Place(appended.position),
        duplicate: appended.is_duplicate,
    }))
}

fn unverified(error: Unverified) -> Problem {
    Problem::new(Code::InvalidSignature, error.to_string())
}

fn too_many(wait: Duration) -> Problem {
    Problem::new(
        Code::RateLimited,
        "the sender has sent as many requests in a minute as it may; send this one again after the \
         time in the header `Retry-After`",
    )
    .after(wait)
}

/// What a sender asks for in the handshake.
struct Asked {
    origin: Option<String>,
    rate: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let text = |name| Some(parts.headers.get(name)?.to_str().ok()?.to_owned());
        Ok(Self {
            origin: text(REQUEST_ORIGIN),
            rate: text(REQUEST_RATE),
        })
    }
}

impl Input for Asked {
    fn describe(operation: &mut Operation) {
        for (name, what) in [
            (REQUEST_ORIGIN, "Who wants to send."),
            (
                REQUEST_RATE,
                "How many requests in a minute it wants to send.",
            ),
        ] {
            operation.takes(
                openapi::Place::Header,
                &Parameter::new(name, Kind::Text, what),
            );
        }
    }
}

/// What a sender is granted.
struct Granted;

impl Answer for Granted {
    fn describe(operation: &mut Operation) {
        operation
            .answers(200, "What is granted to the sender, if it said who it is.")
            .header("Allow", "`POST, OPTIONS`.")
            .header(ALLOWED_ORIGIN.as_str(), "Who may send.")
            .header(
                ALLOWED_RATE.as_str(),
                "How many requests in a minute it may send; `*` is any number.",
            );
    }
}

/// Whether a sender may send here, which it asks before it does. What would be called back to grant it
/// later (`WebHook-Request-Callback`) is not: the answer is the grant.
async fn handshake(
    State(context): State<Context>,
    Path(name): Path<String>,
    asked: Asked,
) -> Result<Written<Granted>, Problem> {
    let sender = context.webhooks().sender(&name);
    let mut response = StatusCode::OK.into_response();
    let granted = response.headers_mut();
    granted.insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"));
    let Some(origin) = asked.origin.as_deref() else {
        return Ok(Written::new(response));
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
            let asked = asked.rate.and_then(|rate| rate.parse().ok());
            most.min(asked.unwrap_or(most)).to_string()
        }
    };
    if let Ok(rate) = HeaderValue::try_from(rate) {
        granted.insert(ALLOWED_RATE, rate);
    }
    Ok(Written::new(response))
}

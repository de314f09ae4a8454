//! What a refused request is answered: a problem document (RFC 9457) with a stable code.

mod code;
mod engine;

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

pub use self::code::Code;

/// The media type of a problem document.
pub(crate) const CONTENT_TYPE: &str = "application/problem+json";
/// How long a client should wait at least that was refused because there is too much to do, in seconds.
const RETRY_AFTER_S: u64 = 1;
/// How a client that is not known proves who it is.
const CHALLENGE: &str = "Bearer realm=\"ensue\"";

/// Why a request is refused.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    /// What programs may want to know besides.
    more: Map<String, Value>,
    /// When to come again, if that is known.
    wait: Option<Duration>,
}

impl Problem {
    /// A problem: what happened, what was expected, what to do.
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            more: Map::new(),
            wait: None,
        }
    }

    /// With something that programs may want to know.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    /// The same request may be taken after this time.
    #[must_use]
    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// What happened, what was expected, what to do.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The document.
    pub(crate) fn to_json(&self) -> Value {
        let code = self.code;
        let mut document = self.more.clone();
        let own = [
            (
                "type",
                json!(format!("urn:ensue:problem:{}", code.as_str())),
            ),
            ("title", json!(code.title().trim())),
            ("status", json!(code.status())),
            ("detail", json!(self.detail)),
            ("code", json!(code.as_str())),
            ("in_doubt", json!(code.is_in_doubt())),
        ];
        document.extend(own.map(|(name, value)| (name.to_owned(), value)));
        Value::Object(document)
    }

    /// What every document has, as a schema.
    pub(crate) fn schema() -> Value {
        json!({
            "type": "object",
            "description": "Why a request is refused (RFC 9457). Some codes have members of their own.",
            "properties": {
                "type": { "type": "string", "format": "uri", "description": "The code, as a URI." },
                "title": { "type": "string", "description": "What the code means." },
                "status": { "type": "integer", "description": "The status of the answer." },
                "detail": {
                    "type": "string",
                    "description": "What happened, what was expected, what to do.",
                },
                "code": { "type": "string", "description": "The name of what went wrong. It stays." },
                "in_doubt": {
                    "type": "boolean",
                    "description": "Whether what was asked for may have happened all the same.",
                },
            },
            "required": ["type", "title", "status", "detail", "code", "in_doubt"],
        })
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        if self.code.is_waited_out() {
            tracing::debug!(code = self.code.as_str(), detail = %self.detail, "a client has waited in vain");
        } else if status.is_server_error() {
            tracing::warn!(code = self.code.as_str(), detail = %self.detail, "request failed");
        }
        let mut response = (status, self.to_json().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(CHALLENGE),
            );
        }
        if self.code.is_for_later() {
            let wait = self.wait.map_or(RETRY_AFTER_S, |wait| {
                let begun = u64::from(wait.subsec_nanos() > 0);
                wait.as_secs().saturating_add(begun)
            });
            headers.insert(header::RETRY_AFTER, wait.max(RETRY_AFTER_S).into());
        }
        response
    }
}

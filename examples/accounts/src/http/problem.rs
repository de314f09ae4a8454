//! Errors as problem documents.

use std::time::{Duration, Instant};

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::seldom::Seldom;
use crate::domain::RoleRefusal;
use crate::operations::{Denied, OperationError};
use crate::secrets::HashingError;
use crate::view::ViewError;

/// Why a request is not answered.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    retry_after: Option<Duration>,
}

/// What is wrong with a field, or with a parameter.
#[derive(Debug, Serialize)]
pub(super) struct FieldError {
    /// Which field, as a JSON pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pointer: Option<String>,
    /// Which parameter of the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parameter: Option<String>,
    /// What is wrong, and what is expected.
    pub(super) detail: String,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'a str,
    status: u16,
    code: &'static str,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

impl FieldError {
    /// Of a field of a JSON object.
    pub(super) fn of_field(name: &str, detail: String) -> Self {
        let name = name.replace('~', "~0").replace('/', "~1");
        Self {
            pointer: Some(format!("/{name}")),
            parameter: None,
            detail,
        }
    }

    /// Of a parameter of a query, of which no more is repeated than it takes to find it.
    pub(super) fn of_parameter(name: &str, detail: String) -> Self {
        Self {
            pointer: None,
            parameter: Some(name.chars().take(80).collect()),
            detail,
        }
    }
}

/// What went wrong behind the service, while that lasts.
static FAILURES: Seldom = Seldom::new();

/// Says so once in a while: while an engine is away, every request fails.
fn note(what: &'static str, error: &dyn std::fmt::Display) {
    if let Some(unsaid) = FAILURES.due(Instant::now()) {
        tracing::error!(%error, unsaid, "{what}");
    }
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
        }
    }

    /// All that is wrong with the fields of a request.
    pub(super) fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = "fields are missing or not what is expected; `errors` has all of them";
        Self {
            errors,
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
        }
    }

    pub(super) fn later(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl From<OperationError> for Problem {
    fn from(error: OperationError) -> Self {
        let detail = error.to_string();
        match error {
            OperationError::Denied(denied) => {
                let (status, code) = answer(denied);
                Self::new(status, code, detail)
            }
            OperationError::Hashing(HashingError::Busy) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
                    .later(Duration::from_secs(1))
            }
            OperationError::Hashing(HashingError::Failed)
            | OperationError::Random(_)
            | OperationError::Engine(_) => {
                // Why is not for clients.
                note("an operation failed", &error);
                let detail =
                    "the request could not be carried out, or not be known to be; try again";
                let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
                problem.later(Duration::from_secs(1))
            }
        }
    }
}

impl From<ViewError> for Problem {
    fn from(error: ViewError) -> Self {
        note("the view has no answer", &error);
        let detail = "the profiles cannot be read now; try again";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
        problem.later(Duration::from_secs(1))
    }
}

impl From<ensue::Error> for Problem {
    fn from(error: ensue::Error) -> Self {
        OperationError::from(error).into()
    }
}

/// What is answered when a request takes too long.
pub fn timed_out() -> Response {
    let detail = "the request, or its answer, took too long; it may have been carried out";
    Problem::new(StatusCode::REQUEST_TIMEOUT, "timed-out", detail).into_response()
}

fn answer(denied: Denied) -> (StatusCode, &'static str) {
    match denied {
        Denied::WrongCredentials => (StatusCode::UNAUTHORIZED, "wrong-credentials"),
        Denied::NoSession => (StatusCode::UNAUTHORIZED, "no-session"),
        Denied::NotConfirmed => (StatusCode::FORBIDDEN, "not-confirmed"),
        Denied::WrongPassword => (StatusCode::FORBIDDEN, "wrong-password"),
        Denied::NotModerator => (StatusCode::FORBIDDEN, "not-moderator"),
        Denied::Role(RoleRefusal::NotAllowed) => (StatusCode::FORBIDDEN, "not-administrator"),
        Denied::Role(RoleRefusal::LastAdministrator) => {
            (StatusCode::CONFLICT, "last-administrator")
        }
        Denied::Role(RoleRefusal::TooMany) => (StatusCode::CONFLICT, "too-many-roles"),
        Denied::PasswordChanged => (StatusCode::CONFLICT, "password-changed"),
        Denied::LinkOver => (StatusCode::GONE, "link-over"),
        Denied::NoProfile => (StatusCode::NOT_FOUND, "no-profile"),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            errors: &self.errors,
        };
        // Texts and numbers alone: it cannot fail.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

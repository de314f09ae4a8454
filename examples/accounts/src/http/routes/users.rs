//! Becoming a user, and leaving.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::super::body::Body;
use super::super::fields::{credentials, from_link};
use super::super::form::Form;
use super::super::origin::Origin;
use super::super::problem::Problem;
use super::super::session::InSession;
use super::super::site::Site;
use crate::secrets::Password;

/// The header that makes two registrations one.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// `{email, password}`: the answer is the same whether the address is free or not.
pub(super) async fn register(
    State(site): State<Site>,
    origin: Origin,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Problem> {
    origin.admit(&site)?;
    let (email, password) = credentials(&body, Password::chosen)?;
    let request = match headers.get(IDEMPOTENCY_KEY) {
        None => None,
        Some(key) => {
            let key = key.to_str().ok();
            let key = key.filter(|key| (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()));
            Some(key.ok_or_else(|| {
                let detail = "an Idempotency-Key has 1 to 128 bytes of ASCII";
                Problem::new(StatusCode::BAD_REQUEST, "bad-idempotency-key", detail)
            })?)
        }
    };
    let accounts = &site.0.accounts;
    accounts
        .request_registration(email, password, request)
        .await?;
    Ok(mailed())
}

/// What is said to whoever asks for a mail.
pub(super) fn mailed() -> Response {
    let said = json!({ "detail": "look into your mail" });
    (StatusCode::ACCEPTED, Json(said)).into_response()
}

/// `{user, secret, password}`: what the link in the mail has, and the password from now on.
pub(super) async fn confirm(
    State(site): State<Site>,
    origin: Origin,
    Body(body): Body,
) -> Result<StatusCode, Problem> {
    origin.admit(&site)?;
    let (user, secret, password) = from_link(&body)?;
    site.0
        .accounts
        .confirm(&user, &secret, password, &origin.text())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `{password}`.
pub(super) async fn forget(
    State(site): State<Site>,
    InSession(caller): InSession,
    origin: Origin,
    Body(body): Body,
) -> Result<StatusCode, Problem> {
    origin.admit(&site)?;
    let mut form = Form::parse(&body)?;
    let password = form.password("password", Password::tried);
    let password = form.finish(password)?;
    site.0
        .accounts
        .forget(&caller, password, &origin.text())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn log_ins(
    State(site): State<Site>,
    InSession(caller): InSession,
) -> Result<Response, Problem> {
    Ok(Json(site.0.accounts.log_ins(&caller).await?).into_response())
}

pub(super) async fn export(
    State(site): State<Site>,
    InSession(caller): InSession,
) -> Result<Response, Problem> {
    Ok(Json(site.0.accounts.export(&caller).await?).into_response())
}

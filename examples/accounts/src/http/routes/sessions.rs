//! Sessions.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::super::body::Body;
use super::super::fields::credentials;
use super::super::origin::Origin;
use super::super::problem::Problem;
use super::super::session::InSession;
use super::super::site::Site;
use crate::secrets::Password;

/// `{email, password}`.
pub(super) async fn begin(
    State(site): State<Site>,
    origin: Origin,
    Body(body): Body,
) -> Result<Response, Problem> {
    origin.admit(&site)?;
    let (email, password) = credentials(&body, Password::tried)?;
    let logged_in = site
        .0
        .accounts
        .log_in(&email, password, &origin.text())
        .await?;
    let begun = json!({
        "user": logged_in.user,
        "token": logged_in.token.reveal(),
        "until": logged_in.until.to_string(),
    });
    Ok((StatusCode::CREATED, Json(begun)).into_response())
}

pub(super) async fn show(
    State(site): State<Site>,
    InSession(caller): InSession,
) -> Result<Response, Problem> {
    let roles = site.0.accounts.roles_of(&caller.user).await?;
    Ok(Json(json!({ "user": caller.user, "roles": roles })).into_response())
}

pub(super) async fn end(
    State(site): State<Site>,
    InSession(caller): InSession,
) -> Result<StatusCode, Problem> {
    site.0.accounts.log_out(&caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

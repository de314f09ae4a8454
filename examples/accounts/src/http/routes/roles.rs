//! Roles.

use axum::extract::State;
use axum::http::StatusCode;

use super::super::named::Named;
use super::super::problem::Problem;
use super::super::session::InSession;
use super::super::site::Site;
use crate::events::Role;
use crate::ids::UserId;
use crate::operations::Caller;

pub(super) async fn grant(
    State(site): State<Site>,
    InSession(caller): InSession,
    Named(named): Named<(String, String)>,
) -> Result<StatusCode, Problem> {
    decide(&site, &caller, &named, true).await
}

pub(super) async fn revoke(
    State(site): State<Site>,
    InSession(caller): InSession,
    Named(named): Named<(String, String)>,
) -> Result<StatusCode, Problem> {
    decide(&site, &caller, &named, false).await
}

async fn decide(
    site: &Site,
    caller: &Caller,
    (user, role): &(String, String),
    is_granted: bool,
) -> Result<StatusCode, Problem> {
    let refused = |detail: String| Problem::new(StatusCode::NOT_FOUND, "not-found", detail);
    let user: UserId = user.parse().map_err(|error| refused(format!("{error}")))?;
    let role: Role = role.parse().map_err(|error| refused(format!("{error}")))?;
    let accounts = &site.0.accounts;
    accounts
        .grant(Some(caller), &user, role, is_granted)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

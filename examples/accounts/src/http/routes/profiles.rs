//! Profiles.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use ensue::Position;
use serde_json::{Value, json};

use super::super::form::Form;
use super::super::problem::Problem;
use super::super::session::InSession;
use super::super::site::{PAGE_MAX, POSITION_HEADER, REACH_WITHIN, Site};
use crate::domain::Profile;
use crate::ids::UserId;
use crate::operations::{Denied, OperationError};

/// `{name, about}`; the answer says where in the log it is.
pub(super) async fn publish(
    State(site): State<Site>,
    InSession(caller): InSession,
    body: Bytes,
) -> Result<Response, Problem> {
    let mut form = Form::parse(&body)?;
    let name = form.text_as("name", Profile::name);
    let about = form.text_as("about", Profile::about);
    let (name, about) = form.finish(name.zip(about))?;
    let position = site
        .0
        .accounts
        .publish(&caller, Profile { name, about })
        .await?;
    Ok(done_at(position))
}

pub(super) async fn unpublish(
    State(site): State<Site>,
    InSession(caller): InSession,
) -> Result<Response, Problem> {
    let position = site.0.accounts.unpublish(&caller, &caller.user).await?;
    Ok(done_at(position))
}

/// For moderators.
pub(super) async fn take_down(
    State(site): State<Site>,
    InSession(caller): InSession,
    Path(user): Path<String>,
) -> Result<Response, Problem> {
    let user = known(&user)?;
    Ok(done_at(site.0.accounts.unpublish(&caller, &user).await?))
}

fn done_at(position: Option<Position>) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(position) = position {
        let value = HeaderValue::from(position.get());
        response.headers_mut().insert(POSITION_HEADER, value);
    }
    response
}

pub(super) async fn show(
    State(site): State<Site>,
    Path(user): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let user = known(&user)?;
    reach(&site, &headers).await?;
    match site.0.profiles.of(&user).await? {
        Some(profile) => Ok(Json(shown(&user, &profile)).into_response()),
        None => Err(OperationError::Denied(Denied::NoProfile).into()),
    }
}

/// `?after=USER&limit=NUMBER`, both of them optional.
pub(super) async fn list(
    State(site): State<Site>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = query.unwrap_or_default();
    // Neither has a character that would have to be escaped.
    let parts: Vec<_> = query
        .split('&')
        .filter_map(|part| part.split_once('='))
        .collect();
    let part = |name: &str| {
        parts
            .iter()
            .find(|(it, _)| *it == name)
            .map(|(_, value)| *value)
    };
    let after = part("after").map(known).transpose()?;
    let limit = part("limit").and_then(|limit| limit.parse().ok());
    let limit = limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    reach(&site, &headers).await?;
    let profiles = site.0.profiles.page(after.as_ref(), limit).await?;
    let next = profiles.last().filter(|_| profiles.len() == limit);
    let next = next.map(|(user, _)| user.clone());
    let profiles: Vec<_> = profiles
        .iter()
        .map(|(user, profile)| shown(user, profile))
        .collect();
    Ok(Json(json!({ "profiles": profiles, "next": next })).into_response())
}

fn shown(user: &UserId, profile: &Profile) -> Value {
    json!({ "user": user, "name": profile.name, "about": profile.about })
}

/// Nobody has a name that is none.
fn known(user: &str) -> Result<UserId, Problem> {
    let user = user.parse();
    user.map_err(|_| OperationError::Denied(Denied::NoProfile).into())
}

/// Waits until the view has what the client has written, or read, before.
async fn reach(site: &Site, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(position) = headers.get(POSITION_HEADER) else {
        return Ok(());
    };
    let position = position.to_str().ok().and_then(|text| text.parse().ok());
    let position = position.ok_or_else(|| {
        let detail = "accounts-position is the number that an answer had in this header";
        Problem::new(StatusCode::BAD_REQUEST, "bad-position", detail)
    })?;
    if site
        .0
        .profiles
        .reach(Position::new(position), REACH_WITHIN)
        .await
    {
        return Ok(());
    }
    let detail = "the profiles are not there yet; try again";
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "behind", detail);
    Err(problem.later(REACH_WITHIN))
}

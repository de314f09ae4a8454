//! Profiles.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use ensue::Position;
use serde_json::{Value, json};

use super::super::body::Body;
use super::super::form::Form;
use super::super::named::Named;
use super::super::problem::{FieldError, Problem};
use super::super::session::InSession;
use super::super::site::{PAGE_MAX, POSITION_HEADER, REACH_WITHIN, Site};
use crate::domain::ShownProfile;
use crate::ids::UserId;
use crate::operations::{Denied, OperationError};

/// `{name, about}`; the answer says where in the log it is.
pub(super) async fn publish(
    State(site): State<Site>,
    InSession(caller): InSession,
    Body(body): Body,
) -> Result<Response, Problem> {
    let mut form = Form::parse(&body)?;
    let name = form.text_as("name", ShownProfile::name);
    let about = form.text_as("about", ShownProfile::about);
    let (name, about) = form.finish(name.zip(about))?;
    let position = site
        .0
        .accounts
        .publish(&caller, ShownProfile { name, about })
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
    Named(user): Named<String>,
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
    Named(user): Named<String>,
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
    let asked = Asked::parse(query.as_deref().unwrap_or_default())?;
    reach(&site, &headers).await?;
    let page = site.0.profiles.page(asked.after.as_ref(), asked.limit);
    let page = page.await?;
    let profiles = page.profiles.iter();
    let profiles: Vec<_> = profiles.map(|(user, it)| shown(user, it)).collect();
    Ok(Json(json!({ "profiles": profiles, "next": page.next })).into_response())
}

/// What a list is asked for.
struct Asked {
    after: Option<UserId>,
    limit: usize,
}

impl Asked {
    /// All that is wrong with it is said at once. No value has a character that would have to be escaped.
    fn parse(query: &str) -> Result<Self, Problem> {
        let mut asked = Self {
            after: None,
            limit: PAGE_MAX,
        };
        let (mut errors, mut seen) = (Vec::new(), Vec::new());
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let wrong = if seen.contains(&name) {
                Some("it is there twice".to_owned())
            } else if name == "after" {
                value
                    .parse()
                    .map(|user| asked.after = Some(user))
                    .err()
                    .map(|it| it.to_string())
            } else if name == "limit" {
                let limit = value.parse().ok().filter(|it| (1..=PAGE_MAX).contains(it));
                asked.limit = limit.unwrap_or(PAGE_MAX);
                let expected = || format!("expected is a number from 1 to {PAGE_MAX}");
                limit.is_none().then(expected)
            } else {
                Some("there is no such parameter: expected are `after` and `limit`".to_owned())
            };
            seen.push(name);
            errors.extend(wrong.map(|detail| FieldError::of_parameter(name, detail)));
        }
        if errors.is_empty() {
            return Ok(asked);
        }
        Err(Problem::invalid(errors))
    }
}

fn shown(user: &UserId, profile: &ShownProfile) -> Value {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_list_is_asked_for_is_read_or_refused() {
        let user = UserId::of_request("ada");
        let asked = Asked::parse(&format!("after={user}&limit=7")).ok().unwrap();
        assert_eq!((asked.after, asked.limit), (Some(user), 7));
        let asked = Asked::parse("").ok().unwrap();
        assert_eq!((asked.after, asked.limit), (None, PAGE_MAX));
        for query in [
            "limit=x",
            "limit=",
            "limit=0",
            "limit=101",
            "limit=-1",
            "limit",
            "after=",
            "after=ada",
            "before=x",
            "limit=1&limit=2",
            "Limit=1",
            "limit=1&x",
        ] {
            assert!(Asked::parse(query).is_err(), "{query}");
        }
    }
}

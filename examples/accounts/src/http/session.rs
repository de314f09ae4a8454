//! Who calls.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use super::problem::Problem;
use super::site::Site;
use crate::operations::{Caller, Denied, OperationError};
use crate::secrets::SessionToken;

/// The user in whose session a request is made; without one, it is refused.
pub(super) struct InSession(pub(super) Caller);

impl FromRequestParts<Site> for InSession {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        let shown = parts.headers.get(header::AUTHORIZATION);
        let shown = shown.and_then(|value| value.to_str().ok());
        let token = shown.and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            let is_bearer = scheme.eq_ignore_ascii_case("bearer");
            SessionToken::parse(token.trim()).filter(|_| is_bearer)
        });
        let token = token.ok_or(OperationError::Denied(Denied::NoSession))?;
        Ok(Self(site.0.accounts.caller(&token).await?))
    }
}

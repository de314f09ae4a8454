//! What the path of a request names.

use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use super::site::Site;

/// The parts of a path that are names; one that is no text is refused as everything else is.
pub(super) struct Named<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Site> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, site).await {
            Ok(Path(named)) => Ok(Self(named)),
            Err(_) => {
                let detail = "the path has a name that is not UTF-8 in %-escapes";
                Err(Problem::new(StatusCode::BAD_REQUEST, "malformed", detail))
            }
        }
    }
}

//! The body of a request.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;

use super::problem::Problem;
use super::site::{BODY_BYTES_MAX, Site};

/// A whole body; one that is too large, or does not come, is refused as everything else is.
pub(super) struct Body(pub(super) Bytes);

impl FromRequest<Site> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, site: &Site) -> Result<Self, Problem> {
        match Bytes::from_request(request, site).await {
            Ok(body) => Ok(Self(body)),
            Err(refused) if refused.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                let detail = format!("a body has at most {BODY_BYTES_MAX} bytes");
                Err(Problem::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "too-large",
                    detail,
                ))
            }
            Err(_) => {
                let detail = "the body of the request did not come to its end";
                Err(Problem::new(StatusCode::BAD_REQUEST, "malformed", detail))
            }
        }
    }
}

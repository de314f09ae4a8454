//! The body of a request as JSON.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use serde::de::DeserializeOwned;

use super::body;
use crate::context::Context;
use crate::problem::{Code, Problem};

/// Reads the body of a request as a `T`.
pub(super) async fn read<T: DeserializeOwned>(
    context: &Context,
    request: Request<Body>,
) -> Result<T, Problem> {
    let (parts, body) = request.into_parts();
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    let text = content_type
        .and_then(|it| it.to_str().ok())
        .unwrap_or_default();
    let media = text.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "the body has to be JSON: send the header `content-type: application/json`",
        ));
    }
    let whole = body::read(context, &parts.headers, body).await?;
    serde_json::from_slice(whole.bytes()).map_err(|error| {
        Problem::new(
            Code::InvalidBody,
            format!("the body cannot be read: {error}"),
        )
    })
}

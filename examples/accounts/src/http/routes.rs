//! The routes.

mod passwords;
mod profiles;
mod roles;
mod sessions;
mod users;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post, put};

use super::problem::Problem;
use super::site::{BODY_BYTES_MAX, Site};

/// All routes of a site.
pub fn router(site: Site) -> Router {
    Router::new()
        .route("/v1/registrations", post(users::register))
        .route("/v1/confirmations", post(users::confirm))
        .route("/v1/user", delete(users::forget))
        .route("/v1/user/log-ins", get(users::log_ins))
        .route("/v1/user/export", get(users::export))
        .route("/v1/sessions", post(sessions::begin))
        .route("/v1/session", get(sessions::show).delete(sessions::end))
        .route("/v1/password", put(passwords::change))
        .route(
            "/v1/password-resets",
            post(passwords::ask_reset).put(passwords::reset),
        )
        .route(
            "/v1/profile",
            put(profiles::publish).delete(profiles::unpublish),
        )
        .route("/v1/profiles", get(profiles::list))
        .route(
            "/v1/profiles/{user}",
            get(profiles::show).delete(profiles::take_down),
        )
        .route(
            "/v1/users/{user}/roles/{role}",
            put(roles::grant).delete(roles::revoke),
        )
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(axum::middleware::from_fn(keep_private))
        .with_state(site)
}

async fn not_found() -> Response {
    let detail = "there is no such resource; docs/accounts.md has all of them";
    Problem::new(StatusCode::NOT_FOUND, "not-found", detail).into_response()
}

async fn method_not_allowed() -> Response {
    let detail = "this resource has other methods; docs/accounts.md has all of them";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail).into_response()
}

/// Answers are for their caller alone, and nothing else than what they say they are.
async fn keep_private(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let hsts = HeaderValue::from_static("max-age=31536000");
    headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts);
    response
}

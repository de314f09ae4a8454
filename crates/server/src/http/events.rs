//! `/v1/events`: the log, as CloudEvents.

mod append;
mod binary;
mod form;
mod options;
mod receipt;

use axum::Router;
use axum::routing::post;

use super::route;
use crate::context::Context;

pub(super) fn routes(router: Router<Context>) -> Router<Context> {
    route::add(router, "/v1/events", post(append::append))
}

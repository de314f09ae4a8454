//! `/v1/events`: the log, as CloudEvents.

mod append;
mod batch;
mod binary;
mod form;
mod options;
mod receipt;

mod page;
mod stream;

mod filter;
mod scan;
mod selection;

use axum::Router;
use axum::routing::get;

use super::route;
use crate::context::Context;

pub(super) fn routes(router: Router<Context>) -> Router<Context> {
    let events = get(page::read).post(append::append);
    let router = route::add(router, "/v1/events", events);
    route::add(router, "/v1/events/stream", get(stream::follow))
}

//! `/v1/events`: the log, as CloudEvents.

mod append;
mod batch;
mod binary;
mod form;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
mod options;
mod receipt;
pub(super) mod single;

mod page;
mod stream;

mod selection;

pub(super) use self::append::read_single;
use super::route::{Routes, get, post};
use crate::security::{Access, Action};

pub(super) fn routes(routes: Routes) -> Routes {
    let read = Access::May(Action::Read);
    let publish = Access::May(Action::Publish);
    routes
        .add(
            "/v1/events",
            [get(read, page::read), post(publish, append::append)],
        )
        .add("/v1/events/stream", [get(read, stream::follow)])
}

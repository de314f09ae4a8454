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
mod unread;

mod page;
mod stream;

mod selection;

pub(super) use self::append::read_single;
pub(super) use self::unread::SingleEvent;
use super::route::{Routes, get, post};
use crate::openapi::{Tag, about};
use crate::problem::Code;
use crate::security::{Access, Action};

const TAG: Tag = Tag {
    name: "events",
    what: "The log: appending to it, reading it, and following it.",
};

/// Where events are followed.
pub(super) const STREAM: &str = "/v1/events/stream";

/// What may be wrong with a place or a filter.
const SELECTING: &[Code] = &[
    Code::InvalidFilter,
    Code::InTheFuture,
    Code::BeyondEnd,
    Code::Trimmed,
];

pub(super) fn routes(routes: Routes) -> Routes {
    let read = Access::May(Action::Read);
    let publish = Access::May(Action::Publish);
    let appends = about(
        "appendEvents",
        "Appends one event or a batch: now, later, or on a condition",
    )
    .refuses(&[
        Code::InvalidEvent,
        Code::Conflict,
        Code::VersionRemoved,
        Code::Unsupported,
    ]);
    let reads = about("readEvents", "Reads a page of events").refuses(SELECTING);
    let follows =
        about("followEvents", "Follows events as they come, and resumes").refuses(SELECTING);
    routes
        .tag(TAG)
        .add(
            "/v1/events",
            [
                get(read, reads, page::read),
                post(publish, appends, append::append),
            ],
        )
        .add(STREAM, [get(read, follows, stream::follow)])
}

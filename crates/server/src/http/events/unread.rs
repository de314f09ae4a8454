//! Requests that are events in one of the modes of CloudEvents, and not read yet.

use std::convert::Infallible;

use axum::extract::{FromRequest, Request};
use ensue::{CloudEvent, CloudEventBatch};
use serde_json::json;

use crate::openapi::{BODY, Input, Kind, NewEvent, Operation, Parameter, Place};
use crate::problem::Code;

/// What the binary mode has in headers; extensions are there the same way.
const ATTRIBUTES: [(&str, &str); 7] = [
    ("ce-specversion", "In the binary mode: `1.0`."),
    ("ce-id", "In the binary mode: the event's `id`."),
    ("ce-source", "In the binary mode: its `source`."),
    ("ce-type", "In the binary mode: its `type`."),
    (
        "ce-topic",
        "In the binary mode: its `topic`, if not in the query.",
    ),
    ("ce-subject", "In the binary mode: its `subject`, the key."),
    (
        "ce-time",
        "In the binary mode: its `time`. Other attributes are headers of this kind, too.",
    ),
];
const TRACE: [(&str, &str); 2] = [
    (
        "traceparent",
        "The trace of the request (W3C Trace Context), which its events join.",
    ),
    ("tracestate", "What goes with `traceparent`."),
];

/// One event or several.
#[derive(Debug)]
pub(super) struct Events(pub(super) Request);

/// One event.
#[derive(Debug)]
pub(in crate::http) struct SingleEvent(pub(super) Request);

impl<S: Sync> FromRequest<S> for Events {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        Ok(Self(request))
    }
}

impl<S: Sync> FromRequest<S> for SingleEvent {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        Ok(Self(request))
    }
}

impl Input for Events {
    fn describe(operation: &mut Operation) {
        SingleEvent::describe(operation);
        let batch = operation.read::<Vec<NewEvent>>();
        operation.body(CloudEventBatch::CONTENT_TYPE, batch);
        operation.refuses(&[Code::BatchTooLarge]);
    }
}

impl Input for SingleEvent {
    fn describe(operation: &mut Operation) {
        let event = operation.read::<NewEvent>();
        operation.body(CloudEvent::CONTENT_TYPE, event);
        let payload = json!({ "description": "In the binary mode, with the attributes in headers: the payload." });
        operation.body("*/*", payload);
        for (name, what) in ATTRIBUTES.into_iter().chain(TRACE) {
            operation.takes(Place::Header, &Parameter::new(name, Kind::Text, what));
        }
        operation.refuses(BODY);
        operation.refuses(&[Code::InvalidEvent, Code::InvalidHeader]);
    }
}

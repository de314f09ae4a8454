//! One event of a request, in the structured or the binary mode.

use axum::http::HeaderMap;
use ensue::{Envelope, InvalidEvent};

use super::binary;
use super::form::Form;
use crate::problem::{Code, Problem};

/// The event of a request of this form, which is not a batch. `topic` is that of an event that names
/// none.
pub(super) fn of_form(
    form: Form,
    headers: &HeaderMap,
    body: Vec<u8>,
    topic: Option<&str>,
) -> Result<Result<Envelope, InvalidEvent>, Problem> {
    match form {
        Form::Binary => binary::read(headers, body, topic),
        Form::Structured => Ok(Envelope::from_cloudevent(&body, topic)),
        Form::Batch => Err(Problem::new(
            Code::UnsupportedMediaType,
            "batches are not taken here; send the events one by one",
        )),
    }
}

/// The event of a request.
pub(in crate::http) fn read(
    headers: &HeaderMap,
    body: Vec<u8>,
    topic: &str,
) -> Result<Envelope, Problem> {
    let form = Form::of(headers)?;
    Ok(of_form(form, headers, body, Some(topic))??)
}

//! Errors, both ways: what the server's engine reports is what the remote engine reports.
//!
//! A status has a code of gRPC for programs that know no more, and an [`ErrorDetail`] with a name that stays
//! and the values that the error was made of.

mod read;
mod written;

use ensue_core::Error;
use ensue_core::error::{EngineError, OpenError, RequestError};
use prost::Message as _;
use tonic::{Code, Status};

use self::written::Written;
use crate::v1::ErrorDetail;

/// How much of a message is sent: it travels in the head of an answer.
const MESSAGE_CHARS_MAX: usize = 1_000;
const TYPE_URL: &str = "type.googleapis.com/ensue.v1.ErrorDetail";

/// `google.rpc.Status`, as which the detail of a status is written.
#[derive(Clone, PartialEq, prost::Message)]
struct RichStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// What is said of `error` within a stream.
pub fn detail_of(error: &Error) -> ErrorDetail {
    Written::of(error).detail
}

/// The status that tells of `error`.
pub fn status_of(error: &Error) -> Status {
    let Written { code, detail } = Written::of(error);
    status_with(code, detail)
}

/// A status with this detail.
pub fn status_with(code: Code, mut detail: ErrorDetail) -> Status {
    if let Some((cut, _)) = detail.message.char_indices().nth(MESSAGE_CHARS_MAX) {
        detail.message.truncate(cut);
        detail.message.push('…');
    }
    let message = detail.message.clone();
    let any = prost_types::Any {
        type_url: TYPE_URL.to_owned(),
        value: detail.encode_to_vec(),
    };
    let rich = RichStatus {
        code: code.into(),
        message: message.clone(),
        details: vec![any],
    };
    Status::with_details(code, message, rich.encode_to_vec().into())
}

/// The error that a detail tells of; `server` names who said it.
pub fn error_of(detail: &ErrorDetail, server: &str) -> Error {
    read::error(detail).unwrap_or_else(|| of_server(detail, server))
}

/// What the server itself says, not its engine.
fn of_server(detail: &ErrorDetail, server: &str) -> Error {
    let (server, message) = (server.to_owned(), detail.message.clone());
    match detail.code.as_str() {
        // Nothing that is asked for will do.
        "unauthenticated" => Error::Open(OpenError::Unfit {
            server,
            reason: message,
            advice:
                "give a token that it knows: the option `token_file`, or the variable ENSUE_TOKEN"
                    .to_owned(),
        }),
        // Something else may.
        "forbidden" | "reason_required" => Error::Request(RequestError::Failed(message)),
        "overloaded" | "rate_limited" | "timeout" => Error::Engine(EngineError::Unavailable {
            server,
            reason: message,
        }),
        // A newer server may know more.
        code => Error::Engine(EngineError::Io {
            what: format!("the server at `{server}` refused"),
            reason: std::io::Error::other(format!("{message} ({code})")),
        }),
    }
}

/// The detail of a status, if it has one.
pub fn detail_of_status(status: &Status) -> Option<ErrorDetail> {
    let rich = RichStatus::decode(status.details()).unwrap_or_default();
    let any = rich.details.iter().find(|any| any.type_url == TYPE_URL)?;
    ErrorDetail::decode(&*any.value).ok()
}

/// The error that a status tells of; `server` names who said it.
pub fn error_of_status(status: &Status, server: &str) -> Error {
    if let Some(detail) = detail_of_status(status) {
        return error_of(&detail, server);
    }
    let reason = format!("{} ({:?})", status.message(), status.code());
    match status.code() {
        // What is between us and the server says no more.
        Code::Unavailable
        | Code::Unknown
        | Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Internal => Error::Engine(EngineError::Unavailable {
            server: server.to_owned(),
            reason,
        }),
        _ => Error::Engine(EngineError::Io {
            what: format!("the server at `{server}` refused"),
            reason: std::io::Error::other(reason),
        }),
    }
}

#[cfg(test)]
mod tests;

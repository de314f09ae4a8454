//! The engine's errors as problems.

use ensue::Error;
use ensue::error::{AppendError, EngineError, GroupError, ReadError, RequestError, with_causes};
use serde_json::json;

use super::{Code, Problem};

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let problem = Self::new(code(&error), with_causes(&error));
        match error {
            Error::Append(AppendError::Conflict {
                topic,
                key,
                expected,
                found,
            }) => {
                let text = |position: Option<ensue::Position>| position.map(|it| it.to_string());
                problem
                    .with("topic", json!(topic))
                    .with("key", json!(key))
                    .with("expected", json!(text(expected)))
                    .with("found", json!(text(found)))
            }
            Error::Read(ReadError::Trimmed { first, .. }) => {
                problem.with("first", json!(first.to_string()))
            }
            Error::Read(ReadError::BeyondEnd { end, .. }) => {
                problem.with("end", json!(end.to_string()))
            }
            Error::Group(GroupError::StateUndecided { cells, again, .. }) => problem
                .with("cells", json!(cells))
                .with("again", json!(again)),
            Error::Request(RequestError::Failed(reason)) => problem.with("reason", json!(reason)),
            Error::Limit(error) => problem
                .with("limit", json!(error.limit))
                .with("max", json!(error.max)),
            _ => problem,
        }
    }
}

impl From<ensue::InvalidEvent> for Problem {
    fn from(error: ensue::InvalidEvent) -> Self {
        Self::new(Code::InvalidEvent, error.to_string())
    }
}

fn code(error: &Error) -> Code {
    match error {
        Error::Append(AppendError::Invalid(_)) => Code::InvalidEvent,
        Error::Append(AppendError::Conflict { .. }) => Code::Conflict,
        Error::Append(AppendError::VersionRemoved { .. }) => Code::VersionRemoved,
        Error::Read(ReadError::Topic(_)) => Code::InvalidParameter,
        Error::Read(ReadError::Trimmed { .. }) => Code::Trimmed,
        Error::Read(ReadError::BeyondEnd { .. }) => Code::BeyondEnd,
        Error::Read(ReadError::InTheFuture { .. }) => Code::InTheFuture,
        Error::Group(error) => code_of_group(error),
        Error::Limit(_) => Code::Limit,
        Error::Engine(error) => code_of_engine(error),
        Error::Request(error) => code_of_request(error),
        Error::Append(_) | Error::Read(_) => Code::Refused,
        _ => Code::Internal,
    }
}

fn code_of_group(error: &GroupError) -> Code {
    match error {
        GroupError::Unknown { .. } | GroupError::Deleted { .. } => Code::UnknownGroup,
        GroupError::Fenced { .. } => Code::Fenced,
        GroupError::HasMembers { .. } => Code::HasMembers,
        GroupError::NotHandled { .. } => Code::NotHandled,
        GroupError::StateUndecided { .. } => Code::UndecidedState,
        _ => Code::Refused,
    }
}

fn code_of_request(error: &RequestError) -> Code {
    match error {
        RequestError::Deadline { .. } => Code::NoReply,
        RequestError::Failed(_) => Code::RequestFailed,
        RequestError::NotARequest { .. } => Code::NotARequest,
        _ => Code::Refused,
    }
}

fn code_of_engine(error: &EngineError) -> Code {
    match error {
        EngineError::Closed => Code::Closed,
        EngineError::Stopped(_) => Code::Stopped,
        EngineError::Unavailable { .. } => Code::Unavailable,
        EngineError::Corrupt(_) => Code::Corrupt,
        EngineError::OwnershipLost { .. } => Code::OwnershipLost,
        EngineError::ReadOnly { .. } => Code::ReadOnly,
        EngineError::DiskFull(_) => Code::DiskFull,
        EngineError::Overtaken { .. } => Code::Overtaken,
        EngineError::Threads { .. } => Code::Overloaded,
        EngineError::Io { .. } => Code::Io,
        _ => Code::Internal,
    }
}

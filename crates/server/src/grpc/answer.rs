//! What a refused call is answered.

use std::collections::HashMap;

use ensue::Error;
use ensue_proto::v1::ErrorDetail;
use ensue_proto::{Malformed, detail_of, status_of, status_with};
use tonic::{Code, Status};

use crate::context::Context;
use crate::problem::{self, Problem};

/// What the engine answers, if it does in time.
pub(super) async fn within<T>(
    context: &Context,
    answer: impl Future<Output = ensue::Result<T>>,
) -> Result<T, Status> {
    let answer = context.in_time(answer).await;
    let answer = answer.map_err(|refused| problem(&refused))?;
    answer.map_err(|error| engine(&error))
}

/// The status of what the engine refuses.
pub(super) fn engine(error: &Error) -> Status {
    let status = status_of(error);
    if matches!(status.code(), Code::Internal | Code::DataLoss) {
        tracing::warn!(%error, "call failed");
    }
    status
}

/// The status of a message that means nothing.
pub(super) fn malformed(error: Malformed) -> Status {
    match error {
        Malformed::Event(error) => status_of(&error.into()),
        error => status_with(Code::InvalidArgument, malformed_detail(&error)),
    }
}

/// The same within a stream.
pub(super) fn detail_of_malformed(error: Malformed) -> ErrorDetail {
    match error {
        Malformed::Event(error) => detail_of(&error.into()),
        error => malformed_detail(&error),
    }
}

fn malformed_detail(error: &Malformed) -> ErrorDetail {
    ErrorDetail {
        code: problem::Code::InvalidParameter.as_str().to_owned(),
        message: error.to_string(),
        in_doubt: false,
        fields: HashMap::new(),
    }
}

/// The status of what the server itself refuses.
pub(super) fn problem(problem: &Problem) -> Status {
    let code = match problem.code().status() {
        400 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        409 => Code::Aborted,
        413 | 429 => Code::ResourceExhausted,
        501 => Code::Unimplemented,
        503 => Code::Unavailable,
        408 | 504 => Code::DeadlineExceeded,
        status if status < 500 => Code::FailedPrecondition,
        _ => Code::Internal,
    };
    status_with(code, problem_detail(problem))
}

/// The same within a stream.
pub(super) fn problem_detail(problem: &Problem) -> ErrorDetail {
    ErrorDetail {
        code: problem.code().as_str().to_owned(),
        message: problem.detail().to_owned(),
        in_doubt: problem.code().is_in_doubt(),
        fields: HashMap::new(),
    }
}

/// The server holds as much of what clients sent as it may.
pub(super) fn no_room() -> Problem {
    Problem::new(
        problem::Code::Overloaded,
        "the requests under way are as large as they may be together, the limit `bodies_bytes_max`; try \
         again in a moment",
    )
}

/// There are as many streams as there may be.
pub(super) fn no_stream(context: &Context) -> Status {
    let streams_max = context.limits().streams_max;
    problem(&Problem::new(
        problem::Code::Overloaded,
        format!("there are {streams_max} streams, the limit `streams_max`; close one"),
    ))
}

/// Callers may do something else than they might.
pub(super) fn changed() -> Status {
    problem(&Problem::new(
        problem::Code::Overloaded,
        "the permissions of the server have changed; ask again, and read on where this ends",
    ))
}

/// The server stops.
pub(super) fn stopping() -> Status {
    problem(&Problem::new(
        problem::Code::Overloaded,
        "the server is stopping; connect again when it is back",
    ))
}

//! What operators do, and that it is written to the audit trail: before it happens, and how it ended.

use axum::http::HeaderMap;
use percent_encoding::percent_decode;
use serde::Serialize;
use serde_json::json;

use crate::context::Context;
use crate::problem::{Code, Problem};
use crate::security::{Caller, Operation, Reason};

/// The header with which operators say why, percent-encoded.
const REASON: &str = "ensue-reason";

/// Whether something cannot be had back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    Nothing,
    /// The audit trail has to say why.
    Something,
}

/// Does `work`, with an entry before it and one after it, if there is an audit trail. The outcome is in
/// the second, so it must not hold what others may not read.
pub(super) async fn audited<T: Serialize>(
    context: &Context,
    caller: &Caller,
    mut operation: Operation,
    (headers, loss): (&HeaderMap, Loss),
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    operation.reason = reason(headers)?;
    let Some(trail) = context.trail() else {
        return work.await;
    };
    if operation.reason.is_none() && loss == Loss::Something {
        return Err(Problem::new(
            Code::ReasonRequired,
            "this cannot be taken back, and the audit trail has to say why it was done: send the header \
             `Ensue-Reason` with a few words",
        ));
    }
    let engine = context.engine();
    let timeout = context.limits().request_timeout;
    let begun = tokio::time::timeout(timeout, trail.begin(engine, caller, operation)).await;
    let begun = begun.map_err(|_| {
        let detail = format!(
            "the engine did not take the entry of the audit trail within {timeout:?}, the limit \
             `request_timeout`; nothing was done, try again"
        );
        Problem::new(Code::Timeout, detail)
    })??;
    let done = work.await;
    let outcome = match &done {
        Ok(outcome) => Ok(json!(outcome)),
        Err(problem) => Err(problem.code()),
    };
    trail.end(engine, begun, outcome).await;
    done
}

fn reason(headers: &HeaderMap) -> Result<Option<Reason>, Problem> {
    let Some(value) = headers.get(REASON) else {
        return Ok(None);
    };
    let text = percent_decode(value.as_bytes()).decode_utf8();
    let reason = text.ok().and_then(|text| Reason::new(&text));
    reason.map(Some).ok_or_else(|| {
        Problem::new(
            Code::InvalidHeader,
            "the header `Ensue-Reason` is not a reason: expected up to 1000 bytes of text, percent-encoded \
             where it is not ASCII",
        )
    })
}

//! What operators do by gRPC, in the audit trail: before it happens, and how it ended.

use ensue_proto::detail_of_status;
use percent_encoding::percent_decode;
use serde_json::Value;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::answer;
use crate::context::Context;
use crate::problem::{Code, Problem};
use crate::security::{Caller, Operation, Reason};

/// The metadata with which operators say why, percent-encoded.
const REASON: &str = "ensue-reason";

/// Does `work`, with an entry before it and one after it, if there is an audit trail. What cannot be taken
/// back needs a reason.
pub(super) async fn audited<T>(
    context: &Context,
    (caller, metadata): (&Caller, &MetadataMap),
    mut operation: Operation,
    is_loss: bool,
    work: impl Future<Output = Result<T, Status>>,
    outcome: impl Fn(&T) -> Value,
) -> Result<T, Status> {
    operation.reason = reason(metadata)?;
    let Some(trail) = context.trail() else {
        return work.await;
    };
    if operation.reason.is_none() && is_loss {
        return Err(answer::problem(&Problem::new(
            Code::ReasonRequired,
            "this cannot be taken back, and the audit trail has to say why it was done: send the metadata \
             `ensue-reason` with a few words",
        )));
    }
    let engine = context.engine();
    let begun = trail.begin(engine, caller, operation).await;
    let begun = begun.map_err(|problem| answer::problem(&problem))?;
    let done = work.await;
    let said = match &done {
        Ok(done) => Ok(outcome(done)),
        Err(status) => Err(code(status)),
    };
    trail.end(engine, begun, said).await;
    done
}

fn reason(metadata: &MetadataMap) -> Result<Option<Reason>, Status> {
    let Some(value) = metadata.get(REASON) else {
        return Ok(None);
    };
    let text = percent_decode(value.as_bytes()).decode_utf8();
    let reason = text.ok().and_then(|text| Reason::new(&text));
    reason.map(Some).ok_or_else(|| {
        answer::problem(&Problem::new(
            Code::InvalidHeader,
            "the metadata `ensue-reason` is not a reason: expected up to 1000 bytes of text, \
             percent-encoded where it is not ASCII",
        ))
    })
}

fn code(status: &Status) -> Code {
    let detail = detail_of_status(status).unwrap_or_default();
    let mut codes = Code::ALL.iter().copied();
    codes
        .find(|code| code.as_str() == detail.code)
        .unwrap_or(Code::Refused)
}

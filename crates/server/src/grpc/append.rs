//! `Append`: events of a client, all or none.

use ensue::engine::Append;
use ensue_proto::v1;
use prost::Message as _;
use tonic::Status;

use super::answer::{malformed, no_room, problem, within};
use super::claim;
use super::idempotency::Call;
use crate::context::Context;
use crate::memory::Held;
use crate::security::Caller;
use crate::trace::RequestTrace;

/// Gives the events ids that have none, so that they are duplicates when the call comes again: also
/// after its answer is forgotten.
pub(super) fn name_events(call: &Call, request: &mut v1::AppendRequest) {
    let id = call.id();
    let events = request.batch.iter_mut().enumerate();
    for (index, append) in events {
        if let Some(event) = append.event.as_mut().filter(|event| event.id.is_empty()) {
            event.id = format!("{id}-{index}");
        }
    }
}

pub(super) async fn append(
    context: Context,
    (caller, trace): (Caller, RequestTrace),
    request: v1::AppendRequest,
) -> Result<v1::AppendResponse, Status> {
    let mut held = Held::default();
    if !context.bodies().hold(&mut held, request.encoded_len()) {
        return Err(problem(&no_room()));
    }
    let batch = request.batch.into_iter().map(claim::append);
    let mut batch = batch
        .collect::<Result<Vec<Append>, _>>()
        .map_err(malformed)?;
    for append in &mut batch {
        let event = &append.envelope;
        let allowed = caller.must_publish(event.topic(), event.source());
        allowed.map_err(|refused| problem(&refused))?;
        append.envelope = trace.trace(append.envelope.clone());
    }
    let appending = context.engine().shared().append(batch);
    let appended = within(&context, appending).await?;
    context.counters().appended(&appended);
    let receipts = appended.into_iter();
    Ok(v1::AppendResponse {
        receipts: receipts.map(v1::Receipt::from).collect(),
    })
}

//! `Ask`: a question, and its reply.

use std::time::Duration;

use ensue::engine::Append;
use ensue_core::topic::is_reserved;
use ensue_proto::{Malformed, v1};
use tonic::Status;

use super::answer::{malformed, problem};
use crate::asking;
use crate::context::Context;
use crate::problem::{Code, Problem};
use crate::security::Caller;
use crate::trace::RequestTrace;

pub(super) async fn ask(
    context: &Context,
    (caller, trace): (&Caller, &RequestTrace),
    request: v1::AskRequest,
) -> Result<v1::AskResponse, Status> {
    let refused = |refused| problem(&refused);
    let asked = request.deadline_ms.map(Duration::from_millis);
    let deadline = asking::deadline(context, asked);
    let deadline = deadline.map_err(|wrong| {
        let detail = format!("`deadline_ms` {wrong}");
        problem(&Problem::new(Code::InvalidParameter, detail))
    })?;
    let question = v1::Append {
        event: Some(
            request
                .event
                .ok_or_else(|| malformed(Malformed::missing("event")))?,
        ),
        ..v1::Append::default()
    };
    let question = Append::try_from(question).map_err(malformed)?.envelope;
    if is_reserved(question.topic()) {
        let topic = question.topic().to_owned();
        let reserved = ensue::InvalidEvent::ReservedTopic(topic);
        return Err(malformed(reserved.into()));
    }
    let allowed = caller.must_publish(question.topic(), question.source());
    allowed.map_err(refused)?;
    let reply = asking::ask(context, caller, trace.trace(question), deadline);
    let replied = reply.await.map_err(refused)?;
    Ok(v1::AskResponse {
        reply: Some((&replied.reply).into()),
    })
}

//! What operators do: to its end, also when their client hangs up, and in the audit trail.

use axum::http::HeaderMap;
use ensue::engine::SharedEngine;
use ensue_proto::{detail_of_status, v1};
use serde_json::{Value, json};
use tonic::{Request, Status};

use super::answer::{malformed, problem, within};
use super::permit;
use crate::context::Context;
use crate::problem::Code;
use crate::security::{Action, Caller, Loss, Operation};

/// Who does something, and what came with the call.
pub(super) struct Operator {
    context: Context,
    caller: Caller,
    headers: HeaderMap,
}

impl Operator {
    pub(super) fn of<T>(context: &Context, request: &Request<T>) -> Result<Self, Status> {
        Ok(Self {
            context: context.clone(),
            caller: permit::caller(request)?,
            headers: request.metadata().as_ref().clone(),
        })
    }

    fn engine(&self) -> &SharedEngine {
        self.context.engine().shared()
    }

    async fn must_operate(&self, group: &str) -> Result<(), Status> {
        permit::must_operate(&self.context, &self.caller, group).await
    }

    /// Does `work`, with an entry before it and one after it, if there is an audit trail.
    async fn audited<T>(
        &self,
        operation: Operation,
        loss: Loss,
        work: impl Future<Output = ensue::Result<T>>,
        outcome: impl Fn(&T) -> Value,
    ) -> Result<T, Status> {
        let operating = self.context.operating();
        let begun = operating.begin(&self.caller, operation, (&self.headers, loss));
        let begun = begun.await.map_err(|refused| problem(&refused))?;
        let done = within(&self.context, work).await;
        let said = done.as_ref().map(outcome).map_err(code);
        operating.end(begun, said).await;
        done
    }
}

fn code(status: &Status) -> Code {
    let detail = detail_of_status(status).unwrap_or_default();
    let mut codes = Code::ALL.iter().copied();
    let code = codes.find(|code| code.as_str() == detail.code);
    code.unwrap_or(Code::Refused)
}

fn count(count: usize) -> u64 {
    count as u64
}

pub(super) async fn cancel(
    operator: Operator,
    asked: v1::CancelRequest,
) -> Result<v1::CancelResponse, Status> {
    // An event may be of any topic.
    permit::must_cover(&operator.caller, Action::Operate, &[])?;
    let names: Vec<ensue::EventId> = asked.names.into_iter().map(Into::into).collect();
    let operation = Operation::new("schedule.cancel", json!({ "names": names }));
    let work = operator.engine().cancel(names);
    let outcome = |cancelled: &usize| json!({ "cancelled": cancelled });
    let cancelled = operator.audited(operation, Loss::Something, work, outcome);
    Ok(v1::CancelResponse {
        cancelled: count(cancelled.await?),
    })
}

pub(super) async fn redrive(
    operator: Operator,
    asked: v1::RedriveRequest,
) -> Result<v1::RedriveResponse, Status> {
    operator.must_operate(&asked.group).await?;
    let target = json!({ "group": asked.group, "selection": selection(asked.filter.as_ref()) });
    let operation = Operation::new("dead_letters.redrive", target);
    let filter = ensue_proto::filter(asked.filter);
    let work = operator.engine().redrive(&asked.group, filter);
    let outcome = |count: &usize| json!({ "count": count });
    let redriven = operator.audited(operation, Loss::Nothing, work, outcome);
    Ok(v1::RedriveResponse {
        redriven: count(redriven.await?),
    })
}

pub(super) async fn discard(
    operator: Operator,
    asked: v1::DiscardRequest,
) -> Result<v1::DiscardResponse, Status> {
    operator.must_operate(&asked.group).await?;
    let target = json!({ "group": asked.group, "selection": selection(asked.filter.as_ref()) });
    let operation = Operation::new("dead_letters.discard", target);
    let filter = ensue_proto::filter(asked.filter);
    let work = operator.engine().discard(&asked.group, filter);
    let outcome = |count: &usize| json!({ "count": count });
    let discarded = operator.audited(operation, Loss::Something, work, outcome);
    Ok(v1::DiscardResponse {
        discarded: count(discarded.await?),
    })
}

pub(super) async fn reset_group(
    operator: Operator,
    asked: v1::ResetGroupRequest,
) -> Result<v1::ResetGroupResponse, Status> {
    operator.must_operate(&asked.group).await?;
    let reset = ensue_proto::reset(asked.reset).map_err(malformed)?;
    let how = json!({
        "group": asked.group, "to": reset.to, "effects": reset.effects, "state": reset.state,
    });
    let operation = Operation::new("group.reset", how);
    let work = operator.engine().reset(&asked.group, reset);
    let plan = operator.audited(operation, Loss::Something, work, |plan| json!(plan));
    let plan = Some((&plan.await?).into());
    Ok(v1::ResetGroupResponse { plan })
}

pub(super) async fn delete_group(
    operator: Operator,
    asked: v1::DeleteGroupRequest,
) -> Result<v1::DeleteGroupResponse, Status> {
    let group = asked.group;
    operator.must_operate(&group).await?;
    let operation = Operation::new("group.delete", json!({ "group": group }));
    let work = operator.engine().delete_group(&group);
    let outcome = |(): &()| json!({ "deleted": group });
    let deleted = operator.audited(operation, Loss::Something, work, outcome);
    deleted.await?;
    Ok(v1::DeleteGroupResponse {})
}

/// Which dead letters are meant, for the audit trail: names, and nothing of what they hold.
fn selection(filter: Option<&v1::DeadLetterFilter>) -> Value {
    let Some(filter) = filter else {
        return json!({});
    };
    json!({
        "positions": filter.positions, "ids": filter.ids, "source": filter.source,
        "types": filter.types, "key": filter.key, "reason": filter.reason,
        "since_us": filter.since_us, "limit": filter.limit,
    })
}

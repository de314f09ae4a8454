//! The calls, each as short as what it does.

use std::sync::Arc;

use axum::body::Bytes;
use ensue::engine::{Append, DeadLetter, SharedEngine};
use ensue_proto::v1;
use ensue_proto::v1::engine_service_server::EngineService;
use prost::Message as _;
use serde_json::{Value, json};
use tonic::{Request, Response, Status, Streaming};

use super::answer::{malformed, no_room, problem, stopping, within};
use super::audit::audited;
use super::claim;
use super::join::{self, Responses};
use super::lists::{self, Pieces};
use super::permit;
use super::read;
use super::sessions::Sessions;
use crate::context::Context;
use crate::memory::Held;
use crate::security::{Action, Operation};
use crate::trace::RequestTrace;

/// What calls are answered with.
#[derive(Debug)]
pub(crate) struct Calls {
    context: Context,
    sessions: Arc<Sessions>,
}

impl Calls {
    pub(super) fn new(context: Context) -> Self {
        Self {
            context,
            sessions: Arc::default(),
        }
    }

    fn engine(&self) -> &SharedEngine {
        self.context.engine().shared()
    }
}

fn count(count: usize) -> u64 {
    count as u64
}

#[tonic::async_trait]
impl EngineService for Calls {
    async fn get_info(
        &self,
        _request: Request<v1::GetInfoRequest>,
    ) -> Result<Response<v1::GetInfoResponse>, Status> {
        let engine = self.engine();
        Ok(Response::new(v1::GetInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            guarantees: Some(engine.guarantees().into()),
            now_us: engine.clock().now().as_micros(),
        }))
    }

    async fn append(
        &self,
        request: Request<v1::AppendRequest>,
    ) -> Result<Response<v1::AppendResponse>, Status> {
        let caller = permit::caller(&request)?;
        let trace = RequestTrace::of(request.extensions());
        let request = request.into_inner();
        let mut held = Held::default();
        if !self.context.bodies().hold(&mut held, request.encoded_len()) {
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
        let appended = within(&self.context, self.engine().append(batch)).await?;
        let counters = self.context.counters();
        let receipts = appended.into_iter();
        let receipts = receipts.inspect(|it| counters.appended(it.is_duplicate));
        Ok(Response::new(v1::AppendResponse {
            receipts: receipts.map(v1::Receipt::from).collect(),
        }))
    }

    type ReadStream = read::Responses;

    async fn read(
        &self,
        request: Request<v1::ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let caller = permit::caller(&request)?;
        let responses = read::begin(self.context.clone(), caller, request.into_inner()).await?;
        Ok(Response::new(responses))
    }

    async fn wait(
        &self,
        request: Request<v1::WaitRequest>,
    ) -> Result<Response<v1::WaitResponse>, Status> {
        let cursor = request.get_ref().cursor.parse();
        let cursor = cursor.map_err(|error: ensue::InvalidCursor| malformed(error.into()))?;
        let _slots = permit::stream(&self.context, &permit::caller(&request)?)?;
        tokio::select! {
            waited = self.engine().wait(cursor) => {
                waited.map_err(|error| super::answer::engine(&error))?;
            }
            () = self.context.drained() => return Err(stopping()),
        }
        Ok(Response::new(v1::WaitResponse {}))
    }

    type JoinStream = Responses;

    async fn join(
        &self,
        request: Request<Streaming<v1::JoinRequest>>,
    ) -> Result<Response<Responses>, Status> {
        let caller = permit::caller(&request)?;
        let requests = request.into_inner();
        let responses = join::begin(&self.context, caller, &self.sessions, requests).await?;
        Ok(Response::new(responses))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        let (caller, metadata) = (permit::caller(&request)?, request.metadata().clone());
        // An event may be of any topic.
        permit::must_cover(&caller, Action::Operate, &[])?;
        let names: Vec<ensue::EventId> = request
            .into_inner()
            .names
            .into_iter()
            .map(Into::into)
            .collect();
        let operation = Operation::new("schedule.cancel", json!({ "names": names }));
        let work = within(&self.context, self.engine().cancel(names));
        let by = (&caller, &metadata);
        let cancelled = audited(
            &self.context,
            by,
            operation,
            true,
            work,
            |it| json!({ "cancelled": it }),
        );
        let cancelled = cancelled.await?;
        Ok(Response::new(v1::CancelResponse {
            cancelled: count(cancelled),
        }))
    }

    type ListScheduledStream = Pieces<v1::ListScheduledResponse>;

    async fn list_scheduled(
        &self,
        request: Request<v1::ListScheduledRequest>,
    ) -> Result<Response<Self::ListScheduledStream>, Status> {
        let caller = permit::caller(&request)?;
        let limit = usize::try_from(request.get_ref().limit).unwrap_or(usize::MAX);
        let _turn = self.context.turn_to_list().await;
        let mut scheduled = within(&self.context, self.engine().scheduled(limit)).await?;
        scheduled.retain(|waiting| permit::sees(&caller, waiting));
        for event in scheduled
            .iter_mut()
            .filter_map(|it| it.envelope.as_mut().ok())
        {
            permit::disclose(&caller, event)?;
        }
        let size =
            |it: &ensue::engine::Scheduled| it.envelope.as_ref().map_or(0, |it| it.content().len());
        let responses = lists::send(scheduled, size, |piece| v1::ListScheduledResponse {
            scheduled: piece.iter().map(Into::into).collect(),
        });
        Ok(Response::new(responses))
    }

    async fn get_state(
        &self,
        request: Request<v1::GetStateRequest>,
    ) -> Result<Response<v1::GetStateResponse>, Status> {
        permit::must(
            &permit::caller(&request)?,
            Action::Read,
            &request.get_ref().topic,
        )?;
        let v1::GetStateRequest {
            group,
            topic,
            key,
            name,
        } = request.into_inner();
        let value = self.engine().state(&group, &topic, &key, &name);
        let value = within(&self.context, value).await?;
        Ok(Response::new(v1::GetStateResponse { value }))
    }

    type ListStatesStream = Pieces<v1::ListStatesResponse>;

    async fn list_states(
        &self,
        request: Request<v1::ListStatesRequest>,
    ) -> Result<Response<Self::ListStatesStream>, Status> {
        permit::must(
            &permit::caller(&request)?,
            Action::Read,
            &request.get_ref().topic,
        )?;
        let asked = request.into_inner();
        let limit = usize::try_from(asked.limit).unwrap_or(usize::MAX);
        let after = asked.after.as_deref();
        let states = self
            .engine()
            .states(&asked.group, &asked.topic, &asked.name, after, limit);
        let states = within(&self.context, states).await?;
        let size = |(key, value): &(String, Bytes)| key.len() + value.len();
        let responses = lists::send(states, size, |piece| v1::ListStatesResponse {
            states: piece.iter().map(key_state).collect(),
        });
        Ok(Response::new(responses))
    }

    type ListDeadLettersStream = Pieces<v1::ListDeadLettersResponse>;

    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Result<Response<Self::ListDeadLettersStream>, Status> {
        let caller = permit::caller(&request)?;
        let asked = request.into_inner();
        match &asked.group {
            Some(group) => permit::must_handle(&self.context, &caller, group).await?,
            None => permit::must_cover(&caller, Action::Read, &[])?,
        }
        let filter = ensue_proto::filter(asked.filter);
        let _turn = self.context.turn_to_list().await;
        let letters = self.engine().dead_letters(asked.group.as_deref(), filter);
        let mut letters = within(&self.context, letters).await?;
        for letter in &mut letters {
            if !caller.may(Action::Read, &letter.topic) {
                letter.envelope = Err("the caller may not read it".to_owned());
            }
            if let Ok(event) = &mut letter.envelope {
                permit::disclose(&caller, event)?;
            }
        }
        let size = |it: &DeadLetter| it.envelope.as_ref().map_or(0, |it| it.content().len());
        let responses = lists::send(letters, size, |piece| v1::ListDeadLettersResponse {
            dead_letters: piece.iter().map(Into::into).collect(),
        });
        Ok(Response::new(responses))
    }

    async fn redrive(
        &self,
        request: Request<v1::RedriveRequest>,
    ) -> Result<Response<v1::RedriveResponse>, Status> {
        let (caller, metadata) = (permit::caller(&request)?, request.metadata().clone());
        let asked = request.into_inner();
        permit::must_operate(&self.context, &caller, &asked.group).await?;
        let target = json!({ "group": asked.group, "selection": selection(asked.filter.as_ref()) });
        let filter = ensue_proto::filter(asked.filter);
        let operation = Operation::new("dead_letters.redrive", target);
        let work = within(&self.context, self.engine().redrive(&asked.group, filter));
        let by = (&caller, &metadata);
        let redriven = audited(
            &self.context,
            by,
            operation,
            false,
            work,
            |it| json!({ "count": it }),
        );
        let redriven = count(redriven.await?);
        Ok(Response::new(v1::RedriveResponse { redriven }))
    }

    async fn discard(
        &self,
        request: Request<v1::DiscardRequest>,
    ) -> Result<Response<v1::DiscardResponse>, Status> {
        let (caller, metadata) = (permit::caller(&request)?, request.metadata().clone());
        let asked = request.into_inner();
        permit::must_operate(&self.context, &caller, &asked.group).await?;
        let target = json!({ "group": asked.group, "selection": selection(asked.filter.as_ref()) });
        let filter = ensue_proto::filter(asked.filter);
        let operation = Operation::new("dead_letters.discard", target);
        let work = within(&self.context, self.engine().discard(&asked.group, filter));
        let by = (&caller, &metadata);
        let discarded = audited(
            &self.context,
            by,
            operation,
            true,
            work,
            |it| json!({ "count": it }),
        );
        let discarded = count(discarded.await?);
        Ok(Response::new(v1::DiscardResponse { discarded }))
    }

    async fn reset_group(
        &self,
        request: Request<v1::ResetGroupRequest>,
    ) -> Result<Response<v1::ResetGroupResponse>, Status> {
        let (caller, metadata) = (permit::caller(&request)?, request.metadata().clone());
        let asked = request.into_inner();
        permit::must_operate(&self.context, &caller, &asked.group).await?;
        let reset = ensue_proto::reset(asked.reset).map_err(malformed)?;
        let how = json!({
            "group": asked.group, "to": reset.to, "effects": reset.effects, "state": reset.state,
        });
        let operation = Operation::new("group.reset", how);
        let work = within(&self.context, self.engine().reset(&asked.group, reset));
        let by = (&caller, &metadata);
        let plan = audited(&self.context, by, operation, true, work, |plan| json!(plan)).await?;
        let plan = Some((&plan).into());
        Ok(Response::new(v1::ResetGroupResponse { plan }))
    }

    async fn plan_reset(
        &self,
        request: Request<v1::PlanResetRequest>,
    ) -> Result<Response<v1::PlanResetResponse>, Status> {
        let caller = permit::caller(&request)?;
        let asked = request.into_inner();
        permit::must_operate(&self.context, &caller, &asked.group).await?;
        let reset = ensue_proto::reset(asked.reset).map_err(malformed)?;
        let plan = self.engine().plan_reset(&asked.group, reset);
        let plan = within(&self.context, plan).await?;
        let plan = Some((&plan).into());
        Ok(Response::new(v1::PlanResetResponse { plan }))
    }

    async fn delete_group(
        &self,
        request: Request<v1::DeleteGroupRequest>,
    ) -> Result<Response<v1::DeleteGroupResponse>, Status> {
        let (caller, group) = (permit::caller(&request)?, &request.get_ref().group);
        permit::must_operate(&self.context, &caller, group).await?;
        let operation = Operation::new("group.delete", json!({ "group": group }));
        let work = within(&self.context, self.engine().delete_group(group));
        let by = (&caller, request.metadata());
        let deleted = audited(
            &self.context,
            by,
            operation,
            true,
            work,
            |()| json!({ "deleted": group }),
        );
        deleted.await?;
        Ok(Response::new(v1::DeleteGroupResponse {}))
    }

    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let caller = permit::caller(&request)?;
        let status = within(&self.context, self.engine().status()).await?;
        let status = Some((&permit::shown(status, &caller)).into());
        Ok(Response::new(v1::GetStatusResponse { status }))
    }
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

fn key_state((key, value): &(String, Bytes)) -> v1::KeyState {
    v1::KeyState {
        key: key.clone(),
        value: value.clone(),
    }
}

//! The calls, each as short as what it does.

use std::sync::Arc;

use axum::body::Bytes;
use ensue::engine::{DeadLetter, DeadLetterFilter, Scheduled, SharedEngine};
use ensue_proto::v1;
use ensue_proto::v1::engine_service_server::EngineService;
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::answer::{malformed, problem, stopping, within};
use super::append;
use super::ask;
use super::idempotency::{Call, OfDoubt, Receipts};
use super::join::{self, Responses};
use super::lists::{self, List, Pieces};
use super::operate::{self, Operator};
use super::permit;
use super::read;
use super::sessions::Sessions;
use crate::context::Context;
use crate::finished::finished;
use crate::security::Action;
use crate::trace::RequestTrace;

/// What calls are answered with.
#[derive(Debug)]
pub(crate) struct Calls {
    context: Context,
    sessions: Arc<Sessions>,
    /// Apart from each other: there are so many appends that they would have what operators did forgotten.
    appends: Receipts,
    operations: Receipts,
    run: String,
}

impl Calls {
    pub(super) fn new(context: Context) -> Self {
        Self {
            context,
            sessions: Arc::default(),
            appends: Receipts::new(OfDoubt::IsMadeAgain),
            operations: Receipts::new(OfDoubt::Stays),
            run: uuid::Uuid::now_v7().simple().to_string(),
        }
    }

    fn engine(&self) -> &SharedEngine {
        self.context.engine().shared()
    }

    /// Up to `limit` dead letters of these groups.
    async fn letters(
        &self,
        groups: &[Option<String>],
        filter: &DeadLetterFilter,
        limit: usize,
    ) -> ensue::Result<Vec<DeadLetter>> {
        let mut letters = Vec::new();
        for group in groups {
            let filter = DeadLetterFilter {
                limit: limit - letters.len(),
                ..filter.clone()
            };
            letters.extend(self.engine().dead_letters(group.as_deref(), filter).await?);
            if letters.len() >= limit {
                break;
            }
        }
        Ok(letters)
    }

    /// Does what an operator asks for: to its end, and once if the client gave it a key.
    async fn operate<T, R, F>(
        &self,
        method: &'static str,
        request: Request<T>,
        work: impl FnOnce(Operator, T) -> F,
    ) -> Result<Response<R>, Status>
    where
        T: Message,
        R: Message + Default + 'static,
        F: Future<Output = Result<R, Status>> + Send + 'static,
    {
        let call = Call::of(method, &request)?;
        let operator = Operator::of(&self.context, &request)?;
        let work = work(operator, request.into_inner());
        let done = match call {
            Some(call) => self.operations.once(call, work).await,
            None => finished(work).await.map_err(|ended| problem(&ended))?,
        };
        done.map(Response::new)
    }
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
            run: self.run.clone(),
        }))
    }

    async fn append(
        &self,
        request: Request<v1::AppendRequest>,
    ) -> Result<Response<v1::AppendResponse>, Status> {
        let call = Call::of("Append", &request)?;
        let caller = permit::caller(&request)?;
        let trace = RequestTrace::of(request.extensions());
        let mut request = request.into_inner();
        if let Some(call) = &call {
            append::name_events(call, &mut request);
        }
        let work = append::append(self.context.clone(), (caller, trace), request);
        let appended = match call {
            Some(call) => self.appends.once(call, work).await,
            None => work.await,
        };
        appended.map(Response::new)
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

    async fn ask(
        &self,
        request: Request<v1::AskRequest>,
    ) -> Result<Response<v1::AskResponse>, Status> {
        let caller = permit::caller(&request)?;
        let trace = RequestTrace::of(request.extensions());
        let by = (&caller, &trace);
        let reply = ask::ask(&self.context, by, request.into_inner()).await?;
        Ok(Response::new(reply))
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
        self.operate("Cancel", request, operate::cancel).await
    }

    type ListScheduledStream = Pieces<v1::ListScheduledResponse>;

    async fn list_scheduled(
        &self,
        request: Request<v1::ListScheduledRequest>,
    ) -> Result<Response<Self::ListScheduledStream>, Status> {
        let caller = permit::caller(&request)?;
        let limit = usize::try_from(request.get_ref().limit).unwrap_or(usize::MAX);
        let size = |it: &Scheduled| it.envelope.as_ref().map_or(0, |it| it.content().len());
        let read = |limit| self.engine().scheduled(limit);
        let sees = |it: &Scheduled| permit::sees(&caller, it);
        let by = (&self.context, &caller);
        let mut list = lists::list(by, limit, (size, sees), read).await?;
        let events = list.items.iter_mut();
        for event in events.filter_map(|it| it.envelope.as_mut().ok()) {
            permit::disclose(&caller, event)?;
        }
        let responses = lists::send(list, size, |piece| v1::ListScheduledResponse {
            scheduled: piece.iter().map(Into::into).collect(),
        });
        Ok(Response::new(responses))
    }

    async fn get_state(
        &self,
        request: Request<v1::GetStateRequest>,
    ) -> Result<Response<v1::GetStateResponse>, Status> {
        let (caller, asked) = (permit::caller(&request)?, request.get_ref());
        permit::must_see_state(&self.context, &caller, &asked.group, &asked.topic).await?;
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
        let (caller, asked) = (permit::caller(&request)?, request.into_inner());
        permit::must_see_state(&self.context, &caller, &asked.group, &asked.topic).await?;
        let limit = usize::try_from(asked.limit).unwrap_or(usize::MAX);
        let after = asked.after.as_deref();
        let states = self
            .engine()
            .states(&asked.group, &asked.topic, &asked.name, after, limit);
        let states = within(&self.context, states).await?;
        let size = |(key, value): &(String, Bytes)| key.len() + value.len();
        let bytes = states.iter().map(size).sum();
        let list = List::new((&self.context, &caller), states, bytes)?;
        let responses = lists::send(list, size, |piece| v1::ListStatesResponse {
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
        let groups = match asked.group {
            Some(group) => {
                permit::must_handle(&self.context, &caller, &group).await?;
                vec![Some(group)]
            }
            None => {
                let groups = self.context.groups_with_letters(&caller).await;
                groups.map_err(|refused| problem(&refused))?
            }
        };
        let filter = ensue_proto::filter(asked.filter);
        let limit = Some(filter.limit).filter(|limit| *limit > 0);
        let size = |it: &DeadLetter| it.envelope.as_ref().map_or(0, |it| it.content().len());
        let read = |limit| self.letters(&groups, &filter, limit);
        let limit = limit.unwrap_or(usize::MAX);
        let sees = |_: &DeadLetter| true;
        let by = (&self.context, &caller);
        let mut list = lists::list(by, limit, (size, sees), read).await?;
        for letter in &mut list.items {
            if !caller.may(Action::Read, &letter.topic) {
                letter.envelope = Err("the caller may not read it".to_owned());
            }
            if let Ok(event) = &mut letter.envelope {
                permit::disclose(&caller, event)?;
            }
        }
        let responses = lists::send(list, size, |piece| v1::ListDeadLettersResponse {
            dead_letters: piece.iter().map(Into::into).collect(),
        });
        Ok(Response::new(responses))
    }

    async fn redrive(
        &self,
        request: Request<v1::RedriveRequest>,
    ) -> Result<Response<v1::RedriveResponse>, Status> {
        self.operate("Redrive", request, operate::redrive).await
    }

    async fn discard(
        &self,
        request: Request<v1::DiscardRequest>,
    ) -> Result<Response<v1::DiscardResponse>, Status> {
        self.operate("Discard", request, operate::discard).await
    }

    async fn reset_group(
        &self,
        request: Request<v1::ResetGroupRequest>,
    ) -> Result<Response<v1::ResetGroupResponse>, Status> {
        self.operate("ResetGroup", request, operate::reset_group)
            .await
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
        self.operate("DeleteGroup", request, operate::delete_group)
            .await
    }

    async fn get_health(
        &self,
        _request: Request<v1::GetHealthRequest>,
    ) -> Result<Response<v1::GetHealthResponse>, Status> {
        let health = within(&self.context, self.engine().health()).await?;
        Ok(Response::new(health.into()))
    }

    async fn get_group(
        &self,
        request: Request<v1::GetGroupRequest>,
    ) -> Result<Response<v1::GetGroupResponse>, Status> {
        let caller = permit::caller(&request)?;
        let group = permit::visible(&self.context, &caller, &request.get_ref().group).await?;
        let group = Some((&permit::shown_group(group, &caller)).into());
        Ok(Response::new(v1::GetGroupResponse { group }))
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

fn key_state((key, value): &(String, Bytes)) -> v1::KeyState {
    v1::KeyState {
        key: key.clone(),
        value: value.clone(),
    }
}

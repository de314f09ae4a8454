//! Health (`grpc.health.v1`): as `/readyz` says it.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, stream};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_server};

use super::{answer, permit};
use crate::context::Context;
use crate::readiness;
use crate::security::Caller;

/// How often a watched server is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// What has a health: the server as a whole, and the engine.
const NAMES: [&str; 2] = ["", "ensue.v1.EngineService"];

/// Whether the server works.
#[derive(Debug)]
pub(crate) struct Health {
    context: Context,
}

impl Health {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        check_name(request.get_ref())?;
        let caller = permit::caller(&request)?;
        Ok(Response::new(response(look(&self.context, &caller).await)))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// What it is now, and what it becomes.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        check_name(request.get_ref())?;
        let caller = permit::caller(&request)?;
        // Strangers would take the streams of everyone else: `check` is for them.
        let known = caller.known();
        known.map_err(|problem| answer::problem(&problem))?;
        let slots = permit::stream(&self.context, &caller)?;
        let began = (self.context.clone(), None, (caller, slots));
        let changes = stream::unfold(began, |(context, told, by)| async move {
            loop {
                let now = look(&context, &by.0).await;
                if told != Some(now) {
                    return Some((Ok(response(now)), (context, Some(now), by)));
                }
                // A server that stops has said so, and ends the stream.
                if context.is_leaving() {
                    return None;
                }
                tokio::select! {
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                    () = context.leaving() => {}
                }
            }
        });
        Ok(Response::new(Box::pin(changes)))
    }
}

fn check_name(request: &HealthCheckRequest) -> Result<(), Status> {
    if NAMES.contains(&request.service.as_str()) {
        return Ok(());
    }
    let name: String = request.service.chars().take(80).collect();
    Err(Status::not_found(format!(
        "there is no service `{name}`; ask for `{}`, or for none",
        NAMES.concat()
    )))
}

async fn look(context: &Context, caller: &Caller) -> ServingStatus {
    match readiness::check(context, caller).await {
        Ok(_) => ServingStatus::Serving,
        Err(_) => ServingStatus::NotServing,
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

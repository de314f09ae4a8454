//! `/v1/groups`: those there are, moving one, forgetting one.

use axum::extract::{Path, Request, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use ensue::engine::{EngineStatus, ReplayEffects, ReplayState, Reset, ResetPlan};
use ensue::{Cursor, Start};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::status::GroupState;
use super::{deadline, json as body, place, route};
use crate::context::Context;
use crate::problem::{Code, Problem};

pub(super) fn routes(router: Router<Context>) -> Router<Context> {
    let router = route::add(router, "/v1/groups", get(list));
    let router = route::add(router, "/v1/groups/{group}", get(show).delete(delete));
    route::add(router, "/v1/groups/{group}/reset", post(reset))
}

async fn status(context: &Context) -> Result<EngineStatus, Problem> {
    deadline::within(context, context.engine().status()).await
}

async fn list(State(context): State<Context>) -> Result<Json<Value>, Problem> {
    let groups = status(&context).await?.groups.into_iter();
    let groups: Vec<GroupState> = groups.map(GroupState::from).collect();
    Ok(Json(json!({ "groups": groups })))
}

async fn show(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Json<GroupState>, Problem> {
    let mut groups = status(&context).await?.groups.into_iter();
    let group = groups.find(|group| group.name == name);
    group.map(|group| Json(group.into())).ok_or_else(|| {
        let detail = format!("there is no group `{name}`; `GET /v1/groups` lists those there are");
        Problem::new(Code::UnknownGroup, detail)
    })
}

async fn delete(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    deadline::within(&context, context.engine().delete_group(&name)).await?;
    Ok(Json(json!({ "deleted": name })))
}

/// How a group is moved.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// `earliest`, `latest`, a position or a time.
    to: String,
    #[serde(default)]
    effects: ReplayEffects,
    state: Option<ReplayState>,
    #[serde(default)]
    dry_run: bool,
}

/// What a reset does, or would do.
#[derive(Serialize)]
struct Moved {
    dry_run: bool,
    group: String,
    from: Cursor,
    to: Cursor,
    again: u64,
    skipped: u64,
    dropped: usize,
    dead_again: usize,
    dead_kept: usize,
    cells: usize,
    effects: ReplayEffects,
    /// Nothing: it has to be said, or the reset is refused.
    state: Option<ReplayState>,
    scheduled: usize,
}

impl Moved {
    fn of(plan: ResetPlan, dry_run: bool) -> Self {
        Self {
            dry_run,
            group: plan.group,
            from: plan.from,
            to: plan.to,
            again: plan.again,
            skipped: plan.skipped,
            dropped: plan.dropped,
            dead_again: plan.dead_again,
            dead_kept: plan.dead_kept,
            cells: plan.cells,
            effects: plan.effects,
            state: plan.state,
            scheduled: plan.scheduled,
        }
    }
}

async fn reset(
    State(context): State<Context>,
    Path(group): Path<String>,
    request: Request,
) -> Result<Json<Moved>, Problem> {
    let wanted: Wanted = body::read(&context, request).await?;
    let mut reset = Reset::to(start(&wanted.to)?).effects(wanted.effects);
    if let Some(state) = wanted.state {
        reset = reset.state(state);
    }
    let engine = context.engine();
    let plan = if wanted.dry_run {
        deadline::within(&context, engine.plan_reset(&group, reset)).await?
    } else {
        deadline::within(&context, engine.reset(&group, reset)).await?
    };
    Ok(Json(Moved::of(plan, wanted.dry_run)))
}

fn start(text: &str) -> Result<Start, Problem> {
    place::start(text).ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        let detail = format!(
            "`to` is `{shown}`; expected `earliest`, `latest`, a position, or a time such as \
             2030-01-31T12:00:00Z"
        );
        Problem::new(Code::InvalidBody, detail)
    })
}

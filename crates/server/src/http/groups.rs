//! `/v1/groups`: those there are, moving one, forgetting one.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use ensue::engine::{GroupStatus, ReplayEffects, ReplayState, Reset, ResetPlan};
use ensue::{Cursor, Start};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::audited::{Loss, audited};
use super::route::{Routes, delete as remove, get, post};
use super::status::GroupState;
use super::{deadline, json as body, place};
use crate::context::Context;
use crate::problem::{Code, Problem};
use crate::security::{Access, Action, Caller, Operation};

pub(super) fn routes(routes: Routes) -> Routes {
    let operate = Access::May(Action::Operate);
    routes
        .add("/v1/groups", [get(Access::Known, list)])
        .add(
            "/v1/groups/{group}",
            [get(Access::Known, show), remove(operate, delete)],
        )
        .add("/v1/groups/{group}/reset", [post(operate, reset)])
}

async fn list(State(context): State<Context>, caller: Caller) -> Result<Json<Value>, Problem> {
    let status = deadline::within(&context, context.engine().status()).await?;
    let groups = status.groups.into_iter();
    let groups = groups.filter(|group| caller.sees(group));
    let groups: Vec<GroupState> = groups.map(|it| GroupState::shown(it, &caller)).collect();
    Ok(Json(json!({ "groups": groups })))
}

async fn show(
    State(context): State<Context>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<GroupState>, Problem> {
    let group = visible(&context, &caller, &name).await?;
    Ok(Json(GroupState::shown(group, &caller)))
}

/// A group. One that the caller may not see is not there, for all that they can tell.
async fn visible(context: &Context, caller: &Caller, name: &str) -> Result<GroupStatus, Problem> {
    let status = deadline::within(context, context.engine().status()).await?;
    let mut groups = status.groups.into_iter();
    let group = groups.find(|group| group.name == name && caller.sees(group));
    group.ok_or_else(|| {
        let detail = format!("there is no group `{name}`; `GET /v1/groups` lists those there are");
        Problem::new(Code::UnknownGroup, detail)
    })
}

/// Refuses a caller who may do nothing with the group's topics: its dead letters are theirs to see.
pub(super) async fn must_handle(
    context: &Context,
    caller: &Caller,
    group: &str,
) -> Result<(), Problem> {
    if caller.may_everything() {
        return Ok(());
    }
    match visible(context, caller, group).await? {
        group if caller.handles(&group) => Ok(()),
        group => caller.must_cover(Action::Read, &group.topics),
    }
}

/// The groups with whose topics the caller may do something.
pub(super) async fn handled(context: &Context, caller: &Caller) -> Result<Vec<String>, Problem> {
    let status = deadline::within(context, context.engine().status()).await?;
    let groups = status.groups.into_iter();
    let groups = groups.filter(|group| group.dead > 0 && caller.handles(group));
    Ok(groups.map(|group| group.name).collect())
}

/// Refuses a caller who may not operate the group; its topics say who may.
pub(super) async fn must_operate(
    context: &Context,
    caller: &Caller,
    group: &str,
) -> Result<(), Problem> {
    if caller.may_everything() {
        return Ok(());
    }
    let group = visible(context, caller, group).await?;
    caller.must_cover(Action::Operate, &group.topics)
}

async fn delete(
    State(context): State<Context>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    must_operate(&context, &caller, &name).await?;
    let operation = Operation::new("group.delete", json!({ "group": name }));
    let work = async {
        deadline::within(&context, context.engine().delete_group(&name)).await?;
        Ok(json!({ "deleted": name }))
    };
    let loss = (&headers, Loss::Something);
    audited(&context, &caller, operation, loss, work)
        .await
        .map(Json)
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
    caller: Caller,
    Path(group): Path<String>,
    request: Request,
) -> Result<Json<Moved>, Problem> {
    must_operate(&context, &caller, &group).await?;
    let headers = request.headers().clone();
    let wanted: Wanted = body::read(&context, request).await?;
    let mut reset = Reset::to(start(&wanted.to)?).effects(wanted.effects);
    if let Some(state) = wanted.state {
        reset = reset.state(state);
    }
    let engine = context.engine();
    if wanted.dry_run {
        let plan = deadline::within(&context, engine.plan_reset(&group, reset)).await?;
        return Ok(Json(Moved::of(plan, true)));
    }
    let how = json!({
        "group": group, "to": wanted.to, "effects": wanted.effects, "state": wanted.state,
    });
    let operation = Operation::new("group.reset", how);
    let work = async {
        let plan = deadline::within(&context, engine.reset(&group, reset)).await?;
        Ok(Moved::of(plan, false))
    };
    let loss = (&headers, Loss::Something);
    audited(&context, &caller, operation, loss, work)
        .await
        .map(Json)
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

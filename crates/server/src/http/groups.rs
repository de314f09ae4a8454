//! `/v1/groups`: those there are, waiting for one, moving one, forgetting one.

use axum::Json;
use axum::extract::State;
use ensue::engine::{GroupStatus, ReplayEffects, ReplayState, Reset, ResetPlan};
use ensue::{Cursor, Position, Start};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::audited::{Loss, Why, audited};
use super::json::JsonBody;
use super::path::Path;
use super::query::{Asked, Parameters, invalid};
use super::route::{Routes, delete as remove, get, post};
use super::status::GroupState;
use super::{deadline, place};
use crate::context::Context;
use crate::openapi::{CursorText, Kind, Parameter, StartText, Tag, about, one_of, one_of_or_null};
use crate::problem::{Code, Problem};
use crate::security::{Access, Action, Caller, Operation};

const TAG: Tag = Tag {
    name: "groups",
    what: "The groups that consume events: those there are, moving one, forgetting one.",
};

pub(super) fn routes(routes: Routes) -> Routes {
    let operate = Access::May(Action::Operate);
    let lists = about("listGroups", "Lists the groups");
    let shows = about("getGroup", "Shows a group").refuses(&[Code::UnknownGroup]);
    let deletes = about(
        "deleteGroup",
        "Forgets a group without members: its position, its dead letters, its state",
    )
    .refuses(&[Code::UnknownGroup, Code::HasMembers]);
    let resets = about("resetGroup", "Moves a group, or says what that would do").refuses(&[
        Code::UnknownGroup,
        Code::UndecidedState,
        Code::InTheFuture,
        Code::BeyondEnd,
        Code::Trimmed,
    ]);
    let waits = about(
        "waitForGroup",
        "Waits until a group has handled an event: read what you have just written",
    )
    .refuses(&[
        Code::UnknownGroup,
        Code::NotHandled,
        Code::BeyondEnd,
        Code::Overloaded,
        Code::RateLimited,
    ]);
    routes
        .tag(TAG)
        .add("/v1/groups/{group}/wait", [get(Access::Known, waits, wait)])
        .add("/v1/groups", [get(Access::Known, lists, list)])
        .add(
            "/v1/groups/{group}",
            [
                get(Access::Known, shows, show),
                remove(operate, deletes, delete),
            ],
        )
        .add("/v1/groups/{group}/reset", [post(operate, resets, reset)])
}

/// The groups that the caller sees.
#[derive(Serialize, JsonSchema)]
struct Groups {
    groups: Vec<GroupState>,
}

async fn list(State(context): State<Context>, caller: Caller) -> Result<Json<Groups>, Problem> {
    let status = deadline::within(&context, context.engine().status()).await?;
    let groups = status.groups.into_iter();
    let groups = groups.filter(|group| caller.sees(group));
    Ok(Json(Groups {
        groups: groups.map(|it| GroupState::shown(it, &caller)).collect(),
    }))
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
    let group = deadline::within(context, context.group(name)).await?;
    group.filter(|group| caller.sees(group)).ok_or_else(|| {
        let detail = format!("there is no group `{name}`; `GET /v1/groups` lists those there are");
        Problem::new(Code::UnknownGroup, detail)
    })
}

/// The query of a wait.
#[derive(Debug)]
enum Waiting {}

impl Parameters for Waiting {
    const KNOWN: &'static [&'static [Parameter]] = &[&[
        Parameter::new(
            "token",
            Kind::Position,
            "The event: the `position` of the receipt that its append was answered with.",
        )
        .required(),
        Parameter::new(
            "timeout",
            Kind::Duration,
            "How long to wait: `10s` by default, at most `wait_max`; with `0s` it is only looked.",
        ),
    ]];
}

/// A group has handled an event.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "HandledEvent")]
struct HandledEvent {
    group: String,
    /// The event.
    token: place::Place,
}

/// Answers as soon as the group has handled the event, whichever process runs it.
async fn wait(
    State(context): State<Context>,
    caller: Caller,
    Path(name): Path<String>,
    query: Asked<Waiting>,
) -> Result<Json<HandledEvent>, Problem> {
    let expected = "expected the `position` of a receipt";
    let position: Option<Position> = query.value("token", expected)?;
    let position = position.ok_or_else(|| invalid("token", "is missing"))?;
    let timeout = deadline::wait(&context, &query, "timeout")?;
    visible(&context, &caller, &name).await?;
    let _place = if timeout.is_zero() {
        None
    } else {
        Some(context.waiting(&caller)?)
    };
    let engine = context.engine();
    tokio::select! {
        handled = engine.wait_until_handled(&name, position, timeout) => handled?,
        () = context.leaving() => {
            let detail = "the server is stopping; ask again, another server or when it is back";
            return Err(Problem::new(Code::Overloaded, detail));
        }
    }
    // The credentials may have been revoked meanwhile.
    context.still(&caller)?;
    Ok(Json(HandledEvent {
        group: name,
        token: place::Place(position),
    }))
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

/// A group is forgotten.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeletedGroup")]
struct Deleted {
    deleted: String,
}

async fn delete(
    State(context): State<Context>,
    caller: Caller,
    Path(name): Path<String>,
    why: Why,
) -> Result<Json<Deleted>, Problem> {
    must_operate(&context, &caller, &name).await?;
    let operation = Operation::new("group.delete", json!({ "group": name }));
    let work = async {
        deadline::within(&context, context.engine().delete_group(&name)).await?;
        Ok(Deleted {
            deleted: name.clone(),
        })
    };
    let loss = (&why, Loss::Something);
    audited(&context, &caller, operation, loss, work)
        .await
        .map(Json)
}

/// How a group is moved.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "GroupReset")]
struct Wanted {
    /// `earliest`, `latest`, a position or a time.
    #[schemars(with = "StartText")]
    to: String,
    /// What becomes of the effects of events that the group had settled.
    #[serde(default)]
    #[schemars(schema_with = "effects_schema")]
    effects: ReplayEffects,
    /// What becomes of the group's state, which has to be said where it has any and events are handled again.
    #[serde(default)]
    #[schemars(schema_with = "state_schema")]
    state: Option<ReplayState>,
    /// Only say what it would do.
    #[serde(default)]
    dry_run: bool,
}

/// What a reset does, or would do.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GroupMove")]
struct Moved {
    dry_run: bool,
    group: String,
    #[schemars(with = "CursorText")]
    from: Cursor,
    #[schemars(with = "CursorText")]
    to: Cursor,
    /// How many events that it has settled it handles again.
    again: u64,
    /// How many events that it has not handled it skips.
    skipped: u64,
    /// How many events that wait for an attempt, or are parked, it gives up.
    dropped: usize,
    /// How many of its dead letters are handled again with the events around them.
    dead_again: usize,
    /// How many of its dead letters stay as they are.
    dead_kept: usize,
    /// How many cells of state the group has.
    cells: usize,
    #[schemars(schema_with = "effects_schema")]
    effects: ReplayEffects,
    /// Nothing: it has to be said, or the reset is refused.
    #[schemars(schema_with = "state_schema")]
    state: Option<ReplayState>,
    /// How many events of the whole log wait for their time: they stay scheduled.
    scheduled: usize,
}

fn effects_schema(_: &mut SchemaGenerator) -> Schema {
    one_of(&[ReplayEffects::HoldBack, ReplayEffects::Publish])
}

fn state_schema(_: &mut SchemaGenerator) -> Schema {
    one_of_or_null(&[ReplayState::Keep, ReplayState::Afresh])
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
    why: Why,
    body: JsonBody<Wanted>,
) -> Result<Json<Moved>, Problem> {
    must_operate(&context, &caller, &group).await?;
    let wanted = body.read(&context).await?;
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
    let loss = (&why, Loss::Something);
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

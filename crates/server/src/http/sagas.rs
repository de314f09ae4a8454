//! `/v1/sagas`: the processes that run, which of them are stuck, the path of one; trying again, and undoing.

mod shown;

use axum::Json;
use axum::extract::State;
use ensue::engine::GroupStatus;
use ensue::{Cursor, Sagas};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use self::shown::{Entry, Process};
use super::audited::{Loss, Why, audited};
use super::json::JsonBody;
use super::letter;
use super::path::Path;
use super::query::{Asked, Parameters, invalid};
use super::route::{Routes, get, post};
use super::{deadline, groups};
use crate::context::Context;
use crate::openapi::{CursorText, Kind, Parameter, Tag, about};
use crate::problem::{Code, Problem};
use crate::security::{Access, Action, Caller, Operation};

const TAG: Tag = Tag {
    name: "sagas",
    what: "Processes over time: those that run, those that are stuck, and what becomes of them.",
};

/// The most keys of one retry.
const KEYS_MAX: usize = 1000;

pub(super) fn routes(routes: Routes) -> Routes {
    let operate = Access::May(Action::Operate);
    let lists = about(
        "listSagas",
        "Lists the processes of sagas that run, or that are stuck",
    )
    .refuses(&[Code::UnknownGroup, Code::Forbidden]);
    let shows = about("getSagaProcess", "Shows a process and its path").refuses(&[
        Code::UnknownGroup,
        Code::UnknownProcess,
        Code::Forbidden,
        Code::BeyondEnd,
        Code::Trimmed,
    ]);
    let retries = about(
        "retrySaga",
        "Has processes that are stuck go on: what they are stuck at is tried again",
    )
    .refuses(&[Code::UnknownGroup]);
    let compensates = about(
        "compensateSaga",
        "Has a process undone: its steps in reverse, the one at hand included",
    )
    .refuses(&[Code::UnknownGroup, Code::UnknownProcess]);
    routes
        .tag(TAG)
        .add("/v1/sagas", [get(Access::Known, lists, list)])
        .add(
            "/v1/sagas/{saga}/process",
            [get(Access::Known, shows, show)],
        )
        .add("/v1/sagas/{saga}/retry", [post(operate, retries, retry)])
        .add(
            "/v1/sagas/{saga}/compensate",
            [post(operate, compensates, compensate)],
        )
}

/// The query of a list.
#[derive(Debug)]
enum Listing {}

impl Parameters for Listing {
    const KNOWN: &'static [&'static [Parameter]] = &[&[
        Parameter::new("saga", Kind::Name, "Those of this saga."),
        Parameter::new(
            "stuck",
            Kind::Flag,
            "`true`: those that do not go on by themselves; those that are stuck longest come first.",
        ),
        Parameter::new(
            "after",
            Kind::Text,
            "Those of the saga behind this key: the last one of the page before.",
        ),
        letter::LIMIT,
    ]];
}

/// Processes, by saga and key.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SagaProcesses")]
struct Processes {
    processes: Vec<Process>,
    /// Whether there are more.
    more: bool,
}

async fn list(
    State(context): State<Context>,
    caller: Caller,
    query: Asked<Listing>,
) -> Result<Json<Processes>, Problem> {
    let limit = letter::limit(&query)?;
    let is_stuck = query
        .value("stuck", "expected true or false")?
        .unwrap_or(false);
    let after = query.text("after");
    if after.is_some() && (query.text("saga").is_none() || is_stuck) {
        return Err(invalid(
            "after",
            "is a key of one `saga`, and not of those that are stuck",
        ));
    }
    let groups = match query.text("saga") {
        Some(saga) => vec![visible(&context, &caller, saga).await?],
        None => {
            let groups = deadline::within(&context, sagas(&context).groups()).await?;
            let may = |group: &GroupStatus| caller.may_everything() || caller.handles(group);
            groups.into_iter().filter(may).collect()
        }
    };
    let _turn = context.turn_to_list().await;
    let mut processes = Vec::new();
    for group in groups {
        // One more than is shown tells whether there are more.
        let room = limit + 1 - processes.len();
        let sagas = sagas(&context);
        let found = match is_stuck {
            true if group.dead == 0 => Vec::new(),
            true => deadline::within(&context, sagas.stuck(&group.name, room)).await?,
            false => deadline::within(&context, sagas.running(&group.name, after, room)).await?,
        };
        processes.extend(found);
        if processes.len() > limit {
            break;
        }
    }
    let more = processes.len() > limit;
    processes.truncate(limit);
    Ok(Json(Processes {
        processes: processes.into_iter().map(Process::of).collect(),
        more,
    }))
}

/// The query of a process.
#[derive(Debug)]
enum Showing {}

impl Parameters for Showing {
    const KNOWN: &'static [&'static [Parameter]] = &[&[
        Parameter::new("key", Kind::Text, "The key of the process.").required(),
        Parameter::new(
            "from",
            Kind::Cursor,
            "Where its path is read from: `next` of the part before.",
        ),
        letter::LIMIT,
    ]];
}

/// A process and a part of its path.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SagaProcessWithPath")]
struct Shown {
    /// Nothing, if none runs.
    process: Option<Process>,
    /// What has happened to the processes of the key, oldest first.
    path: Vec<Entry>,
    /// Where the path goes on.
    #[schemars(with = "CursorText")]
    next: Cursor,
    /// Whether there is more of it.
    more: bool,
}

async fn show(
    State(context): State<Context>,
    caller: Caller,
    Path(saga): Path<String>,
    query: Asked<Showing>,
) -> Result<Json<Shown>, Problem> {
    let Some(key) = query.text("key") else {
        return Err(invalid("key", "is missing"));
    };
    let from = query.value("from", "expected a cursor, as an answer has it in `next`")?;
    let (is_first, from) = (from.is_none(), from.unwrap_or(Cursor::START));
    let limit = letter::limit(&query)?;
    let group = visible(&context, &caller, &saga).await?;
    let _turn = context.turn_to_list().await;
    let sagas = sagas(&context);
    let process = deadline::within(&context, sagas.process(&group.name, key)).await?;
    let path = deadline::within(&context, sagas.path(&group.name, key, from, limit)).await?;
    if process.is_none() && is_first && path.entries.is_empty() && path.is_end {
        return Err(unknown(&saga, key));
    }
    Ok(Json(Shown {
        process: process.map(Process::of),
        path: path.entries.into_iter().map(Entry::of).collect(),
        next: path.next,
        more: !path.is_end,
    }))
}

/// Which processes are to try again.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "SagaSelection")]
struct Chosen {
    /// All that are stuck, of which there may be 1000 for one request: instead of `keys`.
    all: bool,
    keys: Vec<String>,
    /// Only say which they are.
    dry_run: bool,
}

/// Those that try again, or would.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SagaRetry")]
struct Retried {
    saga: String,
    dry_run: bool,
    /// How many processes.
    count: usize,
    /// Their keys.
    keys: Vec<String>,
}

async fn retry(
    State(context): State<Context>,
    caller: Caller,
    Path(saga): Path<String>,
    why: Why,
    body: JsonBody<Chosen>,
) -> Result<Json<Retried>, Problem> {
    groups::must_operate(&context, &caller, &saga).await?;
    let chosen = body.read(&context).await?;
    if chosen.all != chosen.keys.is_empty() || chosen.keys.len() > KEYS_MAX {
        let detail = format!(
            "which processes? name up to {KEYS_MAX} `keys`, or say `\"all\": true`, and not both"
        );
        return Err(Problem::new(Code::InvalidBody, detail));
    }
    let sagas = sagas(&context);
    let of = (!chosen.all).then_some(chosen.keys.as_slice());
    let stuck = deadline::within(&context, sagas.stuck_keys(&saga, of, KEYS_MAX)).await?;
    let outcome = |dry_run, keys: Vec<String>| Retried {
        saga: saga.clone(),
        dry_run,
        count: keys.len(),
        keys,
    };
    if chosen.dry_run {
        return Ok(Json(outcome(true, stuck)));
    }
    let operation = Operation::new("saga.retry", json!({ "saga": saga, "selection": chosen }));
    let work = async {
        let retried = deadline::within(&context, sagas.retry_all(&saga, &stuck)).await?;
        Ok(outcome(false, retried))
    };
    let loss = (&why, Loss::Nothing);
    audited(&context, &caller, operation, loss, work)
        .await
        .map(Json)
}

/// Which process is to be undone.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SagaCompensation")]
struct Wanted {
    key: String,
    /// Why: the path of the process says so.
    #[schemars(length(min = 1))]
    reason: String,
    /// Only say what would be undone.
    #[serde(default)]
    dry_run: bool,
}

/// A process that is undone, or would be.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SagaUndoing")]
struct Undoing {
    dry_run: bool,
    /// The process as it was.
    process: Process,
    /// The steps that are undone, in that order.
    steps: Vec<String>,
}

async fn compensate(
    State(context): State<Context>,
    caller: Caller,
    Path(saga): Path<String>,
    why: Why,
    body: JsonBody<Wanted>,
) -> Result<Json<Undoing>, Problem> {
    groups::must_operate(&context, &caller, &saga).await?;
    let wanted = body.read(&context).await?;
    if wanted.reason.trim().is_empty() {
        let detail = "`reason` is empty: say why the process is undone, in a few words";
        return Err(Problem::new(Code::InvalidBody, detail));
    }
    let sagas = sagas(&context);
    let key = &wanted.key;
    let plan = deadline::within(&context, sagas.plan_compensation(&saga, key)).await?;
    let plan = plan.ok_or_else(|| unknown(&saga, key))?;
    if wanted.dry_run {
        return Ok(Json(Undoing {
            dry_run: true,
            process: Process::of(plan.process),
            steps: plan.steps,
        }));
    }
    let target = json!({ "saga": saga, "key": key, "reason": wanted.reason });
    let operation = Operation::new("saga.compensate", target);
    let work = async {
        let compensating = sagas.compensate(&saga, key, &wanted.reason);
        let done = deadline::within(&context, compensating).await?;
        let done = done.ok_or_else(|| unknown(&saga, key))?;
        Ok(Undoing {
            dry_run: false,
            process: Process::of(done.process),
            steps: done.steps,
        })
    };
    let loss = (&why, Loss::Something);
    audited(&context, &caller, operation, loss, work)
        .await
        .map(Json)
}

fn sagas(context: &Context) -> Sagas<'_> {
    context.engine().sagas()
}

/// The group of a saga, whose processes the caller may see.
async fn visible(context: &Context, caller: &Caller, saga: &str) -> Result<GroupStatus, Problem> {
    groups::must_handle(context, caller, saga).await?;
    deadline::within(context, context.engine().group(saga)).await
}

fn unknown(saga: &str, key: &str) -> Problem {
    let shown: String = key.chars().take(80).collect();
    let detail =
        format!("the saga `{saga}` has no process `{shown}`; `GET /v1/sagas` lists those that run");
    Problem::new(Code::UnknownProcess, detail)
}

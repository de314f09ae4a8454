//! `/v1/schedules`: events that wait for their time.

use axum::Json;
use axum::extract::State;
use ensue::engine::Scheduled;
use ensue::{EventId, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::audited::{Loss, Why, audited};
use super::query::{Asked, Parameters, invalid};
use super::route::{Routes, delete, get};
use super::{deadline, letter};
use crate::context::Context;
use crate::openapi::{AnyEvent, Kind, Parameter, Tag, Time, about};
use crate::problem::{Code, Problem};
use crate::security::{Access, Action, Caller, Operation};

pub(super) fn routes(routes: Routes) -> Routes {
    let read = Access::May(Action::Read);
    let operate = Access::May(Action::Operate);
    let lists = about(
        "listSchedules",
        "Lists what waits for its time, the next due first",
    );
    let cancels = about(
        "cancelSchedule",
        "Cancels a timer by its name, or an event by its id",
    )
    .refuses(&[Code::NotScheduled, Code::Unsupported]);
    routes.tag(TAG).add(
        "/v1/schedules",
        [get(read, lists, list), delete(operate, cancels, cancel)],
    )
}

const TAG: Tag = Tag {
    name: "schedules",
    what: "Events that wait for their time.",
};

/// The query of a list.
#[derive(Debug)]
enum Listing {}

impl Parameters for Listing {
    const KNOWN: &'static [&'static [Parameter]] = &[&[letter::LIMIT]];
}

/// The query of a cancellation.
#[derive(Debug)]
enum Cancelling {}

impl Parameters for Cancelling {
    const KNOWN: &'static [&'static [Parameter]] = &[&[
        Parameter::new("source", Kind::Name, "The source of the event.").required(),
        Parameter::new(
            "name",
            Kind::Name,
            "The name of the timer, or the id of the event.",
        )
        .required(),
    ]];
}

/// An event that waits.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Schedule")]
struct Waiting {
    /// With the source, what cancels it: the name of its timer, or the event's id.
    name: String,
    source: String,
    /// When it is due.
    #[schemars(with = "Time")]
    at: Timestamp,
    /// Nothing, if it cannot be read.
    #[schemars(with = "Option<AnyEvent>")]
    event: Option<Box<serde_json::value::RawValue>>,
    /// Why it cannot be read, if it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    damaged: Option<String>,
}

impl Waiting {
    fn of(scheduled: Scheduled, caller: &Caller) -> Self {
        let (event, damaged) = letter::event(caller, &scheduled.envelope);
        Self {
            name: scheduled.name.id().to_owned(),
            source: scheduled.name.source().to_owned(),
            at: scheduled.at,
            event,
            damaged,
        }
    }
}

// Not made with `json!`, which would read payloads and write them again in its own words.
/// What waits.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Schedules")]
struct Listed {
    schedules: Vec<Waiting>,
    /// How many wait.
    total: usize,
}

async fn list(
    State(context): State<Context>,
    caller: Caller,
    query: Asked<Listing>,
) -> Result<Json<Listed>, Problem> {
    let limit = letter::limit(&query)?;
    let _turn = context.turn_to_list().await;
    if !caller.may_everything() {
        let mut scheduled = next_due(&context).await?;
        scheduled.retain(|waiting| may(&caller, Action::Read, waiting));
        return Ok(Json(Listed {
            total: scheduled.len(),
            schedules: scheduled
                .into_iter()
                .take(limit)
                .map(|it| Waiting::of(it, &caller))
                .collect(),
        }));
    }
    let scheduled = deadline::within(&context, context.engine().scheduled(limit)).await?;
    let status = deadline::within(&context, context.engine().status()).await?;
    Ok(Json(Listed {
        schedules: scheduled
            .into_iter()
            .map(|it| Waiting::of(it, &caller))
            .collect(),
        total: status.scheduled,
    }))
}

/// Those that callers who may not see all are shown some of: the engine reads whole events for that.
async fn next_due(context: &Context) -> Result<Vec<Scheduled>, Problem> {
    deadline::within(context, context.engine().scheduled(letter::LISTED_MAX)).await
}

/// Whether the caller may do this with what waits. What cannot be read is of no topic.
fn may(caller: &Caller, action: Action, waiting: &Scheduled) -> bool {
    let envelope = waiting.envelope.as_ref();
    envelope.is_ok_and(|event| caller.may(action, event.topic()))
}

/// Refuses a caller who may not cancel this. What the caller may not even see is not there, for all
/// that they can tell.
async fn must_operate(context: &Context, caller: &Caller, name: &EventId) -> Result<(), Problem> {
    if caller.may_everything() {
        return Ok(());
    }
    let _turn = context.turn_to_list().await;
    let mut scheduled = next_due(context).await?.into_iter();
    let found = scheduled.find(|waiting| waiting.name == *name);
    match found {
        Some(waiting) if may(caller, Action::Operate, &waiting) => Ok(()),
        Some(waiting) if may(caller, Action::Read, &waiting) => {
            let topic = waiting.envelope.as_ref().map_or("", |event| event.topic());
            caller.must(Action::Operate, topic)
        }
        _ => Err(not_scheduled()),
    }
}

fn not_scheduled() -> Problem {
    Problem::new(
        Code::NotScheduled,
        "nothing is scheduled under this name: it was appended or cancelled already, or never there",
    )
}

/// Nothing will be appended.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CancelledSchedules")]
struct Cancelled {
    /// How many were cancelled.
    cancelled: usize,
}

async fn cancel(
    State(context): State<Context>,
    caller: Caller,
    query: Asked<Cancelling>,
    why: Why,
) -> Result<Json<Cancelled>, Problem> {
    let (Some(source), Some(name)) = (query.text("source"), query.text("name")) else {
        return Err(invalid(
            "name",
            "and `source` say together what to cancel; give both",
        ));
    };
    let name = EventId::new(source, name);
    must_operate(&context, &caller, &name).await?;
    let target = json!({ "source": name.source(), "name": name.id() });
    let operation = Operation::new("schedule.cancel", target);
    let work = async {
        let cancelled = deadline::within(&context, context.engine().cancel(vec![name])).await?;
        if cancelled == 0 {
            return Err(not_scheduled());
        }
        Ok(Cancelled { cancelled })
    };
    let loss = (&why, Loss::Something);
    audited(&context, &caller, operation, loss, work)
        .await
        .map(Json)
}

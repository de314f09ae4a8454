//! `/v1/schedules`: events that wait for their time.

use axum::extract::State;
use axum::http::Uri;
use axum::routing::get;
use axum::{Json, Router};
use ensue::engine::Scheduled;
use ensue::{EventId, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use super::query::{Query, invalid};
use super::{deadline, letter, route};
use crate::context::Context;
use crate::problem::{Code, Problem};

pub(super) fn routes(router: Router<Context>) -> Router<Context> {
    route::add(router, "/v1/schedules", get(list).delete(cancel))
}

/// An event that waits.
#[derive(Serialize)]
struct Waiting {
    /// With the source, what cancels it: the name of its timer, or the event's id.
    name: String,
    source: String,
    at: Timestamp,
    /// Nothing, if it cannot be read.
    event: Option<Box<serde_json::value::RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    damaged: Option<String>,
}

impl Waiting {
    fn of(scheduled: Scheduled) -> Self {
        let (event, damaged) = letter::event(&scheduled.envelope);
        Self {
            name: scheduled.name.id().to_owned(),
            source: scheduled.name.source().to_owned(),
            at: scheduled.at,
            event,
            damaged,
        }
    }
}

/// What waits. Not made with `json!`, which would read payloads and write them again in its own words.
#[derive(Serialize)]
struct Listed {
    schedules: Vec<Waiting>,
    total: usize,
}

async fn list(State(context): State<Context>, uri: Uri) -> Result<Json<Listed>, Problem> {
    let query = Query::of(&uri, &["limit"])?;
    let limit = letter::limit(&query)?;
    let _turn = context.turn_to_list().await;
    let scheduled = deadline::within(&context, context.engine().scheduled(limit)).await?;
    let status = deadline::within(&context, context.engine().status()).await?;
    Ok(Json(Listed {
        schedules: scheduled.into_iter().map(Waiting::of).collect(),
        total: status.scheduled,
    }))
}

async fn cancel(State(context): State<Context>, uri: Uri) -> Result<Json<Value>, Problem> {
    let query = Query::of(&uri, &["source", "name"])?;
    let (Some(source), Some(name)) = (query.text("source"), query.text("name")) else {
        return Err(invalid(
            "name",
            "and `source` say together what to cancel; give both",
        ));
    };
    let names = vec![EventId::new(source, name)];
    let cancelled = deadline::within(&context, context.engine().cancel(names)).await?;
    if cancelled == 0 {
        return Err(Problem::new(
            Code::NotScheduled,
            "nothing is scheduled under this name: it was appended or cancelled already, or never there",
        ));
    }
    Ok(Json(json!({ "cancelled": cancelled })))
}

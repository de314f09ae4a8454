//! What an append is answered: where each event is.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ensue::Timestamp;
use ensue::engine::Appended;
use serde::Serialize;
use serde_json::{Value, json};

use crate::counters::Counters;
use crate::problem::Problem;

/// What became of one event: it is durable.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Receipt {
    /// Where it is, as a string: some readers of JSON round numbers beyond 2⁵³. One that is scheduled
    /// is nowhere yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    /// When it will be appended, if not now.
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduled: Option<Timestamp>,
    /// It was in the log, or scheduled, before: nothing was added.
    duplicate: bool,
}

impl Receipt {
    pub(super) fn of(appended: Appended, at: Option<Timestamp>, counters: &Counters) -> Self {
        counters.appended(appended.is_duplicate);
        Self {
            position: at.is_none().then(|| appended.position.to_string()),
            scheduled: at,
            duplicate: appended.is_duplicate,
        }
    }
}

/// The answer to one event.
pub(super) fn single(receipt: Receipt) -> Response {
    Json(receipt).into_response()
}

/// The answer to a batch.
pub(super) fn whole(receipts: &[Receipt]) -> Response {
    Json(json!({ "results": receipts })).into_response()
}

/// The answer to a batch whose events stand for themselves: 200 when all are in the log, 207 when some
/// are, and the first problem when none is.
pub(super) fn each(results: Vec<Result<Receipt, Problem>>) -> Response {
    let accepted = results.iter().filter(|result| result.is_ok()).count();
    let body: Vec<Value> = results
        .iter()
        .map(|result| match result {
            Ok(receipt) => json!(receipt),
            Err(problem) => json!({ "problem": problem.to_json() }),
        })
        .collect();
    let first = results.iter().find_map(|result| result.as_ref().err());
    match first {
        Some(problem) if accepted == 0 => {
            let problem = problem.clone().with("results", Value::Array(body));
            problem.into_response()
        }
        Some(_) => (StatusCode::MULTI_STATUS, Json(json!({ "results": body }))).into_response(),
        None => Json(json!({ "results": body })).into_response(),
    }
}

//! What an append is answered: where each event is.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ensue::{Position, Timestamp, engine};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::openapi::{Answer, Operation, PositionText, ProblemDocument, Time};
use crate::problem::Problem;

const JSON: &str = "application/json";

/// What became of one event: it is durable.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Receipt {
    /// Where it is, as a string: some readers of JSON round numbers beyond 2⁵³. One that is scheduled
    /// is nowhere yet.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    #[schemars(with = "PositionText")]
    position: Option<Position>,
    /// When it will be appended, if not now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Time")]
    scheduled: Option<Timestamp>,
    /// It was in the log, or scheduled, before: nothing was added.
    duplicate: bool,
}

impl Receipt {
    pub(super) fn of(appended: engine::Appended, at: Option<Timestamp>) -> Self {
        Self {
            position: at.is_none().then_some(appended.position),
            scheduled: at,
            duplicate: appended.is_duplicate,
        }
    }
}

/// A position as a string.
fn shown<S: Serializer>(position: &Option<Position>, serializer: S) -> Result<S::Ok, S::Error> {
    match position {
        Some(position) => serializer.collect_str(position),
        None => serializer.serialize_none(),
    }
}

/// The answer to an append.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Appended {
    /// Of one event.
    One(Receipt),
    /// Of a batch: all its events are in the log.
    Whole(Receipts),
    /// Of a batch whose events stand for themselves: some are in the log.
    Partly(Results),
}

/// What became of the events of a batch, in order.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Receipts {
    results: Vec<Receipt>,
}

/// What became of the events of a batch that stand for themselves, in order.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Results {
    results: Vec<ReceiptOrProblem>,
}

/// A receipt, or why the event was refused.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum ReceiptOrProblem {
    Receipt(Receipt),
    Refused {
        #[schemars(with = "ProblemDocument")]
        problem: Value,
    },
}

impl FromIterator<Receipt> for Appended {
    fn from_iter<I: IntoIterator<Item = Receipt>>(receipts: I) -> Self {
        Self::Whole(Receipts {
            results: receipts.into_iter().collect(),
        })
    }
}

impl Answer for Appended {
    fn describe(operation: &mut Operation) {
        let receipt = operation.written::<Receipt>();
        let receipts = operation.written::<Receipts>();
        let results = operation.written::<Results>();
        let what = "The events are on stable storage: the receipt of one, or those of a batch.";
        operation
            .answers(200, what)
            .content(JSON, json!({ "oneOf": [receipt, receipts] }));
        operation
            .answers(
                207,
                "Some events of the batch are on stable storage (`atomic=false`).",
            )
            .content(JSON, results);
    }
}

impl IntoResponse for Appended {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Partly(_) => StatusCode::MULTI_STATUS,
            Self::One(_) | Self::Whole(_) => StatusCode::OK,
        };
        (status, Json(self)).into_response()
    }
}

/// The answer to a batch whose events stand for themselves; the first problem when none is in the log.
pub(super) fn each(results: Vec<Result<Receipt, Problem>>) -> Result<Appended, Problem> {
    let first = results.iter().find_map(|result| result.as_ref().err());
    let Some(first) = first.cloned() else {
        return Ok(results.into_iter().flatten().collect());
    };
    let is_any_accepted = results.iter().any(Result::is_ok);
    let results = results.into_iter().map(|result| match result {
        Ok(receipt) => ReceiptOrProblem::Receipt(receipt),
        Err(problem) => ReceiptOrProblem::Refused {
            problem: problem.to_json(),
        },
    });
    let results: Vec<_> = results.collect();
    if is_any_accepted {
        Ok(Appended::Partly(Results { results }))
    } else {
        Err(first.with("results", json!(results)))
    }
}

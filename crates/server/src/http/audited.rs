//! What operators do, and that it is written to the audit trail.

use axum::http::HeaderMap;
use serde::Serialize;
use serde_json::json;

use crate::context::Context;
use crate::problem::Problem;
pub(super) use crate::security::Loss;
use crate::security::{Caller, Operation};

/// Does `work`, with an entry before it and one after it, if there is an audit trail. The outcome is in
/// the second, so it must not hold what others may not read.
pub(super) async fn audited<T: Serialize>(
    context: &Context,
    caller: &Caller,
    operation: Operation,
    why: (&HeaderMap, Loss),
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let operating = context.operating();
    let begun = operating.begin(caller, operation, why).await?;
    let done = work.await;
    let outcome = done.as_ref().map(|outcome| json!(outcome));
    operating.end(begun, outcome.map_err(Problem::code)).await;
    done
}

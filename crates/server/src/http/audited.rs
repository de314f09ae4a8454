//! What operators do, and that it is written to the audit trail.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use serde::Serialize;
use serde_json::json;

use crate::context::Context;
use crate::openapi::{self, Input, Kind, Parameter, Place};
use crate::problem::{Code, Problem};
pub(super) use crate::security::Loss;
use crate::security::{Caller, Operation, check_reason};

/// The header with which operators say why, percent-encoded.
const REASON: &str = "ensue-reason";

const REASON_PARAMETER: Parameter = Parameter::new(
    REASON,
    Kind::Reason,
    "Why it is done, for the audit trail; percent-encoded where it is not ASCII. If there is a trail, what cannot be \
     taken back needs it.",
);

/// Why operators do something, if they said.
#[derive(Debug)]
pub(super) struct Why(HeaderMap);

impl<S: Sync> FromRequestParts<S> for Why {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let said = parts.headers.get_all(REASON).iter();
        let said = said.map(|value| (HeaderName::from_static(REASON), value.clone()));
        let said: HeaderMap = said.collect();
        // A rehearsal, which writes nothing, refuses what the operation would.
        check_reason(&said)?;
        Ok(Self(said))
    }
}

impl Input for Why {
    fn describe(operation: &mut openapi::Operation) {
        operation.takes(Place::Header, &REASON_PARAMETER);
        operation.refuses(&[Code::InvalidHeader, Code::ReasonRequired]);
    }
}

/// Does `work`, with an entry before it and one after it, if there is an audit trail. The outcome is in
/// the second, so it must not hold what others may not read.
pub(super) async fn audited<T: Serialize>(
    context: &Context,
    caller: &Caller,
    operation: Operation,
    (why, loss): (&Why, Loss),
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let operating = context.operating();
    let begun = operating.begin(caller, operation, (&why.0, loss)).await?;
    let done = work.await;
    let outcome = done.as_ref().map(|outcome| json!(outcome));
    operating.end(begun, outcome.map_err(Problem::code)).await;
    done
}

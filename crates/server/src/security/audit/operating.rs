//! What an operator does, between two entries of the audit trail: before it happens, and how it ended.

use std::time::Duration;

use axum::http::HeaderMap;
use ensue::Engine;
use percent_encoding::percent_decode;
use serde_json::Value;

use super::entry::{Operation, Reason};
use super::trail::{Begun, Trail};
use crate::problem::{Code, Problem};
use crate::security::caller::Caller;

/// The header with which operators say why, percent-encoded; to gRPC it is metadata.
const REASON: &str = "ensue-reason";

/// Whether something cannot be had back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    Nothing,
    /// The audit trail has to say why.
    Something,
}

/// The audit trail, if there is one, and the engine that has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operating<'a> {
    trail: Option<&'a Trail>,
    engine: &'a Engine,
    /// How long the engine may take for the first entry.
    timeout: Duration,
}

impl<'a> Operating<'a> {
    pub(crate) fn new(trail: Option<&'a Trail>, engine: &'a Engine, timeout: Duration) -> Self {
        Self {
            trail,
            engine,
            timeout,
        }
    }

    /// Writes that an operation begins, with the reason that `headers` give: what cannot be taken back
    /// needs one. What cannot be written does not happen.
    pub(crate) async fn begin(
        &self,
        caller: &Caller,
        mut operation: Operation,
        (headers, loss): (&HeaderMap, Loss),
    ) -> Result<Option<Begun>, Problem> {
        operation.reason = reason(headers)?;
        let Some(trail) = self.trail else {
            return Ok(None);
        };
        if operation.reason.is_none() && loss == Loss::Something {
            return Err(Problem::new(
                Code::ReasonRequired,
                "this cannot be taken back, and the audit trail has to say why it was done: send the header \
                 `Ensue-Reason` with a few words (to gRPC: metadata; the command `ensue` takes them from the \
                 variable ENSUE_REASON)",
            ));
        }
        let timeout = self.timeout;
        let begun = trail.begin(self.engine, caller, operation);
        let begun = tokio::time::timeout(timeout, begun).await.map_err(|_| {
            let detail = format!(
                "the engine did not take the entry of the audit trail within {timeout:?}, the limit \
                 `request_timeout`; nothing was done, try again"
            );
            Problem::new(Code::Timeout, detail)
        })??;
        Ok(Some(begun))
    }

    /// Writes how it ended. The outcome must not hold what others may not read.
    pub(crate) async fn end(&self, begun: Option<Begun>, outcome: Result<Value, Code>) {
        if let (Some(trail), Some(begun)) = (self.trail, begun) {
            trail.end(self.engine, begun, outcome).await;
        }
    }
}

/// Refuses a reason that is none, also where none is needed.
pub(crate) fn check_reason(headers: &HeaderMap) -> Result<(), Problem> {
    reason(headers).map(drop)
}

fn reason(headers: &HeaderMap) -> Result<Option<Reason>, Problem> {
    let Some(value) = headers.get(REASON) else {
        return Ok(None);
    };
    let text = percent_decode(value.as_bytes()).decode_utf8();
    let reason = text.ok().and_then(|text| Reason::new(&text));
    reason.map(Some).ok_or_else(|| {
        Problem::new(
            Code::InvalidHeader,
            "the header `Ensue-Reason` is not a reason: expected up to 1000 bytes of text, percent-encoded \
             where it is not ASCII",
        )
    })
}

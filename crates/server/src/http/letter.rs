//! A dead letter as clients see it, and how many of those that hold whole events are listed.

use ensue::engine::{DeadLetter, DeathCause};
use ensue::{Envelope, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::value::RawValue;

use super::place::Place;
use super::query::{Query, invalid};
use crate::openapi::{Kind, Parameter, Time, one_of};
use crate::problem::Problem;
use crate::security::Caller;

/// How many are listed, unless it is said, and at the most: the engine reads their events for that.
const LISTED: usize = 100;
pub(super) const LISTED_MAX: usize = 200;

/// What says how many are listed.
pub(super) const LIMIT: Parameter = Parameter::new(
    "limit",
    Kind::Number {
        min: 1,
        max: Some(LISTED_MAX as u64),
        default: Some(LISTED as u64),
    },
    "How many at the most.",
);

/// A dead letter without its event.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeadLetter")]
pub(super) struct Letter {
    group: String,
    position: Place,
    id: String,
    source: String,
    topic: String,
    #[serde(rename = "type")]
    kind: String,
    key: String,
    #[schemars(schema_with = "causes")]
    cause: DeathCause,
    reason: String,
    attempts: u32,
    #[schemars(with = "Time")]
    died: Timestamp,
    /// How many later events of its key wait behind it.
    parked: usize,
    /// How often it was redriven before.
    redriven: u32,
    /// Why the event cannot be read, if it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    damaged: Option<String>,
}

pub(super) fn causes(_: &mut SchemaGenerator) -> Schema {
    one_of(&[
        DeathCause::Undecodable,
        DeathCause::Rejected,
        DeathCause::Exhausted,
        DeathCause::Crashed,
        DeathCause::Refused,
    ])
}

impl Letter {
    pub(super) fn of(letter: &DeadLetter) -> Self {
        Self {
            group: letter.group.clone(),
            position: Place(letter.position),
            id: letter.event.id().to_owned(),
            source: letter.event.source().to_owned(),
            topic: letter.topic.clone(),
            kind: letter.event_type.clone(),
            key: letter.key.clone(),
            cause: letter.cause,
            reason: letter.reason.clone(),
            attempts: letter.attempts,
            died: letter.died,
            parked: letter.parked,
            redriven: letter.redriven,
            damaged: letter.envelope.as_ref().err().cloned(),
        }
    }
}

/// An event as it stands in JSON, as the caller may see it, or why it cannot be read.
pub(super) fn event(
    caller: &Caller,
    envelope: &Result<Envelope, String>,
) -> (Option<Box<RawValue>>, Option<String>) {
    match envelope {
        Ok(envelope) => {
            let mut envelope = envelope.clone();
            if let Err(problem) = caller.disclose(&mut envelope) {
                return (None, Some(problem.detail().to_owned()));
            }
            let text = RawValue::from_string(envelope.to_cloudevent().to_string());
            (text.ok(), None)
        }
        Err(problem) => (None, Some(problem.clone())),
    }
}

/// How many a list has.
pub(super) fn limit(query: &Query) -> Result<usize, Problem> {
    let limit = query.value("limit", "expected a number")?.unwrap_or(LISTED);
    if !(1..=LISTED_MAX).contains(&limit) {
        return Err(invalid(
            "limit",
            &format!("is {limit}; expected 1 to {LISTED_MAX}"),
        ));
    }
    Ok(limit)
}

//! A process of a saga and its path, as clients see them.

use ensue::engine::DeathCause;
use ensue::{SagaEntry, SagaMoment, SagaPhase, SagaProcess, SagaStuck, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use crate::http::letter;
use crate::http::place::Place;
use crate::openapi::{Time, one_of};

/// What a process is stuck at: one of its events is a dead letter.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SagaStuck")]
pub(super) struct Stuck {
    position: Place,
    #[serde(rename = "type")]
    event_type: String,
    #[schemars(schema_with = "letter::causes")]
    cause: DeathCause,
    /// The last failure.
    reason: String,
    attempts: u32,
    #[schemars(with = "Time")]
    died: Timestamp,
    /// How many later events of the process wait behind it.
    parked: usize,
    /// How often it was handed back before.
    redriven: u32,
}

impl Stuck {
    fn of(stuck: SagaStuck) -> Self {
        Self {
            position: Place(stuck.position),
            event_type: stuck.event_type,
            cause: stuck.cause,
            reason: stuck.reason,
            attempts: stuck.attempts,
            died: stuck.died,
            parked: stuck.parked,
            redriven: stuck.redriven,
        }
    }
}

/// A process that runs.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SagaProcess")]
pub(super) struct Process {
    saga: String,
    key: String,
    #[schemars(schema_with = "phases")]
    phase: SagaPhase,
    /// The step that is due, waits, or is to be undone next; empty before there is one.
    step: String,
    /// Its number, from 0.
    number: usize,
    /// Why it is undone.
    reason: Option<String>,
    /// When what it waits for has to have come.
    #[schemars(with = "Option<Time>")]
    until: Option<Timestamp>,
    /// Why it does not go on by itself, if it does not.
    stuck: Option<Stuck>,
}

fn phases(_: &mut SchemaGenerator) -> Schema {
    one_of(&[
        SagaPhase::Beginning,
        SagaPhase::Acting,
        SagaPhase::Waiting,
        SagaPhase::Undoing,
    ])
}

impl Process {
    pub(super) fn of(process: SagaProcess) -> Self {
        Self {
            saga: process.saga,
            key: process.key,
            phase: process.phase,
            step: process.step,
            number: process.number,
            reason: process.reason,
            until: process.until,
            stuck: process.stuck.map(Stuck::of),
        }
    }
}

/// One event of the path of a process.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SagaEntry")]
pub(super) struct Entry {
    position: Place,
    #[schemars(with = "Time")]
    appended: Timestamp,
    /// What it says of the process: an event has come (`taken`), a step is due (`due`) or to be undone (`undo`), it
    /// waits (`waiting`), its time is over (`timed_out`), somebody wants it undone (`compensate`), it has ended.
    #[schemars(schema_with = "whats")]
    what: &'static str,
    /// The type of an event that has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    event_type: Option<String>,
    /// The step.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    step: Option<String>,
    /// The number of the step, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "usize")]
    number: Option<usize>,
    /// When what it waits for has to have come.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Time")]
    until: Option<Timestamp>,
    /// Why it is undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    reason: Option<String>,
    /// Whether all steps are done, of a process that has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    is_done: Option<bool>,
    /// How many attempts it took to handle it, once that is known.
    attempts: Option<u32>,
    /// Why the process is stuck here, if it is.
    stuck: Option<Stuck>,
}

fn whats(_: &mut SchemaGenerator) -> Schema {
    one_of(&[
        "taken",
        "due",
        "undo",
        "waiting",
        "timed_out",
        "compensate",
        "ended",
        "unknown",
    ])
}

impl Entry {
    pub(super) fn of(entry: SagaEntry) -> Self {
        let shown = Self {
            position: Place(entry.position),
            appended: entry.appended,
            what: "unknown",
            event_type: None,
            step: None,
            number: None,
            until: None,
            reason: None,
            is_done: None,
            attempts: entry.attempts,
            stuck: entry.stuck.map(Stuck::of),
        };
        match entry.moment {
            SagaMoment::Taken { event_type } => Self {
                what: "taken",
                event_type: Some(event_type),
                ..shown
            },
            SagaMoment::Due { step, number } => Self {
                what: "due",
                step: Some(step),
                number: Some(number),
                ..shown
            },
            SagaMoment::Undo {
                step,
                number,
                reason,
            } => Self {
                what: "undo",
                step: Some(step),
                number: Some(number),
                reason,
                ..shown
            },
            SagaMoment::Waiting { step, until } => Self {
                what: "waiting",
                step: Some(step),
                until: Some(until),
                ..shown
            },
            SagaMoment::TimedOut { step } => Self {
                what: "timed_out",
                step: Some(step),
                ..shown
            },
            SagaMoment::Compensate { reason } => Self {
                what: "compensate",
                reason: Some(reason),
                ..shown
            },
            SagaMoment::Ended { is_done, reason } => Self {
                what: "ended",
                is_done: Some(is_done),
                reason,
                ..shown
            },
            _ => shown,
        }
    }
}

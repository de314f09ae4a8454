//! What happens to a process, in the topic of its saga.

use serde::{Deserialize, Serialize};

use crate::Event;
use crate::outgoing::Outgoing;
use crate::time::Timestamp;

/// A step is due.
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(type = "saga.step", topic = "sagas.{saga}")]
pub(super) struct StepDue {
    pub(super) saga: String,
    /// Its number, from 0.
    pub(super) step: usize,
    /// Its name, for those who read the path.
    pub(super) name: String,
    /// Whether it is to be undone.
    pub(super) undo: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// How many attempts it took to come here: those at the event that this one follows from.
    #[serde(default)]
    pub(super) attempts: u32,
}

/// A step waits. No one handles it: it is there for those who read the path.
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(type = "saga.waiting", topic = "sagas.{saga}")]
pub(super) struct Waiting {
    pub(super) saga: String,
    /// The name of the step.
    pub(super) name: String,
    /// When what it waits for has to have come.
    pub(super) until: Timestamp,
    #[serde(default)]
    pub(super) attempts: u32,
}

/// What a step waited for has not come.
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(type = "saga.timeout", topic = "sagas.{saga}")]
pub(super) struct TimedOut {
    pub(super) saga: String,
    /// The name of the step.
    pub(super) name: String,
    /// Which wait of the process it was.
    pub(super) wait: u64,
}

/// Somebody wants the process to be undone.
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(type = "saga.compensate", topic = "sagas.{saga}")]
pub(super) struct Compensate {
    #[serde(default)]
    pub(super) saga: String,
    pub(super) reason: String,
}

/// The process has ended.
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(type = "saga.ended", topic = "sagas.{saga}")]
pub(super) struct Ended {
    pub(super) saga: String,
    /// Whether all steps are done; otherwise all that were begun are undone.
    pub(super) is_done: bool,
    /// Why they are undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(default)]
    pub(super) attempts: u32,
}

/// An event of one process.
pub(super) fn of(key: &str, event: impl Event) -> Outgoing {
    Outgoing::new(event).key(key)
}

//! How far a process is: what a saga remembers of it beside its state.

use serde::{Deserialize, Serialize};

use crate::engine::SharedEngine;
use crate::state::{self, State, StateError};
use crate::time::Timestamp;

/// How far a process is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The step that is due, that waits, or that is to be undone next.
    pub(super) step: usize,
    pub(super) name: String,
    pub(super) phase: SagaPhase,
    /// Why it is undone.
    pub(super) reason: Option<String>,
    /// How often it has waited: tells one timeout from another.
    pub(super) waits: u64,
    /// When what it waits for has to have come.
    #[serde(default)]
    pub(super) until: Option<Timestamp>,
}

impl State for Progress {
    const NAME: &'static str = "saga.progress";
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SagaPhase {
    /// Nothing is due yet: the event that would begin it is stuck.
    Beginning,
    /// A step is due.
    Acting,
    /// A step waits for an event.
    Waiting,
    /// Steps are undone.
    Undoing,
}

/// A process that runs, as of its last commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SagaStatus<S> {
    /// What it does. One that is stuck has a dead letter beside it.
    pub phase: SagaPhase,
    /// The name of the step that is due, waits, or is to be undone next.
    pub step: String,
    /// Its number, from 0.
    pub number: usize,
    /// Why it is undone.
    pub reason: Option<String>,
    /// The state of the process.
    pub state: S,
}

pub(super) async fn status<S: State>(
    engine: &SharedEngine,
    group: &str,
    topic: &str,
    key: &str,
) -> Result<Option<SagaStatus<S>>, StateError> {
    let Some(progress) = engine.state(group, topic, key, Progress::NAME).await? else {
        return Ok(None);
    };
    let Progress {
        step,
        name,
        phase,
        reason,
        ..
    } = state::decode(&progress)?;
    // A commit that ends the process may come in between.
    let Some(state) = engine.state(group, topic, key, S::NAME).await? else {
        return Ok(None);
    };
    Ok(Some(SagaStatus {
        phase,
        step: name,
        number: step,
        reason,
        state: state::decode(&state)?,
    }))
}

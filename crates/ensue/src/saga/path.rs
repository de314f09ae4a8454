//! The path of a process: what its topic tells of it, as people read it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::events::{Compensate, Ended, StepDue, TimedOut, Waiting};
use super::stuck::SagaStuck;
use crate::engine::{Cursor, Position, Recorded};
use crate::event::{Envelope, Event};
use crate::time::Timestamp;

/// A part of the path of a process, oldest first. A key that was used again has one path for all its processes;
/// each ends with [`SagaMoment::Ended`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SagaPath {
    /// What has happened.
    pub entries: Vec<SagaEntry>,
    /// Where to go on.
    pub next: Cursor,
    /// Whether this was all there is.
    pub is_end: bool,
}

/// One event of the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SagaEntry {
    /// Where it is.
    pub position: Position,
    /// When it was appended.
    pub appended: Timestamp,
    /// What it says.
    #[serde(flatten)]
    pub moment: SagaMoment,
    /// How many attempts it took to handle it, once something has followed from it, or it is a dead letter.
    pub attempts: Option<u32>,
    /// Why the process is stuck here, if it is.
    pub stuck: Option<SagaStuck>,
}

/// What an event says of its process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[non_exhaustive]
pub enum SagaMoment {
    /// An event has come that begins a process, or that it takes.
    Taken {
        /// Its type.
        event_type: String,
    },
    /// A step is due: from here on it may have to be undone.
    Due {
        /// Its name.
        step: String,
        /// Its number, from 0.
        number: usize,
    },
    /// A step is to be undone.
    Undo {
        /// Its name.
        step: String,
        /// Its number, from 0.
        number: usize,
        /// Why.
        reason: Option<String>,
    },
    /// A step waits.
    Waiting {
        /// Its name.
        step: String,
        /// When what it waits for has to have come.
        until: Timestamp,
    },
    /// What a step waited for has not come, unless it came at the same moment.
    TimedOut {
        /// Its name.
        step: String,
    },
    /// Somebody wants the process to be undone.
    Compensate {
        /// Why.
        reason: String,
    },
    /// The process has ended.
    Ended {
        /// Whether all steps are done; otherwise all that were begun are undone.
        is_done: bool,
        /// Why they are undone.
        reason: Option<String>,
    },
}

impl SagaPath {
    /// The path that these events are; `stuck` is the one that is a dead letter.
    pub(super) fn of(events: &[Recorded], stuck: Option<&SagaStuck>) -> Vec<SagaEntry> {
        let mut entries: Vec<SagaEntry> = Vec::with_capacity(events.len());
        let mut by_id = BTreeMap::new();
        for (index, recorded) in events.iter().enumerate() {
            let event = &recorded.envelope;
            let (moment, attempts) = SagaMoment::of(event);
            // What follows from an event tells how often that was tried.
            let cause = event.causation().and_then(|id| by_id.get(id).copied());
            if let Some(cause) = cause.and_then(|index: usize| entries.get_mut(index)) {
                cause.attempts = attempts.or(cause.attempts);
            }
            by_id.insert(event.id(), index);
            let stuck = stuck.filter(|it| it.position == recorded.position).cloned();
            entries.push(SagaEntry {
                position: recorded.position,
                appended: recorded.appended,
                moment,
                attempts: stuck.as_ref().map(|it| it.attempts),
                stuck,
            });
        }
        entries
    }
}

impl SagaMoment {
    /// What an event means, and how many attempts led to it. Anybody may publish to the topic: what does not
    /// say what its type says it does is an event like others.
    fn of(event: &Envelope) -> (Self, Option<u32>) {
        Self::own(event).unwrap_or_else(|| {
            let event_type = event.event_type().to_owned();
            (Self::Taken { event_type }, None)
        })
    }

    /// What the saga itself has said.
    fn own(event: &Envelope) -> Option<(Self, Option<u32>)> {
        let known = |attempts: u32| Some(attempts).filter(|it| *it > 0);
        Some(match event.event_type() {
            StepDue::TYPE => {
                let due: StepDue = event.decode().ok()?;
                let (step, number) = (due.name, due.step);
                let moment = match due.undo {
                    true => Self::Undo {
                        step,
                        number,
                        reason: due.reason,
                    },
                    false => Self::Due { step, number },
                };
                (moment, known(due.attempts))
            }
            Waiting::TYPE => {
                let waiting: Waiting = event.decode().ok()?;
                let moment = Self::Waiting {
                    step: waiting.name,
                    until: waiting.until,
                };
                (moment, known(waiting.attempts))
            }
            TimedOut::TYPE => {
                let step = event.decode::<TimedOut>().ok()?.name;
                (Self::TimedOut { step }, None)
            }
            Compensate::TYPE => {
                let reason = event.decode::<Compensate>().ok()?.reason;
                (Self::Compensate { reason }, None)
            }
            Ended::TYPE => {
                let ended: Ended = event.decode().ok()?;
                let moment = Self::Ended {
                    is_done: ended.is_done,
                    reason: ended.reason,
                };
                (moment, known(ended.attempts))
            }
            _ => return None,
        })
    }
}

/// The steps that a process has begun, by number: those of earlier processes of the key are left out.
#[derive(Debug, Default)]
pub(super) struct Begun(BTreeMap<usize, String>);

impl Begun {
    pub(super) fn note(&mut self, entry: &SagaEntry) {
        match &entry.moment {
            SagaMoment::Due { step, number } => drop(self.0.insert(*number, step.clone())),
            SagaMoment::Ended { .. } => self.0.clear(),
            _ => {}
        }
    }

    /// The names of those up to `last`, in the order in which they are undone.
    pub(super) fn undone_from(self, last: usize) -> Vec<String> {
        self.0
            .into_iter()
            .rev()
            .filter(|(number, _)| *number <= last)
            .map(|(_, name)| name)
            .collect()
    }
}

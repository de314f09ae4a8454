//! What became of a batch that went out by way of the shared log.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use ensue_log as log;

use super::super::failure;
use crate::error::{Error, Result};

/// A batch on its way; a clone is a second handle.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Ticket(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    outcome: Option<Result<log::Receipt, Refusal>>,
    waiting: Vec<Waker>,
}

/// Why the fold did not take a batch. Nothing of it happened.
#[derive(Clone, Debug)]
pub(in super::super) enum Refusal {
    Conflict(Box<log::Conflict>),
    /// The member has been replaced, or its process was taken for dead.
    Fenced(String),
    /// Another process did it first.
    Overtaken(&'static str),
    /// It cannot be, and why.
    Impossible(String),
    /// The server has something else than it had.
    Corrupt(String),
    /// The server does not let this process do what it needs.
    Unfit {
        server: String,
        reason: String,
        advice: String,
    },
    /// Another log is being copied into this one: nothing else may be written.
    Migrating(String),
    /// The engine stopped.
    Stopped(String),
    Closed,
}

impl Refusal {
    /// What an engine refuses that stopped for `error`: everything, with the same kind of error.
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::Corrupt(why) => Self::Corrupt(why.clone()),
            Error::Unfit {
                server,
                reason,
                advice,
            } => Self::Unfit {
                server: server.clone(),
                reason: reason.clone(),
                advice: advice.clone(),
            },
            Error::Closed => Self::Closed,
            Error::Stopped(why) => Self::Stopped(why.clone()),
            other => Self::Stopped(other.to_string()),
        }
    }
}

impl Ticket {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what became of the batch; the first word counts.
    pub(super) fn resolve(&self, outcome: Result<log::Receipt, Refusal>) {
        let waiting = {
            let mut state = self.state();
            state.outcome.get_or_insert(outcome);
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Future for Ticket {
    type Output = Result<log::Receipt>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.state();
        if let Some(outcome) = &state.outcome {
            return Poll::Ready(outcome.clone().map_err(Error::from));
        }
        let waker = context.waker();
        if !state.waiting.iter().any(|it| it.will_wake(waker)) {
            state.waiting.push(waker.clone());
        }
        Poll::Pending
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Conflict(conflict) => failure::of_log(log::Error::Conflict(conflict)),
            Refusal::Fenced(group) => Self::Fenced { group },
            Refusal::Overtaken(what) => Self::Overtaken { what },
            Refusal::Impossible(why) => Self::Configuration(why),
            Refusal::Corrupt(why) => Self::Corrupt(why),
            Refusal::Unfit {
                server,
                reason,
                advice,
            } => Self::Unfit {
                server,
                reason,
                advice,
            },
            Refusal::Migrating(why) => Self::Migration(why),
            Refusal::Stopped(why) => Self::Stopped(why),
            Refusal::Closed => Self::Closed,
        }
    }
}

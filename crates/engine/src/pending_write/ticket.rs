//! What became of a batch that went out by way of the shared log.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use ensue_log as log;

use crate::error::{Error, Result};
use crate::model::refusal::Refusal;

/// A batch on its way; a clone is a second handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ticket(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    outcome: Option<Result<log::Receipt, Refusal>>,
    waiting: Vec<Waker>,
}

impl Ticket {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what became of the batch; the first word counts.
    pub(crate) fn resolve(&self, outcome: Result<log::Receipt, Refusal>) {
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

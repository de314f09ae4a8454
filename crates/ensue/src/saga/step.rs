//! A step: what it does, and how that is undone.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};

use crate::effect::{Effects, IntoEffects};
use crate::failure::Failure;
use crate::service::Context;

/// One step of a [`Saga`](super::Saga) with the state `S`: a struct with what it needs to be done.
///
/// Both methods may be called again after a crash, with the same [`Context::id`]: it is the idempotency key for
/// what reaches outside the log. What they change in the state counts once they have succeeded.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a step of a saga with the state `{S}`",
    note = "implement `Step<{S}>` for it"
)]
pub trait Step<S>: Send + Sync + 'static {
    /// Its name, for people.
    const NAME: &'static str;

    /// Does the step, or says what it waits for. After a wait it is called again: note in the state what was
    /// done.
    ///
    /// # Errors
    /// A failure is tried again; a rejection, and one at the last attempt, has the saga undone.
    fn act(
        &self,
        state: &mut S,
        context: &Context,
    ) -> impl Future<Output = Result<Flow, Failure>> + Send;

    /// Undoes the step, which may be done, half done or not begun. Default: nothing has to be undone.
    ///
    /// # Errors
    /// A failure is tried again; after the last attempt it is a dead letter, and the process is parked.
    fn undo(
        &self,
        state: &mut S,
        context: &Context,
    ) -> impl Future<Output = Result<Effects, Failure>> + Send {
        let _ = (state, context);
        std::future::ready(Ok(Effects::none()))
    }
}

/// How a saga goes on after a step.
#[derive(Clone, Debug)]
#[must_use = "the saga goes on as the step says"]
pub struct Flow {
    pub(super) way: Way,
    pub(super) effects: Effects,
}

#[derive(Clone, Debug)]
pub(super) enum Way {
    Next,
    Wait(Duration),
    Abort(String),
}

impl Flow {
    fn of(way: Way) -> Self {
        Self {
            way,
            effects: Effects::none(),
        }
    }

    /// The step is done: to the next one.
    pub fn next() -> Self {
        Self::of(Way::Next)
    }

    /// The step waits for an event, for so long: then the saga is undone, this step included.
    pub fn wait(at_most: Duration) -> Self {
        Self::of(Way::Wait(at_most))
    }

    /// The step has done nothing, and the saga is to be undone, for this reason: what the rules of the business
    /// say, no failure.
    pub fn abort(reason: impl Into<String>) -> Self {
        Self::of(Way::Abort(reason.into()))
    }

    /// Commits `more` with the step: events for others, schedules.
    pub fn and(mut self, more: impl IntoEffects) -> Self {
        self.effects = self.effects.and(more);
        self
    }
}

/// A step of any type.
pub(super) struct AnyStep<S> {
    pub(super) name: &'static str,
    calls: Box<dyn Calls<S>>,
}

impl<S: Send + 'static> AnyStep<S> {
    pub(super) fn new<T: Step<S>>(step: T) -> Self {
        Self {
            name: T::NAME,
            calls: Box::new(step),
        }
    }

    pub(super) fn act<'a>(
        &'a self,
        state: &'a mut S,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Flow, Failure>> {
        self.calls.act(state, context)
    }

    pub(super) fn undo<'a>(
        &'a self,
        state: &'a mut S,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Effects, Failure>> {
        self.calls.undo(state, context)
    }
}

trait Calls<S>: Send + Sync {
    fn act<'a>(
        &'a self,
        state: &'a mut S,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Flow, Failure>>;

    fn undo<'a>(
        &'a self,
        state: &'a mut S,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Effects, Failure>>;
}

impl<S: Send, T: Step<S>> Calls<S> for T {
    fn act<'a>(
        &'a self,
        state: &'a mut S,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Flow, Failure>> {
        Step::act(self, state, context).boxed()
    }

    fn undo<'a>(
        &'a self,
        state: &'a mut S,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Effects, Failure>> {
        Step::undo(self, state, context).boxed()
    }
}

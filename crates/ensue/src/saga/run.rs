//! The transitions of a process: each gives everything that one commit holds.

use std::time::Duration;

use super::early;
use super::events::{self, Compensate, Ended, StepDue, TimedOut, Waiting};
use super::progress::{Progress, SagaPhase};
use super::step::{AnyStep, Flow, Way};
use crate::effect::Effects;
use crate::failure::Failure;
use crate::service::Context;
use crate::state::State;

/// The steps of a saga.
pub(super) struct Run<S> {
    saga: String,
    steps: Vec<AnyStep<S>>,
    attempts: u32,
}

type Transition = Result<Effects, Failure>;

impl<S: State> Run<S> {
    pub(super) fn new(saga: String, steps: Vec<AnyStep<S>>, attempts: u32) -> Self {
        Self {
            saga,
            steps,
            attempts,
        }
    }

    /// A process begins, unless it runs already.
    pub(super) async fn begin(&self, state: S, context: &Context) -> Transition {
        if context.is_held_back() || context.state::<Progress>().await?.is_some() {
            tracing::debug!(
                saga = context.group(),
                key = context.key(),
                "nothing begins"
            );
            return Ok(Effects::none());
        }
        let progress = Progress {
            step: 0,
            name: String::new(),
            phase: SagaPhase::Acting,
            reason: None,
            waits: 0,
            until: None,
        };
        Ok(self.act_next(progress, state, context))
    }

    /// An event has come that the process takes. A step that waits is called again.
    pub(super) async fn take(&self, take: impl FnOnce(&mut S), context: &Context) -> Transition {
        let Some((mut progress, mut state)) = self.running(context).await? else {
            return Ok(early::look_again(context)?);
        };
        take(&mut state);
        if progress.phase != SagaPhase::Waiting {
            return Ok(Effects::none().set_state(state));
        }
        progress.phase = SagaPhase::Acting;
        progress.until = None;
        let effects = Effects::none().cancel(timer(context));
        Ok(effects.and(self.act_next(progress, state, context)))
    }

    /// A step is due.
    pub(super) async fn step(&self, due: StepDue, context: &Context) -> Transition {
        let Some((progress, state)) = self.running(context).await? else {
            return Ok(Effects::none());
        };
        let phase = match due.undo {
            true => SagaPhase::Undoing,
            false => SagaPhase::Acting,
        };
        // It was decided otherwise meanwhile.
        if (progress.step, progress.phase) != (due.step, phase) {
            return Ok(Effects::none());
        }
        let Some(step) = self.steps.get(due.step) else {
            return Err(Failure::reject(format!(
                "the saga has no step {}, `{}`: it has {} steps now; run it with those that its processes \
                 have begun with",
                due.step,
                due.name,
                self.steps.len()
            )));
        };
        match due.undo {
            true => self.undo(step, progress, state, context).await,
            false => self.act(step, progress, state, context).await,
        }
    }

    async fn act(
        &self,
        step: &AnyStep<S>,
        mut progress: Progress,
        mut state: S,
        context: &Context,
    ) -> Transition {
        let flow = match step.act(&mut state, context).await {
            Ok(flow) => flow,
            Err(failure) if failure.is_reject() || context.attempt() >= self.attempts => {
                // What the attempt has changed in the state does not count.
                let Some((progress, state)) = self.running(context).await? else {
                    return Ok(Effects::none());
                };
                let last = Some(progress.step);
                return Ok(self.undo_from(last, failure.to_string(), progress, state, context));
            }
            Err(failure) => return Err(failure),
        };
        let Flow { way, effects } = flow;
        Ok(effects.and(match way {
            Way::Next => {
                progress.step += 1;
                self.act_next(progress, state, context)
            }
            Way::Wait(at_most) => self.wait(at_most, progress, state, context),
            Way::Abort(reason) => {
                let last = progress.step.checked_sub(1);
                self.undo_from(last, reason, progress, state, context)
            }
        }))
    }

    async fn undo(
        &self,
        step: &AnyStep<S>,
        progress: Progress,
        mut state: S,
        context: &Context,
    ) -> Transition {
        let effects = step.undo(&mut state, context).await?;
        let last = progress.step.checked_sub(1);
        let reason = progress.reason.clone().unwrap_or_default();
        Ok(effects.and(self.undo_from(last, reason, progress, state, context)))
    }

    /// What was waited for has not come.
    pub(super) async fn time_out(&self, timeout: TimedOut, context: &Context) -> Transition {
        match self.running(context).await? {
            Some((progress, state))
                if progress.phase == SagaPhase::Waiting && progress.waits == timeout.wait =>
            {
                let reason = format!("what `{}` waits for has not come in time", progress.name);
                let last = Some(progress.step);
                Ok(self.undo_from(last, reason, progress, state, context))
            }
            // It has come meanwhile, or the process has ended.
            _ => Ok(Effects::none()),
        }
    }

    /// Somebody wants the process to be undone.
    pub(super) async fn compensate(&self, wish: Compensate, context: &Context) -> Transition {
        match self.running(context).await? {
            Some((progress, state)) if progress.phase != SagaPhase::Undoing => {
                let last = Some(progress.step);
                Ok(self.undo_from(last, wish.reason, progress, state, context))
            }
            // It is undone already: the step that failed is due again.
            Some((progress, state)) => {
                let (last, reason) = (progress.step, progress.reason.clone());
                let reason = reason.unwrap_or(wish.reason);
                Ok(self.undo_from(Some(last), reason, progress, state, context))
            }
            None => Ok(Effects::none()),
        }
    }

    /// The process, if it runs. What is handled again after a reset, with its effects held back, was done:
    /// no step is called for it.
    async fn running(&self, context: &Context) -> Result<Option<(Progress, S)>, Failure> {
        if context.is_held_back() {
            return Ok(None);
        }
        let progress = context.state::<Progress>().await?;
        let state = context.state::<S>().await?;
        Ok(progress.zip(state))
    }

    /// The step that the progress names is due, or all are done.
    fn act_next(&self, mut progress: Progress, state: S, context: &Context) -> Effects {
        let Some(step) = self.steps.get(progress.step) else {
            return self.end(true, None, context);
        };
        step.name.clone_into(&mut progress.name);
        self.due(progress, state, context)
    }

    /// The steps up to `last` are to be undone, that one first; or all are.
    fn undo_from(
        &self,
        last: Option<usize>,
        reason: String,
        progress: Progress,
        state: S,
        context: &Context,
    ) -> Effects {
        let was_waiting = progress.phase == SagaPhase::Waiting;
        let effects = match was_waiting {
            true => Effects::none().cancel(timer(context)),
            false => Effects::none(),
        };
        let step = last.and_then(|last| Some((last, self.steps.get(last)?)));
        effects.and(match step {
            None => self.end(false, Some(reason), context),
            Some((step, of)) => {
                let progress = Progress {
                    step,
                    name: of.name.to_owned(),
                    phase: SagaPhase::Undoing,
                    reason: Some(reason),
                    waits: progress.waits,
                    until: None,
                };
                self.due(progress, state, context)
            }
        })
    }

    /// Commits that a step is due, before it is called: that it may have to be undone is known from then on.
    fn due(&self, progress: Progress, state: S, context: &Context) -> Effects {
        let due = StepDue {
            saga: self.saga.clone(),
            step: progress.step,
            name: progress.name.clone(),
            undo: progress.phase == SagaPhase::Undoing,
            reason: progress.reason.clone(),
            attempts: context.attempt(),
        };
        Effects::none()
            .set_state(progress)
            .set_state(state)
            .publish(events::of(context.key(), due))
    }

    fn wait(
        &self,
        at_most: Duration,
        mut progress: Progress,
        state: S,
        context: &Context,
    ) -> Effects {
        let until = context.clock().now().plus(at_most);
        progress.phase = SagaPhase::Waiting;
        progress.waits += 1;
        progress.until = Some(until);
        let waiting = Waiting {
            saga: self.saga.clone(),
            name: progress.name.clone(),
            until,
            attempts: context.attempt(),
        };
        let timeout = TimedOut {
            saga: self.saga.clone(),
            name: progress.name.clone(),
            wait: progress.waits,
        };
        Effects::none()
            .set_state(progress)
            .set_state(state)
            .publish(events::of(context.key(), waiting))
            .set_timer(timer(context), until, events::of(context.key(), timeout))
    }

    /// Forgets the process: all that it has left is its path.
    fn end(&self, is_done: bool, reason: Option<String>, context: &Context) -> Effects {
        let ended = Ended {
            saga: self.saga.clone(),
            is_done,
            reason,
            attempts: context.attempt(),
        };
        Effects::none()
            .clear_state::<Progress>()
            .clear_state::<S>()
            .publish(events::of(context.key(), ended))
    }
}

/// The timer of a process: it waits for one thing at a time. A name has a limit, and a key may be longer.
fn timer(context: &Context) -> String {
    let key = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, context.key().as_bytes());
    format!("saga-{key}")
}

//! One attempt at one event: its turn, and the handler's call with its panic and its timeout
//! contained.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::{AcquireError, OwnedSemaphorePermit};

use super::Dispatch;
use super::routes::Route;
use crate::contained::{Contained, contained};
use crate::effect::Effects;
use crate::failure::Failure;
use crate::metrics::GroupCounters;
use crate::request;
use crate::service::middleware::Next;
use crate::service::{Context, HandlerFuture};
use crate::time::{WaitsFor, Watch, unwatched};

/// How an attempt began.
pub(super) enum Begun {
    /// With its first poll, as most do.
    Ended(Result<Effects, Failure>),
    Waiting(Waiting),
}

/// What an attempt waits for.
pub(super) enum Waiting {
    /// Its handler's turn: nothing is called yet, and no time counts.
    Turn(BoxFuture<'static, Result<Turn, AcquireError>>),
    /// What the handler waits for.
    Call(Call),
}

/// One of the events that a handler takes at the same time.
type Turn = OwnedSemaphorePermit;

/// A call whose first poll did not end it: from then on it needs a timer.
pub(super) struct Call {
    future: Contained<HandlerFuture>,
    timeout: BoxFuture<'static, ()>,
    /// Given back with the future, after it.
    _turn: Option<Turn>,
}

/// Calls the handler and polls it once, unless all its turns are taken. A panic in either becomes
/// the attempt's failure.
pub(super) fn begin(
    dispatch: &Dispatch,
    route: &Route,
    context: Context,
    cx: &mut TaskContext<'_>,
) -> Begun {
    let Some(limit) = &route.limit else {
        return call(dispatch, route, context, None, cx);
    };
    match limit.clone().try_acquire_owned() {
        Ok(turn) => call(dispatch, route, context, Some(turn), cx),
        Err(_) => Begun::Waiting(Waiting::Turn(limit.clone().acquire_owned().boxed())),
    }
}

/// Calls the handler and polls it once. Its timeout begins here.
fn call(
    dispatch: &Dispatch,
    route: &Route,
    context: Context,
    turn: Option<Turn>,
    cx: &mut TaskContext<'_>,
) -> Begun {
    let call = || match dispatch.layers.is_empty() {
        true => route.handler.call(context),
        false => Next::new(dispatch.layers.clone(), route.handler.clone()).run(context),
    };
    let first = contained(|| {
        let mut future = call();
        match future.as_mut().poll(cx) {
            Poll::Ready(outcome) => Ok(outcome),
            Poll::Pending => Err(future),
        }
    });
    match first {
        Ok(Ok(outcome)) => Begun::Ended(outcome),
        Ok(Err(future)) => {
            let timeout = route.handler.options().timeout;
            Begun::Waiting(Waiting::Call(Call {
                future: Contained::new(future),
                timeout: dispatch.engine.clock().sleep(timeout),
                _turn: turn,
            }))
        }
        Err(panic) => Begun::Ended(Err(panicked(dispatch, &panic))),
    }
}

/// An attempt that waits for something. Completes with the event and what its handler said.
pub(super) struct Attempt {
    context: Context,
    route: Arc<Route>,
    waiting: Waiting,
    dispatch: Arc<Dispatch>,
    /// On a clock that a test moves.
    watch: Option<Watch>,
}

impl Attempt {
    /// Goes on with an attempt that did not end at once.
    pub(super) fn waiting(
        dispatch: Arc<Dispatch>,
        route: Arc<Route>,
        context: Context,
        waiting: Waiting,
    ) -> Self {
        let watch = dispatch.engine.clock().resting().map(Watch::new);
        Self {
            context,
            route,
            waiting,
            dispatch,
            watch,
        }
    }

    fn poll_outcome(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Effects, Failure>> {
        if let Waiting::Turn(turn) = &mut self.waiting {
            let turn = std::task::ready!(turn.as_mut().poll(cx));
            match self.take_turn(turn, cx) {
                Begun::Ended(outcome) => return Poll::Ready(outcome),
                Begun::Waiting(waiting) => self.waiting = waiting,
            }
        }
        self.poll_call(cx)
    }

    /// What it waits for, if not for a clock that a test moves.
    fn waits_for(&self) -> WaitsFor {
        match self.waiting {
            Waiting::Turn(_) => WaitsFor::Turn,
            Waiting::Call(_) => WaitsFor::Outside,
        }
    }

    /// The handler's turn has come, or never will.
    fn take_turn(&self, turn: Result<Turn, AcquireError>, cx: &mut TaskContext<'_>) -> Begun {
        let (dispatch, context) = (&self.dispatch, &self.context);
        match turn {
            Ok(_) if request::is_expired(context.envelope(), dispatch.engine.clock()) => {
                Begun::Ended(Ok(Effects::none()))
            }
            Ok(turn) if !dispatch.is_stopping() => {
                call(dispatch, &self.route, context.clone(), Some(turn), cx)
            }
            // Closed when the app stops: then no attempt begins.
            Ok(_) | Err(_) => Begun::Ended(Err(Failure::not_begun())),
        }
    }

    fn poll_call(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Effects, Failure>> {
        let Waiting::Call(call) = &mut self.waiting else {
            return Poll::Pending; // Not reached: its turn has come.
        };
        if let Some(future) = call.future.get_mut() {
            match contained(|| future.as_mut().poll(cx)) {
                Ok(Poll::Ready(outcome)) => return Poll::Ready(outcome),
                Ok(Poll::Pending) => {}
                Err(panic) => return Poll::Ready(Err(panicked(&self.dispatch, &panic))),
            }
        }
        std::task::ready!(unwatched(|| call.timeout.as_mut().poll(cx)));
        GroupCounters::add(&self.dispatch.counters.timed_out, 1);
        Poll::Ready(Err(Failure::retry(format!(
            "the handler took longer than its timeout of {:?}",
            self.route.handler.options().timeout
        ))))
    }
}

impl Future for Attempt {
    type Output = (Context, Arc<Route>, Result<Effects, Failure>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let watch = self.watch.take();
        let polled = match &watch {
            None => self.poll_outcome(cx),
            Some(watch) => watch.poll(cx, |cx| (self.poll_outcome(cx), self.waits_for())),
        };
        self.watch = watch;
        let outcome = std::task::ready!(polled);
        Poll::Ready((self.context.clone(), self.route.clone(), outcome))
    }
}

fn panicked(dispatch: &Dispatch, message: &str) -> Failure {
    GroupCounters::add(&dispatch.counters.panicked, 1);
    Failure::retry(format!("the handler panicked: {message}"))
}

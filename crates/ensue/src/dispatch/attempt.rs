//! One attempt at one event: the handler's call with its panic and its timeout contained.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use super::Dispatch;
use super::routes::Route;
use crate::contained::{Contained, contained};
use crate::effect::Effects;
use crate::metrics::GroupCounters;
use crate::middleware::Next;
use crate::service::{Context, Failure, HandlerFuture};
use crate::time::Rest;

/// The first poll of an attempt: most end with it.
pub(super) enum Begun {
    Ended(Result<Effects, Failure>),
    Waiting(HandlerFuture),
}

/// Calls the handler and polls it once. A panic in either becomes the attempt's failure.
pub(super) fn begin(
    dispatch: &Dispatch,
    route: &Route,
    context: Context,
    cx: &mut TaskContext<'_>,
) -> Begun {
    let call = || match (&route.limit, dispatch.layers.is_empty()) {
        (None, true) => route.handler.call(context),
        (limit, _) => {
            let next = Next::new(dispatch.layers.clone(), route.handler.clone());
            match limit {
                None => next.run(context),
                Some(limit) => limited(limit.clone(), next, context),
            }
        }
    };
    let first = contained(|| {
        let mut call = call();
        match call.as_mut().poll(cx) {
            Poll::Ready(outcome) => Begun::Ended(outcome),
            Poll::Pending => Begun::Waiting(call),
        }
    });
    first.unwrap_or_else(|panic| Begun::Ended(Err(panicked(dispatch, &panic))))
}

/// An attempt that waits for something. Completes with the event and what its handler said.
pub(super) struct Attempt {
    context: Context,
    route: Arc<Route>,
    call: Contained<HandlerFuture>,
    timeout: BoxFuture<'static, ()>,
    dispatch: Arc<Dispatch>,
    /// Held while the handler waits for a clock that a test moves.
    rest: Option<Rest>,
}

impl Attempt {
    /// Goes on with a call whose first poll did not end it: from here on it needs a timer.
    pub(super) fn waiting(
        dispatch: Arc<Dispatch>,
        route: Arc<Route>,
        context: Context,
        call: HandlerFuture,
    ) -> Self {
        let timeout = dispatch
            .engine
            .clock()
            .sleep(route.handler.options().timeout);
        Self {
            context,
            route,
            call: Contained::new(call),
            timeout,
            dispatch,
            rest: None,
        }
    }

    fn poll_call(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Effects, Failure>> {
        // Before the handler notices that its clock was moved.
        self.rest = None;
        if let Some(call) = self.call.get_mut() {
            let resting = self.dispatch.engine.clock().resting();
            let poll = || match resting {
                None => (call.as_mut().poll(cx), None),
                Some(resting) => resting.watch(|| call.as_mut().poll(cx)),
            };
            match contained(poll) {
                Ok((Poll::Ready(outcome), _)) => return Poll::Ready(outcome),
                Ok((Poll::Pending, rest)) => self.rest = rest,
                Err(panic) => return Poll::Ready(Err(panicked(&self.dispatch, &panic))),
            }
        }
        std::task::ready!(self.timeout.as_mut().poll(cx));
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
        let outcome = std::task::ready!(self.poll_call(cx));
        Poll::Ready((self.context.clone(), self.route.clone(), outcome))
    }
}

/// A call that waits for its turn first: its timeout covers the wait, so that a handler that never
/// returns cannot starve its key's neighbours for ever.
fn limited(limit: Arc<Semaphore>, next: Next, context: Context) -> HandlerFuture {
    Box::pin(async move {
        // Closed when the app stops: then nobody begins any more.
        let Ok(_turn) = limit.acquire_owned().await else {
            return Err(Failure::not_begun());
        };
        next.run(context).await
    })
}

fn panicked(dispatch: &Dispatch, message: &str) -> Failure {
    GroupCounters::add(&dispatch.counters.panicked, 1);
    Failure::retry(format!("the handler panicked: {message}"))
}

//! The handlers of a saga: those that bring events to its topic, and those that handle them there.

use std::sync::Arc;

use super::events::{Compensate, StepDue, TimedOut};
use super::run::Run;
use crate::event::Event;
use crate::outgoing::Outgoing;
use crate::service::{Context, Handler, HandlerOptions};
use crate::state::State;

/// Brings events of another topic to that of the saga.
type Route = Box<dyn Fn(&str) -> Handler + Send + Sync>;
/// Handles them there.
type Handle<S> = Box<dyn Fn(&Arc<Run<S>>, HandlerOptions) -> Handler + Send + Sync>;

/// The event that begins a process.
pub(super) struct Initial<S>(Both<S>);

/// An event that a process takes.
pub(super) struct Taking<S>(Both<S>);

struct Both<S> {
    route: Route,
    handle: Handle<S>,
}

impl<S: State> Initial<S> {
    pub(super) fn new<E: Event>(begin: impl Fn(E) -> S + Send + Sync + 'static) -> Self {
        let begin = Arc::new(begin);
        let handle = move |run: &Arc<Run<S>>, options: HandlerOptions| {
            let (run, begin) = (run.clone(), begin.clone());
            Handler::new("begin", options, move |event: E, context: Context| {
                let (run, state) = (run.clone(), begin(event));
                async move { run.begin(state, &context).await }
            })
        };
        Self(Both {
            route: route(|event: &E| event.key().into_owned()),
            handle: Box::new(handle),
        })
    }

    pub(super) fn route(&self, topic: &str) -> Handler {
        (self.0.route)(topic)
    }

    pub(super) fn handler(&self, run: &Arc<Run<S>>, options: HandlerOptions) -> Handler {
        (self.0.handle)(run, options)
    }
}

impl<S: State> Taking<S> {
    pub(super) fn new<E: Event>(
        key_of: impl Fn(&E) -> String + Send + Sync + 'static,
        take: impl Fn(&mut S, E) + Send + Sync + 'static,
    ) -> Self {
        let take = Arc::new(take);
        let handle = move |run: &Arc<Run<S>>, options: HandlerOptions| {
            let (run, take) = (run.clone(), take.clone());
            Handler::new("take", options, move |event: E, context: Context| {
                let (run, take) = (run.clone(), take.clone());
                async move { run.take(|state| take(state, event), &context).await }
            })
        };
        Self(Both {
            route: route(key_of),
            handle: Box::new(handle),
        })
    }

    pub(super) fn route(&self, topic: &str) -> Handler {
        (self.0.route)(topic)
    }

    pub(super) fn handler(&self, run: &Arc<Run<S>>, options: HandlerOptions) -> Handler {
        (self.0.handle)(run, options)
    }
}

fn route<E: Event>(key_of: impl Fn(&E) -> String + Send + Sync + 'static) -> Route {
    let key_of = Arc::new(key_of);
    Box::new(move |topic| {
        let (topic, key_of) = (topic.to_owned(), key_of.clone());
        Handler::new("bring", HandlerOptions::default(), move |event: E, _| {
            let key = key_of(&event);
            let brought = Outgoing::new(event).topic(topic.clone()).key(key);
            async move { brought }
        })
    })
}

/// The handlers of what the saga itself says of its processes.
pub(super) fn of_run<S: State>(run: &Arc<Run<S>>, options: &HandlerOptions) -> [Handler; 3] {
    let (steps, timeouts, wishes) = (run.clone(), run.clone(), run.clone());
    [
        Handler::new(
            "step",
            options.clone(),
            move |due: StepDue, context: Context| {
                let run = steps.clone();
                async move { run.step(due, &context).await }
            },
        ),
        Handler::new(
            "time_out",
            options.clone(),
            move |timeout: TimedOut, context: Context| {
                let run = timeouts.clone();
                async move { run.time_out(timeout, &context).await }
            },
        ),
        Handler::new(
            "compensate",
            options.clone(),
            move |wish: Compensate, context: Context| {
                let run = wishes.clone();
                async move { run.compensate(wish, &context).await }
            },
        ),
    ]
}

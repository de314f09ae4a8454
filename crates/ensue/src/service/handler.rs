//! A handler: which events it takes, how often it tries, and the function it calls.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::Context;
use crate::contained::Contained;
use crate::effect::{Effects, IntoEffects};
use crate::engine::{Guarantee, OnDead};
use crate::event::{Envelope, Event};
use crate::failure::Failure;
use crate::personal::open_event;
use crate::time::Backoff;
use crate::topic::TopicPattern;

/// The most attempts a handler may ask for.
pub const ATTEMPTS_MAX: u32 = 1_000;
/// The most events that one service may handle at the same time.
pub const CONCURRENCY_MAX: usize = 65_536;

/// How a handler wants to be treated. The defaults are what `#[on]` without arguments means.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HandlerOptions {
    /// How many times an event is tried before it becomes a dead letter; 1 to [`ATTEMPTS_MAX`].
    pub attempts: u32,
    /// How long to wait between attempts.
    pub backoff: Backoff,
    /// How long one attempt may take. A blocking handler cannot be interrupted: its event counts
    /// as failed, the thread stays busy until the function returns.
    pub timeout: Duration,
    /// How many events this handler takes at the same time, over all keys.
    pub concurrency: Option<usize>,
    /// What a dead letter means to later events of its key.
    pub on_dead: OnDead,
    /// Other topics than those of the event's type.
    pub topics: Option<TopicPattern>,
    /// What the handler needs the engine to promise: without it the app refuses to start.
    pub needs: Vec<Guarantee>,
}

impl Default for HandlerOptions {
    fn default() -> Self {
        Self {
            attempts: 5,
            backoff: Backoff::default(),
            timeout: Duration::from_secs(30),
            concurrency: None,
            on_dead: OnDead::Park,
            topics: None,
            needs: Vec::new(),
        }
    }
}

impl HandlerOptions {
    /// Sets how many times an event is tried.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets how long to wait between attempts.
    #[must_use]
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.backoff = Backoff::new(min, max);
        self
    }

    /// Sets how long one attempt may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how many events the handler takes at the same time.
    #[must_use]
    pub fn concurrency(mut self, events: usize) -> Self {
        self.concurrency = Some(events);
        self
    }

    /// Sets what a dead letter means to later events of its key.
    #[must_use]
    pub fn on_dead(mut self, on_dead: OnDead) -> Self {
        self.on_dead = on_dead;
        self
    }

    /// Sets the topics to take the events from, in place of the type's own.
    #[must_use]
    pub fn topics(mut self, topics: TopicPattern) -> Self {
        self.topics = Some(topics);
        self
    }

    /// Adds something that the engine must promise.
    #[must_use]
    pub fn needs(mut self, guarantee: Guarantee) -> Self {
        self.needs.push(guarantee);
        self
    }
}

/// What a call to a handler is.
pub type HandlerFuture = BoxFuture<'static, Result<Effects, Failure>>;

type Call = dyn Fn(Context) -> HandlerFuture + Send + Sync;

/// One function that handles one type of event.
#[derive(Clone)]
pub struct Handler {
    name: &'static str,
    /// `None` takes every type.
    event: Option<&'static str>,
    version: u16,
    topics: TopicPattern,
    publishes: &'static [&'static str],
    is_blocking: bool,
    options: HandlerOptions,
    call: Arc<Call>,
}

impl Handler {
    /// A handler of events of type `E`. Decoding is part of the call: a payload that is not an `E`
    /// is rejected.
    ///
    /// # Panics
    /// Never at run time: a topic that is not a pattern was refused by `#[derive(Event)]`; one
    /// written by hand matches nothing and [`App::start`](crate::App::start) refuses it.
    pub fn new<E, F, Fut, R>(name: &'static str, options: HandlerOptions, handle: F) -> Self
    where
        E: Event,
        F: Fn(E, Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: IntoEffects,
    {
        let handle = Arc::new(Contained::new(handle));
        Self::of::<E>(name, options, false, move |context| {
            let Some(handle_now) = handle.get() else {
                return gone();
            };
            let sealing = context.sealing();
            if !E::PERSONAL.is_empty() {
                let handle = handle.clone();
                return Box::pin(async move {
                    let event = opened::<E>(&context).await?;
                    let Some(handle) = handle.get() else {
                        return Err(Failure::not_begun());
                    };
                    sealed(handle(event, context).await.into_effects(), sealing).await
                });
            }
            match context.envelope().decode::<E>() {
                Ok(event) => {
                    let outcome = handle_now(event, context);
                    Box::pin(async move { sealed(outcome.await.into_effects(), sealing).await })
                }
                Err(error) => undecodable(error),
            }
        })
    }

    /// A handler that computes or blocks: it runs on the thread pool, off the event loop.
    pub fn blocking<E, F, R>(name: &'static str, options: HandlerOptions, handle: F) -> Self
    where
        E: Event,
        F: Fn(E, Context) -> R + Send + Sync + 'static,
        R: IntoEffects,
    {
        let handle = Arc::new(Contained::new(handle));
        Self::of::<E>(name, options, true, move |context| {
            let handle = handle.clone();
            Box::pin(async move {
                let sealing = context.sealing();
                // What is opened is opened here: keys may be waited for.
                let event = match E::PERSONAL.is_empty() {
                    true => None,
                    false => Some(opened::<E>(&context).await?),
                };
                let run = move || {
                    let Some(handle) = handle.get() else {
                        return Err(Failure::not_begun());
                    };
                    let event = event.map_or_else(|| context.envelope().decode::<E>(), Ok);
                    match event {
                        Ok(event) => handle(event, context).into_effects(),
                        Err(error) => Err(Failure::undecodable(error)),
                    }
                };
                let outcome = match tokio::task::spawn_blocking(run).await {
                    Ok(outcome) => outcome,
                    Err(stopped) => match stopped.try_into_panic() {
                        // Dispatch contains panics of every handler in one place.
                        Ok(panic) => std::panic::resume_unwind(panic),
                        Err(stopped) => Err(Failure::retry(stopped)),
                    },
                };
                sealed(outcome, sealing).await
            })
        })
    }

    /// A handler of envelopes as they are: every type when `event` is `None`.
    pub fn raw<F, Fut, R>(
        name: &'static str,
        topics: TopicPattern,
        event: Option<&'static str>,
        options: HandlerOptions,
        handle: F,
    ) -> Self
    where
        F: Fn(Envelope, Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: IntoEffects,
    {
        let handle = Contained::new(handle);
        Self {
            name,
            event,
            version: 0,
            topics: options.topics.clone().unwrap_or(topics),
            publishes: &[],
            is_blocking: false,
            options,
            call: Arc::new(move |context| {
                let Some(handle) = handle.get() else {
                    return gone();
                };
                let sealing = context.sealing();
                let outcome = handle(context.envelope().clone(), context);
                Box::pin(async move { sealed(outcome.await.into_effects(), sealing).await })
            }),
        }
    }

    fn of<E: Event>(
        name: &'static str,
        options: HandlerOptions,
        is_blocking: bool,
        call: impl Fn(Context) -> HandlerFuture + Send + Sync + 'static,
    ) -> Self {
        let topics = options
            .topics
            .clone()
            .unwrap_or_else(|| TopicPattern::trusted(E::TOPIC));
        Self {
            name,
            event: Some(E::TYPE),
            version: E::VERSION,
            topics,
            publishes: &[],
            is_blocking,
            options,
            call: Arc::new(call),
        }
    }

    /// Declares which types of events may follow, for `describe`: `#[service]` reads them off the
    /// method's return type.
    #[must_use]
    pub fn publishes(mut self, events: &'static [&'static str]) -> Self {
        self.publishes = events;
        self
    }

    /// The method's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The type of event it takes; `None` for every type.
    pub fn event(&self) -> Option<&'static str> {
        self.event
    }

    /// The newest version of the event that it reads; 0 for an envelope handler.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// The topics it takes events from.
    pub fn topics(&self) -> &TopicPattern {
        &self.topics
    }

    /// The types of events that may follow, as far as they are declared.
    pub fn declared_effects(&self) -> &'static [&'static str] {
        self.publishes
    }

    /// Whether it runs on the thread pool.
    pub fn is_blocking(&self) -> bool {
        self.is_blocking
    }

    /// How it wants to be treated.
    pub fn options(&self) -> &HandlerOptions {
        &self.options
    }

    /// Calls the function. Neither a timeout nor a panic is contained here: dispatch does both.
    pub fn call(&self, context: Context) -> HandlerFuture {
        (self.call)(context)
    }
}

/// The event at hand, with what is personal in it opened, as far as there are keys for it.
async fn opened<E: Event>(context: &Context) -> Result<E, Failure> {
    let mut event: E = context.envelope().decode().map_err(Failure::undecodable)?;
    let opening = open_event(&mut event, context.engine().vault());
    opening.await.map_err(Failure::unopened)?;
    Ok(event)
}

/// What follows, with what is personal in it sealed. Where there are no keys it is refused later, as what cannot be
/// encoded is.
async fn sealed(
    outcome: Result<Effects, Failure>,
    sealing: Option<Context>,
) -> Result<Effects, Failure> {
    match (outcome?, sealing) {
        (effects, Some(context)) if effects.are_unsealed() => {
            Ok(effects.sealed(&**context.engine()).await?)
        }
        (effects, _) => Ok(effects),
    }
}

/// Not reached: only dropping a handler takes its function.
fn gone() -> HandlerFuture {
    Box::pin(std::future::ready(Err(Failure::not_begun())))
}

fn undecodable(error: crate::event::DecodeError) -> HandlerFuture {
    Box::pin(std::future::ready(Err(Failure::undecodable(error))))
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler")
            .field("name", &self.name)
            .field("event", &self.event)
            .field("topics", &self.topics)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

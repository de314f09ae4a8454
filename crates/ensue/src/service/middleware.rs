//! Layers around handlers: what every handler of an app needs, written once.
//!
//! [`Tracing`] opens a span around each attempt, [`Timing`] keeps a histogram of how long attempts
//! take; an app's own layers go beside them with [`App::layer`](crate::App::layer). The layer that
//! was added first is the outermost.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tracing::Instrument;

use super::{Context, Handler, HandlerFuture};
use crate::contained::Contained;
use crate::effect::{Effects, IntoEffects};
use crate::failure::Failure;

/// A layer around handlers. It sees the event before the handler and the outcome after it; it may
/// answer instead of the handler, change the outcome, or just watch. For a function there is
/// [`from_fn`].
///
/// ```
/// use ensue::middleware::{Middleware, Next};
/// use ensue::prelude::*;
///
/// /// Lets nothing of a banned tenant reach a handler.
/// struct Ban(String);
///
/// impl Middleware for Ban {
///     async fn handle(&self, context: Context, next: Next) -> Result<Effects, Failure> {
///         if context.envelope().extension("tenant") == Some(&self.0) {
///             return Err(Failure::reject("the tenant is banned"));
///         }
///         next.run(context).await
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a layer",
    note = "implement `Middleware`, or wrap a function in `middleware::from_fn`"
)]
pub trait Middleware: Send + Sync + 'static {
    /// Handles an attempt, by calling [`Next::run`] at most once.
    fn handle(
        &self,
        context: Context,
        next: Next,
    ) -> impl Future<Output = Result<Effects, Failure>> + Send;
}

/// A layer made of a function: an `async fn`, an async closure that captures nothing, or a closure
/// that gives each attempt what it needs.
///
/// ```
/// use ensue::middleware::{Next, from_fn};
/// use ensue::prelude::*;
///
/// # async fn layers(engine: Engine, banned: String) {
/// App::new(engine)
///     .layer(from_fn(async |context: Context, next: Next| {
///         let outcome = next.run(context.clone()).await;
///         if let Err(failure) = &outcome {
///             eprintln!("{} failed: {failure}", context.id());
///         }
///         outcome
///     }))
///     .layer(from_fn(move |context: Context, next: Next| {
///         let is_banned = context.key() == banned;
///         async move {
///             match is_banned {
///                 true => Err(Failure::reject("banned")),
///                 false => next.run(context).await,
///             }
///         }
///     }));
/// # }
/// ```
pub fn from_fn<F, Fut, R>(handle: F) -> FromFn<F>
where
    F: Fn(Context, Next) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = R> + Send + 'static,
    R: IntoEffects,
{
    FromFn(handle)
}

/// The layer that [`from_fn`] makes.
#[derive(Clone, Copy, Debug)]
pub struct FromFn<F>(F);

impl<F, Fut, R> Middleware for FromFn<F>
where
    F: Fn(Context, Next) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = R> + Send + 'static,
    R: IntoEffects,
{
    async fn handle(&self, context: Context, next: Next) -> Result<Effects, Failure> {
        (self.0)(context, next).await.into_effects()
    }
}

/// A layer of any type. What is dropped with it cannot take others along.
#[derive(Clone)]
pub(crate) struct Layer(Arc<dyn Call>);

impl Layer {
    pub(crate) fn new(layer: impl Middleware) -> Self {
        Self(Arc::new(Contained::new(layer)))
    }
}

trait Call: Send + Sync {
    /// The attempt holds the layer, which it may borrow from: one allocation a layer.
    fn call(self: Arc<Self>, context: Context, next: Next) -> HandlerFuture;
}

impl<M: Middleware> Call for Contained<M> {
    fn call(self: Arc<Self>, context: Context, next: Next) -> HandlerFuture {
        Box::pin(async move {
            match self.get() {
                Some(layer) => layer.handle(context, next).await,
                None => next.run(context).await, // Not reached: only dropping takes it.
            }
        })
    }
}

/// The layers within this one, and the handler at their centre.
pub struct Next {
    layers: Arc<[Layer]>,
    depth: usize,
    handler: Arc<Handler>,
}

impl Next {
    pub(crate) fn new(layers: Arc<[Layer]>, handler: Arc<Handler>) -> Self {
        Self {
            layers,
            depth: 0,
            handler,
        }
    }

    /// The handler at the centre.
    pub fn handler(&self) -> &Handler {
        &self.handler
    }

    /// Calls the next layer, or the handler.
    pub fn run(mut self, context: Context) -> HandlerFuture {
        match self.layers.get(self.depth).cloned() {
            Some(Layer(layer)) => {
                self.depth += 1;
                layer.call(context, self)
            }
            None => self.handler.call(context),
        }
    }
}

/// Opens a `tracing` span named `handle` around every attempt, with the group, the handler, and the
/// event's type, id, key, position, attempt, correlation and trace id.
///
/// Costs nothing when no subscriber wants the span.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tracing;

impl Middleware for Tracing {
    async fn handle(&self, context: Context, next: Next) -> Result<Effects, Failure> {
        let span = tracing::info_span!(
            "handle",
            group = context.group(),
            handler = next.handler().name(),
            event = context.envelope().event_type(),
            id = context.id(),
            key = context.key(),
            position = context.position().get(),
            attempt = context.attempt(),
            correlation = context.correlation(),
            trace_id = tracing::field::Empty,
        );
        if span.is_disabled() {
            return next.run(context).await;
        }
        if let Some(trace) = context.envelope().trace() {
            span.record("trace_id", format_args!("{:032x}", trace.trace_id()));
        }
        // The call itself is within the span, not only what it waits for.
        let attempt = async move { next.run(context).await };
        attempt.instrument(span).await
    }
}

/// Keeps a histogram of how long attempts take, per group and handler. Cloning gives the same
/// histograms.
#[derive(Clone, Debug, Default)]
pub struct Timing(Arc<Mutex<Histograms>>);

/// By group and handler.
type Histograms = BTreeMap<(String, &'static str), Arc<Histogram>>;

/// Upper bounds of the histogram's buckets, in microseconds; one more holds what is longer.
const BUCKETS_US: [u64; 12] = [
    10, 50, 100, 500, 1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 10_000_000,
];

#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
    total_us: AtomicU64,
}

/// How long the attempts of one handler took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HandlerTiming {
    /// The group.
    pub group: String,
    /// The handler.
    pub handler: &'static str,
    /// How many attempts there were.
    pub attempts: u64,
    /// How long they took together.
    pub total: Duration,
    /// How many took at most so many microseconds, cumulatively; `u64::MAX` stands for any.
    pub buckets_us: Vec<(u64, u64)>,
}

impl Timing {
    /// The histograms so far, by group and handler.
    pub fn handlers(&self) -> Vec<HandlerTiming> {
        let histograms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        histograms
            .iter()
            .map(|((group, handler), histogram)| {
                let bounds = BUCKETS_US.iter().copied().chain([u64::MAX]);
                let mut attempts = 0;
                let buckets_us = bounds
                    .zip(&histogram.buckets)
                    .map(|(bound, bucket)| {
                        attempts += bucket.load(Relaxed);
                        (bound, attempts)
                    })
                    .collect();
                let total = Duration::from_micros(histogram.total_us.load(Relaxed));
                HandlerTiming {
                    group: group.clone(),
                    handler,
                    attempts,
                    total,
                    buckets_us,
                }
            })
            .collect()
    }

    fn histogram(&self, group: &str, handler: &'static str) -> Arc<Histogram> {
        let mut histograms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        histograms
            .entry((group.to_owned(), handler))
            .or_default()
            .clone()
    }
}

impl Middleware for Timing {
    async fn handle(&self, context: Context, next: Next) -> Result<Effects, Failure> {
        let histogram = self.histogram(context.group(), next.handler().name());
        let begun = Instant::now();
        let outcome = next.run(context).await;
        let took_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.partition_point(|bound| *bound < took_us);
        if let Some(bucket) = histogram.buckets.get(bucket) {
            bucket.fetch_add(1, Relaxed);
        }
        histogram.total_us.fetch_add(took_us, Relaxed);
        outcome
    }
}

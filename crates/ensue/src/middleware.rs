//! Layers around handlers: what every handler of an app needs, written once.
//!
//! [`Tracing`] opens a span around each attempt, [`Timing`] keeps a histogram of how long attempts
//! take; an app's own layers go beside them with [`App::layer`](crate::App::layer). The layer that
//! was added first is the outermost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tracing::Instrument;

use crate::contained::Contained;
use crate::service::{Context, Handler, HandlerFuture};

/// A layer around handlers. It sees the event before the handler and the outcome after it; it may
/// answer instead of the handler, change the outcome, or just watch.
///
/// ```
/// use ensue::middleware::{Middleware, Next};
/// use ensue::prelude::*;
/// use ensue::HandlerFuture;
///
/// /// Lets nothing of a banned tenant reach a handler.
/// struct Ban(String);
///
/// impl Middleware for Ban {
///     fn handle(&self, context: Context, next: Next) -> HandlerFuture {
///         match context.envelope().extension("tenant") {
///             Some(tenant) if tenant == self.0 => {
///                 Box::pin(async { Err(Failure::reject("the tenant is banned")) })
///             }
///             _ => next.run(context),
///         }
///     }
/// }
/// ```
pub trait Middleware: Send + Sync + 'static {
    /// Handles an attempt, by calling [`Next::run`] at most once.
    fn handle(&self, context: Context, next: Next) -> HandlerFuture;
}

/// A layer whose drop cannot take others with it.
pub(crate) struct Kept<M>(Contained<M>);

impl<M: Middleware> Kept<M> {
    pub(crate) fn new(layer: M) -> Self {
        Self(Contained::new(layer))
    }
}

impl<M: Middleware> Middleware for Kept<M> {
    fn handle(&self, context: Context, next: Next) -> HandlerFuture {
        match self.0.get() {
            Some(layer) => layer.handle(context, next),
            None => next.run(context), // Not reached: only dropping takes it.
        }
    }
}

/// The layers within this one, and the handler at their centre.
pub struct Next {
    layers: Arc<[Arc<dyn Middleware>]>,
    depth: usize,
    handler: Arc<Handler>,
}

impl Next {
    pub(crate) fn new(layers: Arc<[Arc<dyn Middleware>]>, handler: Arc<Handler>) -> Self {
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
            Some(layer) => {
                self.depth += 1;
                layer.handle(context, self)
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
    fn handle(&self, context: Context, next: Next) -> HandlerFuture {
        let span = tracing::info_span!(
            "handle",
            group = context.group(),
            handler = next.handler().name(),
            event = context.envelope().kind(),
            id = context.id(),
            key = context.key(),
            position = context.position().get(),
            attempt = context.attempt(),
            correlation = context.correlation(),
            trace_id = tracing::field::Empty,
        );
        if span.is_disabled() {
            return next.run(context);
        }
        if let Some(trace) = context.envelope().trace() {
            span.record("trace_id", format_args!("{:032x}", trace.trace_id()));
        }
        let attempt = span.in_scope(|| next.run(context));
        Box::pin(attempt.instrument(span))
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
    fn handle(&self, context: Context, next: Next) -> HandlerFuture {
        let histogram = self.histogram(context.group(), next.handler().name());
        let begun = Instant::now();
        let attempt = next.run(context);
        Box::pin(async move {
            let outcome = attempt.await;
            let took_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            let bucket = BUCKETS_US.partition_point(|bound| *bound < took_us);
            if let Some(bucket) = histogram.buckets.get(bucket) {
                bucket.fetch_add(1, Relaxed);
            }
            histogram.total_us.fetch_add(took_us, Relaxed);
            outcome
        })
    }
}

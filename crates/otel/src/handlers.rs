//! A span around every attempt of a handler.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ensue::middleware::{Middleware, Next};
use ensue::{Context, Effects, Failure};
use opentelemetry::trace::{
    FutureExt as _, Link, Span as _, SpanContext, SpanKind, Status, TraceContextExt as _,
    Tracer as _,
};
use opentelemetry::{Context as Active, KeyValue};
use tracing::Instrument as _;

use crate::attributes::Operation;
use crate::context;
use crate::publishing::Publishing;
use crate::recorder::Recorder;

/// How many failed attempts are remembered, for the links of those that follow them.
const FAILED_MAX: usize = 4_096;
/// The longest reason that a span tells, in bytes.
const REASON_BYTES_MAX: usize = 1_024;

/// A layer that records a span for every attempt, in the trace of its event, and one for each event that
/// follows from it: made by [`Telemetry::handlers`](crate::Telemetry::handlers), added with [`App::layer`](ensue::App::layer).
///
/// An attempt that follows a failed one of this process is linked to it. The span is active while the
/// handler runs, so that those of other libraries are its children; log lines have its ids.
#[derive(Clone, Debug)]
pub struct Handlers {
    recorder: Recorder,
    failed: Arc<Mutex<HashMap<Event, SpanContext>>>,
}

/// An event of a group, by its position.
type Event = (String, u64);

impl Handlers {
    pub(crate) fn new(recorder: Recorder) -> Self {
        Self {
            recorder,
            failed: Arc::default(),
        }
    }

    fn failed(&self) -> MutexGuard<'_, HashMap<Event, SpanContext>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the span of an attempt.
    fn begin(&self, attempt: &Context, handler: &str) -> Option<Running> {
        let tracer = self.recorder.spans()?;
        let event = attempt.envelope();
        let parent = match event.trace() {
            Some(trace) => context::remote(trace, event.trace_state()),
            None => Active::new(),
        };
        let mut builder = tracer
            .span_builder(Operation::Process.of(event.topic()))
            .with_kind(SpanKind::Consumer);
        if attempt.attempt() > 1
            && let Some(failed) = self.failed().remove(&named(attempt))
        {
            builder = builder.with_links(vec![Link::with_context(failed)]);
        }
        let mut span = tracer.build_with_context(builder, &parent);
        if span.is_recording() {
            span.set_attributes(self.recorder.conventions().of_attempt(attempt, handler));
        }
        Some(Running {
            span: parent.with_span(span),
            has_ended: false,
        })
    }

    /// Remembers a failed attempt, for the next one.
    fn remember(&self, attempt: &Context, span: &SpanContext) {
        if !span.is_sampled() {
            return;
        }
        let mut failed = self.failed();
        if failed.len() >= FAILED_MAX {
            // Dead letters, and retries that went to another process, are not asked for again.
            failed.clear();
        }
        failed.insert(named(attempt), span.clone());
    }
}

fn named(attempt: &Context) -> Event {
    (attempt.group().to_owned(), attempt.position().get())
}

impl Middleware for Handlers {
    async fn handle(&self, attempt: Context, next: Next) -> Result<Effects, Failure> {
        let Some(mut running) = self.begin(&attempt, next.handler().name()) else {
            return next.run(attempt).await;
        };
        let span = running.span.clone();
        let Some(trace) = context::of(&span) else {
            return next.run(attempt).await; // Telemetry that was shut down.
        };
        let following = Publishing::following(self.recorder.clone(), span.clone());
        let following = Arc::new(following);
        let traced = attempt.with_trace(trace, following.clone());
        let call = async move { next.run(traced).await }.with_context(span.clone());
        let outcome = if span.span().span_context().is_sampled() {
            let line = tracing::error_span!(
                "process",
                trace_id = format_args!("{:032x}", trace.trace_id()),
                span_id = format_args!("{:016x}", trace.span_id()),
            );
            call.instrument(line).await
        } else {
            call.await
        };
        match outcome {
            Ok(effects) => {
                let effects = effects.traced(&*following, attempt.envelope());
                running.end(None);
                Ok(effects)
            }
            Err(failure) => {
                if !failure.is_reject() {
                    self.remember(&attempt, span.span().span_context());
                }
                running.end(Some(&failure));
                Err(failure)
            }
        }
    }
}

/// The span of an attempt, which ends with it, however that ends.
struct Running {
    span: Active,
    has_ended: bool,
}

impl Running {
    fn end(&mut self, failure: Option<&Failure>) {
        self.has_ended = true;
        if let Some(failure) = failure {
            let kind = if failure.is_reject() {
                "rejected"
            } else {
                "retry"
            };
            fail(&self.span, kind, shortened(&failure.to_string()));
        }
        self.span.span().end();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        if std::thread::panicking() {
            fail(&self.span, "panic", "the handler panicked".to_owned());
        } else {
            let reason = "it took longer than its timeout, or the app stopped";
            fail(&self.span, "timeout", reason.to_owned());
        }
        self.span.span().end();
    }
}

fn fail(span: &Active, kind: &'static str, reason: String) {
    let span = span.span();
    span.set_attribute(KeyValue::new("error.type", kind));
    span.set_status(Status::error(reason));
}

/// As much of a reason as a span tells.
fn shortened(reason: &str) -> String {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.get(..end).unwrap_or_default().to_owned()
}

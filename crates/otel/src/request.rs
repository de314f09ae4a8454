//! Spans of a server: of the requests that it answers, of the events in them, of the calls that it makes.

use std::sync::{Mutex, PoisonError};

use ensue::{Envelope, TraceContext};
use opentelemetry::trace::{
    FutureExt as _, Link, Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::Span;
use tracing::Instrument as _;

use crate::attributes::{Of, Operation};
use crate::context;
use crate::recorder::Recorder;

/// How many events of a request have spans of their own; those beyond are children of the request.
const EVENTS_MAX: usize = 128;

/// The span of a request that a server answers.
#[derive(Debug)]
pub struct RequestSpan {
    recorder: Recorder,
    span: Context,
    /// Of the events in it, which are under way as long as it is.
    events: Mutex<Vec<Span>>,
}

impl RequestSpan {
    /// Begins it: in the trace of the request's `traceparent`, or in a new one. Nothing if spans are not sent.
    pub(crate) fn begin(
        recorder: &Recorder,
        (method, path): (&str, &str),
        parent: Option<(TraceContext, Option<&str>)>,
    ) -> Option<Self> {
        let tracer = recorder.spans()?;
        let parent = match parent {
            Some((trace, state)) => context::remote(trace, state),
            None => Context::new(),
        };
        let builder = tracer
            .span_builder(method.to_owned())
            .with_kind(SpanKind::Server);
        let mut span = tracer.build_with_context(builder, &parent);
        if span.is_recording() {
            span.set_attributes([
                KeyValue::new("http.request.method", method.to_owned()),
                KeyValue::new("url.path", path.to_owned()),
            ]);
        }
        Some(Self {
            recorder: recorder.clone(),
            span: parent.with_span(span),
            events: Mutex::default(),
        })
    }

    /// The trace that what follows from the request belongs to.
    pub fn context(&self) -> Option<TraceContext> {
        context::of(&self.span)
    }

    /// Runs what answers the request, within its span.
    pub async fn within<T>(&self, answering: impl Future<Output = T>) -> T {
        let answering = answering.with_context(self.span.clone());
        if !self.span.span().span_context().is_sampled() {
            return answering.await;
        }
        let trace = self.context();
        let (trace_id, span_id) = trace
            .map(|it| (it.trace_id(), it.span_id()))
            .unwrap_or_default();
        let line = tracing::error_span!(
            "request",
            trace_id = format_args!("{trace_id:032x}"),
            span_id = format_args!("{span_id:016x}"),
        );
        answering.instrument(line).await
    }

    /// Begins the span of an event that the request appends; gives what the event is to carry. One that
    /// has a trace context keeps it, and the span is linked to it.
    pub fn send(&self, event: &Envelope) -> Option<TraceContext> {
        let tracer = self.recorder.spans()?;
        if !self.span.span().span_context().is_sampled() {
            return self.context();
        }
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() >= EVENTS_MAX {
            return self.context();
        }
        let mut builder = tracer
            .span_builder(Operation::Send.of(event.topic()))
            .with_kind(SpanKind::Producer);
        if let Some(own) = event.trace() {
            let own = context::span_context(own, event.trace_state());
            builder = builder.with_links(vec![Link::with_context(own)]);
        }
        let mut span = tracer.build_with_context(builder, &self.span);
        let said = Of::envelope(event);
        span.set_attributes(self.recorder.conventions().of_event(Operation::Send, &said));
        let sent =
            context::of(&Context::new().with_remote_span_context(span.span_context().clone()));
        events.push(span);
        sent
    }

    /// Ends it: it was answered with this status, by this route if there is one.
    pub fn answered(&self, method: &str, route: Option<&'static str>, status: u16) {
        let is_error = status >= 500;
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        for mut span in events.drain(..) {
            if status >= 400 {
                span.set_status(Status::error(format!("answered with {status}")));
            }
            span.end();
        }
        let span = self.span.span();
        span.set_attribute(KeyValue::new(
            "http.response.status_code",
            i64::from(status),
        ));
        if let Some(route) = route {
            span.update_name(format!("{method} {route}"));
            span.set_attribute(KeyValue::new("http.route", route));
        }
        if is_error {
            span.set_attribute(KeyValue::new("error.type", status.to_string()));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// The span of a request that a server sends.
#[derive(Debug)]
pub struct CallSpan(Span);

impl CallSpan {
    /// Begins it: a child of what is given. Nothing if spans are not sent.
    pub(crate) fn begin(
        recorder: &Recorder,
        parent: Option<TraceContext>,
        method: &'static str,
        (host, port): (&str, u16),
    ) -> Option<Self> {
        let tracer = recorder.spans()?;
        let parent = parent.map_or_else(Context::new, |trace| context::remote(trace, None));
        let builder = tracer.span_builder(method).with_kind(SpanKind::Client);
        let mut span = tracer.build_with_context(builder, &parent);
        if span.is_recording() {
            span.set_attributes([
                KeyValue::new("http.request.method", method),
                KeyValue::new("server.address", host.to_owned()),
                KeyValue::new("server.port", i64::from(port)),
            ]);
        }
        Some(Self(span))
    }

    /// The trace context that the request carries.
    pub fn context(&self) -> Option<TraceContext> {
        context::of(&Context::new().with_remote_span_context(self.0.span_context().clone()))
    }

    /// Ends it: it was answered with this status, or there was no answer for this reason.
    pub fn answered(mut self, answer: Result<u16, String>) {
        match answer {
            Ok(status) => {
                let said = KeyValue::new("http.response.status_code", i64::from(status));
                self.0.set_attribute(said);
                if status >= 400 {
                    let kind = KeyValue::new("error.type", status.to_string());
                    self.0.set_attribute(kind);
                    self.0.set_status(Status::error(""));
                }
            }
            Err(reason) => {
                self.0
                    .set_attribute(KeyValue::new("error.type", "no_answer"));
                self.0.set_status(Status::error(reason));
            }
        }
        self.0.end();
    }
}

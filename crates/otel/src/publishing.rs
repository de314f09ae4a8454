//! A span for each event that is made.

use ensue::{Envelope, EventTracer, Outgoing, TraceContext};
use opentelemetry::Context;
use opentelemetry::trace::{Span as _, SpanKind, TraceContextExt as _, Tracer as _};

use crate::attributes::{Of, Operation, topic_of};
use crate::context;
use crate::recorder::Recorder;

/// Makes a span for each event that a program publishes or a handler returns.
#[derive(Debug)]
pub(crate) struct Publishing {
    recorder: Recorder,
    /// What the events follow from; without it, their cause, or what is active where they are published.
    parent: Option<Context>,
    operation: Operation,
}

impl Publishing {
    /// For what a program publishes of itself.
    pub(crate) fn of_program(recorder: Recorder) -> Self {
        Self {
            recorder,
            parent: None,
            operation: Operation::Send,
        }
    }

    /// For what handlers elsewhere return: it follows from its cause.
    pub(crate) fn of_clients(recorder: Recorder) -> Self {
        Self {
            recorder,
            parent: None,
            operation: Operation::Create,
        }
    }

    /// For what follows from an attempt.
    pub(crate) fn following(recorder: Recorder, attempt: Context) -> Self {
        Self {
            recorder,
            parent: Some(attempt),
            operation: Operation::Create,
        }
    }
}

impl EventTracer for Publishing {
    fn trace(&self, event: &Outgoing, cause: Option<&Envelope>) -> Option<TraceContext> {
        let tracer = self.recorder.spans()?;
        let parent = match (&self.parent, cause.and_then(Envelope::trace)) {
            (Some(attempt), _) => attempt.clone(),
            (None, Some(trace)) => context::remote(trace, None),
            (None, None) => Context::current(),
        };
        let span = parent.span().span_context().clone();
        if span.is_valid() && !span.is_sampled() && self.operation == Operation::Create {
            // That it is not sampled goes on; a span that is not recorded needs no name.
            return context::of(&parent);
        }
        let topic = topic_of(event);
        let builder = tracer
            .span_builder(self.operation.of(&topic))
            .with_kind(SpanKind::Producer);
        let mut span = tracer.build_with_context(builder, &parent);
        if span.is_recording() {
            let said = Of::outgoing(event, &topic);
            let said = self.recorder.conventions().of_event(self.operation, &said);
            span.set_attributes(said);
        }
        let created = context::of(&parent.with_remote_span_context(span.span_context().clone()));
        span.end();
        created
    }
}

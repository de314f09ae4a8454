//! A trace context as Ensue and as OpenTelemetry write it.

use ensue::TraceContext;
use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};

/// A context of OpenTelemetry whose span is this one, of another process or of another time.
pub(crate) fn remote(trace: TraceContext, state: Option<&str>) -> Context {
    Context::new().with_remote_span_context(span_context(trace, state))
}

pub(crate) fn span_context(trace: TraceContext, state: Option<&str>) -> SpanContext {
    SpanContext::new(
        TraceId::from(trace.trace_id()),
        SpanId::from(trace.span_id()),
        TraceFlags::new(trace.flags()),
        true,
        // What it says is not ours to check: it goes on with the event, whatever it is.
        state.map_or_else(TraceState::default, |state| {
            state.parse().unwrap_or_default()
        }),
    )
}

/// The span of a context, as events carry it; `None` without a valid one.
pub(crate) fn of(context: &Context) -> Option<TraceContext> {
    let span = context.span();
    let span = span.span_context();
    TraceContext::new(
        u128::from_be_bytes(span.trace_id().to_bytes()),
        u64::from_be_bytes(span.span_id().to_bytes()),
        span.trace_flags().to_u8(),
    )
}

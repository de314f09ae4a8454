//! The trace that a request belongs to: W3C Trace Context, from its headers; and with the feature `otel` the
//! spans of requests and of what the server sends itself.

#[cfg(not(feature = "otel"))]
mod none;

use std::sync::Arc;

use axum::http::{Extensions, HeaderMap, Method, Uri};
use ensue::{App, Envelope, EventTracer, PrometheusText, TRACE_STATE_BYTES_MAX, TraceContext};
#[cfg(feature = "otel")]
use ensue_otel::{CallSpan, RequestSpan, Telemetry};

#[cfg(not(feature = "otel"))]
use self::none::{CallSpan, RequestSpan, Telemetry};

pub(crate) const PARENT: &str = "traceparent";
pub(crate) const STATE: &str = "tracestate";

/// What records spans, if something does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tracing(Option<Telemetry>);

impl From<Telemetry> for Tracing {
    fn from(telemetry: Telemetry) -> Self {
        Self(Some(telemetry))
    }
}

impl Tracing {
    /// Begins a request.
    pub(crate) fn request(&self, method: &Method, path: &str, headers: &HeaderMap) -> RequestTrace {
        let given = given(headers);
        let is_traced = given.is_some() || begins_trace(method, path);
        let telemetry = self.0.as_ref().filter(|_| is_traced);
        let span = telemetry.and_then(|telemetry| {
            let parent = given.as_ref().map(|it| (it.parent, it.state.as_deref()));
            telemetry.request(method.as_str(), path, parent)
        });
        let span = span.map(Arc::new);
        RequestTrace { given, span }
    }

    /// Begins a request that the server sends, in the trace of what it is about.
    pub(crate) fn call(&self, parent: Option<TraceContext>, uri: &Uri) -> Call {
        let span = self.0.as_ref().and_then(|telemetry| {
            let is_tls = uri.scheme_str() == Some("https");
            let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
            telemetry.call(parent, "POST", uri.host().unwrap_or_default(), port)
        });
        Call { parent, span }
    }

    /// What makes spans for what clients say follows from events.
    pub(crate) fn clients(&self) -> Option<Arc<dyn EventTracer>> {
        self.0.as_ref().map(Telemetry::clients)
    }

    /// An app whose attempts have spans.
    pub(crate) fn app(&self, app: App) -> App {
        match &self.0 {
            #[cfg(feature = "otel")]
            Some(telemetry) => app.layer(telemetry.handlers()),
            _ => app,
        }
    }

    /// Writes what became of spans and log records.
    pub(crate) fn write_metrics(&self, text: &mut PrometheusText) {
        if let Some(telemetry) = &self.0 {
            telemetry.write_metrics(text);
        }
    }
}

/// Whether such a request is worth a trace of its own: one that appends. All others, polls and probes among
/// them, are in a trace only if they come in one.
fn begins_trace(method: &Method, path: &str) -> bool {
    method == Method::POST
        && (path == "/v1/events"
            || path == "/v1/requests"
            || path.starts_with("/v1/webhooks/in/")
            || path == "/ensue.v1.EngineService/Append")
}

/// The trace that a request belongs to, for the events in it that bring no trace of their own: in the
/// extensions of every request.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestTrace {
    given: Option<Arc<Given>>,
    span: Option<Arc<RequestSpan>>,
}

#[derive(Debug)]
struct Given {
    parent: TraceContext,
    state: Option<String>,
}

impl RequestTrace {
    /// That of a request.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// An event of the request: it keeps the trace that it has.
    pub(crate) fn trace(&self, event: Envelope) -> Envelope {
        let state = self.given.as_ref().and_then(|it| it.state.as_deref());
        if let Some(sent) = self.span.as_ref().and_then(|span| span.send(&event)) {
            return event.traced(sent, state);
        }
        match &self.given {
            Some(given) => event.traced(given.parent, state),
            None => event,
        }
    }

    /// Answers the request, within its span.
    pub(crate) async fn within<T>(&self, answering: impl Future<Output = T>) -> T {
        if let Some(span) = &self.span {
            return span.within(answering).await;
        }
        answering.await
    }

    /// It is answered.
    pub(crate) fn answered(&self, method: &Method, route: Option<&'static str>, status: u16) {
        if let Some(span) = &self.span {
            span.answered(method.as_str(), route, status);
        }
    }
}

/// A request that the server sends.
#[derive(Debug)]
pub(crate) struct Call {
    parent: Option<TraceContext>,
    span: Option<CallSpan>,
}

impl Call {
    /// What it carries as `traceparent`.
    pub(crate) fn trace(&self) -> Option<TraceContext> {
        if let Some(trace) = self.span.as_ref().and_then(CallSpan::context) {
            return Some(trace);
        }
        self.parent
    }

    /// It was answered with this status, or was not for this reason.
    pub(crate) fn answered(self, answer: Result<u16, String>) {
        if let Some(span) = self.span {
            span.answered(answer);
        }
    }
}

/// What the headers say. Those that are malformed say nothing: the standard wants such a request treated as
/// one without them.
fn given(headers: &HeaderMap) -> Option<Arc<Given>> {
    let mut parents = headers.get_all(PARENT).iter();
    let (Some(parent), None) = (parents.next(), parents.next()) else {
        return None;
    };
    let parent = parent.to_str().ok()?.parse().ok()?;
    let state = state(headers);
    Some(Arc::new(Given { parent, state }))
}

/// The header `tracestate`, which may come in pieces.
fn state(headers: &HeaderMap) -> Option<String> {
    let mut whole = String::new();
    for piece in headers.get_all(STATE) {
        let piece = piece.to_str().ok()?;
        if !whole.is_empty() {
            whole.push(',');
        }
        if whole.len() + piece.len() > TRACE_STATE_BYTES_MAX {
            return None;
        }
        whole.push_str(piece);
    }
    (!whole.is_empty()).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn traced(headers: &[(&'static str, &str)]) -> Envelope {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let event = Envelope::builder("orders", "order.created")
            .build()
            .unwrap();
        let path = "/v1/events";
        let trace = Tracing::default().request(&Method::POST, path, &map);
        trace.trace(event)
    }

    #[test]
    fn an_event_without_a_trace_gets_that_of_its_request() {
        let event = traced(&[(PARENT, TRACE), (STATE, "a=1"), (STATE, "b=2")]);
        assert_eq!(event.trace().unwrap().to_string(), TRACE);
        assert_eq!(event.trace_state(), Some("a=1,b=2"));
    }

    #[test]
    fn headers_that_are_malformed_or_there_twice_count_as_absent() {
        let long = format!("a={}", "x".repeat(TRACE_STATE_BYTES_MAX));
        for headers in [
            &[][..],
            &[(PARENT, "00-0-0-0")],
            &[(PARENT, TRACE), (PARENT, TRACE)],
            &[(STATE, "a=1")],
        ] {
            let event = traced(headers);
            assert_eq!(
                (event.trace(), event.trace_state()),
                (None, None),
                "{headers:?}"
            );
        }
        let event = traced(&[(PARENT, TRACE), (STATE, &long)]);
        assert_eq!(event.trace_state(), None);
        let most = format!("a={}", "x".repeat(TRACE_STATE_BYTES_MAX - 2));
        let event = traced(&[(PARENT, TRACE), (STATE, &most)]);
        assert_eq!(event.trace_state(), Some(&*most));
    }
}

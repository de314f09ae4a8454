//! The trace that a request belongs to: W3C Trace Context, from its headers.

use std::sync::Arc;

use axum::http::{Extensions, HeaderMap};
use ensue::{Envelope, TRACE_STATE_BYTES_MAX, TraceContext};

pub(crate) const PARENT: &str = "traceparent";
pub(crate) const STATE: &str = "tracestate";

/// The trace that a request belongs to, for the events in it that bring no trace of their own: in the
/// extensions of every request.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestTrace(Option<Arc<Given>>);

#[derive(Debug)]
struct Given {
    parent: TraceContext,
    state: Option<String>,
}

impl RequestTrace {
    /// What the headers say. Those that are malformed say nothing: the standard wants such a request
    /// treated as one without them.
    pub(crate) fn of_headers(headers: &HeaderMap) -> Self {
        let mut parents = headers.get_all(PARENT).iter();
        let (Some(parent), None) = (parents.next(), parents.next()) else {
            return Self::default();
        };
        let parent = parent.to_str().ok().and_then(|text| text.parse().ok());
        Self(parent.map(|parent| {
            let state = state(headers);
            Arc::new(Given { parent, state })
        }))
    }

    /// That of a request.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// An event of the request: it keeps the trace that it has.
    pub(crate) fn trace(&self, event: Envelope) -> Envelope {
        match &self.0 {
            Some(given) if event.trace().is_none() => {
                event.traced(given.parent, given.state.as_deref())
            }
            _ => event,
        }
    }
}

/// The header `tracestate`, which may come in pieces.
fn state(headers: &HeaderMap) -> Option<String> {
    let mut whole = String::new();
    for piece in headers.get_all(STATE) {
        let piece = piece.to_str().ok()?;
        if whole.len() + piece.len() >= TRACE_STATE_BYTES_MAX {
            return None;
        }
        if !whole.is_empty() {
            whole.push(',');
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
        RequestTrace::of_headers(&map).trace(event)
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
    }
}

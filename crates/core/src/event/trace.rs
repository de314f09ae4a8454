//! W3C trace context, kept in its binary form inside the envelope.

use std::fmt;
use std::str::FromStr;

/// The extension attribute of what other systems add to a trace context.
pub(super) const TRACE_STATE: &str = "tracestate";
/// The longest `tracestate` that is taken over from a request or from a cause, in bytes: what W3C
/// Trace Context asks everyone to carry. What is longer is dropped, which it allows.
pub const TRACE_STATE_BYTES_MAX: usize = 512;

/// Whether a text can go on as the `tracestate` of another event.
#[doc(hidden)]
pub fn is_trace_state(text: &str) -> bool {
    (1..=TRACE_STATE_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && text.contains('=')
}

/// A `traceparent` (W3C Trace Context, level 1): which trace an event belongs to and which span
/// caused it. One of a later version is taken by the fields that version 00 has, and written with
/// them, as the standard wants it.
///
/// ```
/// use ensue::TraceContext;
///
/// let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let parent: TraceContext = text.parse().unwrap();
/// let child = parent.child();
/// assert_eq!(parent.to_string(), text);
/// assert_eq!(child.trace_id(), parent.trace_id());
/// assert_ne!(child.to_string(), text);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace: [u8; 16],
    span: [u8; 8],
    flags: u8,
}

impl TraceContext {
    pub(crate) const BYTES: usize = 25;

    /// A new trace with a random id, sampled.
    pub fn root() -> Self {
        // An id of zeros is invalid by the standard; the lowest bit keeps it from coming up.
        let trace = (fastrand::u128(..) | 1).to_be_bytes();
        Self {
            trace,
            span: (fastrand::u64(..) | 1).to_be_bytes(),
            flags: 1,
        }
    }

    /// A context of these ids, `None` if one of them is zero, which is not valid.
    pub fn new(trace_id: u128, span_id: u64, flags: u8) -> Option<Self> {
        (trace_id != 0 && span_id != 0).then(|| Self {
            trace: trace_id.to_be_bytes(),
            span: span_id.to_be_bytes(),
            flags,
        })
    }

    /// The same trace with a new span.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            span: (fastrand::u64(..) | 1).to_be_bytes(),
            ..*self
        }
    }

    /// The trace's id.
    pub fn trace_id(&self) -> u128 {
        u128::from_be_bytes(self.trace)
    }

    /// The id of the span that the event comes from.
    pub fn span_id(&self) -> u64 {
        u64::from_be_bytes(self.span)
    }

    /// The flags of the trace; the lowest bit says that it is sampled.
    pub fn flags(&self) -> u8 {
        self.flags
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (trace, rest) = bytes.split_at_mut(16);
        let (span, flags) = rest.split_at_mut(8);
        trace.copy_from_slice(&self.trace);
        span.copy_from_slice(&self.span);
        flags.copy_from_slice(&[self.flags]);
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (trace, rest) = bytes.split_first_chunk::<16>()?;
        let (span, rest) = rest.split_first_chunk::<8>()?;
        let [flags] = rest else { return None };
        Some(Self {
            trace: *trace,
            span: *span,
            flags: *flags,
        })
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace_id(),
            self.span_id(),
            self.flags
        )
    }
}

/// A text that is not a `traceparent`.
#[derive(Clone, Debug, thiserror::Error)]
#[error("`{0}` is not a W3C traceparent (00-<32 hex digits>-<16 hex digits>-<2 hex digits>)")]
pub struct InvalidTraceContext(String);

impl FromStr for TraceContext {
    type Err = InvalidTraceContext;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidTraceContext(text.chars().take(80).collect());
        let lower_hex = |part: &str, digits: usize| {
            part.len() == digits
                && part
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        // A later version may have more fields after those of version 00; `ff` is not a version.
        let mut parts = text.splitn(5, '-');
        let (Some(version), Some(trace), Some(span), Some(flags), rest) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(invalid());
        };
        if !lower_hex(version, 2) || version == "ff" || (version == "00" && rest.is_some()) {
            return Err(invalid());
        }
        if !(lower_hex(trace, 32) && lower_hex(span, 16) && lower_hex(flags, 2)) {
            return Err(invalid());
        }
        let trace = u128::from_str_radix(trace, 16).map_err(|_| invalid())?;
        let span = u64::from_str_radix(span, 16).map_err(|_| invalid())?;
        let flags = u8::from_str_radix(flags, 16).map_err(|_| invalid())?;
        Self::new(trace, span, flags).ok_or_else(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_round_trip() {
        let context = TraceContext::root();
        assert_eq!(
            context.to_string().parse::<TraceContext>().unwrap(),
            context
        );
        assert_eq!(TraceContext::from_bytes(&context.to_bytes()), Some(context));
    }

    #[test]
    fn a_later_version_is_taken_by_the_fields_that_are_known() {
        let known = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for later in [
            format!("01-{known}"),
            format!("fe-{known}"),
            format!("01-{known}-what-comes-later"),
        ] {
            let context: TraceContext = later.parse().unwrap();
            assert_eq!(context.to_string(), format!("00-{known}"), "{later}");
        }
    }

    #[test]
    fn what_the_standard_forbids_is_refused() {
        for bad in [
            "",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "1-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0A-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(bad.parse::<TraceContext>().is_err(), "{bad}");
        }
    }
}

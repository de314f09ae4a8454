//! What a receiver answered, and what that means for the event and for the endpoint.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};

use super::gate::Health;

/// What came of one request.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// What was answered, or why nothing was.
    pub(super) result: Result<Head, String>,
    pub(super) took: Duration,
    /// The first bytes of the body.
    pub(super) body: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
}

/// What happens to the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Delivered,
    /// The endpoint does not exist any more: the event waits until it is enabled.
    Gone,
    /// The endpoint said when to come again.
    Later(Duration),
    /// The same bytes will be refused again.
    Refused,
    /// Another attempt may help. The endpoint itself works: the failure is about this event.
    OfEvent,
    Failed,
}

impl Verdict {
    /// What it says of the endpoint.
    pub(super) fn health(self) -> Health {
        match self {
            Self::Delivered | Self::Refused | Self::OfEvent | Self::Gone => Health::Well,
            Self::Later(pause) => Health::Busy(pause),
            Self::Failed => Health::Failing,
        }
    }
}

impl Answer {
    /// What it means; `Retry-After` counts from `min` to `max`.
    pub(super) fn verdict(&self, min: Duration, max: Duration) -> Verdict {
        let Ok(head) = self.result else {
            return Verdict::Failed;
        };
        match (head.status.as_u16(), head.retry_after) {
            (200..300, _) => Verdict::Delivered,
            (410, _) => Verdict::Gone,
            (429 | 503, Some(after)) => Verdict::Later(after.max(min).min(max)),
            // Too large, or of a kind that is not taken.
            (413 | 415, _) => Verdict::Refused,
            (400 | 406 | 409 | 411 | 412 | 422, _) => Verdict::OfEvent,
            _ => Verdict::Failed,
        }
    }

    /// What happened, in a sentence.
    pub(super) fn text(&self) -> String {
        match &self.result {
            Ok(head) if head.status.is_redirection() => format!(
                "the receiver answered {}, a redirect, which is not followed; correct the URL",
                head.status
            ),
            Ok(head) => format!("the receiver answered {}", head.status),
            Err(problem) => problem.clone(),
        }
    }
}

/// How long the receiver wants to be left alone: a number of seconds, or a date.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than there are seconds is as long as anything.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    // What is over is now.
    Some(
        at.duration_since(std::time::SystemTime::now())
            .unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, retry_after: Option<u64>) -> Verdict {
        let answer = Answer {
            result: Ok(Head {
                status: StatusCode::from_u16(status).unwrap(),
                retry_after: retry_after.map(Duration::from_secs),
            }),
            took: Duration::ZERO,
            body: Vec::new(),
        };
        answer.verdict(Duration::from_secs(2), Duration::from_secs(60))
    }

    #[test]
    fn a_status_says_what_becomes_of_the_event_and_of_the_endpoint() {
        let later = |seconds| Verdict::Later(Duration::from_secs(seconds));
        for (status, after, expected) in [
            (200, None, Verdict::Delivered),
            (204, None, Verdict::Delivered),
            (301, None, Verdict::Failed),
            (308, None, Verdict::Failed),
            (400, None, Verdict::OfEvent),
            (401, None, Verdict::Failed),
            (404, None, Verdict::Failed),
            (410, None, Verdict::Gone),
            (413, None, Verdict::Refused),
            (415, None, Verdict::Refused),
            (422, None, Verdict::OfEvent),
            (429, None, Verdict::Failed),
            (429, Some(5), later(5)),
            (503, Some(5), later(5)),
            (503, Some(100_000), later(60)),
            (503, Some(0), later(2)),
            (503, Some(u64::MAX), later(60)),
            (500, Some(5), Verdict::Failed),
            (502, None, Verdict::Failed),
        ] {
            assert_eq!(verdict(status, after), expected, "{status} {after:?}");
        }
        assert_eq!(Verdict::OfEvent.health(), Health::Well);
        assert_eq!(Verdict::Failed.health(), Health::Failing);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(of("120"), Some(Duration::from_secs(120)));
        assert_eq!(of("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        let far = of("Fri, 31 Dec 2100 23:59:59 GMT").unwrap();
        assert!(far > Duration::from_secs(365 * 86_400));
        assert_eq!(
            of("99999999999999999999999"),
            Some(Duration::from_secs(u64::MAX))
        );
        for text in ["soon", "-1", "1.5", ""] {
            assert_eq!(of(text), None, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}

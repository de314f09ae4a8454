//! The last responses of an endpoint, up to so many and so many bytes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ensue::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// How many responses are kept of an endpoint, and how many bytes of bodies together and of each.
const RESPONSES_MAX: usize = 50;
const BODIES_BYTES_MAX: usize = 64 * 1024;
pub(super) const BODY_BYTES_MAX: usize = 4 * 1024;

/// What came of one request to an endpoint.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "WebhookResponse")]
pub(crate) struct Response {
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub(super) time: Timestamp,
    #[serde(skip)]
    pub(super) topic: String,
    /// The header `webhook-id`.
    pub(super) webhook_id: String,
    #[serde(rename = "type")]
    pub(super) event_type: String,
    pub(super) key: String,
    /// Which attempt it was, from 1; 0 of a test.
    pub(super) attempt: u32,
    /// `delivered`, `failed`, `later`, `gone` or `refused`.
    pub(super) outcome: &'static str,
    pub(super) status: Option<u16>,
    /// What happened, if it was not delivered.
    pub(super) problem: Option<String>,
    pub(super) took_ms: u64,
    /// The beginning of the body.
    pub(super) body: String,
    /// Whether the body is left out, as it may have what was sent.
    pub(super) masked: bool,
}

impl Response {
    /// The topic of the event that was sent.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// The same without the body.
    pub(crate) fn masked(mut self) -> Self {
        self.body.clear();
        self.masked = true;
        self
    }
}

#[derive(Debug, Default)]
pub(super) struct Responses(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    newest_last: VecDeque<Response>,
    bodies_bytes: usize,
}

impl Responses {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, response: Response) {
        let mut kept = self.lock();
        kept.bodies_bytes += response.body.len();
        kept.newest_last.push_back(response);
        while kept.newest_last.len() > RESPONSES_MAX || kept.bodies_bytes > BODIES_BYTES_MAX {
            let Some(oldest) = kept.newest_last.pop_front() else {
                return;
            };
            kept.bodies_bytes -= oldest.body.len();
        }
    }

    /// All that are kept, the newest first.
    pub(super) fn all(&self) -> Vec<Response> {
        self.lock().newest_last.iter().rev().cloned().collect()
    }

    pub(super) fn last(&self) -> Option<Response> {
        self.lock().newest_last.back().cloned()
    }
}

/// The beginning of a body as text.
pub(super) fn shown(body: &[u8]) -> String {
    let body = body.get(..BODY_BYTES_MAX).unwrap_or(body);
    let mut text = String::from_utf8_lossy(body).into_owned();
    // What is not UTF-8 is longer as text.
    let end = (0..=BODY_BYTES_MAX.min(text.len())).rev();
    let end = end.into_iter().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(number: u32, body: String) -> Response {
        Response {
            time: Timestamp::EPOCH,
            topic: "orders".into(),
            webhook_id: number.to_string(),
            event_type: "e".into(),
            key: String::new(),
            attempt: number,
            outcome: "failed",
            status: Some(500),
            problem: None,
            took_ms: 1,
            body,
            masked: false,
        }
    }

    #[test]
    fn only_so_many_responses_and_so_many_bytes_of_them_are_kept() {
        let responses = Responses::default();
        for number in 0..200 {
            responses.add(response(number, "short".into()));
        }
        let kept: Vec<u32> = responses.all().iter().map(|it| it.attempt).collect();
        assert_eq!(kept, (150..200).rev().collect::<Vec<_>>());
        for number in 200..260 {
            responses.add(response(number, shown(&[b'x'; 100_000])));
        }
        let kept = responses.all();
        assert_eq!(kept.len(), 16);
        assert!(kept.iter().all(|it| it.body.len() == BODY_BYTES_MAX));
        assert_eq!(responses.last().unwrap().attempt, 259);
    }

    #[test]
    fn a_body_that_is_not_text_is_shown_within_the_limit() {
        assert!(shown(&[0xff; 10_000]).len() <= BODY_BYTES_MAX);
        assert_eq!(shown("grün".as_bytes()), "grün");
        assert_eq!(shown(b""), "");
    }
}

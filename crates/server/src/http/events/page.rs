//! `GET /v1/events`: a page of events, and where to go on.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use ensue::{CloudEventBatch, Cursor, Start};
use futures_util::stream;
use serde::Serialize;

use super::selection::{self, PARAMETERS};
use crate::context::Context;
use crate::http::query::{Query, invalid};
use crate::memory::Held;
use crate::problem::Problem;
use crate::scan::{Errors, Found, Scan};
use crate::security::Caller;

/// How many events a page has, unless it is said, and at the most.
const EVENTS: usize = 100;
const EVENTS_MAX: usize = 10_000;

const CURSOR: HeaderName = HeaderName::from_static("ensue-cursor");
const END: HeaderName = HeaderName::from_static("ensue-end");

/// How a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// An object that holds the events and where to go on.
    Json,
    /// An event a line.
    Lines,
    /// The events, in the batch format of CloudEvents.
    Batch,
}

/// What comes after the events of a page in JSON.
#[derive(Serialize)]
struct Rest<'a> {
    /// Where to go on.
    cursor: &'a Cursor,
    /// Whether there is nothing more, as the log is now.
    end: bool,
    /// How many places of the log were gone through.
    scanned: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter_errors: Option<&'a Errors>,
}

pub(super) async fn read(
    State(context): State<Context>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let known = [&PARAMETERS[..], &["limit", "cursor"]].concat();
    let query = Query::with_several(&uri, &known, &["type"])?;
    let limit = query.value("limit", "expected a number")?.unwrap_or(EVENTS);
    if !(1..=EVENTS_MAX).contains(&limit) {
        let problem = format!("is {limit}; expected 1 to {EVENTS_MAX}");
        return Err(invalid("limit", &problem));
    }
    let cursor: Option<Cursor> = query.value("cursor", "expected the cursor of a page before")?;
    let mut scan = selection::scan(&context, &caller, &query, Start::Earliest).await?;
    if let Some(cursor) = cursor {
        scan.go_to(cursor);
    }
    let (events, held) = scan.page(&context, limit).await?;
    Ok(respond(Format::of(&headers), &scan, events, held))
}

impl Format {
    fn of(headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(header::ACCEPT).iter();
        let accepted = accepted.filter_map(|value| value.to_str().ok());
        let mut types = accepted.flat_map(|value| value.split(','));
        let format = types.find_map(|media| match media.split(';').next().map(str::trim)? {
            "application/x-ndjson" | "application/ndjson" => Some(Self::Lines),
            CloudEventBatch::CONTENT_TYPE => Some(Self::Batch),
            "application/json" => Some(Self::Json),
            _ => None,
        });
        format.unwrap_or(Self::Json)
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Lines => "application/x-ndjson",
            Self::Batch => CloudEventBatch::CONTENT_TYPE,
        }
    }
}

fn respond(format: Format, scan: &Scan, events: Vec<Found>, held: Held) -> Response {
    let rest = Rest {
        cursor: scan.cursor(),
        end: scan.is_end(),
        scanned: scan.scanned(),
        filter_errors: scan.filter_errors(),
    };
    // Of texts and numbers: it can be written.
    let rest = serde_json::to_string(&rest).unwrap_or_default();
    let (start, end) = match format {
        Format::Json => (
            "{\"events\":[".to_owned(),
            format!("],{}", rest.get(1..).unwrap_or("}")),
        ),
        Format::Batch => ("[".to_owned(), "]".to_owned()),
        Format::Lines => (String::new(), String::new()),
    };
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static(format.content_type()),
        ),
        (
            END,
            HeaderValue::from_static(if scan.is_end() { "true" } else { "false" }),
        ),
    ];
    let mut response = (headers, body(format, start, events, end, held)).into_response();
    // A cursor is digits and dots.
    if let Ok(cursor) = HeaderValue::from_str(&scan.cursor().to_string()) {
        response.headers_mut().insert(CURSOR, cursor);
    }
    response
}

/// Writes one event after the other, as the client takes them. What was written is let go of when there
/// is room for the next.
fn body(format: Format, start: String, events: Vec<Found>, end: String, mut held: Held) -> Body {
    let count = events.len();
    let mut written = 0;
    let pieces = events.into_iter().enumerate().map(move |(index, found)| {
        let recorded = &found.recorded;
        held.let_go(std::mem::replace(
            &mut written,
            recorded.envelope.content().len(),
        ));
        let event = recorded.envelope.to_cloudevent();
        let event = event.read_from(recorded.position, recorded.appended);
        match format {
            Format::Lines => format!("{}\n", event.on_one_line()),
            _ if index + 1 == count => event.to_string(),
            _ => format!("{event},"),
        }
    });
    let pieces = std::iter::once(start)
        .chain(pieces)
        .chain(std::iter::once(end));
    let mut pieces = pieces.filter(|piece| !piece.is_empty());
    let next = move || {
        let piece = pieces.next()?;
        Some(Ok::<_, Infallible>(Bytes::from(piece)))
    };
    Body::from_stream(stream::iter(std::iter::from_fn(next)))
}

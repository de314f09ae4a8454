//! `GET /v1/events`: a page of events, and where to go on.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use ensue::{CloudEventBatch, Cursor, Start};
use hyper::body::{Frame, SizeHint};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::selection::{self, PARAMETERS};
use crate::context::Context as Server;
use crate::http::query::{Asked, Parameters, invalid};
use crate::memory::Held;
use crate::openapi::{
    Answer, CursorText, Input, Kind, Operation, Parameter, RecordedEvent, Written,
};
use crate::problem::Problem;
use crate::scan::{Errors, Found, Scan};
use crate::security::Caller;

/// How many events a page has, unless it is said, and at the most.
const EVENTS: usize = 100;
const EVENTS_MAX: usize = 10_000;
/// How much of a page is written at a time, in bytes, and an event more.
const PIECE_BYTES: usize = 64 * 1024;
/// About how much is written of an event besides what is stored of it.
pub(super) const ATTRIBUTES_BYTES: usize = 512;

const CURSOR: HeaderName = HeaderName::from_static("ensue-cursor");
const END: HeaderName = HeaderName::from_static("ensue-end");

/// How a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// An object that holds the events and where to go on.
    Json,
    /// An event a line.
    Lines,
    /// The events, in the batch format of CloudEvents.
    Batch,
}

/// What comes after the events of a page in JSON.
#[derive(Serialize, JsonSchema)]
struct Rest<'a> {
    /// Where to go on.
    #[schemars(with = "CursorText")]
    cursor: &'a Cursor,
    /// Whether there is nothing more, as the log is now.
    end: bool,
    /// How many places of the log were gone through.
    scanned: u64,
    /// With a filter: with how many events it could not be evaluated, which do not pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Errors")]
    filter_errors: Option<&'a Errors>,
}

/// A page of events, and where to go on.
#[derive(JsonSchema)]
#[schemars(rename = "EventPage")]
#[allow(dead_code, reason = "it is written piece by piece")]
pub(super) struct Page {
    events: Vec<RecordedEvent>,
    #[serde(flatten)]
    rest: Rest<'static>,
}

impl Answer for Page {
    fn describe(operation: &mut Operation) {
        let page = operation.written::<Self>();
        let batch = operation.written::<Vec<RecordedEvent>>();
        let lines = json!({ "type": "string", "description": "An event a line, as JSON." });
        operation
            .answers(200, "A page of events, and where to go on.")
            .header(CURSOR.as_str(), "Where to go on.")
            .header(
                END.as_str(),
                "Whether there is nothing more: `true` or `false`.",
            )
            .content(Format::Json.content_type(), page)
            .content(Format::Batch.content_type(), batch)
            .content(Format::Lines.content_type(), lines);
    }
}

/// The query of a page.
#[derive(Debug)]
pub(super) enum Paging {}

impl Parameters for Paging {
    const KNOWN: &'static [&'static [Parameter]] = &[
        &PARAMETERS,
        &[
            Parameter::new(
                "limit",
                Kind::Number {
                    min: 1,
                    max: Some(EVENTS_MAX as u64),
                    default: Some(EVENTS as u64),
                },
                "How many events at the most. A page may have fewer, and none, before the end.",
            ),
            Parameter::new("cursor", Kind::Cursor, "Where the page before ended."),
        ],
    ];
}

pub(super) async fn read(
    State(context): State<Server>,
    caller: Caller,
    query: Asked<Paging>,
    format: Format,
) -> Result<Written<Page>, Problem> {
    let limit = query.value("limit", "expected a number")?.unwrap_or(EVENTS);
    if !(1..=EVENTS_MAX).contains(&limit) {
        let problem = format!("is {limit}; expected 1 to {EVENTS_MAX}");
        return Err(invalid("limit", &problem));
    }
    let cursor: Option<Cursor> = query.value("cursor", "expected the cursor of a page before")?;
    let mut scan = selection::scan(&context, &caller, &query, Start::Earliest).await?;
    if let Some(cursor) = cursor {
        selection::must_go_on(&context, &cursor).await?;
        scan.go_to(cursor);
    }
    let (events, held) = scan.page(&context, limit).await?;
    Ok(Written::new(respond(format, &scan, events, held)))
}

impl<S: Sync> FromRequestParts<S> for Format {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

impl Input for Format {
    fn describe(_: &mut Operation) {
        // The media types of the answer say what may be accepted.
    }
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
    let body = Body::new(Pieces::new(format, &start, events, end, held));
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
    let mut response = (headers, body).into_response();
    // A cursor is digits and dots.
    if let Ok(cursor) = HeaderValue::from_str(&scan.cursor().to_string()) {
        response.headers_mut().insert(CURSOR, cursor);
    }
    response
}

/// A page in pieces, which are written as the client takes them. The events of a piece are let go of when there is
/// room for the next.
struct Pieces {
    format: Format,
    events: vec::IntoIter<Found>,
    end: String,
    /// What is given next, and how many bytes of events are in it.
    piece: Vec<u8>,
    in_piece: usize,
    /// How many are in what was given last.
    given: usize,
    held: Held,
}

impl Pieces {
    fn new(format: Format, start: &str, events: Vec<Found>, end: String, held: Held) -> Self {
        let bytes: usize = events.iter().map(|it| it.bytes() + ATTRIBUTES_BYTES).sum();
        let mut piece = Vec::with_capacity(bytes.min(PIECE_BYTES) + ATTRIBUTES_BYTES);
        piece.extend_from_slice(start.as_bytes());
        let mut pieces = Self {
            format,
            piece,
            events: events.into_iter(),
            end,
            in_piece: 0,
            given: 0,
            held,
        };
        pieces.write();
        pieces
    }

    /// Writes the next piece behind what is there, as far as there is more.
    fn write(&mut self) {
        let separator = match self.format {
            Format::Lines => b'\n',
            Format::Json | Format::Batch => b',',
        };
        while self.piece.len() < PIECE_BYTES
            && let Some(found) = self.events.next()
        {
            let recorded = &found.recorded;
            let event = recorded.envelope.to_cloudevent();
            let event = event.read_from(recorded.position, recorded.appended);
            match self.format {
                Format::Lines => event.on_one_line().write_to(&mut self.piece),
                Format::Json | Format::Batch => event.write_to(&mut self.piece),
            }
            self.piece.push(separator);
            self.in_piece += found.bytes();
        }
        if self.is_written() && !self.end.is_empty() {
            // Nothing follows the last event.
            self.piece.pop_if(|last| *last == separator);
            self.piece.extend_from_slice(self.end.as_bytes());
            self.end.clear();
        }
    }

    /// Whether no event is left that is not in a piece.
    fn is_written(&self) -> bool {
        self.events.as_slice().is_empty()
    }
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let given = self.given;
        self.held.let_go(given);
        if self.piece.is_empty() {
            self.write();
        }
        self.given = std::mem::take(&mut self.in_piece);
        let piece = std::mem::take(&mut self.piece);
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        // A large piece counts until there is room for more.
        self.piece.is_empty() && self.is_written() && self.given <= PIECE_BYTES
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_written() {
            SizeHint::with_exact(self.piece.len() as u64)
        } else {
            SizeHint::default()
        }
    }
}

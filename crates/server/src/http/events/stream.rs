//! `GET /v1/events/stream`: events as they come, as server-sent events that can be resumed.

use std::convert::Infallible;
use std::io::Write as _;
use std::vec;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use ensue::{Cursor, Start};
use futures_util::stream;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::page::ATTRIBUTES_BYTES;
use super::selection::{self, PARAMETERS};
use crate::context::Context;
use crate::http::query::{Asked, Parameters};
use crate::memory::Held;
use crate::openapi::{
    self, Answer, Input, Kind, Operation, Parameter, ProblemDocument, RecordedEvent, Written,
};
use crate::problem::{Code, Problem};
use crate::scan::{Found, STREAM_BYTES, Scan, Unread};
use crate::security::{Action, Caller};

/// How many events a stream reads ahead.
const PAGE_EVENTS_MAX: usize = 64;
pub(super) const LAST_EVENT_ID: &str = "last-event-id";

/// The query of a stream.
#[derive(Debug)]
pub(super) enum Following {}

impl Parameters for Following {
    const KNOWN: &'static [&'static [Parameter]] = &[&PARAMETERS];
}

/// Where a stream goes on, if it does.
#[derive(Debug)]
pub(super) struct Resumed(Option<Cursor>);

impl<S: Sync> FromRequestParts<S> for Resumed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        resumed(&parts.headers).map(Self)
    }
}

impl Input for Resumed {
    fn describe(operation: &mut Operation) {
        let last = Parameter::new(
            LAST_EVENT_ID,
            Kind::Cursor,
            "The id of the last message of the stream that this one goes on from.",
        );
        operation.takes(openapi::Place::Header, &last);
        operation.refuses(&[Code::InvalidHeader]);
    }
}

/// What a stream is, to clients.
#[derive(Debug)]
pub(super) enum Messages {}

impl Answer for Messages {
    fn describe(operation: &mut Operation) {
        let data = [
            operation.written::<RecordedEvent>(),
            operation.written::<ProblemDocument>(),
        ];
        let schema = json!({
            "description": "The members of a message. One without data says how far the stream came.",
            "properties": {
                "id": { "type": "string", "description": "The place after the event." },
                "event": { "type": "string", "description": "`problem` with the last message, if that says why." },
                "data": {
                    "type": "string",
                    "description": "An event, or a problem, on one line.",
                    "contentMediaType": "application/json",
                    "contentSchema": { "anyOf": data },
                },
            },
        });
        operation
            .answers(200, "Server-sent events, as long as the client takes them.")
            .content("text/event-stream", schema);
    }
}

pub(super) async fn follow(
    State(context): State<Context>,
    caller: Caller,
    query: Asked<Following>,
    Resumed(resumed): Resumed,
) -> Result<Written<Messages>, Problem> {
    let mut scan = selection::scan(&context, &caller, &query, Start::Latest).await?;
    if let Some(cursor) = resumed {
        selection::must_go_on(&context, &cursor).await?;
        scan.go_to(cursor);
    }
    let of_caller = caller.stream()?;
    let Some(slot) = context.stream() else {
        let streams_max = context.limits().streams_max;
        let detail = format!(
            "there are {streams_max} streams, the limit `streams_max`; close one, or read in pages"
        );
        return Err(Problem::new(Code::Overloaded, detail));
    };
    let mut follower = Follower {
        changes: context.security().changes(),
        context,
        scan,
        page: Vec::new().into_iter(),
        held: Held::default(),
        said: Instant::now(),
        is_over: false,
        _slots: (slot, of_caller),
    };
    // What cannot be read at all is refused before the stream begins, which waits for room.
    let mut held = follower.scan.caller().answers();
    if follower.context.answers().hold(&mut held, STREAM_BYTES) {
        match follower.read_into(held).await {
            Ok(()) | Err(Unread::NoRoom { .. }) => {}
            Err(refused) => return Err(refused.into()),
        }
    }
    let events = stream::unfold(follower, |mut follower| async {
        let text = follower.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), follower))
    });
    let content_type = HeaderValue::from_static("text/event-stream");
    let headers = [(header::CONTENT_TYPE, content_type)];
    Ok(Written::new((headers, Body::from_stream(events))))
}

/// Where the stream that this one goes on from had come to.
pub(super) fn resumed(headers: &HeaderMap) -> Result<Option<Cursor>, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let cursor = value.to_str().ok().and_then(|text| text.parse().ok());
    cursor.map(Some).ok_or_else(|| {
        Problem::new(
            Code::InvalidHeader,
            "the header `Last-Event-ID` is not an id of this stream; leave it out to begin again",
        )
    })
}

/// A stream on its way.
struct Follower {
    context: Context,
    /// Of those who may call.
    changes: watch::Receiver<()>,
    scan: Scan,
    /// What was read and not said.
    page: vec::IntoIter<Found>,
    held: Held,
    /// When something was said last.
    said: Instant,
    is_over: bool,
    _slots: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
}

impl Follower {
    /// What to say next; `None` ends the stream.
    async fn next(&mut self) -> Option<Vec<u8>> {
        let text = self.say().await;
        self.said = Instant::now();
        text
    }

    async fn say(&mut self) -> Option<Vec<u8>> {
        let context = self.context.clone();
        let heartbeat = context.limits().heartbeat;
        loop {
            if self.is_over || context.is_draining() {
                return None;
            }
            if let Err(problem) = self.renew() {
                return Some(self.end(&problem));
            }
            if let Some(found) = self.page.next() {
                return Some(event(&found));
            }
            self.held = Held::default();
            let silence = tokio::time::sleep_until(self.said + heartbeat);
            let mut changes = self.changes.clone();
            let more = tokio::select! {
                more = self.more() => more,
                Ok(()) = changes.changed() => continue,
                () = silence => return Some(beat(self.scan.cursor())),
                () = context.drained() => return None,
            };
            if let Err(problem) = more {
                return Some(self.end(&problem));
            }
        }
    }

    /// The last thing to say.
    fn end(&mut self, problem: &Problem) -> Vec<u8> {
        self.is_over = true;
        format!("event: problem\ndata: {}\n\n", problem.to_json()).into_bytes()
    }

    /// Asks again who the caller is and what they may read: when that may have changed, and now and then,
    /// as credentials expire.
    fn renew(&mut self) -> Result<(), Problem> {
        let has_changed = self.changes.has_changed().unwrap_or(true);
        if !self.page.as_slice().is_empty() && !has_changed {
            return Ok(());
        }
        self.changes.mark_unchanged();
        let caller = self.context.still(self.scan.caller())?;
        self.scan.renew(caller)?;
        if has_changed {
            // It was read when the caller might have been allowed more.
            let caller = self.scan.caller().clone();
            let page = std::mem::replace(&mut self.page, Vec::new().into_iter());
            let may = |found: &Found| caller.may(Action::Read, found.recorded.envelope.topic());
            let mut page: Vec<Found> = page.filter(may).collect();
            for found in &mut page {
                caller.disclose(&mut found.recorded.envelope)?;
            }
            self.page = page.into_iter();
        }
        Ok(())
    }

    /// Reads on; at the end of the log it waits first. Nothing is lost when it is given up.
    async fn more(&mut self) -> Result<(), Problem> {
        if self.scan.is_end() {
            self.context
                .engine()
                .wait(self.scan.cursor().clone())
                .await?;
        }
        self.read().await
    }

    /// Reads on when there is room.
    async fn read(&mut self) -> Result<(), Problem> {
        let (answers, mut bytes) = (self.context.answers().clone(), STREAM_BYTES);
        loop {
            let held = answers.wait(self.scan.caller().answers(), bytes).await;
            match self.read_into(held).await {
                // It holds nothing while it waits for so much.
                Err(Unread::NoRoom { bytes: needed }) => bytes = needed,
                read => return Ok(read?),
            }
        }
    }

    /// Reads on, as far as there is room in what is `held`.
    async fn read_into(&mut self, mut held: Held) -> Result<(), Unread> {
        let (room, bounds) = (held.bytes(), (PAGE_EVENTS_MAX, u64::MAX));
        let page = self.scan.step(&self.context, bounds, &mut held, room);
        self.page = page.await?.into_iter();
        self.held = held;
        Ok(())
    }
}

fn event(found: &Found) -> Vec<u8> {
    let recorded = &found.recorded;
    let event = recorded.envelope.to_cloudevent();
    let event = event.read_from(recorded.position, recorded.appended);
    let mut text = Vec::with_capacity(found.bytes() + ATTRIBUTES_BYTES);
    // Writing into memory cannot fail.
    let _ = write!(text, "id: {}\ndata: ", found.after);
    event.on_one_line().write_to(&mut text);
    text.extend_from_slice(b"\n\n");
    text
}

/// Says that the stream is there, and how far it came: an id without data is kept by clients and not
/// shown to them.
fn beat(cursor: &Cursor) -> Vec<u8> {
    format!(": heartbeat\nid: {cursor}\n\n").into_bytes()
}

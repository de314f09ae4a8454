//! `Read`: events in pages, up to the end of the log or beyond it.

use std::pin::Pin;
use std::time::Duration;

use ensue::engine::{Query, READ_EVENTS_MAX, Recorded};
use ensue_proto::{PIECE_BYTES, v1};
use futures_util::{Stream, stream};
use tokio::sync::watch;
use tonic::Status;

use super::answer;
use super::lists::pieces;
use super::permit;
use crate::context::Context;
use crate::memory::Held;
use crate::security::{Action, Caller};

/// How many events are read ahead of what the client takes, where it did not ask for one page.
const PAGE_EVENTS_MAX: usize = 256;
/// How long a stream waits for room when all of them together hold as much as they may.
const ROOM_PAUSE: Duration = Duration::from_millis(50);

pub(super) type Responses = Pin<Box<dyn Stream<Item = Result<v1::ReadResponse, Status>> + Send>>;

/// A read on its way.
struct Reading {
    context: Context,
    caller: Caller,
    query: Query,
    /// How many events may come yet; `None` is any number.
    left: Option<usize>,
    one_page: bool,
    follow: bool,
    /// Pieces that were read and not sent, the next one last.
    pieces: Vec<v1::ReadResponse>,
    held: Held,
    is_over: bool,
    changes: watch::Receiver<()>,
    _slots: permit::Slots,
}

/// Begins to read: what cannot be read at all is refused before the stream begins. One that follows may
/// have to wait for its first page, which it does within the stream: that ends when the server stops, or
/// when the caller may not go on.
pub(super) async fn begin(
    context: Context,
    caller: Caller,
    request: v1::ReadRequest,
) -> Result<Responses, Status> {
    let query = Query::try_from(&request).map_err(answer::malformed)?;
    // One topic is refused by its name; of a pattern, the caller gets what they may read.
    if let Some(topic) = query.topics.as_ref().filter(|topics| topics.is_literal()) {
        permit::must(&caller, Action::Read, topic.as_str())?;
    }
    let slots = permit::stream(&context, &caller)?;
    let mut reading = Reading {
        left: (query.limit > 0).then_some(query.limit),
        one_page: request.one_page,
        follow: request.follow && !request.one_page,
        changes: context.security().changes(),
        context,
        caller,
        query,
        pieces: Vec::new(),
        held: Held::default(),
        is_over: false,
        _slots: slots,
    };
    if !reading.follow {
        reading.page().await?;
    }
    let responses = stream::unfold(reading, |mut reading| async {
        let piece = reading.next().await?;
        Some((piece, reading))
    });
    Ok(Box::pin(responses))
}

impl Reading {
    /// The next piece; `None` ends the stream.
    async fn next(&mut self) -> Option<Result<v1::ReadResponse, Status>> {
        loop {
            if self.changes.has_changed().unwrap_or(true) {
                // What was read may not be the caller's any more.
                self.is_over = true;
                return Some(Err(answer::changed()));
            }
            if let Some(piece) = self.pieces.pop() {
                return Some(Ok(piece));
            }
            self.held = Held::default();
            if self.is_over {
                return None;
            }
            match permit::still(&self.context, &self.caller) {
                Ok(caller) => self.caller = caller,
                Err(status) => {
                    self.is_over = true;
                    return Some(Err(status));
                }
            }
            let (context, mut changes) = (self.context.clone(), self.changes.clone());
            let more = tokio::select! {
                more = self.page() => more,
                _ = changes.changed() => continue,
                // Credentials expire while nothing comes.
                () = tokio::time::sleep(context.limits().heartbeat) => continue,
                () = context.drained() => Err(answer::stopping()),
            };
            if let Err(status) = more {
                self.is_over = true;
                return Some(Err(status));
            }
        }
    }

    /// Reads a page. At the end of the log, one that follows waits before.
    async fn page(&mut self) -> Result<(), Status> {
        let mut events_max = if self.one_page {
            READ_EVENTS_MAX
        } else {
            PAGE_EVENTS_MAX
        };
        loop {
            self.query.limit = self.left.unwrap_or(events_max).min(events_max);
            let page = self
                .context
                .engine()
                .shared()
                .read(self.query.clone())
                .await;
            let mut page = page.map_err(|error| answer::engine(&error))?;
            if !self.caller.may_everything() {
                let may = |it: &Recorded| self.caller.may(Action::Read, it.envelope.topic());
                page.events.retain(may);
                for recorded in &mut page.events {
                    permit::disclose(&self.caller, &mut recorded.envelope)?;
                }
            }
            let bytes = page.events.iter().map(|it| it.envelope.content().len());
            let mut held = Held::default();
            let answers = self.context.answers();
            let is_alone = events_max == 1 && answers.in_use() == 0;
            if !answers.hold(&mut held, bytes.sum()) && !is_alone {
                // There is no room now: less at a time, and later.
                events_max = (events_max / 2).max(1);
                tokio::time::sleep(ROOM_PAUSE).await;
                continue;
            }
            let is_empty = page.events.is_empty();
            self.left = self.left.map(|left| left.saturating_sub(page.events.len()));
            self.query.from = page.next.clone();
            self.held = held;
            self.is_over = self.one_page
                || self.left == Some(0)
                || self.is_at_until()
                || (page.is_end && !self.follow);
            if is_empty && page.is_end && !self.is_over {
                let engine = self.context.engine();
                let waited = engine.shared().wait(page.next).await;
                waited.map_err(|error| answer::engine(&error))?;
                continue;
            }
            self.set_pieces(&page.events, &page.next.to_string(), page.is_end);
            return Ok(());
        }
    }

    fn is_at_until(&self) -> bool {
        let until = self.query.until.as_ref();
        until.is_some_and(|until| self.query.from >= *until)
    }

    /// The page in pieces: only the last says where to go on behind all of it.
    fn set_pieces(&mut self, events: &[Recorded], next: &str, is_end: bool) {
        let size = |recorded: &Recorded| recorded.envelope.content().len();
        let mut pieces: Vec<_> = pieces(events, PIECE_BYTES, size)
            .map(|piece| v1::ReadResponse {
                events: piece.iter().map(v1::RecordedEvent::from).collect(),
                next: piece.last().map_or_else(String::new, |last| {
                    ensue::Cursor::from(last.position.next()).to_string()
                }),
                is_end: false,
            })
            .collect();
        if let Some(last) = pieces.last_mut() {
            last.next = next.to_owned();
            last.is_end = is_end;
        }
        pieces.reverse();
        self.pieces = pieces;
    }
}

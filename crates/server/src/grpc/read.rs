//! `Read`: events in pages, up to the end of the log or beyond it.

use std::pin::Pin;

use ensue::engine::{Query, READ_EVENTS_MAX};
use ensue_proto::{PIECE_BYTES, v1};
use futures_util::{Stream, stream};
use tokio::sync::watch;
use tonic::Status;

use super::answer;
use super::lists::pieces;
use super::permit;
use crate::context::Context;
use crate::memory::Held;
use crate::scan::{Filter, Found, Scan, Unread};
use crate::security::Caller;

/// How many events are read ahead of what the client takes, and how many bytes of them, where it did not ask for
/// one page.
const PAGE_EVENTS_MAX: usize = 256;
const PAGE_BYTES_MAX: usize = 256 * 1024;

pub(super) type Responses = Pin<Box<dyn Stream<Item = Result<v1::ReadResponse, Status>> + Send>>;

/// A read on its way.
struct Reading {
    context: Context,
    scan: Scan,
    /// How many places the answers before tell of.
    told: u64,
    /// How many events may come yet; `None` is any number.
    left: Option<usize>,
    one_page: bool,
    /// Of one page.
    bytes_max: usize,
    follow: bool,
    /// Pieces that were read and not sent, the next one last.
    pieces: Vec<v1::ReadResponse>,
    held: Held,
    /// Room that was waited for.
    room: Held,
    waits: Waits,
    is_over: bool,
    changes: watch::Receiver<()>,
    _slots: permit::Slots,
}

/// What is waited for before the next page.
#[derive(Clone, Copy, Debug)]
enum Waits {
    No,
    /// Among the answers under way, for so many bytes.
    ForRoom(usize),
    /// In the log.
    ForMore,
}

/// Begins to read: what cannot be read at all is refused before the stream begins. What has to be waited
/// for is waited for within the stream, which ends when the server stops, or when the caller may not go on.
pub(super) async fn begin(
    context: Context,
    caller: Caller,
    request: v1::ReadRequest,
) -> Result<Responses, Status> {
    let query = Query::try_from(&request).map_err(answer::malformed)?;
    let bytes_max = match query.bytes_max {
        0 => usize::MAX,
        bytes => bytes,
    };
    let left = (query.limit > 0).then_some(query.limit);
    let filter = Some(&request.filter).filter(|text| !text.is_empty());
    let refused = |refused| answer::problem(&refused);
    let filter = filter.map(|text| Filter::parse(text)).transpose();
    let filter = filter.map_err(refused)?;
    let scan = Scan::new(query, filter, caller.clone()).map_err(refused)?;
    let slots = permit::stream(&context, &caller)?;
    let mut reading = Reading {
        left,
        one_page: request.one_page,
        bytes_max,
        follow: request.follow && !request.one_page,
        changes: context.security().changes(),
        context,
        scan,
        told: 0,
        pieces: Vec::new(),
        held: Held::default(),
        room: Held::default(),
        waits: Waits::No,
        is_over: false,
        _slots: slots,
    };
    reading.page().await?;
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
            if let Err(status) = self.renew() {
                self.is_over = true;
                return Some(Err(status));
            }
            if let Err(status) = self.more().await {
                self.is_over = true;
                return Some(Err(status));
            }
        }
    }

    /// Reads on, after what has to be waited for. Waiting is given up for other things; reading is not, as
    /// what was read would be lost.
    async fn more(&mut self) -> Result<(), Status> {
        let (context, mut changes) = (self.context.clone(), self.changes.clone());
        tokio::select! {
            waited = self.wait() => waited?,
            _ = changes.changed() => return Ok(()),
            // Credentials expire while nothing comes; and one who filters learns how far it came.
            () = tokio::time::sleep(context.limits().heartbeat) => {
                if self.scan.scanned() > self.told {
                    self.set_pieces(&[]);
                }
                return Ok(());
            }
            () = context.drained() => return Err(answer::stopping()),
        }
        self.waits = Waits::No;
        tokio::select! {
            read = self.page() => read,
            () = context.drained() => Err(answer::stopping()),
        }
    }

    async fn wait(&mut self) -> Result<(), Status> {
        match self.waits {
            Waits::No => Ok(()),
            Waits::ForRoom(bytes) => {
                let answers = self.context.answers().clone();
                self.room = answers.wait(self.scan.caller().answers(), bytes).await;
                Ok(())
            }
            Waits::ForMore => {
                let engine = self.context.engine().shared();
                let waited = engine.wait(self.scan.cursor().clone()).await;
                waited.map_err(|error| answer::engine(&error))
            }
        }
    }

    /// Reads a page, or finds that something has to be waited for.
    async fn page(&mut self) -> Result<(), Status> {
        let (page_max, bytes_max) = if self.one_page {
            let bytes_max = self.context.limits().answer_bytes_max;
            (READ_EVENTS_MAX, self.bytes_max.min(bytes_max))
        } else {
            (PAGE_EVENTS_MAX, PAGE_BYTES_MAX)
        };
        let limit = self.left.unwrap_or(page_max).min(page_max);
        let mut room = std::mem::take(&mut self.room);
        if room.bytes() == 0 {
            room = self.scan.caller().answers();
        }
        // Of a scan that was at its end, the log has more now.
        self.scan.go_on();
        let page = self.scan.page_within(&self.context, limit, room, bytes_max);
        let (events, held) = match page.await {
            Ok(page) => page,
            Err(Unread::NoRoom { bytes }) => {
                self.waits = Waits::ForRoom(bytes);
                return Ok(());
            }
            Err(Unread::Engine(error)) => return Err(answer::engine(&error)),
            Err(Unread::Refused(problem)) => return Err(answer::problem(&problem)),
        };
        self.left = self.left.map(|left| left.saturating_sub(events.len()));
        self.held = held;
        let is_end = self.scan.is_end();
        self.is_over = self.one_page
            || self.left == Some(0)
            || self.scan.is_at_until()
            || (is_end && !self.follow);
        if is_end && !self.is_over {
            self.waits = Waits::ForMore;
        }
        if !events.is_empty() || self.is_over || !is_end {
            self.set_pieces(&events);
        }
        Ok(())
    }

    /// Asks again who the caller is: credentials expire, too.
    fn renew(&mut self) -> Result<(), Status> {
        let caller = permit::still(&self.context, self.scan.caller())?;
        let renewed = self.scan.renew(caller);
        renewed.map_err(|refused| answer::problem(&refused))
    }

    /// The page in pieces: only the last says where to go on behind all of it.
    fn set_pieces(&mut self, events: &[Found]) {
        let size = |found: &Found| found.recorded.envelope.content().len();
        let mut pieces: Vec<_> = pieces(events, PIECE_BYTES, size)
            .map(|piece| v1::ReadResponse {
                events: piece
                    .iter()
                    .map(|it| v1::RecordedEvent::from(&it.recorded))
                    .collect(),
                next: piece
                    .last()
                    .map_or_else(String::new, |last| last.after.to_string()),
                ..v1::ReadResponse::default()
            })
            .collect();
        if let Some(last) = pieces.last_mut() {
            last.next = self.scan.cursor().to_string();
            last.is_end = self.scan.is_end();
            last.scanned = self.scan.scanned() - self.told;
            let errors = self.scan.filter_errors();
            last.filter_errors = errors.map(|errors| v1::FilterErrors {
                count: errors.count,
                first: errors.first.clone().unwrap_or_default(),
            });
        }
        self.told = self.scan.scanned();
        pieces.reverse();
        self.pieces = pieces;
    }
}

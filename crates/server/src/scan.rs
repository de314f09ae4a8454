//! Going through the log for events that a reader wants: in steps, each of them bounded.

mod filter;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ensue::engine::{Page, Query, Recorded};
use ensue::{Cursor, Error, Position, TopicPattern};

pub(crate) use self::filter::{Errors, Filter};
use crate::context::Context;
use crate::memory::{Held, SMALL, UNIT};
use crate::problem::{Code, Problem};
use crate::security::{Action, Caller};

/// How many places of the log one step goes through: few at first if an index does not find what is asked for, then
/// as many as take about [`STEP_TIME`]. What an index leaves out costs next to nothing.
const STEP_EVENTS_MIN: u64 = 1 << 12;
const STEP_EVENTS_MAX: u64 = 1 << 22;
const STEP_TIME: Duration = Duration::from_millis(50);
/// How many events the engine gives for a page at a time, and how many bytes of them at first: four times as many
/// each time.
const PAGE_STEP_EVENTS_MAX: usize = 1_000;
const FIRST_BYTES: usize = 256 * 1024;
/// How many bytes of events a stream reads ahead, but for one event that has more by itself.
pub(crate) const STREAM_BYTES: usize = SMALL;

/// A reader on its way through the log.
#[derive(Debug)]
pub(crate) struct Scan {
    query: Query,
    filter: Option<Filter>,
    caller: Caller,
    step_events: u64,
    /// How many places it went through.
    scanned: u64,
    is_end: bool,
}

/// An event, and the place after it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) recorded: Recorded,
    pub(crate) after: Cursor,
}

/// Why a reader gets nothing.
#[derive(Debug)]
pub(crate) enum Unread {
    /// The engine says so.
    Engine(Error),
    Refused(Problem),
    /// Answers under way are as large as they may be together: there is no room for so many bytes.
    NoRoom {
        bytes: usize,
    },
}

impl Found {
    /// How much of the answers under way it is.
    pub(crate) fn bytes(&self) -> usize {
        self.recorded.envelope.content().len()
    }
}

impl From<Problem> for Unread {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl From<Unread> for Problem {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Engine(error) => error.into(),
            Unread::Refused(problem) => problem,
            Unread::NoRoom { .. } => Self::new(
                Code::Overloaded,
                "the answers under way are as large as they may be together, the limit \
                 `answers_bytes_max`, or those of this caller are a quarter of it: clients are slow to take them; \
                 try again in a moment",
            ),
        }
    }
}

impl Scan {
    /// Goes through the log for `caller`: one topic is refused by its name; of a pattern, they get what
    /// they may read.
    pub(crate) fn new(
        query: Query,
        filter: Option<Filter>,
        caller: Caller,
    ) -> Result<Self, Problem> {
        let scan = Self {
            step_events: if is_indexed(&query) {
                STEP_EVENTS_MAX
            } else {
                STEP_EVENTS_MIN
            },
            query,
            filter,
            caller,
            scanned: 0,
            is_end: false,
        };
        scan.check(&scan.caller)?;
        Ok(scan)
    }

    fn check(&self, caller: &Caller) -> Result<(), Problem> {
        let topics = self.query.topics.as_ref();
        match topics.filter(|topics| topics.is_literal()) {
            Some(topic) => caller.must(Action::Read, topic.as_str()),
            None => Ok(()),
        }
    }

    /// Where to go on.
    pub(crate) fn cursor(&self) -> &Cursor {
        &self.query.from
    }

    /// Whether there is nothing more to find, as the log is now.
    pub(crate) fn is_end(&self) -> bool {
        self.is_end
    }

    /// Whether it came to where the reader wants to stop.
    pub(crate) fn is_at_until(&self) -> bool {
        let until = self.query.until.as_ref();
        until.is_some_and(|until| self.query.from >= *until)
    }

    /// How many places it went through.
    pub(crate) fn scanned(&self) -> u64 {
        self.scanned
    }

    pub(crate) fn filter_errors(&self) -> Option<&Errors> {
        self.filter.as_ref().map(Filter::errors)
    }

    /// Begins to read at another place.
    pub(crate) fn go_to(&mut self, cursor: Cursor) {
        self.query.from = cursor;
        self.is_end = false;
    }

    /// The log may have more than when it was at its end.
    pub(crate) fn go_on(&mut self) {
        self.is_end = false;
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Goes on for the same caller, who may do something else now.
    pub(crate) fn renew(&mut self, caller: Caller) -> Result<(), Problem> {
        self.check(&caller)?;
        self.caller = caller;
        Ok(())
    }

    /// Whether the engine finds events that the reader does not get.
    pub(crate) fn has_filter(&self) -> bool {
        self.filter.is_some() || !self.caller.may_everything()
    }

    /// Goes one step, over at most `events_max` events that the engine finds, and at most `places_max`
    /// places of the log. The last `room` bytes of what is `held` are for the events; afterwards so much counts as
    /// these have. Without room for the first, nothing changes but that they are let go of.
    pub(crate) async fn step(
        &mut self,
        context: &Context,
        (events_max, places_max): (usize, u64),
        held: &mut Held,
        room: usize,
    ) -> Result<Vec<Found>, Unread> {
        let from = self.query.from.position();
        let places = self.step_events.min(places_max.max(1));
        let limit = Position::new(from.get().saturating_add(places));
        let until = self.query.until.as_ref().map(Cursor::position);
        let stop = until.map_or(limit, |until| until.min(limit));
        let query = Query {
            until: Some(stop.into()),
            limit: events_max,
            bytes_max: room.max(1),
            ..self.query.clone()
        };
        let (page, took) = read(context, query, held, room).await?;
        let bytes = bytes(&page);
        let (mut next, mut is_whole) = (page.next, true);
        // A step that came to its own end says nothing of the log's.
        let end = next.position();
        let is_end = page.is_end && (end < stop || until.is_some_and(|until| end >= until));
        let mut found: Vec<Found> = Vec::new();
        for recorded in page.events {
            if let Some(last) = found.last_mut() {
                last.after = recorded.position.into();
            }
            found.push(Found {
                recorded,
                after: next.clone(),
            });
        }
        // Before the filter, which may not tell either of events or of what is personal in them.
        if !self.caller.may_everything() {
            let caller = &self.caller;
            found.retain(|found| caller.may(Action::Read, found.recorded.envelope.topic()));
            for found in &mut found {
                caller.disclose(&mut found.recorded.envelope)?;
            }
        }
        if let Some(filter) = &self.filter {
            let filtered = filtered(context, filter.clone(), found).await?;
            found = filtered.passed;
            if let Some(rest) = filtered.rest {
                (next, is_whole) = (rest.into(), false);
            }
            self.filter = Some(filtered.filter);
        }
        if self.has_filter() {
            for found in &mut found {
                // What passes must not keep in memory what does not.
                found.recorded.envelope = found.recorded.envelope.detached();
            }
            let kept = found.iter().map(Found::bytes).sum();
            held.let_go(bytes.saturating_sub(kept));
        }
        // From here on nothing waits: a step that is given up changes nothing.
        self.adapt(took);
        self.scanned += next.position().get().saturating_sub(from.get());
        self.is_end = is_end && is_whole;
        self.query.from = next;
        Ok(found)
    }

    /// The next page: up to `limit` events, as many as fit into an answer, and as are found before
    /// `scan_events_max` places or `scan_timeout`. It may be empty.
    pub(crate) async fn page(
        &mut self,
        context: &Context,
        limit: usize,
    ) -> Result<(Vec<Found>, Held), Unread> {
        let (held, bytes_max) = (self.caller.answers(), context.limits().answer_bytes_max);
        self.page_within(context, limit, held, bytes_max).await
    }

    /// The same of at most `bytes_max` bytes, and one event more; for what is `held` already there is room.
    pub(crate) async fn page_within(
        &mut self,
        context: &Context,
        limit: usize,
        mut held: Held,
        bytes_max: usize,
    ) -> Result<(Vec<Found>, Held), Unread> {
        let limits = context.limits();
        let (before, began) = (Instant::now(), self.scanned);
        let (mut events, mut bytes, mut wanted) = (Vec::<Found>::new(), 0, FIRST_BYTES);
        let mut ready = held.bytes();
        while events.len() < limit && bytes < bytes_max && !self.is_end {
            let count = if self.has_filter() {
                PAGE_STEP_EVENTS_MAX
            } else {
                (limit - events.len()).min(PAGE_STEP_EVENTS_MAX)
            };
            let places = limits.scan_events_max.saturating_sub(self.scanned - began);
            let asked = wanted.min(bytes_max - bytes);
            let room = match std::mem::take(&mut ready) {
                0 => context.room(&mut held, asked),
                room => Some(room),
            };
            let found = match room {
                Some(room) => self.step(context, (count, places), &mut held, room).await,
                None => Err(Unread::NoRoom { bytes: asked }),
            };
            let found = match found {
                // While there is little room for answers, pages are short.
                Err(Unread::NoRoom { .. }) if !events.is_empty() => break,
                found => found?,
            };
            let mut found = found.into_iter();
            for found in found.by_ref().take(limit - events.len()) {
                bytes += found.bytes();
                events.push(found);
            }
            if let Some(first) = found.next() {
                // It begins the next page.
                self.go_to(first.recorded.position.into());
                held.let_go(first.bytes() + found.map(|it| it.bytes()).sum::<usize>());
            }
            wanted = wanted.saturating_mul(4);
            let is_far = self.scanned - began >= limits.scan_events_max;
            if is_far || before.elapsed() >= limits.scan_timeout {
                break;
            }
        }
        Ok((events, held))
    }

    fn adapt(&mut self, took: Duration) {
        let events = if took < STEP_TIME / 4 {
            self.step_events * 4
        } else if took > STEP_TIME * 2 {
            self.step_events / 4
        } else {
            self.step_events
        };
        self.step_events = events.clamp(STEP_EVENTS_MIN, STEP_EVENTS_MAX);
    }
}

/// Whether an index finds what a query asks for: what it leaves out takes no time, and what it finds counts. Types are
/// in the events alone, and so are keys without their topic.
fn is_indexed(query: &Query) -> bool {
    let topics = query.topics.as_ref();
    let has_topic = topics.is_some_and(TopicPattern::is_literal);
    query.types.is_empty() && (query.key.is_none() || has_topic)
}

/// What the engine has for a query, and how long it took: for that, the last `room` bytes of what is `held` are
/// there, and in the end as much is held as it is.
async fn read(
    context: &Context,
    query: Query,
    held: &mut Held,
    room: usize,
) -> Result<(Page, Duration), Unread> {
    let _turn = context.turn_to_read().await?;
    let before = Instant::now();
    let reading = context.engine().shared().read(query);
    let page = context.in_time(reading).await??;
    let (took, bytes) = (before.elapsed(), bytes(&page));
    // One event may be larger than the room for it.
    let answers = context.answers();
    let is_alone = held.bytes() == room && answers.in_use() <= room.next_multiple_of(UNIT);
    if !answers.hold(held, bytes.saturating_sub(room)) && !is_alone {
        held.let_go(room);
        return Err(Unread::NoRoom { bytes });
    }
    held.let_go(room.saturating_sub(bytes));
    Ok((page, took))
}

fn bytes(page: &Page) -> usize {
    let sizes = page.events.iter().map(|it| it.envelope.content().len());
    sizes.sum()
}

/// What of some events passes a filter.
struct Filtered {
    passed: Vec<Found>,
    /// With what went wrong.
    filter: Filter,
    /// The first event that there was no time for.
    rest: Option<Position>,
}

/// Filters on a thread of its own, as an expression may take long: one event at least, and no more once
/// the time of a read is over or its reader is gone.
async fn filtered(
    context: &Context,
    mut filter: Filter,
    found: Vec<Found>,
) -> Result<Filtered, Problem> {
    let _turn = context.turn_to_filter().await?;
    let until = Instant::now() + context.limits().scan_timeout;
    let reader = Arc::new(());
    let is_waited_for = Arc::downgrade(&reader);
    let work = move || {
        let (mut passed, mut rest) = (Vec::new(), None);
        for (index, found) in found.into_iter().enumerate() {
            let is_over = Instant::now() >= until || is_waited_for.strong_count() == 0;
            if index > 0 && is_over {
                rest = Some(found.recorded.position);
                break;
            }
            if filter.passes(&found.recorded.envelope) {
                passed.push(found);
            }
        }
        Filtered {
            passed,
            filter,
            rest,
        }
    };
    let filtered = tokio::task::spawn_blocking(work).await;
    drop(reader);
    filtered.map_err(|error| Problem::new(Code::Internal, format!("the filter ended: {error}")))
}

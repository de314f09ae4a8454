//! Going through the log for events that a reader wants: in steps, each of them bounded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ensue::engine::{Query, Recorded};
use ensue::{Cursor, Position};

use super::filter::{Errors, Filter};
use super::selection::Selection;
use crate::context::Context;
use crate::http::deadline;
use crate::problem::{Code, Problem};
use crate::security::{Action, Caller};

/// How many places of the log one step goes through: few at first, then as many as take about
/// [`STEP_TIME`]. What an index leaves out costs next to nothing.
const STEP_EVENTS_MIN: u64 = 1 << 12;
const STEP_EVENTS_MAX: u64 = 1 << 22;
const STEP_TIME: Duration = Duration::from_millis(50);

/// A reader on its way through the log.
#[derive(Debug)]
pub(super) struct Scan {
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
pub(super) struct Found {
    pub(super) recorded: Recorded,
    pub(super) after: Cursor,
}

impl Scan {
    pub(super) fn new(selection: Selection) -> Self {
        Self {
            query: selection.query,
            filter: selection.filter,
            caller: selection.caller,
            step_events: STEP_EVENTS_MIN,
            scanned: 0,
            is_end: false,
        }
    }

    /// Where to go on.
    pub(super) fn cursor(&self) -> &Cursor {
        &self.query.from
    }

    /// Whether there is nothing more to find, as the log is now.
    pub(super) fn is_end(&self) -> bool {
        self.is_end
    }

    /// How many places it went through.
    pub(super) fn scanned(&self) -> u64 {
        self.scanned
    }

    pub(super) fn filter_errors(&self) -> Option<&Errors> {
        self.filter.as_ref().map(Filter::errors)
    }

    /// Begins to read at another place.
    pub(super) fn go_to(&mut self, cursor: Cursor) {
        self.query.from = cursor;
        self.is_end = false;
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Goes on for the same caller, who may do something else now.
    pub(super) fn renew(&mut self, caller: Caller) -> Result<(), Problem> {
        let topics = self.query.topics.as_ref();
        if let Some(topic) = topics.filter(|topics| topics.is_literal()) {
            caller.must(Action::Read, topic.as_str())?;
        }
        self.caller = caller;
        Ok(())
    }

    /// Whether the engine finds events that the reader does not get.
    pub(super) fn has_filter(&self) -> bool {
        self.filter.is_some() || !self.caller.may_everything()
    }

    /// Goes one step, over at most `events_max` events that the engine finds, and at most `places_max`
    /// places of the log.
    pub(super) async fn step(
        &mut self,
        context: &Context,
        events_max: usize,
        places_max: u64,
    ) -> Result<Vec<Found>, Problem> {
        let from = self.query.from.position();
        let places = self.step_events.min(places_max.max(1));
        let limit = Position::new(from.get().saturating_add(places));
        let until = self.query.until.as_ref().map(Cursor::position);
        let stop = until.map_or(limit, |until| until.min(limit));
        let query = Query {
            until: Some(stop.into()),
            limit: events_max,
            ..self.query.clone()
        };
        let before = Instant::now();
        let page = deadline::within(context, context.engine().shared().read(query)).await?;
        let took = before.elapsed();
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
        }
        // From here on nothing waits: a step that is given up changes nothing.
        self.adapt(took);
        self.scanned += next.position().get().saturating_sub(from.get());
        self.is_end = is_end && is_whole;
        self.query.from = next;
        Ok(found)
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

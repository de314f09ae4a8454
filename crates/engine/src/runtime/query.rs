//! Reading without a group.

use std::sync::Arc;

use ensue_log as log;

use super::reset;
use crate::engine::{Page, Position, Query, READ_EVENTS_MAX, Recorded};
use crate::error::Result;
use crate::log_error;
use crate::log_position::{from_log, to_log};
use crate::model::record;
use crate::runtime::lookup::blocking;
use crate::time::Timestamp;
use crate::topic;
use crate::topic::TopicPattern;

/// How many bytes of events one read returns, plus at most one event.
const READ_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The events that `query` asks for, as far as one page goes.
pub(crate) async fn read(view: &log::View, query: Query) -> Result<Page> {
    let from = match query.from.position() {
        Position::ZERO => from_log(view.first()),
        from => {
            reset::check(view, from)?;
            from
        }
    };
    let end = from_log(view.durable());
    if from >= end || until_of(&query).is_some_and(|until| until <= from) {
        return Ok(Page {
            events: Vec::new(),
            next: from.into(),
            is_end: true,
        });
    }
    // A reader that follows the end reads from memory: nothing there blocks.
    let is_recent = view.tail(to_log(from)).is_some();
    let mut reader = Reader::new(query, from, end);
    if is_recent && reader.read_tail(view)? {
        return Ok(reader.page());
    }
    let view = view.clone();
    blocking(move || {
        reader.scan(&view)?;
        Ok(reader.page())
    })
    .await
}

struct Reader {
    query: Query,
    limit: usize,
    bytes: usize,
    events: Vec<Recorded>,
    next: Position,
    /// Where the read ends, if the page does not fill up before.
    stop: Position,
    is_full: bool,
}

impl Reader {
    fn new(query: Query, from: Position, end: Position) -> Self {
        let limit = match query.limit {
            0 => READ_EVENTS_MAX,
            limit => limit.min(READ_EVENTS_MAX),
        };
        let stop = until_of(&query).map_or(end, |until| until.min(end));
        Self {
            query,
            limit,
            bytes: 0,
            events: Vec::new(),
            next: from,
            stop,
            is_full: false,
        }
    }

    /// Reads what is in memory; whether that was all.
    fn read_tail(&mut self, view: &log::View) -> Result<bool> {
        while self.next < self.stop && !self.is_full {
            let Some(chunk) = view.tail(to_log(self.next)) else {
                return Ok(false);
            };
            self.take(&chunk)?;
            if !self.is_full {
                self.next = self.next.max(from_log(chunk.next()).min(self.stop));
            }
        }
        Ok(true)
    }

    fn scan(&mut self, view: &log::View) -> Result<()> {
        let micros = |at: Timestamp| at.as_micros();
        let (pattern, key) = (self.query.topics.clone(), self.query.key.clone());
        let literal = pattern.as_ref().filter(|pattern| pattern.is_literal());
        let mut scan = view.scan(log::Query {
            from: to_log(self.next),
            to: Some(to_log(self.stop)),
            key: literal
                .zip(key)
                .map(|(topic, key)| (topic.as_str().to_owned(), key.into_bytes())),
            topics: Some(Arc::new(move |topic: &str| {
                is_wanted(pattern.as_ref(), topic)
            })),
            kinds: Some(vec![record::EVENT]),
            since: self.query.since.map(micros),
            until: self.query.before.map(micros),
        });
        while !self.is_full {
            match scan.next_chunk().map_err(log_error::of_log)? {
                Some(chunk) => self.take(&chunk)?,
                None => self.next = self.stop,
            }
            if self.next >= self.stop {
                return Ok(());
            }
        }
        Ok(())
    }

    fn take(&mut self, chunk: &log::Chunk) -> Result<()> {
        for entry in chunk.iter() {
            let position = from_log(entry.position);
            if position < self.next {
                continue;
            }
            if position >= self.stop {
                self.next = self.stop;
                return Ok(());
            }
            if self.events.len() >= self.limit || self.bytes >= READ_BYTES_MAX {
                self.is_full = true;
                return Ok(());
            }
            self.next = position.next();
            self.add(&entry)?;
        }
        Ok(())
    }

    fn add(&mut self, entry: &log::Entry<'_>) -> Result<()> {
        let query = &self.query;
        let appended = Timestamp::from_micros(entry.time);
        let is_wanted = entry.kind == record::EVENT
            && query
                .key
                .as_ref()
                .is_none_or(|key| key.as_bytes() == entry.key)
            && query.since.is_none_or(|since| appended >= since)
            && query.before.is_none_or(|before| appended < before)
            && is_wanted(query.topics.as_ref(), entry.topic);
        if !is_wanted {
            return Ok(());
        }
        let envelope = record::envelope_of(entry)?;
        if !query.types.is_empty() && !query.types.iter().any(|kind| kind == envelope.event_type())
        {
            return Ok(());
        }
        self.bytes += entry.body.len();
        let position = from_log(entry.position);
        self.events.push(Recorded {
            position,
            appended,
            envelope,
        });
        Ok(())
    }

    fn page(self) -> Page {
        let is_end = !self.is_full && self.next >= self.stop;
        Page {
            events: self.events,
            next: self.next.into(),
            is_end,
        }
    }
}

/// Before which position a read ends.
fn until_of(query: &Query) -> Option<Position> {
    query.until.as_ref().map(|until| until.position())
}

fn is_wanted(pattern: Option<&TopicPattern>, topic: &str) -> bool {
    match pattern {
        Some(pattern) => pattern.matches(topic),
        None => !topic::is_reserved(topic),
    }
}

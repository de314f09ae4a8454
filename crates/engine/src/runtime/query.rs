//! Reading without a group.

use std::sync::Arc;

use ensue_log as log;

use super::reset;
use crate::engine::{Page, Position, Query, READ_EVENTS_MAX, Recorded};
use crate::error::Result;
use crate::log_error;
use crate::log_position::{from_log, to_log};
use crate::model::record;
use crate::runtime::lookup::{blocking, briefly};
use crate::time::Timestamp;
use crate::topic;
use crate::topic::TopicPattern;

/// How many bytes of events one read returns, but for one event that has more by itself.
const READ_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What an event and its frame take, most often, and how many bytes are read at the least.
const EVENT_BYTES: usize = 512;
const AHEAD_BYTES_MIN: usize = 16 * 1024;
/// How much of what the operating system has in memory is read at once, where others wait for their turn.
const AT_HAND_BYTES_MAX: usize = 256 * 1024;
/// Which part of a chunk has to be wanted for its memory to be kept: less is copied.
const KEPT_SHARE_MIN: usize = 2;

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
    let mut reader = Reader::new(query, from, end);
    // A reader that follows the end reads from memory: nothing there blocks.
    if reader.read_tail(view)? {
        return Ok(reader.page());
    }
    let mut scan = reader.scan(view);
    if reader.take_at_hand(&mut scan)? {
        return Ok(reader.page());
    }
    blocking(move || {
        reader.take_all(scan)?;
        Ok(reader.page())
    })
    .await
}

/// The last event of a key in a topic, as far as it is durable.
pub(crate) async fn last(view: &log::View, topic: &str, key: &str) -> Result<Option<Recorded>> {
    let pattern: TopicPattern = topic.parse()?;
    let view = view.clone();
    let (topic, key) = (topic.to_owned(), key.to_owned());
    briefly(move || {
        let at = view.last_of_key(&topic, key.as_bytes());
        let Some(at) = at.map_err(log_error::of_log)?.map(from_log) else {
            return Ok(None);
        };
        let mut query = Query {
            topics: Some(pattern),
            key: Some(key),
            ..Query::default()
        };
        let mut reader = Reader::new(query.clone(), at, at.next());
        let scan = reader.scan(&view);
        reader.take_all(scan)?;
        if let Some(last) = reader.events.pop() {
            return Ok(Some(last));
        }
        // What the index found is of another key with the same hash: all of this one's tell.
        let end = from_log(view.durable());
        let (mut from, mut last) = (from_log(view.first()), None);
        while from < end {
            query.from = from.into();
            let mut reader = Reader::new(query.clone(), from, end);
            let scan = reader.scan(&view);
            reader.take_all(scan)?;
            from = reader.next;
            last = reader.events.pop().or(last);
        }
        Ok(last)
    })
    .await
}

struct Reader {
    query: Query,
    limit: usize,
    bytes_max: usize,
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
        let bytes_max = match query.bytes_max {
            0 => READ_BYTES_MAX,
            bytes => bytes.min(READ_BYTES_MAX),
        };
        let stop = until_of(&query).map_or(end, |until| until.min(end));
        Self {
            query,
            limit,
            bytes_max,
            bytes: 0,
            events: Vec::new(),
            next: from,
            stop,
            is_full: false,
        }
    }

    /// About how many bytes of the log hold what is asked for, if all of it is wanted.
    fn ahead_bytes(&self) -> usize {
        let events = self.limit.saturating_mul(EVENT_BYTES);
        events.min(self.bytes_max).max(AHEAD_BYTES_MIN)
    }

    /// Reads what is in memory; whether that was all.
    fn read_tail(&mut self, view: &log::View) -> Result<bool> {
        let mut ahead = self.ahead_bytes();
        while self.next < self.stop && !self.is_full {
            let Some(chunk) = view.tail_of(to_log(self.next), ahead) else {
                return Ok(false);
            };
            ahead = ahead.saturating_mul(2);
            self.take(&chunk)?;
            if !self.is_full {
                self.next = self.next.max(from_log(chunk.next()).min(self.stop));
            }
        }
        Ok(true)
    }

    /// What goes through the log from here on.
    fn scan(&self, view: &log::View) -> log::Scan {
        let micros = |at: Timestamp| at.as_micros();
        let (pattern, key) = (self.query.topics.clone(), self.query.key.clone());
        let literal = pattern.as_ref().filter(|pattern| pattern.is_literal());
        view.scan(log::Query {
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
            ahead_bytes: self.ahead_bytes(),
        })
    }

    /// Takes what a scan gives without the disk; whether that was all.
    fn take_at_hand(&mut self, scan: &mut log::Scan) -> Result<bool> {
        let mut bytes = 0;
        while !self.is_done() {
            if bytes >= AT_HAND_BYTES_MAX || self.ahead_bytes() > AT_HAND_BYTES_MAX {
                return Ok(false);
            }
            match scan.next_at_hand().map_err(log_error::of_log)? {
                log::AtHand::Chunk(chunk) => {
                    bytes += chunk.bytes();
                    self.take(&chunk)?;
                }
                log::AtHand::End => self.next = self.stop,
                log::AtHand::OnDisk => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Takes what a scan gives. Blocks on the disk.
    fn take_all(&mut self, mut scan: log::Scan) -> Result<()> {
        while !self.is_done() {
            match scan.next_chunk().map_err(log_error::of_log)? {
                Some(chunk) => self.take(&chunk)?,
                None => self.next = self.stop,
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.is_full || self.next >= self.stop
    }

    fn take(&mut self, chunk: &log::Chunk) -> Result<()> {
        let (first, before) = (self.events.len(), self.bytes);
        self.take_wanted(chunk)?;
        // Few of many records must not keep all of them in memory.
        if self.bytes - before < chunk.bytes() / KEPT_SHARE_MIN {
            for recorded in self.events.iter_mut().skip(first) {
                recorded.envelope = recorded.envelope.detached();
            }
        }
        Ok(())
    }

    fn take_wanted(&mut self, chunk: &log::Chunk) -> Result<()> {
        for entry in chunk.iter() {
            let position = from_log(entry.position);
            if position < self.next {
                continue;
            }
            if position >= self.stop {
                self.next = self.stop;
                return Ok(());
            }
            if self.events.len() >= self.limit || self.bytes >= self.bytes_max {
                self.is_full = true;
                return Ok(());
            }
            self.add(&entry)?;
            if self.is_full {
                return Ok(());
            }
            self.next = position.next();
        }
        Ok(())
    }

    /// Adds the event that this is, if it is asked for; without room for it, the page is full.
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
        let bytes = envelope.content().len();
        if !self.events.is_empty() && self.bytes.saturating_add(bytes) > self.bytes_max {
            self.is_full = true;
            return Ok(());
        }
        self.bytes += bytes;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc as Shared;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::event::{Codec, Envelope};

    /// A chunk with a hundred events, of which every `step`-th is of the topic `wanted`.
    fn chunk(step: usize) -> log::Chunk {
        let storage = Shared::new(log::storage::Memory::new());
        let log = log::Log::open(storage, log::Options::default()).unwrap();
        let mut batch = log::Batch::new();
        for number in 0..100 {
            let topic = if number % step == 0 {
                "wanted"
            } else {
                "other"
            };
            let event = Envelope::builder(topic, "e").payload(Codec::Json, b"1".to_vec());
            let event = event.build().unwrap();
            let record = log::Record {
                kind: record::EVENT,
                id: None,
                topic,
                key: b"",
                body: event.content().get(topic.len()..).unwrap(),
            };
            batch.push(&record).unwrap();
        }
        log.append(batch).unwrap();
        log.view().read(log::Position::ZERO, 1 << 20).unwrap()
    }

    /// How many events a reader of `wanted` finds, and how many of them are where the chunk has them.
    fn found(chunk: &log::Chunk) -> (usize, usize) {
        let query = Query {
            topics: Some("wanted".parse().unwrap()),
            ..Query::default()
        };
        let mut reader = Reader::new(query, Position::ZERO, from_log(chunk.next()));
        reader.take(chunk).unwrap();
        let there: Vec<_> = chunk.iter().map(|it| it.content().as_ptr()).collect();
        let is_there = |it: &&Recorded| there.contains(&it.envelope.content().as_ptr());
        let kept = reader.events.iter().filter(is_there).count();
        (reader.events.len(), kept)
    }

    #[test]
    fn a_page_has_no_more_bytes_than_asked_for_but_for_one_event() {
        let chunk = chunk(1);
        let size = chunk.iter().next().unwrap().content().len();
        for (bytes_max, expected) in [
            (1, 1),
            (size, 1),
            (2 * size - 1, 1),
            (2 * size, 2),
            (0, 100),
        ] {
            let query = Query {
                topics: Some("wanted".parse().unwrap()),
                bytes_max,
                ..Query::default()
            };
            let mut reader = Reader::new(query, Position::ZERO, from_log(chunk.next()));
            reader.take(&chunk).unwrap();
            assert_eq!(reader.events.len(), expected, "{bytes_max}");
            assert_eq!(reader.next, Position::new(expected as u64));
            assert_eq!(reader.page().is_end, expected == 100);
        }
    }

    #[test]
    fn what_is_in_memory_is_read_without_waiting_for_a_thread() {
        let storage = Shared::new(log::storage::Memory::new());
        let options = log::Options {
            tail_bytes_max: 0,
            ..log::Options::default()
        };
        let log = log::Log::open(storage, options).unwrap();
        let mut batch = log::Batch::new();
        let event = Envelope::builder("t", "e").build().unwrap();
        let record = log::Record {
            kind: record::EVENT,
            id: None,
            topic: "t",
            key: b"",
            body: event.content().get(1..).unwrap(),
        };
        for _ in 0..100 {
            batch.push(&record).unwrap();
        }
        log.append(batch).unwrap();
        let view = log.view();
        assert!(view.tail(log::Position::ZERO).is_none());
        // There is no runtime that could have another thread read.
        let query = Query {
            limit: 200,
            ..Query::default()
        };
        let page = read(&view, query).now_or_never();
        let page = page.expect("it waits for nothing").unwrap();
        assert_eq!((page.events.len(), page.is_end), (100, true));
    }

    #[test]
    fn few_events_of_a_chunk_do_not_keep_all_of_it_in_memory() {
        assert_eq!(found(&chunk(50)), (2, 0));
        assert_eq!(found(&chunk(1)), (100, 100), "most are not copied");
    }
}

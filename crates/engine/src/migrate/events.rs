//! The events of a log, as they are copied.

use std::collections::VecDeque;

use bytes::Bytes;
use ensue_log as log;

use crate::engine::Position;
use crate::error::{EngineError, Error, Result};
use crate::log_error;
use crate::log_position::{from_log, to_log};
use crate::model::record;

/// One event as a log holds it.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) position: Position,
    /// When it was appended, in microseconds since the epoch.
    pub(super) time: i64,
    pub(super) id: Option<u128>,
    topic_bytes: usize,
    key_bytes: usize,
    /// Topic, key and body.
    pub(super) content: Bytes,
}

impl Event {
    fn of(entry: &log::Entry<'_>) -> Self {
        Self {
            position: from_log(entry.position),
            time: entry.time,
            id: entry.id,
            topic_bytes: entry.topic_len(),
            key_bytes: entry.key_len(),
            content: entry.content(),
        }
    }

    /// Adds the event to `batch`, with this id.
    pub(super) fn push_to(&self, batch: &mut log::Batch, id: Option<u128>) -> Result<()> {
        let (topic, rest) = self.content.split_at(self.topic_bytes);
        let (key, body) = rest.split_at(self.key_bytes);
        let topic = std::str::from_utf8(topic).map_err(|_| {
            Error::Engine(EngineError::Corrupt(format!(
                "the topic at position {} is not UTF-8",
                self.position
            )))
        })?;
        let record = log::Record {
            kind: record::EVENT,
            id,
            topic,
            key,
            body,
        };
        batch.push(&record).map_err(log_error::of_log)
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.topic_bytes, self.key_bytes) == (other.topic_bytes, other.key_bytes)
            && self.content == other.content
    }
}

/// The events of a log, one after the other. Blocks.
pub(super) struct Events {
    scan: log::Scan,
    waiting: VecDeque<Event>,
}

impl Events {
    /// Those in `from..to`.
    pub(super) fn of(view: &log::View, from: Position, to: Position) -> Self {
        let scan = view.scan(log::Query {
            from: to_log(from).max(view.first()),
            to: Some(to_log(to)),
            kinds: Some(vec![record::EVENT]),
            ..log::Query::default()
        });
        Self {
            scan,
            waiting: VecDeque::new(),
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<Event>> {
        while self.waiting.is_empty() {
            match self.scan.next_chunk().map_err(log_error::of_log)? {
                Some(chunk) => self.waiting.extend(chunk.iter().map(|it| Event::of(&it))),
                None => return Ok(None),
            }
        }
        Ok(self.waiting.pop_front())
    }
}

/// What both sides hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Both {
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) checksum: u32,
    /// The position in the source to copy from.
    pub(super) next: Position,
}

impl Both {
    pub(super) fn add(&mut self, event: &Event) {
        self.events += 1;
        self.bytes += event.content.len() as u64;
        for length in [event.topic_bytes, event.key_bytes, event.content.len()] {
            self.checksum = crc32c::crc32c_append(self.checksum, &(length as u64).to_le_bytes());
        }
        self.checksum = crc32c::crc32c_append(self.checksum, &event.content);
        self.next = event.position.next();
    }
}

/// How many events lie in `from..to`. Blocks.
pub(super) fn count(view: &log::View, from: Position, to: Position) -> Result<u64> {
    let (from, to) = (to_log(from), to_log(to));
    view.count(from, to, record::EVENT, &|_| true)
        .map_err(log_error::of_log)
}

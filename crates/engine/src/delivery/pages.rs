//! Taking up the backlogs of keys: reads of them, and events that were read and not delivered yet.

use hashbrown::HashMap;

use super::read_ahead::ReadToken;
use crate::engine::Position;
use crate::event::Envelope;
use crate::model::topic_key::TopicKey;

/// Events that were taken up and not delivered are kept in memory up to so many bytes; what is
/// beyond is read again.
const PAGED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A read of a key's backlog.
#[derive(Clone, Debug)]
pub(crate) struct Paging {
    pub(crate) token: ReadToken,
    pub(crate) lane: TopicKey,
    pub(crate) from: Position,
    /// Up to here the key's events are in its backlog, and nowhere else.
    pub(crate) to: Position,
    pub(crate) events_max: usize,
}

/// What such a read found: everything of the key before `next`.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) events: Vec<(Position, Envelope)>,
    pub(crate) next: Position,
}

/// Which backlogs are being taken up.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    /// Whether a member is reading, outside of the lock.
    is_reading: bool,
    /// Whether the last step was such a read: the next one is something else.
    is_last: bool,
    /// The key that had its turn last.
    last: Option<TopicKey>,
    /// Events that were taken up.
    events: HashMap<Position, Envelope, foldhash::fast::RandomState>,
    bytes: usize,
}

impl Pages {
    /// Takes the event at `position`, if it is here.
    pub(crate) fn take(&mut self, position: Position) -> Option<Envelope> {
        if self.events.is_empty() {
            return None;
        }
        let envelope = self.events.remove(&position)?;
        self.bytes -= envelope.content().len();
        Some(envelope)
    }

    pub(crate) fn has(&self, position: Position) -> bool {
        !self.events.is_empty() && self.events.contains_key(&position)
    }

    /// Keeps events that were read.
    pub(crate) fn keep(&mut self, events: Vec<(Position, Envelope)>) {
        if self.bytes > PAGED_BYTES_MAX {
            self.events.clear();
            self.bytes = 0;
        }
        for (position, envelope) in events {
            self.bytes += envelope.content().len();
            if let Some(before) = self.events.insert(position, envelope) {
                self.bytes -= before.content().len();
            }
        }
    }

    /// The key that had its turn last.
    pub(crate) fn last(&self) -> Option<&TopicKey> {
        self.last.as_ref()
    }

    /// Whether another backlog may be read now: no read is under way, and the last step was none.
    pub(crate) fn take_turn(&mut self) -> bool {
        !self.is_reading && !std::mem::take(&mut self.is_last)
    }

    /// A key has its turn, with a read if there is something to read.
    pub(crate) fn begin(&mut self, paging: &Paging) {
        self.last = Some(paging.lane.clone());
        self.is_reading = paging.from < paging.to;
        self.is_last = self.is_reading;
    }

    /// The read is over, successful or not.
    pub(crate) fn end(&mut self) {
        self.is_reading = false;
    }

    /// What was read is out of date.
    pub(crate) fn rewind(&mut self) {
        self.is_reading = false;
        self.events.clear();
        self.bytes = 0;
    }
}

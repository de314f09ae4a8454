//! How far a group was read ahead in this process, and the read that is under way.

use ensue_log as log;

use super::events_read::Rest;
use crate::engine::Position;
use crate::ids::Epoch;

/// How far a group was read.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    token: ReadToken,
    /// The next position to read.
    cursor: Position,
    /// After the last event that was read for this group.
    from: Position,
    /// Up to here, others may have been at work before: what is read may be settled, or belong
    /// before what was put aside since.
    replayed: Position,
    /// Whether a member is reading, outside of the lock.
    is_reading: bool,
    /// What the last read left over.
    rest: Option<Rest>,
    /// Why nothing more is read.
    paused: Option<String>,
}

/// Tells a read that is up to date from one that began before reading began again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadToken {
    pub(crate) epoch: Epoch,
    /// Counts how often reading began again.
    rewinds: u64,
}

/// A read under way: what it starts from.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) token: ReadToken,
    pub(crate) cursor: Position,
    pub(crate) rest: Option<(log::Chunk, log::Place)>,
}

impl ReadAhead {
    /// From the low-water mark `low` on; `settled_end` is after everything that is settled.
    pub(crate) fn new(epoch: Epoch, low: Position, settled_end: Position) -> Self {
        Self {
            token: ReadToken { epoch, rewinds: 0 },
            cursor: low,
            from: low,
            replayed: settled_end,
            is_reading: false,
            rest: None,
            paused: None,
        }
    }

    pub(crate) fn token(&self) -> ReadToken {
        self.token
    }

    /// The next position to read.
    pub(crate) fn cursor(&self) -> Position {
        self.cursor
    }

    /// After the last event that was read for this group.
    pub(crate) fn after_last_event(&self) -> Position {
        self.from
    }

    /// Up to where others may have been at work before.
    pub(crate) fn replayed(&self) -> Position {
        self.replayed
    }

    /// Where what others may have been at work at is not read yet.
    pub(crate) fn unread(&self) -> Option<Position> {
        (self.cursor < self.replayed).then_some(self.cursor)
    }

    /// Whether there is something to read before `end`.
    fn has_more(&self, end: Position) -> bool {
        self.rest.is_some() || self.cursor < end
    }

    /// Whether a read can begin: none is under way, and there is something.
    pub(crate) fn can_read(&self, end: Position) -> bool {
        !self.is_reading && self.has_more(end)
    }

    /// What to wait for before reading on, if nothing is left to read.
    pub(crate) fn awaited(&self, end: Position) -> Option<Position> {
        (!self.has_more(end) && !self.is_reading).then_some(self.cursor)
    }

    /// A read begins.
    pub(crate) fn begin(&mut self) -> Reading {
        self.is_reading = true;
        Reading {
            token: self.token,
            cursor: self.cursor,
            rest: self.rest.take(),
        }
    }

    /// The read that is under way was given up.
    pub(crate) fn give_up(&mut self) {
        self.is_reading = false;
    }

    /// The read that is under way came to `cursor`.
    pub(crate) fn end(&mut self, cursor: Position, rest: Option<Rest>) {
        self.is_reading = false;
        (self.cursor, self.rest) = (cursor, rest);
    }

    /// An event for this group was read at `position`; where what settles with it starts.
    pub(crate) fn meet(&mut self, position: Position) -> Position {
        std::mem::replace(&mut self.from, position.next())
    }

    /// Reads again from the low-water mark: who had the slots may have been ahead of this process.
    pub(crate) fn rewind(&mut self, low: Position, settled_end: Position) {
        self.replayed = self.replayed.max(self.cursor).max(settled_end);
        (self.cursor, self.from) = (low, low);
        self.rest = None;
        self.is_reading = false;
        self.token.rewinds += 1;
    }

    /// What was read and is nothing for this group, if that is worth a record.
    pub(crate) fn pass(&mut self, low: Position, records_min: u64) -> Option<(Position, Position)> {
        if self.cursor.since(self.from.max(low)) < records_min {
            return None;
        }
        let from = std::mem::replace(&mut self.from, self.cursor);
        Some((from, self.cursor))
    }

    /// Goes on only while no more keys wait than may: each takes memory. Whether it goes on.
    pub(crate) fn pause_beyond(&mut self, keys: usize, most: usize) -> bool {
        if keys <= most {
            self.paused = None;
        } else if self.paused.is_none() {
            let why = format!(
                "{keys} keys wait for another attempt or behind a dead letter, the limit \
                 `parked_max` is {most}: redrive or discard dead letters, or mend what fails"
            );
            tracing::warn!("a group takes no further events: {why}");
            self.paused = Some(why);
        }
        self.paused.is_none()
    }

    /// Why nothing more is read.
    pub(crate) fn paused(&self) -> Option<&str> {
        self.paused.as_deref()
    }
}

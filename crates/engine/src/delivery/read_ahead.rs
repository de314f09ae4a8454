//! Reading on: picking a group's events out of the log's records, and putting them in line.

use ensue_log as log;

use super::filter::Memo;
use crate::delivery::group_session::{GroupSession, Ready};
use crate::delivery::key_slots::{KeyHash, KeyHasher};
use crate::error::Result;
use crate::event::Envelope;
use crate::ids::Slot;
use crate::model::group::Group;
use crate::model::record;

/// How many records are looked at in one go, so that nothing else waits long.
const STAGE_RECORDS_MAX: usize = 8_192;
/// How many events are staged in one go.
const STAGE_EVENTS_MAX: usize = 2_048;

/// What a read found.
#[derive(Debug, Default)]
pub(crate) struct EventsRead {
    pub(crate) events: Vec<(u64, KeyHash, Envelope)>,
    pub(crate) cursor: u64,
    pub(crate) rest: Option<(log::Chunk, log::Place)>,
}

/// Looks at records outside of the lock: picks the group's events out of them.
pub(crate) fn stage(
    chunk: log::Chunk,
    place: Option<log::Place>,
    from: u64,
    memo: &mut Memo,
    hasher: &KeyHasher,
) -> Result<EventsRead> {
    let mut staged = EventsRead {
        cursor: from,
        ..EventsRead::default()
    };
    let mut entries = match place {
        Some(place) => chunk.resume(place),
        None => chunk.iter(),
    };
    let mut looked_at = 0;
    while looked_at < STAGE_RECORDS_MAX && staged.events.len() < STAGE_EVENTS_MAX {
        let Some(entry) = entries.next() else {
            staged.cursor = chunk.next().get().max(staged.cursor);
            return Ok(staged);
        };
        looked_at += 1;
        staged.cursor = entry.position.get() + 1;
        if entry.kind != record::EVENT || !memo.wants_topic(entry.topic) {
            continue;
        }
        let envelope = record::envelope_of(&entry)?;
        if memo.wants_type(envelope.kind()) {
            let lane = hasher.hash_of(envelope.topic(), envelope.key());
            staged.events.push((entry.position.get(), lane, envelope));
        }
    }
    let place = entries.pause();
    staged.rest = Some((chunk, place));
    Ok(staged)
}

impl EventsRead {
    /// Copies the events: few of many records must not keep all of them in memory.
    pub(crate) fn detach(&mut self) {
        for (_, _, envelope) in &mut self.events {
            *envelope = envelope.detached();
        }
    }
}

impl GroupSession {
    /// Takes in what a read of this very epoch found.
    pub(crate) fn staged(&mut self, group: &Group, staged: EventsRead) {
        self.is_reading = false;
        self.cursor = staged.cursor;
        self.rest = staged.rest;
        for (position, lane, envelope) in staged.events {
            let is_old = position < self.replayed;
            if is_old && group.is_settled(position) {
                continue;
            }
            let from = std::mem::replace(&mut self.from, position + 1);
            if !self.mine.has(lane.slot()) {
                continue;
            }
            let bytes = envelope.content().len() as u32;
            if !self.window.add(from, position, bytes, lane) {
                continue;
            }
            if is_old {
                self.returned.insert(lane, position);
            }
            self.enqueue(Ready {
                position,
                lane,
                envelope: Some(envelope),
            });
        }
        if self.seats.len() > 1 {
            self.wake_all();
        }
    }

    /// Notes that nothing of this group lies before the cursor, if that is worth a record.
    pub(crate) fn pass(&mut self, low: u64, records_min: u64) {
        if self.window.is_empty()
            && self.mine.has(Slot::new(0))
            && self.cursor.saturating_sub(self.from.max(low)) >= records_min
        {
            self.aside.pass(self.from, self.cursor);
            self.from = self.cursor;
        }
    }
}

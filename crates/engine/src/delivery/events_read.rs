//! Picking a group's events out of records that were read, outside of the lock.

use ensue_log as log;

use super::filter::Memo;
use super::key_hash::{KeyHash, KeyHasher};
use crate::engine::Position;
use crate::error::Result;
use crate::event::Envelope;
use crate::log_position::from_log;
use crate::model::record;

/// How many records are looked at in one go, so that nothing else waits long.
const PICK_RECORDS_MAX: usize = 8_192;
/// How many events are picked in one go.
const PICK_EVENTS_MAX: usize = 2_048;

/// What a read left over, and where in it.
pub(crate) type Rest = (log::Chunk, log::Place);

/// What a read found.
#[derive(Debug, Default)]
pub(crate) struct EventsRead {
    pub(crate) events: Vec<(Position, KeyHash, Envelope)>,
    pub(crate) cursor: Position,
    pub(crate) rest: Option<Rest>,
}

/// Picks the group's events out of records.
pub(crate) fn pick(
    chunk: log::Chunk,
    place: Option<log::Place>,
    from: Position,
    memo: &mut Memo,
    hasher: &KeyHasher,
) -> Result<EventsRead> {
    let mut read = EventsRead {
        cursor: from,
        ..EventsRead::default()
    };
    let mut entries = match place {
        Some(place) => chunk.resume(place),
        None => chunk.iter(),
    };
    let mut looked_at = 0;
    while looked_at < PICK_RECORDS_MAX && read.events.len() < PICK_EVENTS_MAX {
        let Some(entry) = entries.next() else {
            read.cursor = from_log(chunk.next()).max(read.cursor);
            return Ok(read);
        };
        looked_at += 1;
        read.cursor = from_log(entry.position).next();
        if entry.kind != record::EVENT || !memo.wants_topic(entry.topic) {
            continue;
        }
        let envelope = record::envelope_of(&entry)?;
        if memo.wants_type(envelope.event_type()) {
            let key = hasher.hash_of(envelope.topic(), envelope.key());
            read.events.push((from_log(entry.position), key, envelope));
        }
    }
    let place = entries.pause();
    read.rest = Some((chunk, place));
    Ok(read)
}

impl EventsRead {
    /// Copies the events: few of many records must not keep all of them in memory.
    pub(crate) fn detach(&mut self) {
        for (_, _, envelope) in &mut self.events {
            *envelope = envelope.detached();
        }
    }
}

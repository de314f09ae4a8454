//! Taking up a key's backlog: its next events are read from the log and go into its lane, which
//! has run empty.

use std::ops::Bound;
use std::sync::Arc;

use ensue_log as log;

use super::filter::Filter;
use crate::delivery::group_session::GroupSession;
use crate::delivery::next_step::Ask;
use crate::error::Result;
use crate::event::Envelope;
use crate::ids::Epoch;
use crate::log_error;
use crate::model::group::Group;
use crate::model::record;
use crate::model::topic_key::TopicKey;

/// How many bytes of events are taken up in one go, unless one is larger.
const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// A backlog is looked for in so many bytes of the log before the index is asked.
const NEAR_BYTES: usize = 256 * 1024;
/// With fewer than one in so many records of the key, the index is faster.
const SPARSE: usize = 8;

/// Events that were taken up and not delivered are kept in memory up to so many bytes; what is
/// beyond is read again.
const PAGED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A read of a key's backlog.
#[derive(Clone, Debug)]
pub(crate) struct Paging {
    pub(crate) epoch: Epoch,
    pub(crate) rewinds: u64,
    pub(crate) lane: TopicKey,
    pub(crate) from: u64,
    /// Up to here the key's events are in its backlog, and nowhere else.
    pub(crate) to: u64,
    pub(crate) events_max: usize,
}

/// What such a read found: everything of the key before `next`.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) events: Vec<(u64, Envelope)>,
    pub(crate) next: u64,
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
    events: hashbrown::HashMap<u64, Envelope, foldhash::fast::RandomState>,
    bytes: usize,
}

impl Pages {
    pub(crate) fn remove(&mut self, position: u64) -> Option<Envelope> {
        if self.events.is_empty() {
            return None;
        }
        let envelope = self.events.remove(&position)?;
        self.bytes -= envelope.content().len();
        Some(envelope)
    }

    pub(crate) fn has(&self, position: u64) -> bool {
        !self.events.is_empty() && self.events.contains_key(&position)
    }

    fn keep(&mut self, events: Vec<(u64, Envelope)>) {
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

    /// The read is over, successful or not.
    pub(crate) fn read_ended(&mut self) {
        self.is_reading = false;
    }

    /// What was read is out of date.
    pub(crate) fn rewind(&mut self) {
        self.is_reading = false;
        self.events.clear();
        self.bytes = 0;
    }
}

/// Reads the next events of a key's backlog: one record after the other where they lie close
/// together, else by the index. Blocks.
pub(crate) fn read(view: &log::View, paging: &Paging, filter: &Arc<Filter>) -> Result<Found> {
    let mut reading = Reading {
        paging,
        filter,
        found: Found {
            events: Vec::new(),
            next: paging.from,
        },
        bytes: 0,
        looked_at: 0,
    };
    while reading.found.next < paging.to && !reading.is_full() {
        if reading.looked_at > 0 && reading.found.events.len() < reading.looked_at / SPARSE {
            reading.by_index(view)?;
            break;
        }
        let from = log::Position::new(reading.found.next);
        let chunk = match view.tail(from) {
            Some(chunk) => chunk,
            None => view.read(from, NEAR_BYTES).map_err(log_error::of_log)?,
        };
        if chunk.is_empty() {
            break;
        }
        reading.take(&chunk)?;
    }
    Ok(reading.found)
}

struct Reading<'a> {
    paging: &'a Paging,
    filter: &'a Filter,
    found: Found,
    bytes: usize,
    looked_at: usize,
}

impl Reading<'_> {
    fn is_full(&self) -> bool {
        self.found.events.len() >= self.paging.events_max || self.bytes >= PAGE_BYTES_MAX
    }

    fn by_index(&mut self, view: &log::View) -> Result<()> {
        let lane = &self.paging.lane;
        let mut scan = view.scan(log::Query {
            from: log::Position::new(self.found.next),
            to: Some(log::Position::new(self.paging.to)),
            key: Some((lane.topic().to_owned(), lane.key().as_bytes().to_vec())),
            kinds: Some(vec![record::EVENT]),
            ..log::Query::default()
        });
        while !self.is_full() {
            match scan.next_chunk().map_err(log_error::of_log)? {
                Some(chunk) => self.take(&chunk)?,
                None => {
                    self.found.next = self.paging.to;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Takes what is wanted of a chunk, as long as there is room.
    fn take(&mut self, chunk: &log::Chunk) -> Result<()> {
        let lane = &self.paging.lane;
        for entry in chunk.iter() {
            let position = entry.position.get();
            if position >= self.paging.to {
                break;
            }
            if self.is_full() {
                return Ok(());
            }
            self.looked_at += 1;
            self.found.next = position + 1;
            if entry.kind != record::EVENT
                || entry.topic != lane.topic()
                || entry.key != lane.key().as_bytes()
                || !self.filter.wants_topic(entry.topic)
            {
                continue;
            }
            let envelope = record::envelope_of(&entry)?;
            if self.filter.wants_type(envelope.kind()) {
                self.bytes += envelope.content().len();
                // What is kept for a while must not keep a whole chunk.
                self.found.events.push((position, envelope.detached()));
            }
        }
        if !self.is_full() {
            self.found.next = chunk.next().get().clamp(self.found.next, self.paging.to);
        }
        Ok(())
    }
}

impl GroupSession {
    /// The backlog whose next events `ask.member` is to read, if it is time for that.
    pub(crate) fn page(&mut self, group: &Group, ask: Ask) -> Option<Paging> {
        if self.index.hungry.is_empty() || self.pages.is_reading {
            return None;
        }
        if std::mem::take(&mut self.pages.is_last) || self.cursor < self.replayed {
            return None;
        }
        while let Some(paging) = self.next_page(group, ask) {
            self.pages.last = Some(paging.lane.clone());
            if paging.from < paging.to {
                self.pages.is_reading = true;
                self.pages.is_last = true;
                return Some(paging);
            }
            // Nothing of the key has come since the last read. From now on its backlog is moving, so
            // that it is not found again.
            self.aside
                .take_up(&paging.lane, Vec::new(), paging.to, true);
        }
        None
    }

    /// The next of the keys, by turns, of whose backlog something can be read, or which is over.
    fn next_page(&self, group: &Group, ask: Ask) -> Option<Paging> {
        let after = match &self.pages.last {
            Some(last) => Bound::Excluded(last),
            None => Bound::Unbounded,
        };
        let hungry = &self.index.hungry;
        let later = hungry.range((after, Bound::Unbounded));
        let mut lanes = later.chain(hungry).take(hungry.len());
        lanes.find_map(|lane| self.page_of(group, ask, lane))
    }

    /// What is to be read of one key's backlog, if anything can be.
    fn page_of(&self, group: &Group, ask: Ask, lane: &TopicKey) -> Option<Paging> {
        let hash = self.hasher.hash_of(lane.topic(), lane.key());
        let owner = self.slots.owner(hash.slot())?;
        // Everything of the key that was read before comes first.
        if owner != ask.member
            || self.turns.has_line(hash)
            || self.stale.has(hash)
            || self.returned.has(hash)
            || self.aside.is_moving(lane.as_ref())
        {
            return None;
        }
        let kept = group.set_aside.len();
        // There may be less room than when it was found hungry.
        if !group.set_aside.wants_more(lane, self.bounds.few(kept)) {
            return None;
        }
        let from = group.set_aside.backlog(lane.as_ref())?.from;
        let seat = self.seats.iter().find(|seat| seat.member == owner)?;
        let ready = seat.ready.front().map(|ready| ready.position);
        let coming = self.aside.first(lane);
        let to = [ready, coming].into_iter().flatten().min();
        let to = to.unwrap_or(self.cursor).min(self.cursor);
        let is_more = to > from;
        let is_over = to == from && to == self.cursor && self.is_all(lane, to);
        (is_more || is_over).then(|| Paging {
            epoch: self.epoch,
            rewinds: self.rewinds,
            lane: lane.clone(),
            from,
            to,
            events_max: self.bounds.page(kept),
        })
    }

    /// Whether nothing of a key's backlog lies at or after `position`.
    fn is_all(&self, lane: &TopicKey, position: u64) -> bool {
        let end = self.aside.end_of(lane).unwrap_or(self.replayed);
        position >= end && self.aside.first(lane).is_none()
    }

    /// Takes in what a read of a backlog of this very epoch found.
    pub(crate) fn paged(&mut self, group: &Group, paging: &Paging, found: Found) {
        self.pages.read_ended();
        let lane = &paging.lane;
        let hash = self.hasher.hash_of(lane.topic(), lane.key());
        let backlog = group.set_aside.backlog(lane.as_ref());
        let is_same = backlog.is_some_and(|backlog| backlog.from == paging.from);
        if !is_same || !self.mine.has(hash.slot()) || self.aside.is_moving(lane.as_ref()) {
            return;
        }
        let taken = found.events.iter().map(|(position, _)| *position).collect();
        let is_over = self.is_all(lane, found.next);
        self.pages.keep(found.events);
        self.aside.take_up(lane, taken, found.next, is_over);
    }
}

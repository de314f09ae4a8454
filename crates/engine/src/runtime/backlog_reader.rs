//! Reading a key's backlog from the log.

use std::sync::Arc;

use ensue_log as log;

use crate::delivery::filter::Filter;
use crate::delivery::pages::{Found, Paging};
use crate::error::Result;
use crate::log_error;
use crate::log_position::{from_log, to_log};
use crate::model::record;

/// How many bytes of events are taken up in one go, unless one is larger.
const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// A backlog is looked for in so many bytes of the log before the index is asked.
const NEAR_BYTES: usize = 256 * 1024;
/// With fewer than one in so many records of the key, the index is faster.
const SPARSE: usize = 8;

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
        let from = to_log(reading.found.next);
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
            from: to_log(self.found.next),
            to: Some(to_log(self.paging.to)),
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
            let position = from_log(entry.position);
            if position >= self.paging.to {
                break;
            }
            if self.is_full() {
                return Ok(());
            }
            self.looked_at += 1;
            self.found.next = position.next();
            if entry.kind != record::EVENT
                || entry.topic != lane.topic()
                || entry.key != lane.key().as_bytes()
                || !self.filter.wants_topic(entry.topic)
            {
                continue;
            }
            let envelope = record::envelope_of(&entry)?;
            if self.filter.wants_type(envelope.event_type()) {
                self.bytes += envelope.content().len();
                // What is kept for a while must not keep a whole chunk.
                self.found.events.push((position, envelope.detached()));
            }
        }
        if !self.is_full() {
            self.found.next = from_log(chunk.next()).clamp(self.found.next, self.paging.to);
        }
        Ok(())
    }
}

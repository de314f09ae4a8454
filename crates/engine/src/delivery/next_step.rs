//! Taking events: what a member does next. Decides only; what touches the log happens outside.

use std::collections::VecDeque;

use ensue_log as log;

use super::page::Paging;
use crate::delivery::group_session::{GroupSession, LocalMember, Out, Ready, Waiting};
use crate::delivery::key_slots::KeyHash;
use crate::engine::{Delivery, Position};
use crate::event::Envelope;
use crate::ids::{Epoch, MemberId};
use crate::model::group::Group;
use crate::model::record::Begin;
use crate::model::topic_key::{KeyRef, TopicKey};
use crate::time::Timestamp;

/// How many bytes of events a member holds at the most; one event is always possible.
pub(crate) const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How many events are read ahead for a member that does not take them.
pub(crate) const READY_EVENTS_MAX: usize = 16_384;
/// How many bytes of them.
pub(crate) const READY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What the member is to do.
#[derive(Debug)]
pub(crate) enum Step {
    /// Return these.
    Deliver(Vec<Delivery>),
    /// Fetch these events by position, then ask again.
    Fetch(Vec<u64>),
    /// Record that these attempts begin, then ask again.
    Begin(Vec<Begin>),
    /// Read on, then ask again.
    Read(Reading),
    /// Read what is next of a key's backlog, then ask again.
    Page(Paging),
    Wait {
        /// For this time.
        due: Option<Timestamp>,
        /// For records at or after this position.
        records: Option<u64>,
    },
}

/// A read under way: what it starts from.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) epoch: Epoch,
    pub(crate) rewinds: u64,
    pub(crate) cursor: u64,
    pub(crate) rest: Option<(log::Chunk, log::Place)>,
}

/// Who asks, and for how much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) member: MemberId,
    pub(crate) events_max: usize,
    pub(crate) now: Timestamp,
    /// The durable end of the log.
    pub(crate) end: u64,
}

/// What was collected so far.
pub(crate) struct Taken {
    pub(crate) deliveries: Vec<Delivery>,
    events_max: usize,
    bytes: usize,
    bytes_max: usize,
    fetch: Vec<u64>,
    /// Where in the window the last one was.
    pub(crate) next: usize,
    /// Nothing further may be taken before what is collected is delivered, or before this.
    pub(crate) stop: Option<Stop>,
}

pub(crate) enum Stop {
    Full,
    Fetch,
    Begin(Vec<Begin>),
    /// Somebody else has to finish first.
    Careful,
}

impl Taken {
    pub(crate) fn is_full(&mut self) -> bool {
        if self.deliveries.len() >= self.events_max || self.bytes >= self.bytes_max {
            self.stop.get_or_insert(Stop::Full);
        }
        self.stop.is_some()
    }

    /// The first of these are to be fetched, as far as they are not there.
    pub(crate) fn want(&mut self, ready: &VecDeque<Ready>) {
        self.stop = Some(Stop::Fetch);
        let missing = ready.iter().take(self.events_max);
        let missing = missing.filter(|ready| ready.envelope.is_none());
        self.fetch.extend(missing.map(|ready| ready.position));
    }
}

impl GroupSession {
    /// What `ask.member`, which is a member, is to do next.
    pub(crate) fn take(&mut self, group: &Group, ask: Ask) -> Step {
        let step = self.next(group, ask);
        let waiting = match step {
            Step::Wait { due, records } => Some(Waiting { due, records }),
            _ => None,
        };
        if let Some(seat) = self.seat(ask.member) {
            seat.waiting = waiting;
        }
        step
    }

    fn next(&mut self, group: &Group, ask: Ask) -> Step {
        let Some(seat) = self.seat(ask.member) else {
            return Step::Wait {
                due: None,
                records: None,
            };
        };
        let room = seat
            .in_flight_max
            .saturating_sub(seat.held)
            .min(ask.events_max);
        let bytes_max = HELD_BYTES_MAX.saturating_sub(seat.held_bytes);
        if room == 0 || bytes_max == 0 {
            // Whatever falls due meanwhile has to wait as well.
            return Step::Wait {
                due: None,
                records: None,
            };
        }
        let mut taken = Taken {
            deliveries: Vec::new(),
            events_max: room,
            bytes: 0,
            bytes_max,
            fetch: Vec::new(),
            next: 0,
            stop: None,
        };
        self.refresh_due(group, ask.now);
        if let Some(paging) = self.page(group, ask) {
            return Step::Page(paging);
        }
        let is_empty = self.seat(ask.member).is_none_or(|it| it.ready.is_empty());
        if is_empty
            && self.turns.is_reading_due()
            && let Some(reading) = self.read_on(group, ask)
        {
            return Step::Read(reading);
        }
        self.take_lanes(group, ask, &mut taken);
        self.take_ready(group, ask, &mut taken);
        if !taken.deliveries.is_empty() {
            return Step::Deliver(taken.deliveries);
        }
        match taken.stop {
            Some(Stop::Fetch) => Step::Fetch(taken.fetch),
            Some(Stop::Begin(begins)) => Step::Begin(begins),
            Some(Stop::Careful | Stop::Full) => self.wait(None),
            None => self.read_or_wait(group, ask),
        }
    }

    fn wait(&self, records: Option<u64>) -> Step {
        Step::Wait {
            due: self.index.next_due(),
            records,
        }
    }

    fn read_or_wait(&mut self, group: &Group, ask: Ask) -> Step {
        if let Some(paging) = self.page(group, ask) {
            return Step::Page(paging);
        }
        if let Some(reading) = self.read_on(group, ask) {
            return Step::Read(reading);
        }
        let is_end = self.rest.is_none() && self.cursor >= ask.end;
        let records = (is_end && !self.is_reading).then_some(self.cursor);
        let mut step = self.wait(records);
        if let Step::Wait { due, .. } = &mut step
            && let Some(until) = self.turns.full_until(ask.now)
        {
            *due = due.iter().copied().chain([until]).min();
        }
        step
    }

    /// The next read, if one is possible: none is under way, there is something, and there is room.
    fn read_on(&mut self, group: &Group, ask: Ask) -> Option<Reading> {
        if self.is_reading || (self.rest.is_none() && self.cursor >= ask.end) {
            return None;
        }
        // What was at work before has to be known first: it holds up what was put aside.
        if self.cursor >= self.replayed && !self.has_room_for_keys(group) {
            return None;
        }
        let is_full = self.seats.iter().any(LocalMember::is_full);
        if self.turns.is_in_the_way(is_full, ask.now) && !self.shed(group, ask.now) {
            return None;
        }
        self.is_reading = true;
        Some(Reading {
            epoch: self.epoch,
            rewinds: self.rewinds,
            cursor: self.cursor,
            rest: self.rest.take(),
        })
    }

    /// Takes what was put aside and may go now, the oldest first.
    fn take_lanes(&mut self, group: &Group, ask: Ask, taken: &mut Taken) {
        let mut from = 0;
        while let Some((at, lane)) = self.index.runnable.range(from..).next() {
            let lane = lane.clone();
            from = at + 1;
            let hash = self.hasher.hash_of(lane.topic(), lane.key());
            if self.slots.owner(hash.slot()) != Some(ask.member) {
                continue;
            }
            let max = taken
                .events_max
                .saturating_sub(taken.deliveries.len() + taken.fetch.len());
            if max == 0 || taken.is_full() {
                break;
            }
            let out = &self.out;
            let is_out = |position| out.contains_key(&position);
            let mut positions = group.set_aside.deliverable(&lane, ask.now, max, is_out).now;
            let first = self.first_coming(&lane, hash);
            positions.retain(|position| first.is_none_or(|first| *position < first));
            self.take_lane(group, ask, taken, &lane, hash, positions);
            self.refresh(group, &lane, ask.now);
        }
        if taken.deliveries.is_empty() && !taken.fetch.is_empty() {
            taken.stop.get_or_insert(Stop::Fetch);
        }
    }

    /// The first event that may belong into a lane and is not there yet: nothing of the lane may
    /// overtake it.
    fn first_coming(&self, lane: &TopicKey, hash: KeyHash) -> Option<u64> {
        let coming = self.aside.first(lane);
        let lined_up = self.turns.first(hash).map(|lined| lined.position);
        let returned = self.returned.first(hash);
        let stale = self.stale.first(hash);
        let unread = (self.cursor < self.replayed).then_some(self.cursor);
        let all = [coming, lined_up, returned, stale, unread];
        all.into_iter().flatten().min()
    }

    fn take_lane(
        &mut self,
        group: &Group,
        ask: Ask,
        taken: &mut Taken,
        lane: &TopicKey,
        hash: KeyHash,
        positions: Vec<u64>,
    ) {
        let mut is_fetching = false;
        for position in positions {
            if taken.is_full() {
                return;
            }
            if let Some(stop) = self.is_held_up(group, ask.member, position, true, taken) {
                taken.stop = Some(stop);
                return;
            }
            let (seats, pages) = (&mut self.seats, &mut self.pages);
            let Some(seat) = seats.iter_mut().find(|it| it.member == ask.member) else {
                return;
            };
            let fetched = if is_fetching {
                None
            } else {
                let fetched = seat.fetched.remove(&position);
                fetched.or_else(|| pages.remove(position))
            };
            let Some(envelope) = fetched else {
                // What follows in the lane must not overtake it.
                is_fetching = true;
                if !seat.fetched.contains_key(&position) && !pages.has(position) {
                    taken.fetch.push(position);
                }
                continue;
            };
            let bytes = envelope.content().len() as u32;
            seat.held += 1;
            seat.held_bytes += bytes as usize;
            self.slots.hand_out(hash.slot());
            self.turns.hand_out(hash, bytes);
            let (owner, lane) = (ask.member, lane.clone());
            self.out.insert(
                position,
                Out {
                    owner,
                    lane,
                    hash,
                    bytes,
                    is_committing: false,
                },
            );
            self.deliver(group, taken, position, envelope, true);
        }
    }

    /// Whether an event that was read has to wait behind others of its key.
    pub(crate) fn is_blocked(
        &self,
        group: &Group,
        lane: KeyRef<'_>,
        hash: KeyHash,
        position: u64,
    ) -> bool {
        (!group.set_aside.is_empty() && group.set_aside.is_occupied(lane, position))
            || self.aside.is_before(lane, position)
            || self.stale.has(hash)
    }

    pub(crate) fn deliver(
        &mut self,
        group: &Group,
        taken: &mut Taken,
        position: u64,
        envelope: Envelope,
        is_aside: bool,
    ) {
        let mut attempt = 1;
        if is_aside || !group.begun.is_empty() {
            attempt = group.next_attempt(position, self.boot);
        }
        if let Some(careful) = &mut self.careful {
            careful.delivered(position, is_aside);
        }
        taken.bytes += envelope.content().len();
        let generation = group.generation;
        let run = group
            .runs
            .of(position, KeyRef(envelope.topic(), envelope.key()));
        let position = Position::new(position);
        taken.deliveries.push(Delivery {
            envelope,
            position,
            attempt,
            generation,
            run,
        });
    }
}

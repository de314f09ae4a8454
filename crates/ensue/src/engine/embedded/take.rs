//! Taking events: what a member does next. Decides only; what touches the log happens outside.

use ensue_log as log;

use super::group::Group;
use super::lanes::{LaneKey, LaneRef};
use super::live::{Live, Out, Ready, Seat, ToPark};
use super::record::{Begin, Parked};
use super::slots::LaneHash;
use super::window::Status;
use crate::engine::{Delivery, Position};
use crate::event::Envelope;
use crate::time::Timestamp;

/// How many bytes of events a member holds at the most; one event is always possible.
pub(super) const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How many events are read ahead for a member that does not take them.
const READY_EVENTS_MAX: usize = 16_384;
/// How many bytes of them.
const READY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What the member is to do.
#[derive(Debug)]
pub(super) enum Step {
    /// Return these.
    Deliver(Vec<Delivery>),
    /// Fetch these events by position, then ask again.
    Fetch(Vec<u64>),
    /// Record that these attempts begin, then ask again.
    Begin(Vec<Begin>),
    /// Read on, then ask again.
    Read(Reading),
    Wait {
        /// For this time.
        due: Option<Timestamp>,
        /// For records at or after this position.
        records: Option<u64>,
    },
}

/// A read under way: what it starts from.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) epoch: u64,
    pub(super) rewinds: u64,
    pub(super) cursor: u64,
    pub(super) rest: Option<(log::Chunk, log::Place)>,
}

/// Who asks, and for how much.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) member: u64,
    pub(super) events_max: usize,
    pub(super) now: Timestamp,
    /// The durable end of the log.
    pub(super) end: u64,
    pub(super) parked_max: usize,
}

/// What was collected so far.
pub(super) struct Taken {
    pub(super) deliveries: Vec<Delivery>,
    events_max: usize,
    bytes: usize,
    bytes_max: usize,
    fetch: Vec<u64>,
    /// Where in the window the last one was.
    next: usize,
    /// Nothing further may be taken before what is collected is delivered, or before this.
    stop: Option<Stop>,
}

pub(super) enum Stop {
    Full,
    Fetch,
    Begin(Vec<Begin>),
    /// Somebody else has to finish first.
    Careful,
}

impl Taken {
    fn is_full(&mut self) -> bool {
        if self.deliveries.len() >= self.events_max || self.bytes >= self.bytes_max {
            self.stop.get_or_insert(Stop::Full);
        }
        self.stop.is_some()
    }
}

impl Live {
    /// What `ask.member`, which is a member, is to do next.
    pub(super) fn take(&mut self, group: &Group, ask: Ask) -> Step {
        let Some(seat) = self.seat(ask.member) else {
            return Step::Wait {
                due: None,
                records: None,
            };
        };
        seat.is_waiting = false;
        let room = seat
            .in_flight_max
            .saturating_sub(seat.held)
            .min(ask.events_max);
        let bytes_max = HELD_BYTES_MAX.saturating_sub(seat.held_bytes);
        if room == 0 || bytes_max == 0 {
            seat.is_waiting = true;
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
        self.take_lanes(group, ask, &mut taken);
        self.take_ready(group, ask, &mut taken);
        if !taken.deliveries.is_empty() {
            return Step::Deliver(taken.deliveries);
        }
        match taken.stop {
            Some(Stop::Fetch) => Step::Fetch(taken.fetch),
            Some(Stop::Begin(begins)) => Step::Begin(begins),
            Some(Stop::Careful | Stop::Full) => self.wait(ask, None),
            None => self.read_or_wait(group, ask),
        }
    }

    fn wait(&mut self, ask: Ask, records: Option<u64>) -> Step {
        if let Some(seat) = self.seat(ask.member) {
            seat.is_waiting = true;
        }
        Step::Wait {
            due: self.index.next_due(),
            records,
        }
    }

    fn read_or_wait(&mut self, group: &Group, ask: Ask) -> Step {
        let is_full = |seat: &Seat| {
            seat.ready.len() >= READY_EVENTS_MAX || seat.ready_bytes >= READY_BYTES_MAX
        };
        if self.is_reading || self.seats.iter().any(is_full) {
            return self.wait(ask, None);
        }
        // What was at work before has to be known first: it holds up what was put aside.
        if self.cursor >= self.replayed && !self.has_room_aside(group, ask) {
            return self.wait(ask, None);
        }
        if self.rest.is_none() && self.cursor >= ask.end {
            let records = self.cursor;
            return self.wait(ask, Some(records));
        }
        self.is_reading = true;
        Step::Read(Reading {
            epoch: self.epoch,
            rewinds: self.rewinds,
            cursor: self.cursor,
            rest: self.rest.take(),
        })
    }

    /// Whether further events may be put aside; if not, the group pauses.
    fn has_room_aside(&mut self, group: &Group, ask: Ask) -> bool {
        let aside = group.lanes.len() + self.parking_events;
        if aside < ask.parked_max {
            self.paused = None;
        } else if self.paused.is_none() {
            let why = format!(
                "{aside} events are put aside (retrying, parked or dead), the limit `parked_max` \
                 is {}: redrive or discard dead letters",
                ask.parked_max
            );
            tracing::warn!("a group takes no further events: {why}");
            self.paused = Some(why);
        }
        self.paused.is_none()
    }

    /// Takes what was put aside and may go now, the oldest first.
    fn take_lanes(&mut self, group: &Group, ask: Ask, taken: &mut Taken) {
        let mut from = 0;
        while let Some((at, lane)) = self.index.runnable.range(from..).next() {
            let lane = lane.clone();
            from = at + 1;
            let hash = self.hasher.hash_of(lane.topic(), lane.key());
            if self.slots.owner(hash.slot()) != ask.member {
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
            let mut positions = group.lanes.deliverable(&lane, ask.now, max, is_out).now;
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
    fn first_coming(&self, lane: &LaneKey, hash: LaneHash) -> Option<u64> {
        let parking = self.parking.get(lane).and_then(|parking| parking.first());
        let mut returned = self.returned.iter().filter(|(_, of)| **of == hash);
        let returned = returned.next().map(|(position, _)| position);
        let stale = self.stale.first(hash);
        let unread = (self.cursor < self.replayed).then_some(self.cursor);
        parking
            .into_iter()
            .chain(returned)
            .copied()
            .chain(stale)
            .chain(unread)
            .min()
    }

    fn take_lane(
        &mut self,
        group: &Group,
        ask: Ask,
        taken: &mut Taken,
        lane: &LaneKey,
        hash: LaneHash,
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
            let Some(seat) = self.seat(ask.member) else {
                return;
            };
            let fetched = if is_fetching {
                None
            } else {
                seat.fetched.remove(&position)
            };
            let Some(envelope) = fetched else {
                // What follows in the lane must not overtake it.
                is_fetching = true;
                if !seat.fetched.contains_key(&position) {
                    taken.fetch.push(position);
                }
                continue;
            };
            let bytes = envelope.content().len() as u32;
            seat.held += 1;
            seat.held_bytes += bytes as usize;
            self.slots.hand_out(hash.slot());
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

    /// Takes what was read.
    fn take_ready(&mut self, group: &Group, ask: Ask, taken: &mut Taken) {
        while !taken.is_full() {
            let Some(seat) = self.seats.iter().find(|seat| seat.member == ask.member) else {
                return;
            };
            let Some(ready) = seat.ready.front() else {
                return;
            };
            let (position, hash) = (ready.position, ready.lane);
            let Some(envelope) = ready
                .envelope
                .as_ref()
                .or_else(|| seat.fetched.get(&position))
            else {
                taken.stop = Some(Stop::Fetch);
                let missing = seat.ready.iter().take(taken.events_max);
                let missing = missing.filter(|ready| ready.envelope.is_none());
                taken.fetch.extend(missing.map(|ready| ready.position));
                return;
            };
            let is_blocked =
                self.is_blocked(group, LaneRef(envelope.topic(), envelope.key()), hash);
            // What comes back holds up its lane, so that it goes in without asking for room.
            let is_returned = self.returned.contains_key(&position);
            if is_blocked && !is_returned && !self.has_room_aside(group, ask) {
                taken.stop = Some(Stop::Full);
                return;
            }
            if !is_blocked
                && self.careful.is_some()
                && let Some(stop) = self.is_held_up(group, ask.member, position, false, taken)
            {
                taken.stop = Some(stop);
                return;
            }
            let Some(envelope) = self.pop_ready(ask.member) else {
                return;
            };
            if is_blocked {
                self.set_aside(position, &envelope);
                continue;
            }
            let bytes = envelope.content().len() as u32;
            let Some(entry) = self.window.find(position, &mut taken.next) else {
                continue;
            };
            (entry.status, entry.owner, entry.bytes) = (Status::Held, ask.member, bytes);
            if let Some(seat) = self.seat(ask.member) {
                seat.held += 1;
                seat.held_bytes += bytes as usize;
            }
            self.slots.hand_out(hash.slot());
            self.deliver(group, taken, position, envelope, false);
        }
    }

    fn pop_ready(&mut self, member: u64) -> Option<Envelope> {
        let seat = self.seat(member)?;
        let ready = seat.ready.pop_front()?;
        seat.ready_bytes -= ready.bytes();
        let Ready {
            position, envelope, ..
        } = ready;
        let envelope = envelope.or_else(|| seat.fetched.remove(&position));
        self.returned.remove(&position);
        envelope
    }

    fn is_blocked(&self, group: &Group, lane: LaneRef<'_>, hash: LaneHash) -> bool {
        (!group.lanes.is_empty() && group.lanes.is_occupied(lane))
            || (!self.parking.is_empty() && self.parking.contains_key(&lane))
            || self.stale.has(hash)
    }

    /// An event of a blocked key waits behind the others: durably, before the low-water mark
    /// passes it.
    fn set_aside(&mut self, position: u64, envelope: &Envelope) {
        let Some(entry) = self.window.get(position) else {
            return;
        };
        entry.status = Status::Parking;
        let (topic, key) = (envelope.topic(), envelope.key());
        let parked = Parked {
            position,
            topic: topic.to_owned(),
            key: key.to_owned(),
        };
        self.unsaid.push(ToPark {
            from: entry.from,
            parked,
        });
        let parking = self.parking.entry(LaneKey::new(topic, key)).or_default();
        parking.insert(position);
        self.parking_events += 1;
    }

    fn deliver(
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
        let run = group.runs.of(position);
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

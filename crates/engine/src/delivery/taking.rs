//! One member's asking for events: the parts of its group's session, and what was collected so far.

use super::aside::Aside;
use super::aside_index::AsideIndex;
use super::crash_guard::{CrashGuard, Verdict};
use super::in_flight::InFlight;
use super::key_hash::KeyHash;
use super::limits::AsideLimits;
use super::pages::Pages;
use super::read_ahead::ReadAhead;
use super::slot_ownership::SlotOwnership;
use crate::engine::{Delivery, Position};
use crate::event::Envelope;
use crate::ids::MemberId;
use crate::model::group::Group;
use crate::model::record::Begin;
use crate::model::topic_key::{KeyRef, TopicKey};
use crate::time::Timestamp;

/// Which member asks, and for how much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) member: MemberId,
    pub(crate) events_max: usize,
    pub(crate) now: Timestamp,
    /// The durable end of the log.
    pub(crate) end: Position,
}

/// What a member that asks works with.
pub(super) struct Taking<'a> {
    pub(super) group: &'a Group,
    pub(super) ask: Ask,
    pub(super) ownership: &'a SlotOwnership,
    pub(super) limits: AsideLimits,
    pub(super) in_flight: &'a mut InFlight,
    pub(super) ahead: &'a mut ReadAhead,
    pub(super) index: &'a mut AsideIndex,
    pub(super) aside: &'a mut Aside,
    pub(super) pages: &'a mut Pages,
    pub(super) guard: &'a mut Option<CrashGuard>,
}

/// What was collected so far.
pub(super) struct Taken {
    deliveries: Vec<Delivery>,
    events_max: usize,
    bytes: usize,
    bytes_max: usize,
    fetch: Vec<Position>,
    /// Where in the window the last one was.
    pub(super) next: usize,
    /// Nothing further may be taken before what is collected is delivered, or before this.
    stop: Option<Stop>,
}

/// Why nothing further may be taken.
pub(super) enum Stop {
    Fetch,
    Begin(Vec<Begin>),
    /// Others have to finish first.
    Careful,
}

impl Taken {
    pub(super) fn new(events_max: usize, bytes_max: usize) -> Self {
        Self {
            deliveries: Vec::new(),
            events_max,
            bytes: 0,
            bytes_max,
            fetch: Vec::new(),
            next: 0,
            stop: None,
        }
    }

    /// Whether nothing further may be taken.
    pub(super) fn is_over(&self) -> bool {
        self.stop.is_some() || self.is_full()
    }

    fn is_full(&self) -> bool {
        self.deliveries.len() >= self.events_max || self.bytes >= self.bytes_max
    }

    pub(super) fn stop(&mut self, stop: Stop) {
        self.stop = Some(stop);
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.stop.is_some()
    }

    /// How many more events can be taken or fetched.
    pub(super) fn room(&self) -> usize {
        let collected = self.deliveries.len() + self.fetch.len();
        self.events_max.saturating_sub(collected)
    }

    pub(super) fn events_max(&self) -> usize {
        self.events_max
    }

    /// These are to be fetched.
    pub(super) fn fetch(&mut self, positions: impl IntoIterator<Item = Position>) {
        self.fetch.extend(positions);
    }

    pub(super) fn has_to_fetch(&self) -> bool {
        self.deliveries.is_empty() && !self.fetch.is_empty()
    }

    /// What was collected, or else why nothing was.
    pub(super) fn outcome(self) -> Outcome {
        if !self.deliveries.is_empty() {
            return Outcome::Deliver(self.deliveries);
        }
        match self.stop {
            None => Outcome::Nothing,
            Some(Stop::Careful) => Outcome::Wait,
            Some(Stop::Fetch) => Outcome::Fetch(self.fetch),
            Some(Stop::Begin(begins)) => Outcome::Begin(begins),
        }
    }
}

/// What came of taking.
pub(super) enum Outcome {
    Deliver(Vec<Delivery>),
    Fetch(Vec<Position>),
    Begin(Vec<Begin>),
    /// Others have to finish first.
    Wait,
    Nothing,
}

impl Taking<'_> {
    /// Looks again at what of a lane may go.
    pub(super) fn refresh(&mut self, lane: &TopicKey) {
        let parts = (self.ownership, self.in_flight.aside());
        self.index
            .refresh(self.group.set_aside(), parts, lane, self.ask.now);
    }

    /// Whether an event that was read has to wait behind others of its key.
    pub(super) fn is_blocked(&self, key: KeyRef<'_>, hash: KeyHash, position: Position) -> bool {
        let set_aside = self.group.set_aside();
        (!set_aside.is_empty() && set_aside.is_occupied(key, position))
            || self.aside.is_before(key, position)
            || self.in_flight.is_fenced(hash)
    }

    /// An event of a blocked key waits behind the others.
    pub(super) fn set_aside(&mut self, position: Position, hash: KeyHash, envelope: &Envelope) {
        if let Some(from) = self.in_flight.park(position, hash) {
            let key = KeyRef(envelope.topic(), envelope.key());
            self.aside.meet(key, from, position);
        }
    }

    /// After a crash: whether the event at `position` has to wait, or its attempt to be recorded.
    pub(super) fn hold_up(
        &mut self,
        position: Position,
        is_aside: bool,
        taken: &Taken,
    ) -> Option<Stop> {
        let guard = self.guard.as_mut()?;
        let process = self.ownership.process();
        let begun = self.group.begun(position);
        if begun.is_some_and(|attempt| attempt.boot == process) {
            return None;
        }
        let is_busy = self.in_flight.held() > 0 || !taken.deliveries.is_empty();
        match guard.check(position, is_aside, is_busy) {
            Verdict::Deliver => None,
            Verdict::Wait => Some(Stop::Careful),
            Verdict::Begin => {
                let member = self.in_flight.member(self.ask.member);
                let ready = member.into_iter().flat_map(|member| member.ready());
                let of = (self.group, process);
                let begins = guard.begins(of, position, is_aside, ready);
                Some(Stop::Begin(begins))
            }
        }
    }

    /// Hands out an event that counts as in the member's hands already.
    pub(super) fn deliver(
        &mut self,
        taken: &mut Taken,
        position: Position,
        envelope: Envelope,
        is_aside: bool,
    ) {
        let mut attempt = 1;
        if is_aside || self.group.has_begun() {
            attempt = self.group.next_attempt(position, self.ownership.process());
        }
        if let Some(guard) = self.guard.as_mut() {
            guard.delivered(position, is_aside);
        }
        taken.bytes += envelope.content().len();
        let key = KeyRef(envelope.topic(), envelope.key());
        let run = self.group.run_of(position, key);
        taken.deliveries.push(Delivery {
            envelope,
            position,
            attempt,
            generation: self.group.generation(),
            run,
        });
    }
}

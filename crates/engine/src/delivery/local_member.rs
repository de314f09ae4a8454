//! A member of a group in this process: what it holds, what was read for it, and what it waits for.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;

use super::key_queues::Room;
use super::limits::{HELD_BYTES_MAX, READY_BYTES_MAX, READY_EVENTS_MAX};
use super::ready_event::{QueuedEvent, ReadyEvent};
use super::wake::Wake;
use crate::engine::Position;
use crate::event::Envelope;
use crate::ids::MemberId;
use crate::time::Timestamp;

/// A member.
#[derive(Debug)]
pub(crate) struct LocalMember {
    id: MemberId,
    waker: Arc<dyn Wake>,
    in_flight_max: usize,
    /// Events in its hands, and their bytes.
    held: usize,
    held_bytes: usize,
    /// Events of its slots that were read, in order, and their bytes.
    ready: VecDeque<ReadyEvent>,
    ready_bytes: usize,
    /// Events that were fetched for it by position.
    fetched: HashMap<Position, Envelope, foldhash::fast::RandomState>,
    /// What it waits for; `None` while it does something.
    waiting: Option<Waiting>,
    /// It left while a commit of it was under way: it only keeps its slots until that is durable.
    is_gone: bool,
}

/// What makes a waiting member look again without being woken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    /// This time.
    pub(crate) due: Option<Timestamp>,
    /// A record at or after this position.
    pub(crate) records: Option<Position>,
}

impl LocalMember {
    pub(crate) fn new(id: MemberId, in_flight_max: usize, waker: Arc<dyn Wake>) -> Self {
        Self {
            id,
            waker,
            in_flight_max: in_flight_max.max(1),
            held: 0,
            held_bytes: 0,
            ready: VecDeque::new(),
            ready_bytes: 0,
            fetched: HashMap::default(),
            waiting: None,
            is_gone: false,
        }
    }

    pub(crate) fn id(&self) -> MemberId {
        self.id
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// How many events are in its hands.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    pub(crate) fn in_flight_max(&self) -> usize {
        self.in_flight_max
    }

    /// How many more events, and bytes of them, it may hold.
    pub(crate) fn free(&self) -> (usize, usize) {
        (
            self.in_flight_max.saturating_sub(self.held),
            HELD_BYTES_MAX.saturating_sub(self.held_bytes),
        )
    }

    /// What a single key may have of that.
    pub(crate) fn room(&self) -> Room {
        Room::of(self.in_flight_max, self.held, self.held_bytes)
    }

    /// It takes nothing any more.
    pub(crate) fn leave(&mut self) {
        self.is_gone = true;
        self.fetched.clear();
    }

    /// An event goes into its hands.
    pub(crate) fn hold(&mut self, bytes: u32) {
        self.held += 1;
        self.held_bytes += bytes as usize;
    }

    /// So many events are no longer in its hands.
    pub(crate) fn take_back(&mut self, events: usize, bytes: usize) {
        self.held -= events;
        self.held_bytes -= bytes;
    }
}

/// What was read for it.
impl LocalMember {
    /// Whether no more is read ahead for it.
    pub(crate) fn is_full(&self) -> bool {
        self.ready.len() >= READY_EVENTS_MAX || self.ready_bytes >= READY_BYTES_MAX
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(crate) fn push(&mut self, event: ReadyEvent) {
        self.ready_bytes += event.bytes();
        self.ready.push_back(event);
    }

    /// Events that it held are to be handled again, before others that follow them.
    pub(crate) fn put_back(&mut self, events: impl Iterator<Item = ReadyEvent>) {
        let ready = std::mem::take(&mut self.ready);
        for event in events {
            self.ready_bytes += event.bytes();
            self.ready.push_back(event);
        }
        self.ready.extend(ready);
        self.ready
            .make_contiguous()
            .sort_by_key(|ready| ready.position);
    }

    pub(crate) fn front(&self) -> Option<&ReadyEvent> {
        self.ready.front()
    }

    /// The first event that was read, if it is here.
    pub(crate) fn front_envelope(&self) -> Option<&Envelope> {
        let front = self.ready.front()?;
        let known = front.envelope.as_ref();
        known.or_else(|| self.fetched.get(&front.position))
    }

    /// Takes the first event that was read; one that has to be fetched stays.
    pub(crate) fn pop(&mut self) -> Option<QueuedEvent> {
        let ready = self.ready.front_mut()?;
        let (position, key, bytes) = (ready.position, ready.key, ready.bytes());
        let envelope = match ready.envelope.take() {
            Some(envelope) => envelope,
            None => self.fetched.remove(&position)?,
        };
        self.ready.pop_front();
        self.ready_bytes -= bytes;
        Some(QueuedEvent {
            position,
            key,
            envelope,
        })
    }

    /// Takes everything that was read.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = ReadyEvent> {
        self.ready_bytes = 0;
        self.ready.drain(..)
    }

    /// The positions of what was read.
    pub(crate) fn ready(&self) -> impl Iterator<Item = Position> {
        self.ready.iter().map(|ready| ready.position)
    }

    /// Which of the first `max` events are to be fetched.
    pub(crate) fn missing(&self, max: usize) -> impl Iterator<Item = Position> {
        let first = self.ready.iter().take(max);
        let missing = first.filter(|ready| ready.envelope.is_none());
        missing.map(|ready| ready.position)
    }

    /// Keeps events that were fetched for it, in place of others.
    pub(crate) fn fetched(&mut self, events: Vec<(Position, Envelope)>) {
        self.fetched.clear();
        self.fetched.extend(events);
    }

    pub(crate) fn has_fetched(&self, position: Position) -> bool {
        self.fetched.contains_key(&position)
    }

    pub(crate) fn take_fetched(&mut self, position: Position) -> Option<Envelope> {
        self.fetched.remove(&position)
    }
}

/// Waiting.
impl LocalMember {
    pub(crate) fn set_waiting(&mut self, waiting: Option<Waiting>) {
        self.waiting = waiting;
    }

    /// Wakes it if it waits.
    pub(crate) fn wake(&mut self) {
        if self.waiting.take().is_some() {
            self.waker.wake();
        }
    }

    /// Tells it that it is no member any more.
    pub(crate) fn dismiss(&self) {
        self.waker.wake();
    }

    /// Whether it will do nothing before the clock moves, a record comes or an event in its hands ends.
    /// `end` is the durable end of the log.
    pub(crate) fn is_at_rest(&self, end: Position, now: Timestamp) -> bool {
        // With as much in its hands as it may have, it does not even ask.
        self.held >= self.in_flight_max
            || self.waiting.is_some_and(|waiting| {
                waiting.records.is_none_or(|records| records >= end)
                    && waiting.due.is_none_or(|due| due > now)
            })
    }
}

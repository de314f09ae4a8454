//! Queues of single keys among the events that were read: a key that is slow must not hold up the others.
//!
//! A key with many events in a member's hands, as measured by the room that is left, gets a *queue* of
//! its own, where its further events wait; events of other keys go on. Members take by turns from the
//! queues and from the events of keys without one. A queue that is full for too long stops reading for a
//! moment, and is then shed: all but its first events become its key's backlog.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};

use super::key_hash::KeyHash;
use super::limits::{HELD_BYTES_MAX, KEY_QUEUE_BYTES_MAX, READY_BYTES_MAX, READY_EVENTS_MAX};
use super::ready_event::QueuedEvent;
use crate::time::Timestamp;

/// Of one in so many of the events that a member may hold, and of at most so many, it is not asked
/// what room is left for others.
const HELD_SHARE: usize = 1_024;
const HELD_FREE_MAX: usize = 8;
/// A member that holds no more than this takes events key by key.
const HELD_FEW: usize = 16;
/// How long reading waits for a key that is in the way of others.
const SLOW_WAIT: Duration = Duration::from_millis(20);
/// Events in hands are counted by their keys' hashes, in so many counters.
const COUNTERS: usize = 4_096;

/// How many events of which keys are in members' hands, and the queues of the keys with many.
#[derive(Debug)]
pub(crate) struct KeyQueues {
    /// At least how many each key has: keys share counters.
    counts: Box<[u32; COUNTERS]>,
    /// Exactly how many, of the keys that have a queue, and of others that were counted and have had some in
    /// hands since.
    counted: HashMap<KeyHash, Held, foldhash::fast::RandomState>,
    queues: HashMap<KeyHash, KeyQueue, foldhash::fast::RandomState>,
    /// The keys with queues, in the order in which they are served.
    order: VecDeque<KeyHash>,
    /// Whether a queue is served next, or the events of keys without one.
    is_queues_turn: bool,
    /// How many events a queue may have before it is too long.
    queue_max: usize,
    /// The keys whose queues are too long.
    long: HashSet<KeyHash, foldhash::fast::RandomState>,
    /// How many events are in all queues, and their bytes.
    events: usize,
    bytes: usize,
    /// Whether the last step was to read on although queues could be served.
    has_read: bool,
    /// Since when reading waits for queues to be served.
    since: Option<Timestamp>,
}

/// Events of a key that wait because many of it are in hands.
#[derive(Debug, Default)]
struct KeyQueue {
    events: VecDeque<QueuedEvent>,
    bytes: usize,
}

/// How many events of a key are in members' hands, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

/// How much room a member has, by which is judged how much of one key it may hold.
#[derive(Clone, Copy)]
pub(crate) struct Room {
    held: usize,
    events: usize,
    bytes: usize,
    /// How many events of a key may be there whatever room is left.
    floor: usize,
    is_few: bool,
}

impl Room {
    /// The room of a member that holds `held` events with `held_bytes` bytes.
    pub(crate) fn of(in_flight_max: usize, held: usize, held_bytes: usize) -> Self {
        Self {
            held,
            events: in_flight_max.saturating_sub(held),
            bytes: HELD_BYTES_MAX.saturating_sub(held_bytes),
            floor: (in_flight_max / HELD_SHARE).clamp(1, HELD_FREE_MAX),
            is_few: in_flight_max <= HELD_FEW,
        }
    }

    /// Whether the member takes events key by key, because it may hold few.
    pub(crate) fn is_few(self) -> bool {
        self.is_few
    }

    /// Whether a key that has so much in hands needs a queue for its next events.
    pub(crate) fn is_too_much(self, held: Held) -> bool {
        held.events >= self.events.max(self.floor) || (held.events > 0 && held.bytes > self.bytes)
    }

    /// Whether the queue of a key that has so much in hands may be served.
    fn has_turn(self, held: Held) -> bool {
        held.events == 0 || (held.events < self.events && held.bytes <= self.bytes)
    }
}

impl KeyQueues {
    /// `queue_max` is how many events of one key are read ahead.
    pub(crate) fn new(queue_max: usize) -> Self {
        Self {
            counts: Box::new([0; COUNTERS]),
            counted: HashMap::default(),
            queues: HashMap::default(),
            order: VecDeque::new(),
            is_queues_turn: false,
            queue_max,
            long: HashSet::default(),
            events: 0,
            bytes: 0,
            has_read: false,
            since: None,
        }
    }

    /// Whether to read on now although queues could be served: every other time, because events of other
    /// keys may come next in the log.
    pub(crate) fn take_reading_turn(&mut self) -> bool {
        if self.queues.is_empty() {
            return false;
        }
        self.has_read = !self.has_read;
        self.has_read
    }

    /// Whether to serve a queue now, by turns with the events of keys without one; `has_others` says
    /// whether there are such events.
    pub(crate) fn take_queue_turn(&mut self, has_others: bool) -> bool {
        let is_queue = !self.queues.is_empty() && (self.is_queues_turn || !has_others);
        self.is_queues_turn = !is_queue;
        is_queue
    }

    /// Whether so many events of a key may be in hands that it is worth counting them exactly.
    pub(crate) fn may_be_many(&self, key: KeyHash, room: Room) -> bool {
        let count = self.count(key);
        let is_large = room.bytes < HELD_BYTES_MAX / 2
            && (count >= HELD_FREE_MAX || room.held < COUNTERS / 16);
        count >= room.events.max(room.floor) || is_large
    }

    fn counter(&mut self, key: KeyHash) -> &mut u32 {
        #[expect(
            clippy::indexing_slicing,
            reason = "in range: the remainder of a division by its length"
        )]
        &mut self.counts[key.number() % COUNTERS]
    }

    /// An event of the key goes into a member's hands.
    pub(crate) fn hand_out(&mut self, key: KeyHash, bytes: u32) {
        *self.counter(key) += 1;
        if !self.counted.is_empty()
            && let Some(held) = self.counted.get_mut(&key)
        {
            held.events += 1;
            held.bytes += bytes as usize;
        }
    }

    /// An event of the key is no longer in a member's hands.
    pub(crate) fn take_back(&mut self, key: KeyHash, bytes: u32) {
        *self.counter(key) -= 1;
        if !self.counted.is_empty()
            && let Some(held) = self.counted.get_mut(&key)
        {
            held.events -= 1;
            held.bytes -= bytes as usize;
            if held.events == 0 {
                self.forget_counted(key);
            }
        }
    }

    /// How much of the key is in members' hands. `count` counts it exactly, by a scan of everything that is.
    pub(crate) fn held(&mut self, key: KeyHash, count: impl FnOnce() -> Held) -> Held {
        match self.count(key) {
            0 => Held::default(),
            _ => *self.counted.entry(key).or_insert_with(count),
        }
    }

    /// Forgets the exact count of a key that has neither a queue nor events in hands.
    fn forget_counted(&mut self, key: KeyHash) {
        let is_empty = |held: &Held| held.events == 0;
        if self.counted.get(&key).is_some_and(is_empty) && !self.queues.contains_key(&key) {
            self.counted.remove(&key);
        }
    }

    fn count(&self, key: KeyHash) -> usize {
        let count = self.counts.get(key.number() % COUNTERS);
        count.copied().unwrap_or_default() as usize
    }

    /// Whether the key has a queue.
    pub(crate) fn has_queue(&self, key: KeyHash) -> bool {
        !self.queues.is_empty() && self.queues.contains_key(&key)
    }

    /// Adds an event to the end of its key's queue; `count` counts what of the key is in hands.
    pub(crate) fn push(&mut self, queued: QueuedEvent, count: impl FnOnce() -> Held) {
        let (key, bytes) = (queued.key, queued.bytes());
        if !self.queues.contains_key(&key) {
            let held = self.held(key, count);
            self.counted.insert(key, held);
            self.order.push_back(key);
        }
        let queue = self.queues.entry(key).or_default();
        queue.events.push_back(queued);
        queue.bytes += bytes;
        self.events += 1;
        self.bytes += bytes;
        if self
            .queues
            .get(&key)
            .is_some_and(|queue| self.is_long(queue))
        {
            self.long.insert(key);
        }
    }

    /// The key of the next queue that may be served; it goes to the end of the order.
    pub(crate) fn next(
        &mut self,
        room: Room,
        is_mine: impl Fn(KeyHash) -> bool,
    ) -> Option<KeyHash> {
        for _ in 0..self.order.len() {
            let key = self.order.pop_front()?;
            if !self.queues.contains_key(&key) {
                continue;
            }
            self.order.push_back(key);
            // Of a key with a queue it is always known.
            let held = self.counted.get(&key).copied().unwrap_or_default();
            if room.has_turn(held) && is_mine(key) {
                return Some(key);
            }
        }
        None
    }

    /// The first event of a queue.
    pub(crate) fn first(&self, key: KeyHash) -> Option<&QueuedEvent> {
        self.queues.get(&key)?.events.front()
    }

    fn is_long(&self, queue: &KeyQueue) -> bool {
        queue.events.len() > 1
            && (queue.events.len() > self.queue_max || queue.bytes > KEY_QUEUE_BYTES_MAX)
    }

    /// Takes the first event of a queue.
    pub(crate) fn pop(&mut self, key: KeyHash) -> Option<QueuedEvent> {
        let queue = self.queues.get_mut(&key)?;
        let queued = queue.events.pop_front()?;
        queue.bytes -= queued.bytes();
        self.events -= 1;
        self.bytes -= queued.bytes();
        self.shrunk(key);
        Some(queued)
    }

    /// Takes everything out of a queue but its first `keep` events, and no more of them than a quarter of
    /// the bytes that a queue may have. At least one event stays.
    pub(crate) fn split_off(&mut self, key: KeyHash, keep: usize) -> VecDeque<QueuedEvent> {
        let Some(queue) = self.queues.get_mut(&key) else {
            return VecDeque::new();
        };
        let mut bytes = 0;
        let within = queue.events.iter().take_while(|queued| {
            bytes += queued.bytes();
            bytes <= KEY_QUEUE_BYTES_MAX / 4
        });
        let keep = keep.min(within.count()).max(1);
        let rest = queue.events.split_off(keep.min(queue.events.len()));
        let bytes: usize = rest.iter().map(QueuedEvent::bytes).sum();
        queue.bytes -= bytes;
        self.events -= rest.len();
        self.bytes -= bytes;
        self.shrunk(key);
        rest
    }

    fn shrunk(&mut self, key: KeyHash) {
        let Some(queue) = self.queues.get(&key) else {
            return;
        };
        if !self.long.is_empty() && !self.is_long(queue) {
            self.long.remove(&key);
        }
        if queue.events.is_empty() {
            self.queues.remove(&key);
            self.forget_counted(key);
            // The one that was served just now is the last.
            if self.order.back() == Some(&key) {
                self.order.pop_back();
            } else {
                self.order.retain(|it| *it != key);
            }
        }
    }

    /// Takes everything out of all queues.
    pub(crate) fn clear(&mut self) -> Vec<QueuedEvent> {
        let queues = std::mem::take(&mut self.queues);
        self.counted.retain(|_, held| held.events > 0);
        self.order.clear();
        self.long.clear();
        (self.events, self.bytes) = (0, 0);
        queues
            .into_values()
            .flat_map(|queue| queue.events)
            .collect()
    }

    fn is_full(&self) -> bool {
        self.events >= READY_EVENTS_MAX || self.bytes >= READY_BYTES_MAX
    }

    /// Whether reading has to wait until something of what was read is taken: because the queues are full,
    /// or one of them is too long, or because a member `is_full`. Notes since when it waits.
    pub(crate) fn note_full(&mut self, is_full: bool, now: Timestamp) -> bool {
        if !is_full && !self.is_full() && self.long.is_empty() {
            self.since = None;
            return false;
        }
        self.since.get_or_insert(now);
        true
    }

    /// When the wait of reading ends, if that is still to come. A clock that was set back ends it at once:
    /// how long it has lasted is unknown then, and the clock may take hours to show its end.
    pub(crate) fn full_until(&self, now: Timestamp) -> Option<Timestamp> {
        let since = self.since.filter(|since| !now.is_set_back(*since))?;
        let until = since.plus(SLOW_WAIT);
        (now < until).then_some(until)
    }

    /// Whether there is room to read on now that queues were shed; if so, the wait of reading is over.
    pub(crate) fn note_room(&mut self) -> bool {
        let has_room = !self.is_full();
        if has_room {
            self.since = None;
        }
        has_room
    }

    /// The keys whose queues are to be shed, and how many events of each stay.
    pub(crate) fn to_shed(&self) -> (Vec<KeyHash>, usize) {
        if self.is_full() {
            (self.queues.keys().copied().collect(), 1)
        } else {
            let keep = (self.queue_max / 4).max(1);
            (self.long.iter().copied().collect(), keep)
        }
    }

    /// The events in all queues.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &QueuedEvent> {
        self.queues.values().flat_map(|queue| &queue.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::key_hash::KeyHasher;
    use crate::event::Envelope;

    /// What is in hands of each of a few keys, as it is.
    #[derive(Default)]
    struct Hands(Vec<(KeyHash, u32)>);

    impl Hands {
        fn of(&self, key: KeyHash) -> Held {
            let all = self.0.iter().filter(|(of, _)| *of == key);
            all.fold(Held::default(), |held, (_, bytes)| Held {
                events: held.events + 1,
                bytes: held.bytes + *bytes as usize,
            })
        }
    }

    #[test]
    fn reading_does_not_wait_for_a_clock_that_was_set_back() {
        let at = |seconds| Timestamp::EPOCH.plus(Duration::from_secs(seconds));
        let mut queues = KeyQueues::new(8);
        assert!(queues.note_full(true, at(7_200)));
        assert_eq!(
            queues.full_until(at(7_200)),
            Some(at(7_200).plus(SLOW_WAIT))
        );
        assert_eq!(queues.full_until(at(7_200).plus(SLOW_WAIT)), None, "over");
        assert_eq!(queues.full_until(at(3_600)), None, "set back");
    }

    #[test]
    fn what_is_counted_of_a_lane_stays_right_and_is_forgotten_with_it() {
        let hasher = KeyHasher::default();
        let keys: Vec<KeyHash> = (0..4)
            .map(|number| hasher.hash_of("t", &number.to_string()))
            .collect();
        let mut random = fastrand::Rng::with_seed(7);
        let (mut queues, mut hands) = (KeyQueues::new(8), Hands::default());
        let envelope = Envelope::builder("t", "thing.happened").build().unwrap();
        for position in 0..20_000 {
            let key = keys[random.usize(..keys.len())];
            match random.u8(..5) {
                0 | 1 => {
                    let bytes = random.u32(..100);
                    queues.hand_out(key, bytes);
                    hands.0.push((key, bytes));
                }
                2 if !hands.0.is_empty() => {
                    let (key, bytes) = hands.0.swap_remove(random.usize(..hands.0.len()));
                    queues.take_back(key, bytes);
                }
                3 => {
                    let queued = QueuedEvent {
                        position: crate::engine::Position::new(position),
                        key,
                        envelope: envelope.clone(),
                    };
                    queues.push(queued, || hands.of(key));
                }
                _ => {
                    queues.pop(key);
                }
            }
            assert_eq!(queues.held(key, || hands.of(key)), hands.of(key));
            if position % 100 == 99 {
                for (key, bytes) in hands.0.drain(..) {
                    queues.take_back(key, bytes);
                }
                queues.clear();
                assert!(queues.counted.is_empty() && queues.order.is_empty());
            }
        }
    }
}

//! Whose turn it is among the keys that were read: one that is slow must not hold up the others.
//!
//! A key with many events in a member's hands, as measured by the room that is left, gets a *line*
//! of its own, where its further events wait; what comes behind them goes on. A line has its turn
//! with the other lines and with what has none. A line that stays too long stops reading for a
//! moment, and then becomes its key's backlog, but for its first events.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};

use super::key_hash::KeyHash;
use super::limits::{HELD_BYTES_MAX, LINE_BYTES_MAX, READY_BYTES_MAX, READY_EVENTS_MAX};
use super::ready_event::LinedEvent;
use crate::time::Timestamp;

/// Of one in so many of the events that a member may hold, and of at most so many, it is not asked
/// what room is left for others.
const HELD_SHARE: usize = 1_024;
const HELD_FREE_MAX: usize = 8;
/// A member that holds no more than this takes events key by key.
const HELD_FEW: usize = 16;
/// How long reading waits for a key that is in the way of others.
const SLOW_WAIT: Duration = Duration::from_millis(20);
/// Events in hands are counted by their lanes' hashes, in so many counters.
const COUNTERS: usize = 4_096;

/// How many events of which keys are in members' hands, and the lines of those with many.
#[derive(Debug)]
pub(crate) struct Turns {
    /// At least how many each lane has: lanes share counters.
    counts: Box<[u32; COUNTERS]>,
    /// Exactly how many, of those with lines and of those that were counted since none was there.
    counted: HashMap<KeyHash, Held, foldhash::fast::RandomState>,
    lines: HashMap<KeyHash, Line, foldhash::fast::RandomState>,
    /// The lines, the next to have its turn first.
    order: VecDeque<KeyHash>,
    /// Whether a line is next, or what has none.
    is_lines_turn: bool,
    /// How long a line may be, and those that are longer.
    line_max: usize,
    long: HashSet<KeyHash, foldhash::fast::RandomState>,
    events: usize,
    bytes: usize,
    /// Whether the last step was to read on although lines could go on.
    has_read: bool,
    /// Since when lines are in the way of reading.
    since: Option<Timestamp>,
}

/// Events of a key that wait because many of it are in hands.
#[derive(Debug, Default)]
struct Line {
    events: VecDeque<LinedEvent>,
    bytes: usize,
}

/// How many events of a lane are in members' hands, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

/// How much of one key, and of how much, may be in a member's hands.
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
    /// Of a member that holds so many events, with so many bytes.
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

    /// Whether a lane that has so much in hands has to wait in a line.
    pub(crate) fn is_too_much(self, held: Held) -> bool {
        held.events >= self.events.max(self.floor) || (held.events > 0 && held.bytes > self.bytes)
    }

    /// Whether a lane that has so much in hands may have another event in its turn.
    fn has_turn(self, held: Held) -> bool {
        held.events == 0 || (held.events < self.events && held.bytes <= self.bytes)
    }
}

impl Turns {
    /// `line_max` is how many events of one key are read ahead.
    pub(crate) fn new(line_max: usize) -> Self {
        Self {
            counts: Box::new([0; COUNTERS]),
            counted: HashMap::default(),
            lines: HashMap::default(),
            order: VecDeque::new(),
            is_lines_turn: false,
            line_max,
            long: HashSet::default(),
            events: 0,
            bytes: 0,
            has_read: false,
            since: None,
        }
    }

    /// Takes the next turn of reading: whether it is time to read on although lines can go on: others may be behind them.
    pub(crate) fn take_reading_turn(&mut self) -> bool {
        if self.lines.is_empty() {
            return false;
        }
        self.has_read = !self.has_read;
        self.has_read
    }

    /// Takes the next turn: whether it is a line's, rather than that of what has none: `is_front` is whether there is that.
    pub(crate) fn take_line_turn(&mut self, is_front: bool) -> bool {
        let is_line = !self.lines.is_empty() && (self.is_lines_turn || !is_front);
        self.is_lines_turn = !is_line;
        is_line
    }

    /// Whether so many of a lane may be in hands that it is worth counting them.
    pub(crate) fn may_be_many(&self, lane: KeyHash, room: Room) -> bool {
        let count = self.count(lane);
        let is_large = room.bytes < HELD_BYTES_MAX / 2
            && (count >= HELD_FREE_MAX || room.held < COUNTERS / 16);
        count >= room.events.max(room.floor) || is_large
    }

    fn counter(&mut self, lane: KeyHash) -> &mut u32 {
        #[expect(
            clippy::indexing_slicing,
            reason = "in range: the remainder of a division by its length"
        )]
        &mut self.counts[lane.number() % COUNTERS]
    }

    /// An event of the lane goes into a member's hands.
    pub(crate) fn hand_out(&mut self, lane: KeyHash, bytes: u32) {
        *self.counter(lane) += 1;
        if !self.counted.is_empty()
            && let Some(held) = self.counted.get_mut(&lane)
        {
            held.events += 1;
            held.bytes += bytes as usize;
        }
    }

    /// An event of the lane is no longer in a member's hands.
    pub(crate) fn take_back(&mut self, lane: KeyHash, bytes: u32) {
        *self.counter(lane) -= 1;
        if !self.counted.is_empty()
            && let Some(held) = self.counted.get_mut(&lane)
        {
            held.events -= 1;
            held.bytes -= bytes as usize;
            if held.events == 0 {
                self.forget_counted(lane);
            }
        }
    }

    /// How much of the lane is in members' hands; `count` counts it, which is a scan of all that is.
    pub(crate) fn held(&mut self, lane: KeyHash, count: impl FnOnce() -> Held) -> Held {
        match self.count(lane) {
            0 => Held::default(),
            _ => *self.counted.entry(lane).or_insert_with(count),
        }
    }

    /// Nothing has to be known of a lane that has neither a line nor anything in hands.
    fn forget_counted(&mut self, lane: KeyHash) {
        let is_none = |held: &Held| held.events == 0;
        if self.counted.get(&lane).is_some_and(is_none) && !self.lines.contains_key(&lane) {
            self.counted.remove(&lane);
        }
    }

    fn count(&self, lane: KeyHash) -> usize {
        let count = self.counts.get(lane.number() % COUNTERS);
        count.copied().unwrap_or_default() as usize
    }

    /// Whether the lane has a line.
    pub(crate) fn has_line(&self, lane: KeyHash) -> bool {
        !self.lines.is_empty() && self.lines.contains_key(&lane)
    }

    /// Adds an event to its lane's line; `count` counts what of the lane is in hands.
    pub(crate) fn line_up(&mut self, lined: LinedEvent, count: impl FnOnce() -> Held) {
        let (lane, bytes) = (lined.key, lined.bytes());
        if !self.lines.contains_key(&lane) {
            let held = self.held(lane, count);
            self.counted.insert(lane, held);
            self.order.push_back(lane);
        }
        let line = self.lines.entry(lane).or_default();
        line.events.push_back(lined);
        line.bytes += bytes;
        self.events += 1;
        self.bytes += bytes;
        if self.lines.get(&lane).is_some_and(|line| self.is_long(line)) {
            self.long.insert(lane);
        }
    }

    /// The next line that may have its turn, which goes behind the others.
    pub(crate) fn next(
        &mut self,
        room: Room,
        is_mine: impl Fn(KeyHash) -> bool,
    ) -> Option<KeyHash> {
        for _ in 0..self.order.len() {
            let lane = self.order.pop_front()?;
            if !self.lines.contains_key(&lane) {
                continue;
            }
            self.order.push_back(lane);
            // Of a lane with a line it is always known.
            let held = self.counted.get(&lane).copied().unwrap_or_default();
            if room.has_turn(held) && is_mine(lane) {
                return Some(lane);
            }
        }
        None
    }

    /// The first event of a line.
    pub(crate) fn first(&self, lane: KeyHash) -> Option<&LinedEvent> {
        self.lines.get(&lane)?.events.front()
    }

    fn is_long(&self, line: &Line) -> bool {
        line.events.len() > 1 && (line.events.len() > self.line_max || line.bytes > LINE_BYTES_MAX)
    }

    /// Takes the first event of a line.
    pub(crate) fn pop(&mut self, lane: KeyHash) -> Option<LinedEvent> {
        let line = self.lines.get_mut(&lane)?;
        let lined = line.events.pop_front()?;
        line.bytes -= lined.bytes();
        self.events -= 1;
        self.bytes -= lined.bytes();
        self.shrunk(lane);
        Some(lined)
    }

    /// Takes what a line has beyond `keep` events, and beyond a quarter of the bytes that it may
    /// have; one event stays.
    pub(crate) fn split_off(&mut self, lane: KeyHash, keep: usize) -> VecDeque<LinedEvent> {
        let Some(line) = self.lines.get_mut(&lane) else {
            return VecDeque::new();
        };
        let mut bytes = 0;
        let within = line.events.iter().take_while(|lined| {
            bytes += lined.bytes();
            bytes <= LINE_BYTES_MAX / 4
        });
        let keep = keep.min(within.count()).max(1);
        let rest = line.events.split_off(keep.min(line.events.len()));
        let bytes: usize = rest.iter().map(LinedEvent::bytes).sum();
        line.bytes -= bytes;
        self.events -= rest.len();
        self.bytes -= bytes;
        self.shrunk(lane);
        rest
    }

    fn shrunk(&mut self, lane: KeyHash) {
        let Some(line) = self.lines.get(&lane) else {
            return;
        };
        if !self.long.is_empty() && !self.is_long(line) {
            self.long.remove(&lane);
        }
        if line.events.is_empty() {
            self.lines.remove(&lane);
            self.forget_counted(lane);
            // One that just had its turn is the last.
            if self.order.back() == Some(&lane) {
                self.order.pop_back();
            } else {
                self.order.retain(|it| *it != lane);
            }
        }
    }

    /// Takes everything out of all lines.
    pub(crate) fn clear(&mut self) -> Vec<LinedEvent> {
        let lines = std::mem::take(&mut self.lines);
        self.counted.retain(|_, held| held.events > 0);
        self.order.clear();
        self.long.clear();
        (self.events, self.bytes) = (0, 0);
        lines.into_values().flat_map(|line| line.events).collect()
    }

    fn is_full(&self) -> bool {
        self.events >= READY_EVENTS_MAX || self.bytes >= READY_BYTES_MAX
    }

    /// Notes since when reading on waits; whether it has to wait for what was read to be taken: because of lines, or because
    /// `is_full`, for another reason.
    pub(crate) fn note_full(&mut self, is_full: bool, now: Timestamp) -> bool {
        if !is_full && !self.is_full() && self.long.is_empty() {
            self.since = None;
            return false;
        }
        self.since.get_or_insert(now);
        true
    }

    /// Until when reading waits, if the wait is not over. It is when the clock was set back: how long
    /// it has lasted is unknown then, and the clock may take hours to show its end.
    pub(crate) fn full_until(&self, now: Timestamp) -> Option<Timestamp> {
        let since = self.since.filter(|since| !now.is_set_back(*since))?;
        let until = since.plus(SLOW_WAIT);
        (now < until).then_some(until)
    }

    /// Notes that there is room to read on, if there is after some was made.
    pub(crate) fn note_room(&mut self) -> bool {
        let has_room = !self.is_full();
        if has_room {
            self.since = None;
        }
        has_room
    }

    /// The lines that are to become backlogs, and how many events of each are not.
    pub(crate) fn to_shed(&self) -> (Vec<KeyHash>, usize) {
        if self.is_full() {
            (self.lines.keys().copied().collect(), 1)
        } else {
            let keep = (self.line_max / 4).max(1);
            (self.long.iter().copied().collect(), keep)
        }
    }

    /// The events in all lines.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &LinedEvent> {
        self.lines.values().flat_map(|line| &line.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::key_hash::KeyHasher;
    use crate::event::Envelope;

    /// What is in hands of each of a few lanes, as it is.
    #[derive(Default)]
    struct Hands(Vec<(KeyHash, u32)>);

    impl Hands {
        fn of(&self, lane: KeyHash) -> Held {
            let all = self.0.iter().filter(|(of, _)| *of == lane);
            all.fold(Held::default(), |held, (_, bytes)| Held {
                events: held.events + 1,
                bytes: held.bytes + *bytes as usize,
            })
        }
    }

    #[test]
    fn reading_does_not_wait_for_a_clock_that_was_set_back() {
        let at = |seconds| Timestamp::EPOCH.plus(Duration::from_secs(seconds));
        let mut turns = Turns::new(8);
        assert!(turns.note_full(true, at(7_200)));
        assert_eq!(turns.full_until(at(7_200)), Some(at(7_200).plus(SLOW_WAIT)));
        assert_eq!(turns.full_until(at(7_200).plus(SLOW_WAIT)), None, "over");
        assert_eq!(turns.full_until(at(3_600)), None, "set back");
    }

    #[test]
    fn what_is_counted_of_a_lane_stays_right_and_is_forgotten_with_it() {
        let hasher = KeyHasher::default();
        let lanes: Vec<KeyHash> = (0..4)
            .map(|key| hasher.hash_of("t", &key.to_string()))
            .collect();
        let mut random = fastrand::Rng::with_seed(7);
        let (mut turns, mut hands) = (Turns::new(8), Hands::default());
        let envelope = Envelope::builder("t", "thing.happened").build().unwrap();
        for position in 0..20_000 {
            let lane = lanes[random.usize(..lanes.len())];
            match random.u8(..5) {
                0 | 1 => {
                    let bytes = random.u32(..100);
                    turns.hand_out(lane, bytes);
                    hands.0.push((lane, bytes));
                }
                2 if !hands.0.is_empty() => {
                    let (lane, bytes) = hands.0.swap_remove(random.usize(..hands.0.len()));
                    turns.take_back(lane, bytes);
                }
                3 => {
                    let lined = LinedEvent {
                        position,
                        key: lane,
                        envelope: envelope.clone(),
                    };
                    turns.line_up(lined, || hands.of(lane));
                }
                _ => {
                    turns.pop(lane);
                }
            }
            assert_eq!(turns.held(lane, || hands.of(lane)), hands.of(lane));
            if position % 100 == 99 {
                for (lane, bytes) in hands.0.drain(..) {
                    turns.take_back(lane, bytes);
                }
                turns.clear();
                assert!(turns.counted.is_empty() && turns.order.is_empty());
            }
        }
    }
}

//! Putting aside what was read of blocked keys: durably, before the group's low-water mark passes
//! it. What of a key its lane has no room for becomes its backlog.
//!
//! An event is *coming* from the moment it is met until a record says where it went. Where that is
//! is decided when the record is made, and again if the record fails. A record may fail although a
//! later one does not, so no more than one that is on its way says anything of a key: what comes
//! meanwhile waits for its outcome.

use std::collections::{BTreeSet, VecDeque};

use hashbrown::HashMap;

use super::limits::AsideLimits;
use crate::engine::Position;
use crate::model::record::{Committed, Deferred, Parked};
use crate::model::set_aside::SetAside;
use crate::model::topic_key::{KeyRef, TopicKey};
use crate::pending_write::PendingWrite;

/// About the most bytes of one record; what is beyond goes into further ones. The log limits its
/// records, and what was met of many keys with long names may be larger than that. Each single entry
/// fits, a backlog with all positions of a page included: their events take at least as many bytes.
const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// Names of fields and positions take so many bytes of a record, for each event and each backlog.
const ENTRY_BYTES: usize = 128;
/// What is put aside and not durable yet.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    lanes: HashMap<TopicKey, Coming, foldhash::fast::RandomState>,
    /// How many events are coming.
    events: usize,
    /// Events that the next record can say something of.
    unsaid: Vec<Met>,
    /// Backlogs that start or move, of which the next record can say so.
    moves: Vec<Deferred>,
    /// What turned out to be nothing for this group, that no record says so of yet.
    passed: Vec<(Position, Position)>,
    /// What the record says that was made last and not submitted yet.
    saying: Option<Said>,
    /// What the records say that are on their way, in their order.
    said: VecDeque<Said>,
    /// The last of them.
    own: Option<PendingWrite>,
    /// After the last event that was added to a key's backlog since reading began.
    ends: HashMap<TopicKey, Position, foldhash::fast::RandomState>,
}

/// What of a key is on its way.
#[derive(Debug, Default)]
struct Coming {
    positions: BTreeSet<Position>,
    /// How many of them the record on its way puts into the lane, and the last one.
    parked: usize,
    parked_to: Position,
    moving: Option<Moving>,
    /// Whether a record on its way says something of the key.
    is_said: bool,
    /// What waits for its outcome.
    waiting: Waiting,
}

/// What no record may say yet.
#[derive(Debug, Default)]
struct Waiting {
    met: Vec<Met>,
    moved: Option<Deferred>,
}

/// What becomes of a key's backlog. There is one such thing at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moving {
    /// It starts here.
    Starts(Position),
    /// Its first events are taken up.
    Shrinks,
    /// It is over.
    Ends,
}

/// An event of a blocked key that was read.
#[derive(Clone, Debug)]
struct Met {
    from: Position,
    position: Position,
    lane: TopicKey,
    is_parked: bool,
}

/// What a record says.
#[derive(Debug, Default)]
struct Said {
    met: Vec<Met>,
    moves: Vec<TopicKey>,
    passed: Vec<(Position, Position)>,
}

/// Where an event that was put aside goes.
enum Place {
    Lane,
    Backlog { is_first: bool },
}

impl Aside {
    /// Whether something is to be recorded, or the log had no room for it.
    pub(crate) fn has_unsaid(&self) -> bool {
        !self.unsaid.is_empty() || !self.moves.is_empty() || !self.passed.is_empty()
    }

    /// How many events are coming whose keys are free meanwhile, and how many of blocked keys.
    pub(crate) fn coming(&self, lanes: &SetAside) -> (usize, usize) {
        let (mut free, mut blocked) = (0, 0);
        for (lane, coming) in &self.lanes {
            if lanes.is_free(lane) {
                free += coming.positions.len();
            } else {
                blocked += coming.positions.len();
            }
        }
        (free, blocked)
    }

    /// The last of the group's own records that are on their way.
    pub(crate) fn own(&self) -> Option<PendingWrite> {
        self.own.clone()
    }

    /// Whether an event of this key before `position` is coming.
    pub(crate) fn is_before(&self, lane: KeyRef<'_>, position: Position) -> bool {
        if self.lanes.is_empty() {
            return false;
        }
        self.lanes.get(&lane).is_some_and(|coming| {
            let first = coming.positions.first();
            first.is_some_and(|first| *first < position)
        })
    }

    /// The first event of a key that is coming.
    pub(crate) fn first(&self, lane: &TopicKey) -> Option<Position> {
        self.lanes.get(lane)?.positions.first().copied()
    }

    /// Whether a record on its way changes where the key's backlog is.
    pub(crate) fn is_moving(&self, lane: KeyRef<'_>) -> bool {
        !self.lanes.is_empty() && self.lanes.get(&lane).is_some_and(|it| it.moving.is_some())
    }

    /// After the last event that is known to be in a key's backlog.
    pub(crate) fn end_of(&self, lane: &TopicKey) -> Option<Position> {
        self.ends.get(lane).copied()
    }

    /// Reading starts over.
    pub(crate) fn rewind(&mut self) {
        self.ends.clear();
    }

    /// Only these keys are this process's.
    pub(crate) fn retain(&mut self, is_mine: impl Fn(&TopicKey) -> bool) {
        self.ends.retain(|lane, _| is_mine(lane));
    }

    /// The events of `from..to` are nothing for this group.
    pub(crate) fn pass(&mut self, from: Position, to: Position) {
        self.passed.push((from, to));
    }

    /// The key's events from `position` on become its backlog, however few its lane has, unless
    /// something of it that comes later is in the lane.
    pub(crate) fn start(&mut self, lanes: &SetAside, lane: KeyRef<'_>, position: Position) {
        let lane = TopicKey::new(lane.0, lane.1);
        if lanes.backlog(lane.as_ref()).is_some()
            || lanes.last_of(&lane).is_some_and(|last| last > position)
        {
            return;
        }
        let coming = self.lanes.entry(lane.clone()).or_default();
        if coming.moving.is_some() || coming.positions.last().is_some_and(|it| *it > position) {
            self.forget(&lane);
            return;
        }
        coming.moving = Some(Moving::Starts(position));
        let start = Some(position);
        let deferred = Deferred {
            start,
            ..nothing_of(&lane)
        };
        coming.moved(deferred, &mut self.moves);
    }

    /// A key's lane takes up the first events of its backlog, which then starts at `next` or is
    /// over.
    pub(crate) fn take_up(
        &mut self,
        lane: &TopicKey,
        taken: Vec<Position>,
        next: Position,
        is_over: bool,
    ) {
        let coming = self.lanes.entry(lane.clone()).or_default();
        coming.moving = Some(if is_over {
            Moving::Ends
        } else {
            Moving::Shrinks
        });
        let deferred = Deferred {
            taken,
            next: Some(next),
            is_over,
            ..nothing_of(lane)
        };
        coming.moved(deferred, &mut self.moves);
    }

    /// An event of a blocked key was read; what lies after the event before it and before this one, is
    /// nothing for this group.
    pub(crate) fn meet(&mut self, lane: KeyRef<'_>, from: Position, position: Position) {
        let known = self.lanes.get_key_value(&lane).map(|(key, _)| key.clone());
        let lane = known.unwrap_or_else(|| TopicKey::new(lane.0, lane.1));
        let coming = self.lanes.entry(lane.clone()).or_default();
        self.events += usize::from(coming.positions.insert(position));
        let met = Met {
            from,
            position,
            lane,
            is_parked: false,
        };
        if coming.is_said {
            coming.waiting.met.push(met);
        } else {
            self.unsaid.push(met);
        }
    }

    /// Where the event at `position` goes.
    fn place(&mut self, lanes: &SetAside, met: &Met, bounds: AsideLimits) -> Place {
        let kept = lanes.len() + self.events;
        let Some(coming) = self.lanes.get_mut(&met.lane) else {
            return Place::Lane;
        };
        let backlog = match coming.moving {
            Some(Moving::Starts(from)) => Some(from),
            Some(Moving::Ends) => None,
            Some(Moving::Shrinks) | None => lanes.backlog(met.lane.as_ref()).map(|it| it.from),
        };
        let is_first = match backlog {
            Some(from) if met.position >= from => return Place::Backlog { is_first: false },
            Some(_) => false,
            // Everything of the key from there on will wait there: what comes back late does not.
            None => {
                coming.moving.is_none()
                    && met.position > coming.parked_to
                    && lanes.last_of(&met.lane).is_none_or(|it| met.position > it)
                    && lanes.count_of(&met.lane) + coming.parked >= bounds.of_lane(kept)
            }
        };
        if is_first {
            coming.moving = Some(Moving::Starts(met.position));
            return Place::Backlog { is_first };
        }
        coming.parked += 1;
        coming.parked_to = coming.parked_to.max(met.position);
        Place::Lane
    }

    /// Takes out of what is unsaid as much as fits into one record: backlogs that start or move before
    /// the events that go into them, and those in their order.
    fn next_part(&mut self) -> (Said, Vec<Deferred>) {
        let mut room = RECORD_BYTES_MAX;
        let moves = fitting(self.moves.iter().map(bytes_of), &mut room);
        let moves: Vec<Deferred> = self.moves.drain(..moves).collect();
        self.unsaid.sort_unstable_by_key(|met| met.position);
        let met = if self.moves.is_empty() {
            fitting(self.unsaid.iter().map(Met::bytes), &mut room)
        } else {
            0
        };
        let said = Said {
            met: self.unsaid.drain(..met).collect(),
            moves: moves.iter().map(lane_of).collect(),
            passed: std::mem::take(&mut self.passed),
        };
        for lane in said.lanes() {
            if let Some(coming) = self.lanes.get_mut(lane) {
                coming.is_said = true;
            }
        }
        self.hold_back();
        (said, moves)
    }

    /// What had no room in the record waits, if it is of a key that the record says something of.
    fn hold_back(&mut self) {
        let is_said = |lane: &TopicKey| self.lanes.get(lane).is_some_and(|it| it.is_said);
        let met: Vec<Met> = self.unsaid.extract_if(.., |it| is_said(&it.lane)).collect();
        let moved = self.moves.extract_if(.., |it| is_said(&lane_of(it)));
        let moved: Vec<Deferred> = moved.collect();
        for met in met {
            if let Some(coming) = self.lanes.get_mut(&met.lane) {
                coming.waiting.met.push(met);
            }
        }
        for deferred in moved {
            if let Some(coming) = self.lanes.get_mut(&lane_of(&deferred)) {
                coming.waiting.moved = Some(deferred);
            }
        }
    }

    /// The record on its way that says something of these keys has an outcome.
    fn release(&mut self, said: &Said) {
        for lane in said.lanes() {
            if let Some(coming) = self.lanes.get_mut(lane) {
                coming.is_said = false;
                self.unsaid.append(&mut coming.waiting.met);
                self.moves.extend(coming.waiting.moved.take());
            }
        }
    }

    /// Adds what is unsaid to `record`, as far as there is room in it.
    pub(crate) fn say(&mut self, lanes: &SetAside, bounds: AsideLimits, record: &mut Committed) {
        let (mut said, moves) = self.next_part();
        for (from, to) in &said.passed {
            record.settled.push(*from, *to);
        }
        record.deferred = moves;
        let mut added: HashMap<TopicKey, usize> = HashMap::default();
        for met in &mut said.met {
            record.settled.push(met.from, met.position.next());
            match self.place(lanes, met, bounds) {
                Place::Lane => {
                    met.is_parked = true;
                    record.parked.push(Parked {
                        position: met.position,
                        topic: met.lane.topic().to_owned(),
                        key: met.lane.key().to_owned(),
                    });
                }
                Place::Backlog { is_first } => {
                    let index = *added.entry(met.lane.clone()).or_insert_with(|| {
                        record.deferred.push(nothing_of(&met.lane));
                        record.deferred.len() - 1
                    });
                    if let Some(deferred) = record.deferred.get_mut(index) {
                        deferred.start.get_or_insert(met.position);
                        deferred.added += 1;
                    }
                    if is_first {
                        said.moves.push(met.lane.clone());
                    }
                    self.ends.insert(met.lane.clone(), met.position.next());
                }
            }
        }
        record.settled.normalise();
        self.saying = Some(said);
    }

    /// The record that was made last was submitted.
    pub(crate) fn submitted(&mut self, submitted: Option<PendingWrite>) {
        self.said.extend(self.saying.take());
        self.own = submitted;
    }

    /// The first of the records on their way is durable, and `group` has it. The lanes that it
    /// changed.
    pub(crate) fn committed(&mut self) -> Vec<TopicKey> {
        let Some(said) = self.said.pop_front() else {
            return Vec::new();
        };
        self.release(&said);
        let mut lanes = said.moves;
        for lane in &lanes {
            let moving = self.lanes.get(lane).and_then(|it| it.moving);
            if moving == Some(Moving::Ends) {
                self.ends.remove(lane);
            }
            self.moved(lane);
        }
        for met in said.met {
            if let Some(coming) = self.lanes.get_mut(&met.lane) {
                self.events -= usize::from(coming.positions.remove(&met.position));
                coming.parked -= usize::from(met.is_parked);
            }
            self.forget(&met.lane);
            if lanes.last() != Some(&met.lane) {
                lanes.push(met.lane);
            }
        }
        self.forget_last();
        lanes
    }

    /// The first of the records on their way has failed: what it says is to be said again.
    pub(crate) fn failed(&mut self) {
        if let Some(said) = self.said.pop_front() {
            self.unsay(said);
        }
        self.forget_last();
    }

    /// The log did not take the record that was made last.
    pub(crate) fn refused(&mut self) {
        if let Some(said) = self.saying.take() {
            self.unsay(said);
        }
    }

    fn unsay(&mut self, said: Said) {
        self.release(&said);
        self.passed.extend(said.passed);
        // A backlog that starts does so where it has to when it is said again; what was to be
        // taken up of one is found again.
        for lane in &said.moves {
            self.moved(lane);
        }
        for met in &said.met {
            if let Some(coming) = self.lanes.get_mut(&met.lane) {
                coming.parked -= usize::from(met.is_parked);
            }
        }
        let again = said.met.into_iter().map(|met| Met {
            is_parked: false,
            ..met
        });
        self.unsaid.extend(again);
    }

    /// Without a record on its way there is nothing to wait for.
    fn forget_last(&mut self) {
        if self.said.is_empty() {
            self.own = None;
        }
    }

    fn moved(&mut self, lane: &TopicKey) {
        if let Some(coming) = self.lanes.get_mut(lane) {
            coming.moving = None;
        }
        self.forget(lane);
    }

    fn forget(&mut self, lane: &TopicKey) {
        let is_over = |it: &Coming| it.positions.is_empty() && it.moving.is_none();
        if self.lanes.get(lane).is_some_and(is_over) {
            self.lanes.remove(lane);
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.is_empty() && self.events == 0 && self.said.is_empty() && !self.has_unsaid()
    }
}

/// How many of the things of these sizes fit into `room`, which is less then.
fn fitting(sizes: impl Iterator<Item = usize>, room: &mut usize) -> usize {
    let fits = |size: &usize| {
        let left = room.checked_sub(*size);
        *room = left.unwrap_or(*room);
        left.is_some()
    };
    sizes.take_while(fits).count()
}

impl Coming {
    /// What is to be said of the key's backlog, now or later.
    fn moved(&mut self, deferred: Deferred, moves: &mut Vec<Deferred>) {
        if self.is_said {
            self.waiting.moved = Some(deferred);
        } else {
            moves.push(deferred);
        }
    }
}

impl Said {
    /// The keys that it says something of, some more than once.
    fn lanes(&self) -> impl Iterator<Item = &TopicKey> {
        self.met.iter().map(|met| &met.lane).chain(&self.moves)
    }
}

impl Met {
    /// About how much of a record it takes.
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.lane.topic().len() + self.lane.key().len()
    }
}

/// About how much of a record what becomes of a key's backlog takes.
fn bytes_of(deferred: &Deferred) -> usize {
    let taken = deferred.taken.len() * (size_of::<Position>() + 1);
    ENTRY_BYTES + deferred.topic.len() + deferred.key.len() + taken
}

fn lane_of(deferred: &Deferred) -> TopicKey {
    TopicKey::new(&deferred.topic, &deferred.key)
}

/// What becomes of a key's backlog, with nothing said of it yet.
fn nothing_of(lane: &TopicKey) -> Deferred {
    Deferred {
        topic: lane.topic().to_owned(),
        key: lane.key().to_owned(),
        ..Deferred::default()
    }
}

#[cfg(test)]
mod tests;

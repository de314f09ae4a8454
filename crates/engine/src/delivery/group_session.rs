//! What is going on in a group in this process: its members, what they hold, what was read ahead.
//!
//! Nothing here is durable and nothing here does I/O: it is rebuilt from [`Group`] when the first
//! member joins and forgotten when the last one leaves. Reading on is in `read_ahead`, taking events in
//! `next_step`, `turns` and `page`, putting them aside in `aside`, committing them in `commit_accounting`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ensue_log as log;
use hashbrown::{HashMap, HashSet};
use tokio::sync::Notify;

use super::aside::{Aside, AsideLimits};
use super::filter::Filter;
use super::page::Pages;
use super::turns::{Lined, Turns};
use super::window::{Status, Window};
use crate::delivery::crash_guard::CrashGuard;
use crate::delivery::fenced_deliveries::PositionsByKey;
use crate::delivery::key_slots::{KeyHash, KeyHasher, KeySlots};
use crate::delivery::next_step::{READY_BYTES_MAX, READY_EVENTS_MAX};
use crate::delivery::slot_transfer::SlotOwnership;
use crate::event::Envelope;
use crate::ids::{Epoch, MemberId, ProcessId, Slot, Turn};
use crate::model::group::Group;
use crate::model::processes::Processes;
use crate::model::topic_key::TopicKey;
use crate::time::Timestamp;

/// The members of one group in this process.
#[derive(Debug)]
pub(crate) struct GroupSession {
    /// Tells this one from an earlier one of the same group.
    pub(crate) epoch: Epoch,
    pub(crate) boot: ProcessId,
    pub(crate) filter: Arc<Filter>,
    pub(crate) seats: Vec<LocalMember>,
    pub(crate) slots: KeySlots,
    pub(crate) window: Window,
    /// The next position to read.
    pub(crate) cursor: u64,
    /// After the last event that was read for this group.
    pub(crate) from: u64,
    /// Up to here, others may have been at work before: what is read may be settled, or belong
    /// before what was put aside since.
    pub(crate) replayed: u64,
    /// Which slots are this process's.
    pub(crate) mine: SlotOwnership,
    /// The slots that this process has said it gives away, and in which turn.
    pub(crate) released: (Turn, BTreeSet<Slot>),
    /// Counts how often reading began anew: what was read before that is out of date.
    pub(crate) rewinds: u64,
    /// Whether a member is reading, outside of the lock.
    pub(crate) is_reading: bool,
    /// What the last read left over.
    pub(crate) rest: Option<(log::Chunk, log::Place)>,
    pub(crate) index: Index,
    /// When was looked last for lanes whose time has come.
    pub(crate) looked: Timestamp,
    /// Put-aside events in members' hands.
    pub(crate) out: Outs,
    /// Whose turn it is among the keys that were read.
    pub(crate) turns: Turns,
    /// What is put aside and not durable yet.
    pub(crate) aside: Aside,
    /// Which backlogs of keys are being taken up.
    pub(crate) pages: Pages,
    pub(crate) bounds: AsideLimits,
    /// Events that came back from a member that is gone and were not looked at since. They may belong
    /// before others of their key that were put aside meanwhile.
    pub(crate) returned: PositionsByKey,
    pub(crate) stale: PositionsByKey,
    pub(crate) careful: Option<CrashGuard>,
    /// Why nothing more is read.
    pub(crate) paused: Option<String>,
    pub(crate) hasher: KeyHasher,
}

/// A member.
#[derive(Debug)]
pub(crate) struct LocalMember {
    pub(crate) member: MemberId,
    pub(crate) notify: Arc<Notify>,
    pub(crate) in_flight_max: usize,
    /// Events in its hands, and their bytes.
    pub(crate) held: usize,
    pub(crate) held_bytes: usize,
    /// Events of its slots that were read, in order.
    pub(crate) ready: VecDeque<Ready>,
    pub(crate) ready_bytes: usize,
    /// Events that were fetched for it by position.
    pub(crate) fetched: HashMap<u64, Envelope, foldhash::fast::RandomState>,
    /// What it waits for; `None` while it does something.
    pub(crate) waiting: Option<Waiting>,
    /// It left while a commit of it was under way: it only keeps its slots until that is durable.
    pub(crate) is_gone: bool,
}

/// What makes a waiting member look again without being woken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    /// This time.
    pub(crate) due: Option<Timestamp>,
    /// A record at or after this position.
    pub(crate) records: Option<u64>,
}

/// An event on its way to a member.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) position: u64,
    pub(crate) lane: KeyHash,
    /// `None` when it has to be fetched.
    pub(crate) envelope: Option<Envelope>,
}

/// A put-aside event in a member's hands.
#[derive(Debug)]
pub(crate) struct Out {
    pub(crate) owner: MemberId,
    pub(crate) lane: TopicKey,
    pub(crate) hash: KeyHash,
    pub(crate) bytes: u32,
    pub(crate) is_committing: bool,
}

/// Put-aside events in members' hands, by position.
pub(crate) type Outs = HashMap<u64, Out, foldhash::fast::RandomState>;

/// Where in the lanes there is something to do.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Lanes with an event that may go now, by its position.
    pub(crate) runnable: BTreeMap<u64, TopicKey>,
    /// Lanes that wait for a time.
    pub(crate) due: BTreeSet<(Timestamp, TopicKey)>,
    /// Lanes that are to take up the next events of their backlogs.
    pub(crate) hungry: BTreeSet<TopicKey>,
    /// What the two above say of a lane.
    known: HashMap<TopicKey, (Option<u64>, Option<Timestamp>), foldhash::fast::RandomState>,
}

impl GroupSession {
    /// The group as its first member finds it. `end` is the durable end of the log.
    pub(crate) fn new(
        group: &Group,
        first: &LocalMember,
        filter: Arc<Filter>,
        (epoch, boot, end): (Epoch, ProcessId, u64),
        processes: &Processes,
        (now, bounds): (Timestamp, AsideLimits),
    ) -> Self {
        let caution = group.caution(boot, processes);
        let in_flight_max = first.in_flight_max;
        let mut live = Self {
            epoch,
            boot,
            filter,
            seats: Vec::new(),
            slots: KeySlots::new(first.member),
            window: Window::default(),
            cursor: group.low,
            from: group.low,
            replayed: group.settled_end(),
            mine: SlotOwnership::All,
            released: <(Turn, BTreeSet<Slot>)>::default(),
            rewinds: 0,
            is_reading: false,
            rest: None,
            index: Index::default(),
            looked: now,
            out: HashMap::default(),
            turns: Turns::new(bounds.line_max),
            aside: Aside::default(),
            pages: Pages::default(),
            bounds,
            returned: PositionsByKey::default(),
            stale: PositionsByKey::default(),
            careful: (caution.events || caution.retries).then(|| CrashGuard {
                until: end,
                events_left: if caution.events { in_flight_max } else { 0 },
                retries_left: if caution.retries {
                    group.set_aside.len()
                } else {
                    0
                },
                beginning: None,
                held: None,
            }),
            paused: None,
            hasher: processes
                .seed()
                .map_or_else(KeyHasher::default, KeyHasher::Seeded),
        };
        let lanes: Vec<TopicKey> = group.set_aside.keys().cloned().collect();
        for lane in lanes {
            live.refresh(group, &lane, now);
        }
        live
    }

    pub(crate) fn seat(&mut self, member: MemberId) -> Option<&mut LocalMember> {
        self.seats.iter_mut().find(|seat| seat.member == member)
    }

    /// Whether `member` is one and has not left.
    pub(crate) fn is_member(&self, member: MemberId) -> bool {
        self.seats
            .iter()
            .any(|seat| seat.member == member && !seat.is_gone)
    }

    /// How many events are in members' hands.
    pub(crate) fn held(&self) -> usize {
        self.seats.iter().map(|seat| seat.held).sum()
    }

    /// Adds a member and gives it its share of the slots.
    pub(crate) fn sit_down(&mut self, seat: LocalMember) {
        self.seats.push(seat);
        self.rebalance();
    }

    /// Takes a member's seat: what it holds goes to the others. Whether anybody is left.
    pub(crate) fn stand_up(&mut self, group: &Group, member: MemberId, now: Timestamp) -> bool {
        if let Some(seat) = self.seat(member) {
            seat.is_gone = true;
            seat.fetched.clear();
        }
        self.release(group, member, now);
        if self.seats.iter().all(|seat| seat.is_gone) {
            return false;
        }
        self.rebalance();
        true
    }

    /// Gives what a member holds, and is not committing, back to its slots.
    fn release(&mut self, group: &Group, member: MemberId, now: Timestamp) {
        let (mut back, mut taken) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        for entry in self.window.iter_mut() {
            if entry.owner == Some(member) && entry.status == Status::Held {
                entry.status = Status::Ready;
                bytes += entry.bytes as usize;
                self.stale.remove(entry.lane, entry.position);
                back.push((entry.position, entry.lane));
                taken.push((entry.lane, entry.bytes));
            }
        }
        let held = |out: &Out| out.owner == member && !out.is_committing;
        let mut lanes: HashSet<TopicKey> = HashSet::default();
        let stale = &mut self.stale;
        self.out.retain(|position, out| {
            if held(out) {
                stale.remove(out.hash, *position);
                bytes += out.bytes as usize;
                taken.push((out.hash, out.bytes));
                lanes.insert(out.lane.clone());
            }
            !held(out)
        });
        let count = taken.len();
        for (position, lane) in &back {
            self.returned.insert(*lane, *position);
        }
        for (lane, bytes) in &taken {
            self.slots.take_back(lane.slot());
            self.turns.take_back(*lane, *bytes);
        }
        if let Some(seat) = self.seat(member) {
            seat.held -= count;
            seat.held_bytes -= bytes;
            let again = back.into_iter().map(|(position, lane)| Ready {
                position,
                lane,
                envelope: None,
            });
            let ready = std::mem::take(&mut seat.ready);
            seat.ready = again.chain(ready).collect();
            seat.ready
                .make_contiguous()
                .sort_by_key(|ready| ready.position);
        }
        if let Some(careful) = &mut self.careful {
            careful.held = None;
        }
        for lane in lanes {
            self.refresh(group, &lane, now);
        }
    }

    /// Shares the slots among the members that are left, and what was read with them.
    pub(crate) fn rebalance(&mut self) {
        let here: Vec<MemberId> = self
            .seats
            .iter()
            .filter(|seat| !seat.is_gone)
            .map(|seat| seat.member)
            .collect();
        let mine = &self.mine;
        let moved = self.slots.share(&here, |slot| mine.has(slot));
        if moved > 0 {
            tracing::debug!(members = here.len(), slots = moved, "slots moved");
        }
        self.redistribute();
    }

    /// Puts everything that was read into the queue of its slot's owner, in order.
    pub(crate) fn redistribute(&mut self) {
        let mut all: Vec<Ready> = Vec::new();
        for seat in &mut self.seats {
            all.extend(seat.ready.drain(..));
            seat.ready_bytes = 0;
        }
        for ready in self.turns.clear() {
            // Others of its key may have been put aside while it waited in its line.
            self.returned.insert(ready.lane, ready.position);
            all.push(ready.into());
        }
        all.sort_by_key(|ready| ready.position);
        for ready in all {
            if self.mine.has(ready.lane.slot()) {
                self.enqueue(ready);
            }
        }
        if let SlotOwnership::Some(_) = self.mine {
            let mine = &self.mine;
            self.window.forget_ready(|lane| !mine.has(lane.slot()));
            self.returned.retain(|lane| mine.has(lane.slot()));
        }
        let slots = &self.slots;
        self.seats
            .retain(|seat| !seat.is_gone || seat.held > 0 || slots.has(seat.member));
        self.wake_all();
    }

    pub(crate) fn enqueue(&mut self, ready: Ready) {
        let owner = self.slots.owner(ready.lane.slot());
        if let Some(seat) = owner.and_then(|owner| self.seat(owner)) {
            seat.ready_bytes += ready.bytes();
            seat.ready.push_back(ready);
        }
    }

    /// An event is no longer in a member's hands.
    pub(crate) fn take_back(&mut self, owner: MemberId, lane: KeyHash, bytes: u32) -> bool {
        if let Some(seat) = self.seat(owner) {
            seat.held -= 1;
            seat.held_bytes -= bytes as usize;
        }
        self.turns.take_back(lane, bytes);
        self.slots.take_back(lane.slot())
    }

    /// Wakes every member that waits.
    pub(crate) fn wake_all(&mut self) {
        for seat in &mut self.seats {
            if seat.waiting.take().is_some() {
                seat.notify.notify_one();
            }
        }
    }

    /// Whether no member will do anything before the clock moves, a record comes or an event in its
    /// hands ends. `end` is the durable end of the log.
    pub(crate) fn is_at_rest(&self, end: u64, now: Timestamp) -> bool {
        let is_at_rest = |seat: &LocalMember| {
            // With as much in its hands as it may have, it does not even ask.
            seat.held >= seat.in_flight_max
                || seat.waiting.is_some_and(|waiting| {
                    waiting.records.is_none_or(|records| records >= end)
                        && waiting.due.is_none_or(|due| due > now)
                })
        };
        let mut here = self.seats.iter().filter(|seat| !seat.is_gone);
        here.all(is_at_rest) && self.aside.own().is_none() && !self.aside.has_unsaid()
    }

    /// Looks again at what of a lane may go.
    pub(crate) fn refresh(&mut self, group: &Group, lane: &TopicKey, now: Timestamp) {
        if let SlotOwnership::Some(_) = self.mine {
            let hash = self.hasher.hash_of(lane.topic(), lane.key());
            if !self.mine.has(hash.slot()) {
                self.index.set(lane, None, None);
                self.index.hungry.remove(lane);
                return;
            }
        }
        let few = self.bounds.few(group.set_aside.len());
        if group.set_aside.wants_more(lane, few) {
            self.index.hungry.insert(lane.clone());
        } else if !self.index.hungry.is_empty() {
            self.index.hungry.remove(lane);
        }
        let out = &self.out;
        let found = group
            .set_aside
            .deliverable(lane, now, 1, |position| out.contains_key(&position));
        self.index.set(lane, found.now.first().copied(), found.due);
    }

    /// Looks again at the lanes whose time has come: at all that wait when the clock was set back,
    /// because nobody knows how long they have waited.
    pub(crate) fn refresh_due(&mut self, group: &Group, now: Timestamp) {
        if now.is_set_back(std::mem::replace(&mut self.looked, now)) {
            let waiting = self.index.due.iter();
            let waiting: Vec<TopicKey> = waiting.map(|(_, lane)| lane.clone()).collect();
            for lane in waiting {
                self.refresh(group, &lane, now);
            }
        }
        while let Some((due, lane)) = self.index.due.first().cloned()
            && due <= now
        {
            self.refresh(group, &lane, now);
        }
    }
}

impl Index {
    fn set(&mut self, lane: &TopicKey, runnable: Option<u64>, due: Option<Timestamp>) {
        if let Some((runnable, due)) = self.known.remove(lane) {
            runnable.map(|position| self.runnable.remove(&position));
            due.map(|due| self.due.remove(&(due, lane.clone())));
        }
        if runnable.is_none() && due.is_none() {
            return;
        }
        runnable.map(|position| self.runnable.insert(position, lane.clone()));
        due.map(|due| self.due.insert((due, lane.clone())));
        self.known.insert(lane.clone(), (runnable, due));
    }

    /// When the next lane's time comes.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }
}

impl LocalMember {
    /// Whether no more is read ahead for it.
    pub(crate) fn is_full(&self) -> bool {
        self.ready.len() >= READY_EVENTS_MAX || self.ready_bytes >= READY_BYTES_MAX
    }

    pub(crate) fn new(member: MemberId, in_flight_max: usize, notify: Arc<Notify>) -> Self {
        Self {
            member,
            notify,
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
}

impl From<Lined> for Ready {
    fn from(lined: Lined) -> Self {
        Self {
            position: lined.position,
            lane: lined.lane,
            envelope: Some(lined.envelope),
        }
    }
}

impl Ready {
    pub(crate) fn bytes(&self) -> usize {
        self.envelope
            .as_ref()
            .map_or(0, |envelope| envelope.content().len())
    }
}

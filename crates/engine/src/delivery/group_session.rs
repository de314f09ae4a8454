//! What is going on in a group in this process: its members, what they hold, what was read ahead.
//!
//! Nothing here is durable and nothing here does I/O: it is rebuilt from [`Group`] when the first
//! member joins and forgotten when the last one leaves. The session puts its parts together; each of
//! them keeps an invariant of its own, in its own file.

use std::sync::Arc;

use hashbrown::HashSet;

use super::aside::Aside;
use super::aside_index::AsideIndex;
use super::commit_accounting::{NotHeld, aside, claim};
use super::crash_guard::CrashGuard;
use super::events_read::EventsRead;
use super::filter::Filter;
use super::in_flight::InFlight;
use super::key_hash::KeyHasher;
use super::limits::AsideLimits;
use super::local_member::LocalMember;
use super::next_step::{Step, next_step};
use super::pages::{Found, Pages, Paging};
use super::read_ahead::{ReadAhead, ReadToken};
use super::ready_event::ReadyEvent;
use super::slot_ownership::{Change, SlotOwnership};
use super::take_backlog::take_up;
use super::taking::{Ask, Taking};
use crate::engine::{Commit, Position};
use crate::event::Envelope;
use crate::ids::{Epoch, MemberId, ProcessId, Slot};
use crate::model::group::Group;
use crate::model::processes::Processes;
use crate::model::record::{Committed, Joined, Released};
use crate::model::topic_key::TopicKey;
use crate::pending_write::PendingWrite;
use crate::time::Timestamp;

/// A group in this process, from the first member that joins to the last one that leaves.
#[derive(Debug)]
pub(crate) struct GroupSession {
    filter: Arc<Filter>,
    limits: AsideLimits,
    /// Which keys are this process's.
    ownership: SlotOwnership,
    /// How far it was read.
    ahead: ReadAhead,
    /// The members, what waits for them and what they hold.
    in_flight: InFlight,
    /// Which put-aside events can go, and when.
    index: AsideIndex,
    /// What is put aside and not durable yet.
    aside: Aside,
    /// Which backlogs of keys are being taken up.
    pages: Pages,
    guard: Option<CrashGuard>,
}

/// What a session begins with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning {
    /// Tells this session from an earlier one of the same group.
    pub(crate) epoch: Epoch,
    pub(crate) process: ProcessId,
    /// The durable end of the log.
    pub(crate) end: Position,
    pub(crate) now: Timestamp,
    pub(crate) limits: AsideLimits,
}

/// Members come and go.
impl GroupSession {
    /// The group as its first member finds it, which has not joined yet.
    pub(crate) fn new(
        group: &Group,
        first: &LocalMember,
        processes: &Processes,
        beginning: Beginning,
    ) -> Self {
        let Beginning {
            process,
            end,
            now,
            limits,
            ..
        } = beginning;
        let caution = group.caution(process, processes);
        let retries = group.set_aside().len();
        let mut session = Self {
            filter: Arc::new(Filter::of(group)),
            limits,
            ownership: SlotOwnership::new(process, processes.seed()),
            ahead: ReadAhead::new(beginning.epoch, group.low(), group.settled_end()),
            in_flight: InFlight::new(first.id(), limits.queue_max),
            index: AsideIndex::new(limits, now),
            aside: Aside::default(),
            pages: Pages::default(),
            guard: CrashGuard::new(caution, end, first.in_flight_max(), retries),
        };
        session.refresh_all(group, now);
        session
    }

    /// Tells it from an earlier one of the same group.
    pub(crate) fn epoch(&self) -> Epoch {
        self.ahead.token().epoch
    }

    /// Whether events are delivered with care, because they may have ended processes.
    pub(crate) fn is_careful(&self) -> bool {
        self.guard.is_some()
    }

    /// Whether `member` is one and has not left.
    pub(crate) fn is_member(&self, member: MemberId) -> bool {
        let member = self.in_flight.member(member);
        member.is_some_and(|member| !member.is_gone())
    }

    /// Whether this process knows of `member`, also if it has left and its last commit is under way.
    pub(crate) fn knows(&self, member: MemberId) -> bool {
        self.in_flight.member(member).is_some()
    }

    /// The members that have not left.
    pub(crate) fn members(&self) -> impl Iterator<Item = &LocalMember> {
        let members = self.in_flight.members().iter();
        members.filter(|member| !member.is_gone())
    }

    /// Adds a member and gives it its share of the slots.
    pub(crate) fn join(&mut self, member: LocalMember) {
        self.in_flight.join(member, &self.ownership);
    }

    /// A member leaves: what it holds goes to the others. Whether any is left.
    pub(crate) fn leave(&mut self, group: &Group, member: MemberId, now: Timestamp) -> bool {
        let lanes = self.in_flight.leave(member);
        if let Some(guard) = &mut self.guard {
            guard.came_back();
        }
        for lane in lanes {
            self.refresh(group, &lane, now);
        }
        if self.in_flight.is_deserted() {
            return false;
        }
        self.in_flight.rebalance(&self.ownership);
        true
    }

    /// Tells the members that they are none any more.
    pub(crate) fn dismiss(&self) {
        let members = self.in_flight.members().iter();
        members.for_each(LocalMember::dismiss);
    }

    /// The group's subscription, as the last member to join wants it.
    pub(crate) fn filter_by(&mut self, joined: &Joined) {
        let filter = Filter::new(joined.topics.clone(), joined.types.clone());
        if *self.filter != filter {
            tracing::warn!(
                group = joined.group,
                "its members disagree about topics or types; the last one to join decides"
            );
            self.filter = Arc::new(filter);
        }
    }

    pub(crate) fn filter(&self) -> &Arc<Filter> {
        &self.filter
    }

    pub(crate) fn hasher(&self) -> &KeyHasher {
        self.ownership.hasher()
    }

    /// Wakes every member that waits.
    pub(crate) fn wake_all(&mut self) {
        self.in_flight.wake_all();
    }

    /// Whether no member will do anything before the clock moves, a record comes or an event in its
    /// hands ends. `end` is the durable end of the log.
    pub(crate) fn is_at_rest(&self, end: Position, now: Timestamp) -> bool {
        self.in_flight.is_at_rest(end, now)
            && self.aside.own().is_none()
            && !self.aside.has_unsaid()
    }
}

/// Slots come and go, where several processes share the log.
impl GroupSession {
    /// Goes by the group's slot owners from now on.
    pub(crate) fn follow(&mut self, group: &Group, now: Timestamp) {
        let change = self.ownership.follow(group.slot_owners());
        if change == Change::Nothing {
            return;
        }
        if change == Change::Gained {
            self.in_flight.rewind();
            self.aside.rewind();
            self.pages.rewind();
            self.ahead.rewind(group.low(), group.settled_end());
        }
        self.refresh_all(group, now);
        let ownership = &self.ownership;
        self.aside.retain(|lane| ownership.has_key(lane));
        self.in_flight.rebalance(ownership);
    }

    /// The record that gives slots away of which nothing is in a member's hands, if there are any
    /// that no record says so of.
    pub(crate) fn release_slots(&mut self, name: &str, group: &Group) -> Option<Released> {
        if !self.ownership.is_partial() || self.aside.has_unsaid() {
            return None;
        }
        let in_flight = &self.in_flight;
        let is_free = |slot: Slot| in_flight.is_free(slot);
        self.ownership.release(name, group.slot_owners(), is_free)
    }

    /// The record could not be written: it is to be said again.
    pub(crate) fn keep_slots(&mut self, released: &Released) {
        self.ownership.keep(released);
    }
}

/// Reading and taking.
impl GroupSession {
    /// What `ask.member`, which is a member, is to do next.
    pub(crate) fn take(&mut self, group: &Group, ask: Ask) -> Step {
        next_step(Taking {
            group,
            ask,
            ownership: &self.ownership,
            limits: self.limits,
            in_flight: &mut self.in_flight,
            ahead: &mut self.ahead,
            index: &mut self.index,
            aside: &mut self.aside,
            pages: &mut self.pages,
            guard: &mut self.guard,
        })
    }

    /// Whether a read with this token is up to date.
    fn is_current(&self, token: ReadToken) -> bool {
        self.ahead.token() == token
    }

    /// Takes in what a read found, if that is up to date.
    pub(crate) fn read(&mut self, group: &Group, token: ReadToken, read: EventsRead) {
        if !self.is_current(token) {
            return;
        }
        self.ahead.end(read.cursor, read.rest);
        for (position, key, envelope) in read.events {
            let is_old = position < self.ahead.replayed();
            if is_old && group.is_settled(position) {
                continue;
            }
            let from = self.ahead.meet(position);
            if !self.ownership.has(key.slot()) {
                continue;
            }
            let event = ReadyEvent {
                position,
                key,
                envelope: Some(envelope),
            };
            self.in_flight.read(from, event, is_old);
        }
        if self.in_flight.members().len() > 1 {
            self.wake_all();
        }
    }

    /// A read was given up: another member must be able to read.
    pub(crate) fn give_up_read(&mut self, token: ReadToken) {
        if self.is_current(token) {
            self.ahead.give_up();
            self.wake_all();
        }
    }

    /// Takes in what a read of a backlog found, if that is up to date.
    pub(crate) fn page_read(&mut self, group: &Group, paging: &Paging, found: Found) {
        if !self.is_current(paging.token) {
            return;
        }
        self.pages.end();
        let lane = &paging.lane;
        let backlog = group.set_aside().backlog(lane.as_ref());
        let is_same = backlog.is_some_and(|backlog| backlog.from == paging.from);
        if is_same && self.ownership.has_key(lane) && !self.aside.is_moving(lane.as_ref()) {
            take_up(&mut self.aside, self.ahead.replayed(), lane, &found);
            self.pages.keep(found.events);
        }
    }

    /// A read of a backlog was given up.
    pub(crate) fn give_up_page(&mut self, token: ReadToken) {
        if self.is_current(token) {
            self.pages.end();
            self.wake_all();
        }
    }

    /// Puts fetched events where their member finds them.
    pub(crate) fn fetched(&mut self, member: MemberId, events: Vec<(Position, Envelope)>) {
        self.in_flight.fetched(member, events);
    }

    /// The record that attempts begin has an outcome.
    pub(crate) fn begin_ended(&mut self) {
        if let Some(guard) = &mut self.guard {
            guard.begin_ended();
        }
        self.wake_all();
    }
}

/// The group's own records.
impl GroupSession {
    /// Notes that nothing of this group lies before the cursor, if that is worth a record.
    pub(crate) fn pass(&mut self, low: Position, records_min: u64) {
        if self.in_flight.is_all_settled()
            && self.ownership.has(Slot::new(0))
            && let Some((from, to)) = self.ahead.pass(low, records_min)
        {
            self.aside.pass(from, to);
        }
    }

    /// The next record that puts aside what was met of blocked keys, and passes what is nothing.
    pub(crate) fn park(&mut self, name: &str, group: &Group, now: Timestamp) -> Option<Committed> {
        if !self.aside.has_unsaid() {
            return None;
        }
        let mut record = Committed {
            group: name.to_owned(),
            at: now,
            ..Committed::default()
        };
        self.aside.say(group.set_aside(), self.limits, &mut record);
        Some(record)
    }

    /// The record that [`park`](Self::park) made was submitted.
    pub(crate) fn parking(&mut self, submitted: Option<PendingWrite>) {
        self.aside.submitted(submitted);
    }

    /// The log did not take the record that [`park`](Self::park) made.
    pub(crate) fn parking_refused(&mut self) {
        self.aside.refused();
    }

    /// The last of the group's own records that are on their way.
    pub(crate) fn last_parking(&self) -> Option<PendingWrite> {
        self.aside.own()
    }

    /// Whether something is to be recorded, or the log had no room for it.
    pub(crate) fn has_to_park(&self) -> bool {
        self.aside.has_unsaid()
    }
}

/// Commits.
impl GroupSession {
    /// Claims the events of `commit` for a record, all or none.
    pub(crate) fn claim(
        &mut self,
        group: (&str, &Group),
        member: MemberId,
        commit: &Commit,
        now: Timestamp,
    ) -> Result<Committed, NotHeld> {
        let terms = (now, self.limits.parked_max);
        claim(&mut self.in_flight, group, member, commit, terms)
    }

    /// What a claimed commit holds is its member's again.
    pub(crate) fn unclaim(&mut self, committed: &Committed) {
        self.in_flight.unclaim(&committed.settled, aside(committed));
    }

    /// A commit is durable, and `group` has it.
    pub(crate) fn committed(&mut self, group: &Group, committed: &Committed, now: Timestamp) {
        let mut lanes: HashSet<TopicKey> = HashSet::default();
        if committed.member.is_none() {
            lanes.extend(self.aside.committed());
        }
        let mut moved = self.in_flight.settle(&committed.settled);
        for position in aside(committed) {
            if let Some((lane, has_moved)) = self.in_flight.settle_aside(position) {
                moved |= has_moved;
                lanes.insert(lane);
            }
        }
        if committed.member.is_some() {
            let parked = committed.parked.iter();
            lanes.extend(parked.map(|it| TopicKey::new(&it.topic, &it.key)));
        }
        let retried = committed.retries.iter();
        let retried = retried.map(|it| (&it.topic, &it.key, true));
        let dead = committed.dead.iter();
        let dead = dead.map(|it| (&it.topic, &it.key, it.blocks));
        let mut blocked = HashSet::default();
        for (topic, key, blocks) in retried.chain(dead) {
            if blocks {
                blocked.insert(self.hasher().hash_of(topic, key));
            }
            lanes.insert(TopicKey::new(topic, key));
        }
        self.in_flight.fence(&blocked);
        for lane in lanes {
            self.refresh(group, &lane, now);
        }
        self.relax();
        if moved {
            self.in_flight.redistribute(&self.ownership);
        }
        self.wake_all();
    }

    /// Lets go of the care that is not needed any more.
    fn relax(&mut self) {
        if let Some(guard) = &mut self.guard
            && self.in_flight.held() == 0
        {
            guard.came_back();
            if guard.is_over() {
                self.guard = None;
            }
        }
    }

    /// A commit has failed: its member holds its events as before, unless it is gone.
    pub(crate) fn failed(&mut self, group: &Group, committed: &Committed, now: Timestamp) {
        let Some(member) = committed.member else {
            self.aside.failed();
            self.wake_all();
            return;
        };
        self.unclaim(committed);
        if !self.is_member(member) {
            self.leave(group, member, now);
        }
        self.wake_all();
    }

    /// Lanes were changed by an operator.
    pub(crate) fn changed(&mut self, group: &Group, lanes: Vec<TopicKey>, now: Timestamp) {
        for lane in lanes {
            self.refresh(group, &lane, now);
        }
        self.wake_all();
    }

    /// Looks again at what of a lane may go.
    fn refresh(&mut self, group: &Group, lane: &TopicKey, now: Timestamp) {
        let parts = (&self.ownership, self.in_flight.aside());
        self.index.refresh(group.set_aside(), parts, lane, now);
    }

    fn refresh_all(&mut self, group: &Group, now: Timestamp) {
        for lane in group.set_aside().keys() {
            self.refresh(group, lane, now);
        }
    }
}

/// What the status shows.
impl GroupSession {
    /// How many events are in members' hands.
    pub(crate) fn held(&self) -> usize {
        self.in_flight.held()
    }

    /// Whether the put-aside event at `position` is in a member's hands.
    pub(crate) fn is_in_hands(&self, position: Position) -> bool {
        self.in_flight.aside().has(position)
    }

    /// How many events were read and given to no member yet.
    pub(crate) fn ready(&self) -> usize {
        self.in_flight.ready().count()
    }

    /// How many events are being put aside whose keys are free meanwhile, and how many of blocked keys.
    pub(crate) fn coming(&self, group: &Group) -> (usize, usize) {
        self.aside.coming(group.set_aside())
    }

    /// The next position to read.
    pub(crate) fn cursor(&self) -> Position {
        self.ahead.cursor()
    }

    /// After the last event that was read for this group.
    pub(crate) fn after_last_event(&self) -> Position {
        self.ahead.after_last_event()
    }

    /// Why nothing more is read.
    pub(crate) fn paused(&self) -> Option<&str> {
        self.ahead.paused()
    }

    /// Whether nothing is on its way: not in hands, not to be put aside.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.in_flight.is_empty() && self.aside.is_empty()
    }
}

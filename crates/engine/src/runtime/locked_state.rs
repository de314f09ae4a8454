//! What one lock protects: the durable state, the sessions of the groups, and the control records
//! that were submitted and are not durable yet.
//!
//! Control records are submitted under the lock, so that their order here is the order of the log,
//! and applied in that order once they are durable: the state never shows what a power cut could
//! take back.

use std::sync::Arc;

use ensue_log as log;
use tokio::sync::Notify;

use super::pending_changes::{Pending, PendingChanges, Terms};
use super::pending_schedules::Fate;
use super::sessions::Sessions;
use super::unfired::Unfired;
use super::write_sink::WriteSink;
use crate::delivery::group_session::GroupSession;
use crate::delivery::limits::AsideLimits;
use crate::delivery::local_member::LocalMember;
use crate::engine::{DeathCause, Position};
use crate::error::{Error, Result};
use crate::event::EventId;
use crate::ids::{Epoch, MemberId, ProcessId};
use crate::log_position::from_log;
use crate::model::change::Change;
use crate::model::group::Group;
use crate::model::record::{Died, Firing};
use crate::model::refusal::Refusal;
use crate::model::schedule::Due;
use crate::model::state::State;
use crate::model::topic_key::TopicKey;
use crate::pending_write::PendingWrite;
use crate::time::{Clock, Timestamp};

/// The state of an engine, behind its lock.
#[derive(Debug)]
pub(crate) struct LockedState {
    state: State,
    sessions: Sessions,
    pending: PendingChanges,
    /// What is due and not appended.
    unfired: Unfired,
    /// Told when a schedule was added.
    schedules_changed: Arc<Notify>,
    clock: Clock,
    /// Which opening of the log this is: the log's end when it was opened, or the place of this
    /// process's record among those that share the log.
    boot: ProcessId,
    /// Whether the log is the replica of a shared one.
    is_replica: bool,
}

impl LockedState {
    pub(crate) fn new(state: State, clock: Clock, boot: ProcessId, limits: AsideLimits) -> Self {
        Self {
            state,
            sessions: Sessions::new(limits),
            pending: PendingChanges::default(),
            unfired: Unfired::default(),
            schedules_changed: Arc::default(),
            clock,
            boot,
            is_replica: false,
        }
    }

    /// The log is the replica of a shared one: which process this is, the log says later.
    pub(crate) fn become_replica(&mut self) {
        self.is_replica = true;
        self.boot = ProcessId::UNKNOWN;
    }

    /// The log has said which process this is.
    pub(crate) fn set_boot(&mut self, boot: ProcessId) {
        self.boot = boot;
    }

    /// Everything durable beside the events.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn boot(&self) -> ProcessId {
        self.boot
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Submits `batch`, whose last records are those of `changes`.
    pub(crate) fn submit(
        &mut self,
        sink: &dyn WriteSink,
        batch: log::Batch,
        changes: Vec<Change>,
        terms: Terms,
    ) -> Result<PendingWrite, log::SubmitError> {
        let first = batch.len().saturating_sub(changes.len());
        let submitted = sink.submit(batch)?;
        if self.pending.push(&submitted, first, changes, terms) {
            // The task that waits for the next schedule sees to it that this one is applied.
            self.schedules_changed.notify_one();
        }
        Ok(submitted)
    }

    /// `change` alone went out before all that waits.
    pub(crate) fn submitted_first(&mut self, submitted: PendingWrite, change: Change) {
        self.pending.push_first(submitted, change);
    }

    /// Applies what has become durable, takes back what has failed. What goes by way of a shared
    /// log is applied when it is read back.
    pub(crate) fn advance(&mut self) {
        while let Some((pending, receipt)) = self.pending.pop_concluded() {
            self.conclude(&pending, receipt.as_ref());
        }
    }

    /// Takes the oldest batch out of those on their way: [`conclude`](Self::conclude) is next.
    pub(crate) fn pop_pending(&mut self) -> Option<Pending> {
        self.pending.pop()
    }

    /// A batch has an outcome: its records are at the receipt's positions, or were refused.
    pub(crate) fn conclude(&mut self, pending: &Pending, receipt: Option<&log::Receipt>) {
        let now = self.clock.now();
        for (index, change) in pending.changes() {
            match receipt.and_then(|receipt| receipt.position(*index)) {
                Some(position) => self.apply(from_log(position), change, pending.epoch(), now),
                None => self.fail(change, pending.epoch(), now),
            }
            let group = change
                .group()
                .and_then(|name| self.state.groups().get(name));
            if let Some(group) = group {
                pending.tell_generation(group.generation());
            }
        }
    }

    /// Nothing on its way is taken any more.
    pub(crate) fn refuse_pending(&mut self, why: &Refusal) {
        while let Some(pending) = self.pending.pop() {
            pending.refuse(why);
            self.conclude(&pending, None);
        }
    }

    /// Applies a record that nothing here waits for, because another process wrote it.
    pub(crate) fn apply_foreign(&mut self, position: Position, change: &Change) {
        let now = self.clock.now();
        self.apply(position, change, None, now);
    }

    /// The position before which all control records are applied, and none at or after it.
    pub(crate) fn applied(&self, durable: Position) -> Position {
        let waiting = self.pending.first_position();
        waiting.map_or(durable, |position| durable.min(position))
    }

    fn apply(&mut self, position: Position, change: &Change, epoch: Option<Epoch>, now: Timestamp) {
        let lanes = self.lanes_of(change);
        self.state.apply(position, change);
        self.tell_schedules(change);
        self.follow_processes(change, now);
        let Some(name) = change.group() else { return };
        let session = self.sessions.get_mut(name);
        let (Some(session), Some(group)) = (session, self.state.groups().get(name)) else {
            self.sessions.fence(name);
            return;
        };
        match change {
            Change::Committed(committed) if epoch == Some(session.epoch()) => {
                // Of the others, those who committed them have told, with their reasons.
                let crashed = committed.dead.iter();
                for Died { id, kind, .. } in crashed.filter(|it| it.cause == DeathCause::Crashed) {
                    tracing::warn!(group = name, id, kind, "dead letter: it ended its process");
                }
                session.committed(group, committed, now);
            }
            Change::Begun(_) => session.begin_ended(),
            Change::Redriven(_) | Change::Discarded(_) => session.changed(group, lanes, now),
            Change::Joined(joined) => session.filter_by(joined),
            Change::Reset(_) => self.sessions.fence(name),
            _ => {}
        }
    }

    fn fail(&mut self, change: &Change, epoch: Option<Epoch>, now: Timestamp) {
        self.tell_schedules(change);
        let Some(name) = change.group() else { return };
        let session = self.sessions.get_mut(name);
        let (Some(session), Some(group)) = (session, self.state.groups().get(name)) else {
            return;
        };
        match change {
            Change::Committed(committed) if epoch == Some(session.epoch()) => {
                session.failed(group, committed, now);
            }
            Change::Begun(_) => session.begin_ended(),
            _ => {}
        }
    }

    /// Goes by what a record means to the slots of this process, where several share the log.
    fn follow_processes(&mut self, change: &Change, now: Timestamp) {
        if self.is_fenced_by(change) {
            tracing::warn!("this process was fenced: its members have to join again");
            self.sessions.fence_all();
        }
        let moves_slots = matches!(
            change,
            Change::Opened(_)
                | Change::Gone(_)
                | Change::Joined(_)
                | Change::Left(_)
                | Change::Reset(_)
                | Change::Released(_)
        );
        if self.is_replica && moves_slots {
            self.sessions.follow_slots(&self.state, now);
        }
    }

    /// Whether the others took this process for dead.
    pub(crate) fn is_fenced_by(&self, change: &Change) -> bool {
        matches!(change, Change::Gone(gone) if gone.boot == self.boot && gone.counter.is_some())
    }

    /// The lanes of the dead letters that an operator changes.
    fn lanes_of(&self, change: &Change) -> Vec<TopicKey> {
        let positions = match change {
            Change::Redriven(redriven) => &redriven.positions,
            Change::Discarded(discarded) => &discarded.positions,
            _ => return Vec::new(),
        };
        let group = change
            .group()
            .and_then(|name| self.state.groups().get(name));
        let lane = |position: &Position| Some(group?.set_aside().item(*position)?.lane.clone());
        positions.iter().filter_map(lane).collect()
    }

    /// A record about schedules has an outcome, or about the process that appends them: something
    /// else may be due next.
    fn tell_schedules(&self, change: &Change) {
        if let Change::Scheduled(_)
        | Change::Fired(_)
        | Change::Cancelled(_)
        | Change::Opened(_)
        | Change::Gone(_) = change
        {
            self.schedules_changed.notify_one();
        }
    }

    /// How much state there will be once everything on its way is durable, in bytes, at the most.
    pub(crate) fn cell_bytes(&self) -> usize {
        self.state.cell_bytes() + self.pending.cell_bytes()
    }
}

/// Schedules, and what becomes of them by what is on its way.
impl LockedState {
    /// Whether this process does what only one has to do.
    pub(crate) fn is_leader(&self) -> bool {
        !self.is_replica || self.state.processes().leader() == Some(self.boot)
    }

    pub(crate) fn schedules_changed(&self) -> Arc<Notify> {
        self.schedules_changed.clone()
    }

    /// What `name` stands for among the schedules, once what is on its way is durable.
    pub(crate) fn fate(&self, name: &EventId) -> Fate {
        self.pending.schedules().fate(self.state.schedules(), name)
    }

    /// How many schedules there will be then; a number that is quick to tell and not too small comes
    /// first.
    pub(crate) fn schedules_len(&self) -> (usize, impl FnOnce() -> usize) {
        let (pending, durable) = (self.pending.schedules(), self.state.schedules());
        (pending.len_max(durable), move || pending.len(durable))
    }

    /// Up to `max` schedules that are due and not set aside, and that no record on its way is about.
    pub(crate) fn due_schedules(&self, max: usize) -> Vec<Firing> {
        let now = self.clock.now();
        let due = self.untouched().take_while(|((at, _), _)| *at <= now);
        let firing = |((_, position), name): (Due, &Arc<EventId>)| Firing {
            name: EventId::clone(name),
            position,
        };
        due.take(max).map(firing).collect()
    }

    /// When the next schedule is due that no record on its way is about.
    pub(crate) fn next_schedule(&self) -> Option<Timestamp> {
        self.untouched().next().map(|((at, _), _)| at)
    }

    /// A batch on its way that is about schedules, if there is one.
    pub(crate) fn pending_schedule(&self) -> Option<PendingWrite> {
        self.pending.schedules().any()
    }

    /// Whether a schedule is as it was when it was found due.
    pub(crate) fn may_fire(&self, firing: &Firing) -> bool {
        let is_touched = self.pending.schedules().is_touched(&firing.name);
        self.state.schedules().is_pending(firing) && !is_touched
    }

    fn untouched(&self) -> impl Iterator<Item = (Due, &Arc<EventId>)> {
        let all = self.state.schedules().iter();
        let some = all.filter(|((_, position), _)| !self.unfired.is_aside(*position));
        some.filter(|(_, name)| !self.pending.schedules().is_touched(name))
    }

    /// A schedule that is due cannot be appended.
    pub(crate) fn set_schedule_aside(&mut self, firing: Firing, error: &Error) {
        self.unfired
            .set_aside(firing, error, self.state.schedules());
    }

    /// What is due could not be appended; whether that was known.
    pub(crate) fn schedules_refused(&mut self, error: &Error) -> bool {
        self.unfired.refused(error)
    }

    /// What was due was appended.
    pub(crate) fn schedules_went_through(&mut self) {
        self.unfired.went_through();
    }

    /// Why something that is due is not appended.
    pub(crate) fn schedules_trouble(&self) -> Option<String> {
        self.unfired.trouble(self.state.schedules())
    }
}

/// Groups and their members in this process.
impl LockedState {
    /// The groups that have members here.
    pub(crate) fn groups_here(&self) -> Vec<String> {
        self.sessions.groups()
    }

    /// The members that joined here and have not left.
    pub(crate) fn members_here(&self) -> Vec<(String, MemberId)> {
        self.sessions.members()
    }

    /// A group's session, for a look.
    pub(crate) fn session(&self, name: &str) -> Option<&GroupSession> {
        self.sessions.get(name)
    }

    /// A group's session, and its durable state.
    pub(crate) fn session_mut(&mut self, name: &str) -> Option<(&mut GroupSession, &Group)> {
        let session = self.sessions.get_mut(name)?;
        Some((session, self.state.groups().get(name)?))
    }

    /// The same, if it is still the session of this epoch.
    pub(crate) fn session_at(
        &mut self,
        name: &str,
        epoch: Epoch,
    ) -> Option<(&mut GroupSession, &Group)> {
        let found = self.session_mut(name);
        found.filter(|(session, _)| session.epoch() == epoch)
    }

    /// The same, if `member` is a member of it.
    pub(crate) fn session_of(
        &mut self,
        name: &str,
        member: MemberId,
    ) -> Option<(&mut GroupSession, &Group)> {
        let found = self.session_mut(name);
        found.filter(|(session, _)| session.is_member(member))
    }

    /// A number for a new member.
    pub(crate) fn next_member(&mut self, name: &str) -> Result<MemberId> {
        let group = self.state.groups().get(name);
        let durable = group.and_then(Group::last_member);
        self.sessions.next_member(name, durable)
    }

    /// What members that are all gone still have on its way: until it has an outcome, it is not known
    /// which of the group's events are settled.
    pub(crate) fn left_behind(&self, name: &str) -> Option<PendingWrite> {
        match self.sessions.get(name) {
            Some(_) => None,
            None => self.pending.last_of(name),
        }
    }

    /// Adds a member, once its record is durable and applied. Whether the group is there; it may have
    /// been deleted meanwhile.
    pub(crate) fn join(&mut self, name: &str, member: LocalMember, end: Position) -> bool {
        let (now, boot) = (self.clock.now(), self.boot);
        let Some(group) = self.state.groups().get(name) else {
            return false;
        };
        let group = (name, group);
        self.sessions
            .join(group, member, &self.state, (boot, end), now);
        true
    }

    /// Removes a member; what it holds goes to the others. Whether it was one.
    pub(crate) fn leave(&mut self, name: &str, member: MemberId) -> bool {
        let now = self.clock.now();
        let group = self.state.groups().get(name);
        group.is_some_and(|group| self.sessions.leave((name, group), member, now))
    }

    /// Ends the session of a group: its members have to join again.
    pub(crate) fn fence(&mut self, name: &str) {
        self.sessions.fence(name);
    }

    /// Ends all sessions.
    pub(crate) fn fence_all(&mut self) {
        self.sessions.fence_all();
    }

    /// How many events are in members' hands, if no member of this process will do anything before
    /// the clock moves, a record comes or one of these ends. `end` is the durable end of the log.
    pub(crate) fn at_rest(&self, end: Position) -> Option<usize> {
        let now = self.clock.now();
        let sessions = self.pending.is_empty().then_some(&self.sessions)?;
        sessions.at_rest(end, now)
    }

    /// Whether no control record is on its way.
    #[cfg(test)]
    pub(crate) fn is_settled(&self) -> bool {
        self.pending.is_empty()
    }
}

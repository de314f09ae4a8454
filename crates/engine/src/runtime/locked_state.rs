//! What one lock protects: the durable state, the live groups, and the control records that were
//! submitted and are not durable yet.
//!
//! Control records are submitted under the lock, so that the order of `pending` is the order of
//! the log, and applied in that order once they are durable: the state never shows what a power
//! cut could take back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ensue_log as log;
use hashbrown::HashMap;
use tokio::sync::Notify;

use super::unfired::Unfired;
use crate::delivery::group_session::{Beginning, GroupSession};
use crate::delivery::limits::AsideLimits;
use crate::delivery::local_member::LocalMember;
use crate::engine::DeathCause;
use crate::event::EventId;
use crate::ids::{Epoch, MemberId, ProcessId};
use crate::model::change::Change;
use crate::model::group::Group;
use crate::model::record::Died;
use crate::model::state::State;
use crate::model::topic_key::TopicKey;
use crate::pending_write::Submission;
use crate::replica::Outbox;
use crate::runtime::pending_schedules::{Ahead, Fate};
use crate::time::{Clock, Timestamp};

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) state: State,
    bounds: AsideLimits,
    pub(crate) sessions: Map<String, GroupSession>,
    pending: VecDeque<Pending>,
    pub(crate) clock: Clock,
    /// Which opening of the log this is: the log's end when it was opened.
    pub(crate) boot: ProcessId,
    /// The last member's number of a group, as far as it was given out.
    members: Map<String, Option<MemberId>>,
    epoch: Epoch,
    /// Bytes of state in commits that are not durable.
    pub(crate) pending_cell_bytes: usize,
    /// What will have become of the schedules once everything in `pending` is durable.
    pub(crate) ahead: Ahead,
    /// What is due and not appended.
    pub(crate) unfired: Unfired,
    /// Told when a schedule was added.
    pub(crate) schedules_changed: Arc<Notify>,
    /// Where batches go instead of the log, if it is the replica of a shared one.
    pub(crate) outbox: Option<Outbox>,
    /// Set when another process has taken the place of this one, which lives.
    pub(crate) usurped: Option<crate::error::Error>,
}

/// A batch with control records on its way to the disk.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) submitted: Submission,
    /// The control records, and which of the batch they are.
    pub(crate) changes: Vec<(usize, Change)>,
    /// The live group that a commit was claimed in.
    epoch: Option<Epoch>,
    cell_bytes: usize,
    generation: Option<Arc<AtomicU64>>,
}

/// What goes with a batch's control records.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    pub(crate) epoch: Option<Epoch>,
    pub(crate) cell_bytes: usize,
    /// Told the group's generation when the records are applied.
    pub(crate) generation: Option<Arc<AtomicU64>>,
}

impl Core {
    pub(crate) fn new(state: State, clock: Clock, boot: ProcessId, bounds: AsideLimits) -> Self {
        Self {
            state,
            bounds,
            sessions: Map::default(),
            pending: VecDeque::new(),
            clock,
            boot,
            members: Map::default(),
            epoch: Epoch::default(),
            pending_cell_bytes: 0,
            ahead: Ahead::default(),
            unfired: Unfired::default(),
            schedules_changed: Arc::default(),
            outbox: None,
            usurped: None,
        }
    }

    /// Submits `batch`, whose last records are those of `changes`.
    pub(crate) fn submit(
        &mut self,
        log: &log::Log,
        batch: log::Batch,
        changes: Vec<Change>,
        terms: Terms,
    ) -> Result<Submission, log::SubmitError> {
        let first = batch.len().saturating_sub(changes.len());
        let submitted = self.enqueue(log, batch)?;
        let changes: Vec<_> = (first..).zip(changes).collect();
        for (index, change) in &changes {
            if self.ahead.submitted(*index, change, &submitted) {
                // Whoever waits for the next schedule sees to it that this one is applied.
                self.schedules_changed.notify_one();
            }
        }
        self.pending_cell_bytes += terms.cell_bytes;
        let Terms {
            epoch,
            cell_bytes,
            generation,
        } = terms;
        let handle = submitted.clone();
        self.pending.push_back(Pending {
            submitted: handle,
            changes,
            epoch,
            cell_bytes,
            generation,
        });
        Ok(submitted)
    }

    fn enqueue(
        &mut self,
        log: &log::Log,
        batch: log::Batch,
    ) -> Result<Submission, log::SubmitError> {
        match &mut self.outbox {
            None => log.submit(batch).map(Submission::Log),
            Some(outbox) => {
                log.check(&batch)?;
                outbox.push(batch).map(Submission::Shared)
            }
        }
    }

    /// Applies what has become durable, takes back what has failed. What goes by way of a shared
    /// log is applied when it is read back.
    pub(crate) fn advance(&mut self) {
        while let Some(front) = self.pending.front()
            && let Submission::Log(submitted) = &front.submitted
            && let Some(outcome) = submitted.outcome()
        {
            let receipt = submitted.receipt.clone();
            let Some(pending) = self.pending.pop_front() else {
                return;
            };
            self.conclude(&pending, outcome.is_ok().then_some(&receipt));
        }
    }

    /// A batch has an outcome: its records are at the receipt's positions, or were refused.
    pub(crate) fn conclude(&mut self, pending: &Pending, receipt: Option<&log::Receipt>) {
        self.pending_cell_bytes -= pending.cell_bytes;
        let now = self.clock.now();
        for (index, change) in &pending.changes {
            match receipt.and_then(|receipt| receipt.position(*index)) {
                Some(position) => self.apply(position.get(), change, pending.epoch, now),
                None => self.fail(change, pending.epoch, now),
            }
            self.ahead.concluded(change);
            let group = change.group().and_then(|name| self.state.groups.get(name));
            if let (Some(told), Some(group)) = (&pending.generation, group) {
                told.store(group.generation(), Ordering::Release);
            }
        }
    }

    /// Goes by what a record means to the slots of this process, where several share the log.
    fn follow_shares(&mut self, change: &Change, now: Timestamp) {
        match change {
            Change::Opened(opened) => {
                self.schedules_changed.notify_one();
                if let Some(outbox) = &mut self.outbox {
                    outbox.answer();
                    if let Err(why) = outbox.check_followed(&opened.name, &opened.follows) {
                        self.usurped.get_or_insert(why);
                    }
                }
            }
            Change::Gone(gone) => {
                self.schedules_changed.notify_one();
                if gone.boot == self.boot && gone.counter.is_some() {
                    self.open_again();
                }
            }
            Change::Joined(_) | Change::Left(_) | Change::Reset(_) | Change::Released(_) => {}
            _ => return,
        }
        if self.outbox.is_none() {
            return;
        }
        for (name, live) in &mut self.sessions {
            if let Some(group) = self.state.groups.get(name) {
                live.follow(group, now);
            }
        }
    }

    /// The others took this process for dead: its members have to join again, and it goes on under
    /// another name.
    fn open_again(&mut self) {
        tracing::warn!("this process was taken for dead: its members have to join again");
        let names: Vec<String> = self.sessions.keys().cloned().collect();
        for name in names {
            self.fence(&name);
        }
        if let Some(outbox) = &mut self.outbox {
            outbox.rename();
        }
        self.introduce();
    }

    /// Says that this process works on the log, before anything else that it says.
    pub(crate) fn introduce(&mut self) -> Option<Submission> {
        let outbox = self.outbox.as_mut()?;
        let opened = Change::Opened(outbox.opening());
        let mut batch = log::Batch::new();
        opened.push_to(&mut batch).ok()?;
        let ticket = outbox.push_first(batch);
        let submitted = Submission::Shared(ticket);
        self.pending.push_front(Pending {
            submitted: submitted.clone(),
            changes: vec![(0, opened)],
            epoch: None,
            cell_bytes: 0,
            generation: None,
        });
        Some(submitted)
    }

    /// Whether this process does what only one has to do.
    pub(crate) fn is_leader(&self) -> bool {
        if self.outbox.is_some() {
            return self.state.processes.leader() == Some(self.boot);
        }
        true
    }

    /// The oldest of the batches on their way, which is taken out.
    pub(crate) fn pop_pending(&mut self) -> Option<Pending> {
        self.pending.pop_front()
    }

    /// Whether no control record is on its way.
    #[cfg(test)]
    pub(crate) fn is_settled(&self) -> bool {
        self.pending.is_empty()
    }

    /// The position before which all control records are applied, and none at or after it.
    pub(crate) fn applied(&self, durable: u64) -> u64 {
        let mut waiting = self.pending.iter().filter_map(|pending| {
            let (index, _) = pending.changes.first()?;
            pending.submitted.position(*index)
        });
        waiting
            .next()
            .map_or(durable, |position| durable.min(position))
    }

    pub(crate) fn apply(
        &mut self,
        position: u64,
        change: &Change,
        epoch: Option<Epoch>,
        now: Timestamp,
    ) {
        let lanes = self.lanes_of(change);
        self.state.apply(position, change);
        self.tell_schedules(change);
        self.follow_shares(change, now);
        let Some(name) = change.group() else { return };
        let (live, group) = (self.sessions.get_mut(name), self.state.groups.get(name));
        let (Some(live), Some(group)) = (live, group) else {
            self.fence(name);
            return;
        };
        match change {
            Change::Committed(committed) if epoch == Some(live.epoch()) => {
                // Of the others, those who committed them have told, with their reasons.
                let crashed = committed.dead.iter();
                for Died { id, kind, .. } in crashed.filter(|it| it.cause == DeathCause::Crashed) {
                    tracing::warn!(group = name, id, kind, "dead letter: it ended its process");
                }
                live.committed(group, committed, now);
            }
            Change::Begun(_) => live.begin_ended(),
            Change::Redriven(_) | Change::Discarded(_) => live.changed(group, lanes, now),
            Change::Joined(joined) => live.filter_by(joined),
            Change::Reset(_) => self.fence(name),
            _ => {}
        }
    }

    /// The lanes of the dead letters that an operator changes.
    fn lanes_of(&self, change: &Change) -> Vec<TopicKey> {
        let positions = match change {
            Change::Redriven(redriven) => &redriven.positions,
            Change::Discarded(discarded) => &discarded.positions,
            _ => return Vec::new(),
        };
        let group = change.group().and_then(|name| self.state.groups.get(name));
        let lane = |position: &u64| Some(group?.set_aside().item(*position)?.lane.clone());
        positions.iter().filter_map(lane).collect()
    }

    fn fail(&mut self, change: &Change, epoch: Option<Epoch>, now: Timestamp) {
        self.tell_schedules(change);
        let Some(name) = change.group() else { return };
        let (live, group) = (self.sessions.get_mut(name), self.state.groups.get(name));
        let (Some(live), Some(group)) = (live, group) else {
            return;
        };
        match change {
            Change::Committed(committed) if epoch == Some(live.epoch()) => {
                live.failed(group, committed, now);
            }
            Change::Begun(_) => live.begin_ended(),
            _ => {}
        }
    }

    /// A record about schedules has an outcome: something else may be due next.
    fn tell_schedules(&self, change: &Change) {
        if let Change::Scheduled(_) | Change::Fired(_) | Change::Cancelled(_) = change {
            self.schedules_changed.notify_one();
        }
    }

    /// What `name` stands for among the schedules, once what is on its way is durable.
    pub(crate) fn fate(&self, name: &EventId) -> Fate {
        self.ahead.fate(&self.state.schedules, name)
    }

    /// A number for a new member.
    pub(crate) fn next_member(&mut self, group: &str) -> MemberId {
        let group_state = self.state.groups.get(group);
        let durable = group_state.and_then(Group::last_member);
        let given = self.members.entry(group.to_owned()).or_default();
        let last = (*given).max(durable);
        let next = last.map_or(MemberId::FIRST, MemberId::next);
        *given = Some(next);
        next
    }

    /// What members that are all gone still have on its way: until it has an outcome, nobody knows
    /// which of the group's events are settled.
    pub(crate) fn left_behind(&self, name: &str) -> Option<Submission> {
        if self.sessions.contains_key(name) {
            return None;
        }
        let concerns = |pending: &&Pending| {
            let mut changes = pending.changes.iter();
            changes.any(|(_, change)| change.group() == Some(name))
        };
        let last = self.pending.iter().rev().find(concerns)?;
        Some(last.submitted.clone())
    }

    /// A member joins, once its record is durable and applied. Whether the group is there; it may have
    /// been deleted meanwhile.
    pub(crate) fn join(&mut self, name: &str, member: LocalMember, end: u64) -> bool {
        let Some(group) = self.state.groups.get(name) else {
            return false;
        };
        let now = self.clock.now();
        let live = match self.sessions.get_mut(name) {
            Some(live) => live,
            None => {
                self.epoch = self.epoch.next();
                let beginning = Beginning {
                    epoch: self.epoch,
                    process: self.boot,
                    end,
                    now,
                    limits: self.bounds,
                };
                let processes = &self.state.processes;
                let mut live = GroupSession::new(group, &member, processes, beginning);
                if processes.is_shared() {
                    live.follow(group, now);
                }
                if live.is_careful() {
                    tracing::warn!(
                        group = name,
                        "the last process ended without a word and without progress: events are \
                         handled a few at a time, with a record before each, until it is known \
                         which of them end it"
                    );
                }
                self.sessions.entry(name.to_owned()).or_insert(live)
            }
        };
        live.join(member);
        true
    }

    /// A member leaves: what it holds goes to the others. Whether it was one.
    pub(crate) fn leave(&mut self, name: &str, member: MemberId) -> bool {
        let now = self.clock.now();
        let (Some(live), Some(group)) = (self.sessions.get_mut(name), self.state.groups.get(name))
        else {
            return false;
        };
        if !live.is_member(member) {
            return false;
        }
        if !live.leave(group, member, now) {
            self.sessions.remove(name);
        }
        true
    }

    /// The members of a group are none any more: they have to join again.
    pub(crate) fn fence(&mut self, name: &str) {
        if let Some(live) = self.sessions.remove(name) {
            live.dismiss();
        }
    }

    /// How many events are in members' hands, if no member of this process will do anything before
    /// the clock moves, a record comes or one of these ends. `end` is the durable end of the log.
    pub(crate) fn at_rest(&self, end: u64) -> Option<usize> {
        let now = self.clock.now();
        let mut sessions = self.sessions.values();
        let is_at_rest = self.pending.is_empty() && sessions.all(|live| live.is_at_rest(end, now));
        is_at_rest.then(|| self.sessions.values().map(GroupSession::held).sum())
    }

    /// The live group and its durable state, if `member` is a member of it.
    pub(crate) fn member(
        &mut self,
        name: &str,
        member: MemberId,
    ) -> Option<(&mut GroupSession, &Group)> {
        let live = self
            .sessions
            .get_mut(name)
            .filter(|live| live.is_member(member))?;
        Some((live, self.state.groups.get(name)?))
    }

    /// The live group of this epoch, and its durable state.
    pub(crate) fn live(&mut self, name: &str, epoch: Epoch) -> Option<(&mut GroupSession, &Group)> {
        let live = self
            .sessions
            .get_mut(name)
            .filter(|live| live.epoch() == epoch)?;
        Some((live, self.state.groups.get(name)?))
    }

    /// The members that joined here and have not left.
    pub(crate) fn members_here(&self) -> Vec<(String, MemberId)> {
        let mut here = Vec::new();
        for (name, live) in &self.sessions {
            here.extend(live.members().map(|member| (name.clone(), member.id())));
        }
        here
    }
}

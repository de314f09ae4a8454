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
use hashbrown::{HashMap, HashSet};
use tokio::sync::Notify;

use super::filter::Filter;
use super::group::Group;
use super::lanes::LaneKey;
use super::live::{Live, Seat};
use super::record::{Change, Died, Joined};
use super::state::State;
use crate::time::{Clock, Timestamp};

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

#[derive(Debug)]
pub(super) struct Core {
    pub(super) state: State,
    pub(super) lives: Map<String, Live>,
    pending: VecDeque<Pending>,
    pub(super) clock: Clock,
    /// Which opening of the log this is: the log's end when it was opened.
    pub(super) boot: u64,
    /// The last member's number of a group, as far as it was given out.
    members: Map<String, u64>,
    epochs: u64,
    /// Bytes of state in commits that are not durable.
    pub(super) pending_cell_bytes: usize,
    /// Scheduled events whose record is not durable: where it is, and when it will be durable.
    pub(super) scheduling: Map<String, (u64, log::Submitted)>,
    /// Scheduled events that are being appended or cancelled.
    pub(super) leaving: HashSet<String, foldhash::fast::RandomState>,
    /// Told when a schedule was added.
    pub(super) schedules_changed: Arc<Notify>,
}

/// A batch with control records on its way to the disk.
#[derive(Debug)]
struct Pending {
    submitted: log::Submitted,
    changes: Vec<(u64, Change)>,
    /// The live group that a commit was claimed in.
    epoch: Option<u64>,
    cell_bytes: usize,
    generation: Option<Arc<AtomicU64>>,
}

/// What goes with a batch's control records.
#[derive(Debug, Default)]
pub(super) struct Terms {
    pub(super) epoch: Option<u64>,
    pub(super) cell_bytes: usize,
    /// Told the group's generation when the records are applied.
    pub(super) generation: Option<Arc<AtomicU64>>,
}

impl Core {
    pub(super) fn new(state: State, clock: Clock, boot: u64) -> Self {
        Self {
            state,
            lives: Map::default(),
            pending: VecDeque::new(),
            clock,
            boot,
            members: Map::default(),
            epochs: 0,
            pending_cell_bytes: 0,
            scheduling: Map::default(),
            leaving: HashSet::default(),
            schedules_changed: Arc::default(),
        }
    }

    /// Submits `batch`, whose last records are those of `changes`, which are added to it here
    /// unless they are in it already.
    pub(super) fn submit(
        &mut self,
        log: &log::Log,
        batch: log::Batch,
        changes: Vec<Change>,
        terms: Terms,
    ) -> Result<log::Submitted, log::SubmitError> {
        let first = batch.len().saturating_sub(changes.len());
        let submitted = log.submit(batch)?;
        let at = |index: usize| {
            submitted
                .receipt
                .position(first + index)
                .unwrap_or_default()
                .get()
        };
        let changes: Vec<_> = changes
            .into_iter()
            .enumerate()
            .map(|(index, change)| (at(index), change))
            .collect();
        for (position, change) in &changes {
            if let Change::Scheduled(scheduled) = change {
                let handle = (*position, submitted.clone());
                self.scheduling
                    .entry(scheduled.id.clone())
                    .or_insert(handle);
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

    /// Applies what has become durable, takes back what has failed.
    pub(super) fn advance(&mut self) {
        while let Some(front) = self.pending.front()
            && let Some(outcome) = front.submitted.outcome()
        {
            let Some(pending) = self.pending.pop_front() else {
                return;
            };
            self.pending_cell_bytes -= pending.cell_bytes;
            let now = self.clock.now();
            for (position, change) in &pending.changes {
                match &outcome {
                    Ok(()) => self.apply(*position, change, pending.epoch, now),
                    Err(_) => self.fail(change, pending.epoch, now),
                }
                let group = change.group().and_then(|name| self.state.groups.get(name));
                if let (Some(told), Some(group)) = (&pending.generation, group) {
                    told.store(group.generation, Ordering::Release);
                }
            }
        }
    }

    /// Whether no control record is on its way.
    #[cfg(test)]
    pub(super) fn is_settled(&self) -> bool {
        self.pending.is_empty()
    }

    /// The position before which all control records are applied, and none at or after it.
    pub(super) fn applied(&self, durable: u64) -> u64 {
        let waiting = self
            .pending
            .front()
            .and_then(|pending| pending.changes.first());
        waiting.map_or(durable, |(position, _)| durable.min(*position))
    }

    fn apply(&mut self, position: u64, change: &Change, epoch: Option<u64>, now: Timestamp) {
        let lanes = self.lanes_of(change);
        self.state.apply(position, change);
        self.settle_schedules(change);
        let Some(name) = change.group() else { return };
        let (live, group) = (self.lives.get_mut(name), self.state.groups.get(name));
        let (Some(live), Some(group)) = (live, group) else {
            self.fence(name);
            return;
        };
        match change {
            Change::Committed(committed) if epoch == Some(live.epoch) => {
                for Died {
                    id, kind, cause, ..
                } in &committed.dead
                {
                    tracing::warn!(group = name, id, kind, ?cause, "a dead letter");
                }
                live.committed(group, committed, now);
            }
            Change::Begun(_) => live.begin_is_over(),
            Change::Redriven(_) | Change::Discarded(_) => live.changed(group, lanes, now),
            Change::Joined(joined) => live.filter_by(joined),
            Change::Reset(_) => self.fence(name),
            _ => {}
        }
    }

    /// The lanes of the dead letters that an operator changes.
    fn lanes_of(&self, change: &Change) -> Vec<LaneKey> {
        let positions = match change {
            Change::Redriven(redriven) => &redriven.positions,
            Change::Discarded(discarded) => &discarded.positions,
            _ => return Vec::new(),
        };
        let group = change.group().and_then(|name| self.state.groups.get(name));
        let lane = |position: &u64| Some(group?.lanes.item(*position)?.lane.clone());
        positions.iter().filter_map(lane).collect()
    }

    fn fail(&mut self, change: &Change, epoch: Option<u64>, now: Timestamp) {
        self.settle_schedules(change);
        let Some(name) = change.group() else { return };
        let (live, group) = (self.lives.get_mut(name), self.state.groups.get(name));
        let (Some(live), Some(group)) = (live, group) else {
            return;
        };
        match change {
            Change::Committed(committed) if epoch == Some(live.epoch) => {
                live.failed(group, committed, now);
            }
            Change::Begun(_) => live.begin_is_over(),
            _ => {}
        }
    }

    /// A record about schedules has an outcome: it is no longer on its way.
    fn settle_schedules(&mut self, change: &Change) {
        match change {
            Change::Scheduled(scheduled) => {
                self.scheduling.remove(&scheduled.id);
                self.schedules_changed.notify_one();
            }
            Change::Fired(fired) => {
                self.unclaim_schedules(&fired.ids);
                self.schedules_changed.notify_one();
            }
            Change::Cancelled(cancelled) => {
                self.unclaim_schedules(&cancelled.ids);
                self.schedules_changed.notify_one();
            }
            _ => {}
        }
    }

    /// Of `ids`, those that are pending and on nobody's way out; they are now on the way out.
    pub(super) fn claim_schedules<'a>(
        &mut self,
        ids: impl IntoIterator<Item = &'a String>,
    ) -> Vec<String> {
        let mut claimed = Vec::new();
        for id in ids {
            let is_pending =
                self.state.schedules.get(id).is_some() || self.scheduling.contains_key(id);
            if is_pending && self.leaving.insert(id.clone()) {
                claimed.push(id.clone());
            }
        }
        claimed
    }

    /// They stay after all.
    pub(super) fn unclaim_schedules(&mut self, ids: &[String]) {
        for id in ids {
            self.leaving.remove(id);
        }
    }

    /// A number for a new member.
    pub(super) fn next_member(&mut self, group: &str) -> u64 {
        let durable = self.state.groups.get(group).map_or(0, |group| group.member);
        let given = self.members.entry(group.to_owned()).or_default();
        *given = (*given).max(durable) + 1;
        *given
    }

    /// What members that are all gone still have on its way: until it has an outcome, nobody knows
    /// which of the group's events are settled.
    pub(super) fn left_behind(&self, name: &str) -> Option<log::Submitted> {
        if self.lives.contains_key(name) {
            return None;
        }
        let concerns = |pending: &&Pending| {
            let mut changes = pending.changes.iter();
            changes.any(|(_, change)| change.group() == Some(name))
        };
        let last = self.pending.iter().rev().find(concerns)?;
        Some(last.submitted.clone())
    }

    /// Gives a member its seat, once its record is durable and applied. Whether the group is
    /// there; it may have been deleted meanwhile.
    pub(super) fn sit_down(&mut self, name: &str, seat: Seat, end: u64) -> bool {
        let Some(group) = self.state.groups.get(name) else {
            return false;
        };
        let now = self.clock.now();
        let live = match self.lives.get_mut(name) {
            Some(live) => live,
            None => {
                self.epochs += 1;
                let filter = Arc::new(Filter::new(group.topics.clone(), group.types.clone()));
                let numbers = (self.epochs, self.boot, end);
                let live = Live::new(group, &seat, filter, numbers, now);
                if live.careful.is_some() {
                    tracing::warn!(
                        group = name,
                        "the last process ended without a word and without progress: events are \
                         handled a few at a time, with a record before each, until it is known \
                         which of them end it"
                    );
                }
                self.lives.entry(name.to_owned()).or_insert(live)
            }
        };
        live.sit_down(seat);
        true
    }

    /// Takes a member's seat; what it holds goes to the others. Whether it had one.
    pub(super) fn stand_up(&mut self, name: &str, member: u64) -> bool {
        let now = self.clock.now();
        let (Some(live), Some(group)) = (self.lives.get_mut(name), self.state.groups.get(name))
        else {
            return false;
        };
        if !live.is_member(member) {
            return false;
        }
        if !live.stand_up(group, member, now) {
            self.lives.remove(name);
        }
        true
    }

    /// Takes the seats of all members of a group: they have to join again.
    pub(super) fn fence(&mut self, name: &str) {
        if let Some(mut live) = self.lives.remove(name) {
            live.seats
                .iter_mut()
                .for_each(|seat| seat.is_waiting = true);
            live.wake_all();
        }
    }

    /// The live group and its durable state, if `member` is a member of it.
    pub(super) fn member(&mut self, name: &str, member: u64) -> Option<(&mut Live, &Group)> {
        let live = self
            .lives
            .get_mut(name)
            .filter(|live| live.is_member(member))?;
        Some((live, self.state.groups.get(name)?))
    }

    /// The live group of this epoch, and its durable state.
    pub(super) fn live(&mut self, name: &str, epoch: u64) -> Option<(&mut Live, &Group)> {
        let live = self
            .lives
            .get_mut(name)
            .filter(|live| live.epoch == epoch)?;
        Some((live, self.state.groups.get(name)?))
    }

    /// The members that joined here and have not left.
    pub(super) fn members_here(&self) -> Vec<(String, u64)> {
        let mut here = Vec::new();
        for (name, live) in &self.lives {
            let members = live.seats.iter().filter(|seat| !seat.is_gone);
            here.extend(members.map(|seat| (name.clone(), seat.member)));
        }
        here
    }
}

impl Live {
    pub(super) fn begin_is_over(&mut self) {
        if let Some(careful) = &mut self.careful {
            careful.beginning = None;
        }
        self.wake_all();
    }

    /// The group's subscription, as the last member to join wants it.
    fn filter_by(&mut self, joined: &Joined) {
        let filter = Filter::new(joined.topics.clone(), joined.types.clone());
        if *self.filter != filter {
            tracing::warn!(
                group = joined.group,
                "its members disagree about topics or types; the last one to join decides"
            );
            self.filter = Arc::new(filter);
        }
    }
}

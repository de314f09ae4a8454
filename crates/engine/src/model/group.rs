//! What is durable of a group: the fold of its control records. Time and members that live do not
//! exist here, so that replaying the records gives exactly the state that wrote them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::record::{Begin, Begun, Change, Committed, Joined, Reset, Restored};
use super::runs::Runs;
use crate::engine::ReplayState;
use crate::model::keyed_state::Cells;
use crate::model::position_set::Ranges;
use crate::model::processes::Cluster;
use crate::model::set_aside::{Lanes, State};
use crate::model::slot_owners::Shares;
use crate::topic::TopicPattern;

/// How many sessions that ended without a word are remembered: enough to see a crash loop.
const SESSIONS_MAX: usize = 64;

/// One group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) topics: Vec<TopicPattern>,
    pub(crate) types: Option<Vec<String>>,
    /// The low-water mark: everything before it is settled or put aside.
    pub(crate) low: u64,
    /// What is settled or put aside after it.
    pub(crate) settled: Ranges,
    pub(crate) lanes: Lanes,
    pub(crate) cells: Cells,
    /// How many blocking outcomes were committed.
    pub(crate) generation: u64,
    /// The last member's number.
    pub(crate) member: u64,
    /// Members that joined and did not leave.
    pub(crate) sessions: Vec<Session>,
    /// Attempts that began and have no outcome yet, by position.
    pub(crate) begun: BTreeMap<u64, Attempt>,
    /// Which process has which slots, where several share the log.
    #[serde(default)]
    pub(crate) shares: Shares,
    /// How often it was reset, and what it had done before.
    #[serde(default)]
    pub(crate) runs: Runs,
}

/// A member that joined and did not leave (yet).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) member: u64,
    /// Which opening of the log it lived in.
    pub(crate) boot: u64,
    /// The group's low-water mark when it joined.
    pub(crate) low: u64,
    /// The oldest event that waited for an attempt when it joined.
    pub(crate) retrying: Option<u64>,
    /// Whether it committed anything.
    pub(crate) is_proven: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// How many attempts began alone, this one included.
    pub(crate) number: u32,
    pub(crate) boot: u64,
    /// Whether others began with it: if the process ended then, it is not blamed for it.
    pub(crate) is_together: bool,
}

impl Group {
    /// A group that the record at `position` creates.
    pub(crate) fn new(start: u64, position: u64) -> Self {
        Self {
            low: start,
            runs: Runs::first(position),
            ..Self::default()
        }
    }

    /// Applies the control record of this group at `position`, other than its deletion.
    pub(crate) fn apply(&mut self, position: u64, change: &Change, cluster: &Cluster) {
        match change {
            Change::Joined(joined) => self.join(joined, cluster),
            Change::Left(left) => self
                .sessions
                .retain(|session| session.member != left.member),
            Change::Committed(committed) => self.commit(committed),
            Change::Begun(Begun { begins, boot, .. }) => {
                let is_together = begins.len() > 1;
                let begun = |it: &Begin| {
                    let attempt = Attempt {
                        number: it.attempt.saturating_sub(u32::from(is_together)),
                        boot: *boot,
                        is_together,
                    };
                    (it.position, attempt)
                };
                self.begun.extend(begins.iter().map(begun));
            }
            Change::Redriven(redriven) => {
                for position in &redriven.positions {
                    self.begun.remove(position);
                    self.lanes.redrive(*position, redriven.at);
                }
            }
            Change::Discarded(discarded) => {
                discarded
                    .positions
                    .iter()
                    .for_each(|position| self.lanes.discard(*position));
            }
            Change::Reset(reset) => self.reset(position, reset),
            Change::Released(it) => self.shares.release(it.boot, it.turn, &it.slots),
            Change::Deleted(_)
            | Change::Scheduled(_)
            | Change::Fired(_)
            | Change::Cancelled(_)
            | Change::Opened(_)
            | Change::Gone(_)
            | Change::Framed(_)
            | Change::Migrating(_)
            | Change::Restored(_)
            | Change::Migrated(_) => {}
        }
    }

    /// Moves it. Going back, what was put aside before the new place stays as it is: it will not
    /// be read again. Going forward, what waits there is given up with the rest.
    fn reset(&mut self, position: u64, reset: &Reset) {
        let is_back = reset.to <= self.low;
        let done = self.done();
        let done = (&done, self.lanes.backlogs());
        self.runs.begin(position, done, reset.effects);
        self.low = reset.to;
        self.settled.clear();
        self.lanes.reset(reset.to, is_back);
        self.begun.retain(|at, _| is_back && *at < reset.to);
        self.sessions.clear();
        if reset.state == ReplayState::Afresh {
            self.cells = Cells::default();
        }
    }

    /// What it has settled and not put aside.
    pub(crate) fn done(&self) -> Ranges {
        let mut done = self.settled.clone();
        done.insert(0, self.low);
        for (position, _) in self.lanes.items() {
            done.remove(position);
        }
        done
    }

    /// Takes what a migration brings of it.
    pub(crate) fn restore(&mut self, restored: &Restored) {
        match restored.is_first {
            true => self.clone_from(&restored.part),
            false => {
                self.lanes.extend(&restored.part.lanes);
                for cell in restored.part.cells.iter() {
                    self.cells.write(&cell);
                }
            }
        }
    }

    /// Shares the slots among the processes that have members.
    pub(crate) fn share(&mut self, cluster: &Cluster) {
        let mut processes: BTreeMap<u64, usize> = BTreeMap::new();
        let alive = |session: &&Session| cluster.is_alive(session.boot);
        for session in self.sessions.iter().filter(alive) {
            *processes.entry(session.boot).or_default() += 1;
        }
        let processes: Vec<(u64, usize)> = processes.into_iter().collect();
        self.shares.assign(&processes);
    }

    fn join(&mut self, joined: &Joined, cluster: &Cluster) {
        self.topics.clone_from(&joined.topics);
        self.types.clone_from(&joined.types);
        self.member = self.member.max(joined.member);
        let (low, retrying) = (self.low, self.lanes.first_waiting());
        // A session that ended badly but moved the group on says nothing about a crash loop.
        self.sessions.retain(|session| {
            session.boot == joined.boot
                || cluster.is_alive(session.boot)
                || session.low == low
                || (session.retrying.is_some() && session.retrying == retrying)
        });
        let is_over =
            |session: &Session| session.boot != joined.boot && !cluster.is_alive(session.boot);
        if self.sessions.len() >= SESSIONS_MAX
            && let Some(oldest) = self.sessions.iter().position(is_over)
        {
            self.sessions.remove(oldest);
        }
        let (member, boot) = (joined.member, joined.boot);
        self.sessions.push(Session {
            member,
            boot,
            low,
            retrying,
            is_proven: false,
        });
    }

    fn commit(&mut self, committed: &Committed) {
        for (start, end) in &committed.settled.0 {
            self.settle(*start, *end);
        }
        for position in &committed.done {
            self.begun.remove(position);
            self.lanes.remove(*position);
        }
        for retried in &committed.retries {
            self.begun.remove(&retried.position);
            self.lanes.retry(retried, committed.at);
        }
        for died in &committed.dead {
            self.begun.remove(&died.position);
            self.lanes.die(died, committed.at);
        }
        for parked in &committed.parked {
            self.lanes.park(parked);
        }
        for deferred in &committed.deferred {
            self.lanes.defer(deferred);
        }
        for cell in &committed.cells {
            self.cells.write(cell);
        }
        self.runs.passed(self.low, || self.lanes.first());
        self.generation += (committed.retries.len() + committed.dead.len()) as u64;
        let session = self
            .sessions
            .iter_mut()
            .find(|session| session.member == committed.member);
        if let Some(session) = session {
            session.is_proven = true;
        }
    }

    fn settle(&mut self, start: u64, end: u64) {
        if !self.begun.is_empty() {
            // What is put aside stays begun until it has an outcome: a parked event never began.
            self.begun
                .retain(|position, _| !(start..end).contains(position));
        }
        if start <= self.low {
            self.low = self.low.max(end);
        } else {
            self.settled.insert(start, end);
        }
        if !self.settled.is_empty() {
            self.low = self.settled.absorb(self.low);
        }
    }

    /// Whether its position lies beyond what the log holds, so that nothing would ever reach it:
    /// the log is an older copy than the group, or was cut.
    pub(crate) fn is_beyond(&self, end: u64) -> bool {
        self.low > end
    }

    /// Whether the event at `position` need not be read again.
    pub(crate) fn is_settled(&self, position: u64) -> bool {
        position < self.low || self.settled.contains(position)
    }

    /// After everything that is settled.
    pub(crate) fn settled_end(&self) -> u64 {
        let last = self.settled.iter().last();
        last.map_or(self.low, |(_, end)| end)
    }

    /// The number of the next attempt at the event at `position`.
    pub(crate) fn next_attempt(&self, position: u64, boot: u64) -> u32 {
        let failed = self.lanes.item(position).map_or(0, |item| item.attempts);
        let begun = self.begun.get(&position).map_or(0, |attempt| {
            // One that began in this very process has not ended it.
            let is_this = attempt.boot == boot && !attempt.is_together;
            attempt.number.saturating_sub(u32::from(is_this))
        });
        failed.max(begun) + 1
    }

    /// The oldest position that must stay in the log.
    pub(crate) fn floor(&self) -> u64 {
        self.lanes
            .first()
            .map_or(self.low, |first| first.min(self.low))
    }

    /// What the event at [`floor`](Self::floor) is needed for.
    pub(crate) fn need(&self) -> &'static str {
        let floor = self.floor();
        match self.lanes.item(floor).map(|item| &item.state) {
            Some(State::Dead(_)) => "a dead letter",
            Some(State::Retrying { .. }) => "an event that waits for another attempt",
            Some(State::Parked) => "an event that is parked behind another",
            None if floor < self.low => "an event in the backlog of its key",
            None => "an event that is not handled yet",
        }
    }

    /// Whether earlier openings of the log ended badly without having moved the group: then a
    /// member of `boot` that joins now has to be careful, with new events and with retried ones.
    ///
    /// A process that is killed leaves the same trace as one that an event has killed. Once is no
    /// reason for caution if it committed anything; twice at the same place is.
    pub(crate) fn caution(&self, boot: u64, cluster: &Cluster) -> Caution {
        let is_over = |session: &&Session| session.boot != boot && !cluster.is_alive(session.boot);
        let ended = || self.sessions.iter().filter(is_over);
        let boots = |is_stuck: &dyn Fn(&&Session) -> bool| {
            ended()
                .filter(is_stuck)
                .map(|session| session.boot)
                .collect::<BTreeSet<u64>>()
        };
        let stuck = boots(&|session| session.low == self.low);
        let has_proven = |boot: &u64| ended().any(|it| it.boot == *boot && it.is_proven);
        let retrying = self.lanes.first_waiting();
        let retries = boots(&|session| retrying.is_some() && session.retrying == retrying);
        Caution {
            events: stuck.len() >= 2 || stuck.iter().any(|boot| !has_proven(boot)),
            retries: retries.len() >= 2,
        }
    }
}

/// What to be careful with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caution {
    /// With events from the low-water mark on.
    pub(crate) events: bool,
    /// With what was put aside. A kill in the middle of a retry is common, two in a row that leave
    /// the same one behind are not.
    pub(crate) retries: bool,
}

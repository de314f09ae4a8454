//! What is durable of a group: the fold of its control records. Time and members that live do not
//! exist here, so that replaying the records gives exactly the state that wrote them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::backlog::Backlog;
use super::record::{Begin, CellWrite, Committed, Joined, Reset};
use super::runs::Runs;
use crate::engine::{ATTEMPT_MAX, Position, ReplayState, Run};
use crate::ids::{MemberId, ProcessId, Slot, Turn, member_or_zero};
use crate::model::item::{Item, State};
use crate::model::keyed_state::KeyedState;
use crate::model::position_set::PositionSet;
use crate::model::processes::Processes;
use crate::model::set_aside::SetAside;
use crate::model::slot_owners::SlotOwners;
use crate::model::topic_key::{KeyRef, TopicKey};
use crate::time::Timestamp;
use crate::topic::TopicPattern;

/// How many members that ended without a word are remembered: enough to see a crash loop.
const MEMBERS_MAX: usize = 64;

/// One group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Group {
    topics: Vec<TopicPattern>,
    types: Option<Vec<String>>,
    /// The low-water mark: everything before it is settled or put aside.
    low: Position,
    /// What is settled or put aside after it.
    settled: PositionSet,
    #[serde(rename = "lanes")]
    set_aside: SetAside,
    cells: KeyedState,
    /// How many blocking outcomes were committed.
    generation: u64,
    /// The last one that joined.
    #[serde(rename = "member", with = "member_or_zero")]
    last_member: Option<MemberId>,
    /// Members that joined and did not leave.
    #[serde(rename = "sessions")]
    members: Vec<JoinedMember>,
    /// Attempts that began and have no outcome yet, by position.
    begun: BTreeMap<Position, Attempt>,
    /// Which process has which slots, where several share the log.
    #[serde(default, rename = "shares")]
    slot_owners: SlotOwners,
    /// How often it was reset, and what it had done before.
    #[serde(default)]
    runs: Runs,
}

/// A member that joined and did not leave (yet).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct JoinedMember {
    #[serde(rename = "member")]
    pub(crate) id: MemberId,
    /// Which opening of the log it lived in.
    pub(crate) boot: ProcessId,
    /// The group's low-water mark when it joined.
    pub(crate) low: Position,
    /// The oldest event that waited for an attempt when it joined.
    pub(crate) retrying: Option<Position>,
    /// Whether it committed anything.
    pub(crate) is_proven: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// How many attempts began alone, this one included.
    pub(crate) number: u32,
    pub(crate) boot: ProcessId,
    /// Whether others began with it: if the process ended then, it is not blamed for it.
    pub(crate) is_together: bool,
}

impl Group {
    /// A group that the record at `position` creates.
    pub(crate) fn new(start: Position, position: Position) -> Self {
        Self {
            low: start,
            runs: Runs::first(position),
            ..Self::default()
        }
    }

    /// A member has left.
    pub(crate) fn leave(&mut self, member: MemberId) {
        self.members.retain(|it| it.id != member);
    }

    /// Attempts begin, in the process `boot`.
    pub(crate) fn begin(&mut self, begins: &[Begin], boot: ProcessId) {
        let is_together = begins.len() > 1;
        let begun = |it: &Begin| {
            let attempt = Attempt {
                // It is at least one: see `plausible`.
                number: it.attempt - u32::from(is_together),
                boot,
                is_together,
            };
            (it.position, attempt)
        };
        self.begun.extend(begins.iter().map(begun));
    }

    /// Dead letters get another life.
    pub(crate) fn redrive(&mut self, positions: &[Position], at: Timestamp) {
        for position in positions {
            self.begun.remove(position);
            self.set_aside.redrive(*position, at);
        }
    }

    /// Dead letters are forgotten.
    pub(crate) fn discard(&mut self, positions: &[Position]) {
        for position in positions {
            self.set_aside.discard(*position);
        }
    }

    /// A process gives slots away.
    pub(crate) fn release(&mut self, boot: ProcessId, turn: Turn, slots: &[Slot]) {
        self.slot_owners.release(boot, turn, slots);
    }

    /// Moves it. Going back, what was put aside before the new place stays as it is: it will not
    /// be read again. Going forward, what waits there is given up with the rest.
    pub(crate) fn reset(&mut self, position: Position, reset: &Reset) {
        let is_back = reset.to <= self.low;
        let done = self.done();
        let done = (&done, self.set_aside.backlogs());
        self.runs.begin(position, done, reset.effects);
        self.low = reset.to;
        self.settled.clear();
        self.set_aside.reset(reset.to, is_back);
        self.begun.retain(|at, _| is_back && *at < reset.to);
        self.members.clear();
        if reset.state == ReplayState::Afresh {
            self.cells = KeyedState::default();
        }
    }

    /// What it has settled and not put aside.
    pub(crate) fn done(&self) -> PositionSet {
        let mut done = self.settled.clone();
        done.insert(Position::ZERO, self.low);
        for (position, _) in self.set_aside.items() {
            done.remove(position);
        }
        done
    }

    /// Takes what a migration brings of it.
    pub(crate) fn restore(&mut self, part: &Self, is_first: bool) {
        if is_first {
            self.clone_from(part);
            return;
        }
        self.set_aside.extend(&part.set_aside);
        for cell in part.cells.iter() {
            self.cells.write(&cell);
        }
    }

    /// Shares the slots among the processes that have members.
    pub(crate) fn share(&mut self, processes: &Processes) {
        let mut weights: BTreeMap<ProcessId, usize> = BTreeMap::new();
        let alive = |member: &&JoinedMember| processes.is_alive(member.boot);
        for member in self.members.iter().filter(alive) {
            *weights.entry(member.boot).or_default() += 1;
        }
        let weights: Vec<(ProcessId, usize)> = weights.into_iter().collect();
        self.slot_owners.assign(&weights);
    }

    /// A member joins.
    pub(crate) fn join(&mut self, joined: &Joined, processes: &Processes) {
        self.topics.clone_from(&joined.topics);
        self.types.clone_from(&joined.types);
        self.last_member = self.last_member.max(Some(joined.member));
        let (low, retrying) = (self.low, self.set_aside.first_waiting());
        // A member that ended badly but moved the group on says nothing about a crash loop.
        self.members.retain(|member| {
            member.boot == joined.boot
                || processes.is_alive(member.boot)
                || member.low == low
                || (member.retrying.is_some() && member.retrying == retrying)
        });
        let is_over =
            |member: &JoinedMember| member.boot != joined.boot && !processes.is_alive(member.boot);
        if self.members.len() >= MEMBERS_MAX
            && let Some(oldest) = self.members.iter().position(is_over)
        {
            self.members.remove(oldest);
        }
        self.members.push(JoinedMember {
            id: joined.member,
            boot: joined.boot,
            low,
            retrying,
            is_proven: false,
        });
    }

    /// A member, or the engine itself, commits.
    pub(crate) fn commit(&mut self, committed: &Committed) {
        for (start, end) in committed.settled.iter() {
            self.settle(start, end);
        }
        for position in &committed.done {
            self.begun.remove(position);
            self.set_aside.remove(*position);
        }
        for retried in &committed.retries {
            self.begun.remove(&retried.position);
            self.set_aside.retry(retried, committed.at);
        }
        for died in &committed.dead {
            self.begun.remove(&died.position);
            self.set_aside.die(died, committed.at);
        }
        for parked in &committed.parked {
            self.set_aside.park(parked);
        }
        for deferred in &committed.deferred {
            self.set_aside.defer(deferred);
        }
        for cell in &committed.cells {
            self.cells.write(cell);
        }
        self.runs.passed(self.low, || self.set_aside.first());
        self.generation += (committed.retries.len() + committed.dead.len()) as u64;
        let member = self
            .members
            .iter_mut()
            .find(|member| Some(member.id) == committed.member);
        if let Some(member) = member {
            member.is_proven = true;
        }
    }

    fn settle(&mut self, start: Position, end: Position) {
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
    pub(crate) fn is_beyond(&self, end: Position) -> bool {
        self.low > end
    }

    /// Whether the event at `position` need not be read again.
    pub(crate) fn is_settled(&self, position: Position) -> bool {
        position < self.low || self.settled.contains(position)
    }

    /// After everything that is settled.
    pub(crate) fn settled_end(&self) -> Position {
        let last = self.settled.iter().last();
        last.map_or(self.low, |(_, end)| end)
    }

    /// The number of the next attempt at the event at `position`.
    pub(crate) fn next_attempt(&self, position: Position, boot: ProcessId) -> u32 {
        let failed = self
            .set_aside
            .item(position)
            .map_or(0, |item| item.attempts);
        let begun = self.begun.get(&position).map_or(0, |attempt| {
            // One that began in this very process has not ended it.
            let is_this = attempt.boot == boot && !attempt.is_together;
            attempt.number - u32::from(is_this)
        });
        failed.max(begun).saturating_add(1).min(ATTEMPT_MAX)
    }

    /// What to know of the run that it is in, for the event at `position`.
    pub(crate) fn run_of(&self, position: Position, key: KeyRef<'_>) -> Run {
        self.runs.of(position, key)
    }

    /// The oldest position that must stay in the log.
    pub(crate) fn floor(&self) -> Position {
        self.set_aside
            .first()
            .map_or(self.low, |first| first.min(self.low))
    }

    /// What the event at [`floor`](Self::floor) is needed for, if it was put aside.
    pub(crate) fn need(&self) -> Option<&'static str> {
        let floor = self.floor();
        match self.set_aside.item(floor).map(|item| &item.state) {
            Some(State::Dead(_)) => Some("a dead letter"),
            Some(State::Retrying { .. }) => Some("an event that waits for another attempt"),
            Some(State::Parked) => Some("an event that is parked behind another"),
            None => (floor < self.low).then_some("an event in the backlog of its key"),
        }
    }

    /// Whether earlier openings of the log ended badly without having moved the group: then a
    /// member of `boot` that joins now has to be careful, with new events and with retried ones.
    ///
    /// A process that is killed leaves the same trace as one that an event has killed. Once is no
    /// reason for caution if it committed anything; twice at the same place is.
    pub(crate) fn caution(&self, boot: ProcessId, processes: &Processes) -> Caution {
        let is_over =
            |member: &&JoinedMember| member.boot != boot && !processes.is_alive(member.boot);
        let ended = || self.members.iter().filter(is_over);
        let boots = |is_stuck: &dyn Fn(&&JoinedMember) -> bool| {
            ended()
                .filter(is_stuck)
                .map(|member| member.boot)
                .collect::<BTreeSet<ProcessId>>()
        };
        let stuck = boots(&|member| member.low == self.low);
        let has_proven = |boot: &ProcessId| ended().any(|it| it.boot == *boot && it.is_proven);
        let retrying = self.set_aside.first_waiting();
        let retries = boots(&|member| retrying.is_some() && member.retrying == retrying);
        Caution {
            events: stuck.len() >= 2 || stuck.iter().any(|boot| !has_proven(boot)),
            retries: retries.len() >= 2,
        }
    }
}

/// What it is.
impl Group {
    pub(crate) fn topics(&self) -> &[TopicPattern] {
        &self.topics
    }

    pub(crate) fn types(&self) -> Option<&[String]> {
        self.types.as_deref()
    }

    /// The low-water mark: everything before it is settled or put aside.
    pub(crate) fn low(&self) -> Position {
        self.low
    }

    /// What is settled or put aside after it.
    pub(crate) fn settled(&self) -> &PositionSet {
        &self.settled
    }

    pub(crate) fn set_aside(&self) -> &SetAside {
        &self.set_aside
    }

    pub(crate) fn cells(&self) -> &KeyedState {
        &self.cells
    }

    /// How many blocking outcomes were committed.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The last one that joined.
    pub(crate) fn last_member(&self) -> Option<MemberId> {
        self.last_member
    }

    /// Members that joined and did not leave.
    pub(crate) fn members(&self) -> &[JoinedMember] {
        &self.members
    }

    /// The attempt at the event at `position` that began and has no outcome yet.
    pub(crate) fn begun(&self, position: Position) -> Option<&Attempt> {
        self.begun.get(&position)
    }

    /// Whether any attempt began and has no outcome yet.
    pub(crate) fn has_begun(&self) -> bool {
        !self.begun.is_empty()
    }

    /// The attempts that began and have no outcome yet, by position.
    pub(crate) fn attempts(&self) -> &BTreeMap<Position, Attempt> {
        &self.begun
    }

    /// Which process has which slots, where several share the log.
    pub(crate) fn slot_owners(&self) -> &SlotOwners {
        &self.slot_owners
    }

    /// How often it was reset, and what it had done before.
    pub(crate) fn runs(&self) -> &Runs {
        &self.runs
    }

    /// Whether it is the same, whichever process has which slots.
    pub(crate) fn is_same_but_for_slots(&self, other: &Self) -> bool {
        let mut same = self.clone();
        same.slot_owners.clone_from(&other.slot_owners);
        same == *other
    }
}

/// What a position or a process of one log is in another.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) low: Position,
    pub(crate) settled: PositionSet,
    pub(crate) set_aside: SetAside,
    pub(crate) members: Vec<JoinedMember>,
    pub(crate) begun: BTreeMap<Position, Attempt>,
    pub(crate) runs: Runs,
}

/// Copies for another log.
impl Group {
    /// The same in another log, where no process has slots yet.
    pub(crate) fn moved(&self, moved: Moved) -> Self {
        let Moved {
            low,
            settled,
            set_aside,
            members,
            begun,
            runs,
        } = moved;
        Self {
            topics: self.topics.clone(),
            types: self.types.clone(),
            low,
            settled,
            set_aside,
            cells: self.cells.clone(),
            generation: self.generation,
            last_member: self.last_member,
            members,
            begun,
            slot_owners: SlotOwners::default(),
            runs,
        }
    }

    /// It without what can be large: what it put aside, and its state.
    pub(crate) fn head(&self) -> Self {
        Self {
            set_aside: SetAside::default(),
            cells: KeyedState::default(),
            ..self.clone()
        }
    }

    /// Adds an event that was put aside.
    pub(crate) fn add_item(&mut self, position: Position, item: Item) {
        self.set_aside.insert(position, item);
    }

    /// Adds the backlog of a key.
    pub(crate) fn add_backlog(&mut self, key: TopicKey, backlog: Backlog) {
        self.set_aside.set_backlog(key, backlog);
    }

    /// Adds a cell of its state.
    pub(crate) fn add_cell(&mut self, cell: &CellWrite) {
        self.cells.write(cell);
    }

    #[cfg(test)]
    pub(crate) fn set_members(&mut self, members: Vec<JoinedMember>) {
        self.members = members;
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

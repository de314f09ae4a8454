//! Committing: which of a member's events a commit may settle, and what becomes of them when it is
//! durable or has failed.

use hashbrown::HashSet;

use super::window::Status;
use crate::delivery::group_session::GroupSession;
use crate::engine::OnDead;
use crate::engine::{Commit, Death, Position, Retry, StateWrite};
use crate::event::Envelope;
use crate::ids::MemberId;
use crate::model::group::Group;
use crate::model::position_set::Settled;
use crate::model::record;
use crate::model::record::{CellWrite, Committed, Died, Parked, Retried};
use crate::model::set_aside::SetAside;
use crate::model::topic_key::TopicKey;
use crate::time::Timestamp;

/// The events that a commit has claimed so far.
#[derive(Default)]
struct Claimed {
    settled: Settled,
    aside: Vec<u64>,
    next: usize,
}

/// A commit claims an event that is not its member's.
#[derive(Debug)]
pub(crate) struct NotHeld;

impl GroupSession {
    /// Claims the events of `commit` for a record, all or none.
    pub(crate) fn claim(
        &mut self,
        (group, durable): (&str, &Group),
        member: MemberId,
        commit: &Commit,
        now: Timestamp,
    ) -> Result<Committed, NotHeld> {
        let mut claimed = Claimed::default();
        let mut done = Vec::new();
        let outcome = (|| {
            for position in &commit.settled {
                if self.claim_one(member, *position, &mut claimed)? {
                    done.push(position.get());
                }
            }
            let others = (commit.retries.iter().map(|retry| retry.position))
                .chain(commit.parked.iter().map(|parked| parked.position))
                .chain(commit.dead.iter().map(|dead| dead.position));
            for position in others {
                self.claim_one(member, position, &mut claimed)?;
            }
            Ok(())
        })();
        claimed.settled.normalise();
        if let Err(not_held) = outcome {
            self.give_back(&claimed.settled, &claimed.aside);
            return Err(not_held);
        }
        Ok(Committed {
            group: group.to_owned(),
            member: Some(member),
            at: now,
            settled: claimed.settled,
            done,
            retries: commit.retries.iter().map(Retried::from).collect(),
            parked: commit
                .parked
                .iter()
                .map(|it| Parked::of(&it.envelope, it.position))
                .collect(),
            dead: self.died(&durable.set_aside, commit),
            cells: commit.state.iter().map(CellWrite::from).collect(),
            deferred: Vec::new(),
        })
    }

    /// The dead letters of a commit. When as many events are put aside as may be, those that were
    /// to be skipped hold up their keys, so that a key adds one and no more.
    fn died(&self, lanes: &SetAside, commit: &Commit) -> Vec<Died> {
        let mut died: Vec<Died> = commit.dead.iter().map(Died::from).collect();
        for (count, died) in died.iter_mut().enumerate() {
            let is_full = lanes.len() + count >= self.bounds.parked_max;
            died.is_stopped = is_full && !died.blocks;
            died.blocks |= is_full;
        }
        died
    }

    /// Claims one event; whether it was put aside before.
    fn claim_one(
        &mut self,
        member: MemberId,
        position: Position,
        claimed: &mut Claimed,
    ) -> Result<bool, NotHeld> {
        let position = position.get();
        if let Some(entry) = self.window.find(position, &mut claimed.next)
            && entry.owner == Some(member)
            && entry.status == Status::Held
        {
            entry.status = Status::Committing;
            claimed.settled.push(entry.from, position + 1);
            return Ok(false);
        }
        let out = self.out.get_mut(&position);
        match out.filter(|out| out.owner == member && !out.is_committing) {
            Some(out) => {
                out.is_committing = true;
                claimed.aside.push(position);
                Ok(true)
            }
            None => Err(NotHeld),
        }
    }

    /// What a claimed commit holds is its member's again.
    pub(crate) fn unclaim(&mut self, committed: &Committed) {
        let aside: Vec<u64> = aside(committed).collect();
        self.give_back(&committed.settled, &aside);
    }

    fn give_back(&mut self, settled: &Settled, aside: &[u64]) {
        for entry in self.window.within(settled) {
            if entry.status == Status::Committing {
                entry.status = Status::Held;
            }
        }
        for position in aside {
            if let Some(out) = self.out.get_mut(position) {
                out.is_committing = false;
            }
        }
    }

    /// A commit is durable, and `group` has it.
    pub(crate) fn committed(&mut self, group: &Group, committed: &Committed, now: Timestamp) {
        let mut lanes: HashSet<TopicKey> = HashSet::default();
        if committed.member.is_none() {
            lanes.extend(self.aside.committed());
        }
        let mut moved = self.settle(&committed.settled);
        for position in aside(committed) {
            if let Some(out) = self.out.remove(&position) {
                self.stale.remove(out.hash, position);
                moved |= self.take_back(out.owner, out.hash, out.bytes);
                lanes.insert(out.lane);
            }
        }
        for parked in &committed.parked {
            if committed.member.is_some() {
                lanes.insert(TopicKey::new(&parked.topic, &parked.key));
            }
        }
        let retried = committed.retries.iter();
        let retried = retried.map(|it| (&it.topic, &it.key, true));
        let dead = committed.dead.iter();
        let dead = dead.map(|it| (&it.topic, &it.key, it.blocks));
        let mut blocked = HashSet::default();
        for (topic, key, blocks) in retried.chain(dead) {
            if blocks {
                blocked.insert(self.hasher.hash_of(topic, key));
            }
            lanes.insert(TopicKey::new(topic, key));
        }
        self.are_blocked(&blocked);
        for lane in lanes {
            self.refresh(group, &lane, now);
        }
        if let Some(careful) = &mut self.careful
            && self.seats.iter().all(|seat| seat.held == 0)
        {
            careful.held = None;
            if careful.events_left == 0 && careful.retries_left == 0 {
                self.careful = None;
            }
        }
        if moved {
            self.redistribute();
        }
        self.wake_all();
    }

    /// Marks what a commit settles; whether a slot changed hands.
    fn settle(&mut self, settled: &Settled) -> bool {
        let mut moved = false;
        let mut count = 0;
        // One member at a time is the rule: its counters are touched once.
        let (mut owner, mut held, mut bytes) = (None, 0, 0);
        let (window, slots, seats) = (&mut self.window, &mut self.slots, &mut self.seats);
        let (stale, turns) = (&mut self.stale, &mut self.turns);
        for entry in window.within(settled) {
            match entry.status {
                Status::Committing => {
                    owner = entry.owner;
                    held += 1;
                    bytes += entry.bytes as usize;
                    moved |= slots.take_back(entry.lane.slot());
                    turns.take_back(entry.lane, entry.bytes);
                    stale.remove(entry.lane, entry.position);
                }
                Status::Parking => {}
                Status::Ready | Status::Held | Status::Settled => continue,
            }
            entry.status = Status::Settled;
            count += 1;
        }
        window.settle(count);
        if let Some(seat) = seats.iter_mut().find(|seat| Some(seat.member) == owner) {
            seat.held -= held;
            seat.held_bytes -= bytes;
        }
        moved
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
            self.stand_up(group, member, now);
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

    /// Puts fetched events where their member finds them.
    pub(crate) fn fetched(&mut self, member: MemberId, events: Vec<(u64, Envelope)>) {
        if let Some(seat) = self.seat(member) {
            seat.fetched.clear();
            seat.fetched.extend(events);
        }
    }

    /// The positions of the events that were read for nobody yet.
    pub(crate) fn ready(&self) -> impl Iterator<Item = u64> {
        let ready = self.seats.iter().flat_map(|seat| &seat.ready);
        let ready = ready.map(|ready| ready.position);
        ready.chain(self.turns.iter().map(|lined| lined.position))
    }
}

/// The positions of a commit that may have been put aside before.
fn aside(committed: &Committed) -> impl Iterator<Item = u64> {
    (committed.done.iter().copied())
        .chain(committed.retries.iter().map(|it| it.position))
        .chain(committed.parked.iter().map(|it| it.position))
        .chain(committed.dead.iter().map(|it| it.position))
}

impl Parked {
    fn of(envelope: &Envelope, position: Position) -> Self {
        let (topic, key) = (envelope.topic().to_owned(), envelope.key().to_owned());
        Self {
            position: position.get(),
            topic,
            key,
        }
    }
}

impl From<&Retry> for Retried {
    fn from(retry: &Retry) -> Self {
        Self {
            position: retry.position.get(),
            topic: retry.envelope.topic().to_owned(),
            key: retry.envelope.key().to_owned(),
            attempt: retry.attempt,
            due: retry.due,
            reason: record::shorten(&retry.reason),
        }
    }
}

impl From<&Death> for Died {
    fn from(death: &Death) -> Self {
        Self {
            position: death.position.get(),
            topic: death.envelope.topic().to_owned(),
            key: death.envelope.key().to_owned(),
            id: death.envelope.id().to_owned(),
            source: death.envelope.source().to_owned(),
            kind: death.envelope.kind().to_owned(),
            attempts: death.attempts,
            cause: death.cause,
            reason: record::shorten(&death.reason),
            blocks: death.on_dead == OnDead::Park,
            is_stopped: false,
        }
    }
}

impl From<&StateWrite> for CellWrite {
    fn from(write: &StateWrite) -> Self {
        Self {
            topic: write.topic.clone(),
            key: write.key.clone(),
            name: write.name.clone(),
            value: write.value.clone(),
        }
    }
}

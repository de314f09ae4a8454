//! Where in what a group has put aside there is something to do: keys with an event that may go, keys
//! that wait for a time, keys that are to take up their backlogs.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::aside_in_hands::AsideInHands;
use super::limits::AsideLimits;
use super::slot_ownership::SlotOwnership;
use crate::engine::Position;
use crate::model::set_aside::SetAside;
use crate::model::topic_key::{ByKey, TopicKey};
use crate::time::Timestamp;

/// The lanes in which there is something to do.
#[derive(Debug)]
pub(crate) struct AsideIndex {
    limits: AsideLimits,
    /// Lanes with an event that may go now, by its position.
    runnable: BTreeMap<Position, TopicKey>,
    /// Lanes that wait for a time.
    due: BTreeSet<(Timestamp, TopicKey)>,
    /// Lanes that are to take up the next events of their backlogs.
    hungry: BTreeSet<TopicKey>,
    /// What the first two say of a lane.
    known: ByKey<(Option<Position>, Option<Timestamp>)>,
    /// When was looked last for lanes whose time has come.
    looked: Timestamp,
}

impl AsideIndex {
    pub(crate) fn new(limits: AsideLimits, now: Timestamp) -> Self {
        Self {
            limits,
            runnable: BTreeMap::new(),
            due: BTreeSet::new(),
            hungry: BTreeSet::new(),
            known: ByKey::default(),
            looked: now,
        }
    }

    /// The first lane with an event at or after `from` that may go now.
    pub(crate) fn runnable(&self, from: Position) -> Option<(Position, TopicKey)> {
        let (position, lane) = self.runnable.range(from..).next()?;
        Some((*position, lane.clone()))
    }

    /// When the next lane's time comes.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    pub(crate) fn is_any_hungry(&self) -> bool {
        !self.hungry.is_empty()
    }

    /// The lanes that are to take up the next events of their backlogs: those after `last` first.
    pub(crate) fn hungry<'a>(
        &'a self,
        last: Option<&'a TopicKey>,
    ) -> impl Iterator<Item = &'a TopicKey> {
        let after = last.map_or(Bound::Unbounded, Bound::Excluded);
        let later = self.hungry.range((after, Bound::Unbounded));
        later.chain(&self.hungry).take(self.hungry.len())
    }

    /// Looks again at what of a lane may go.
    pub(crate) fn refresh(
        &mut self,
        set_aside: &SetAside,
        (ownership, in_hands): (&SlotOwnership, &AsideInHands),
        lane: &TopicKey,
        now: Timestamp,
    ) {
        if !ownership.has_key(lane) {
            self.set(lane, None, None);
            self.hungry.remove(lane);
            return;
        }
        let few = self.limits.few(set_aside.len());
        if set_aside.wants_more(lane, few) {
            self.hungry.insert(lane.clone());
        } else if !self.hungry.is_empty() {
            self.hungry.remove(lane);
        }
        let found = set_aside.deliverable(lane, now, 1, |position| in_hands.has(position));
        self.set(lane, found.now.first().copied(), found.due);
    }

    /// Looks again at the lanes whose time has come: at all that wait when the clock was set back,
    /// because it is unknown how long they have waited.
    pub(crate) fn refresh_due(
        &mut self,
        set_aside: &SetAside,
        parts: (&SlotOwnership, &AsideInHands),
        now: Timestamp,
    ) {
        if now.is_set_back(std::mem::replace(&mut self.looked, now)) {
            let waiting = self.due.iter();
            let waiting: Vec<TopicKey> = waiting.map(|(_, lane)| lane.clone()).collect();
            for lane in waiting {
                self.refresh(set_aside, parts, &lane, now);
            }
        }
        while let Some((due, lane)) = self.due.first().cloned()
            && due <= now
        {
            self.refresh(set_aside, parts, &lane, now);
        }
    }

    fn set(&mut self, lane: &TopicKey, runnable: Option<Position>, due: Option<Timestamp>) {
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
}

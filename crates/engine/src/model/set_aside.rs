//! What a group has put aside, durably: events that wait for another attempt, events parked behind
//! them, dead letters. One lane per topic and key, in the order of positions.
//!
//! A lane that holds anything but dead letters that are to be skipped is *occupied*: a later event
//! of its key must go to its end, or it would overtake. A lane keeps so many events and no more:
//! what is beyond them is the key's *backlog*.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::backlog::{Backlog, Backlogs};
use super::item::{Dead, Item, State};
use super::item::{Stored, Texts};
use super::record::{Deferred, Died, Parked, Retried};
use super::topic_key::{KeyRef, TopicKey};
use crate::engine::Position;
use crate::time::Timestamp;

/// The events of one key that wait, or are waited for: not dead letters that were skipped.
#[derive(Clone, Debug, Default, PartialEq)]
struct Lane {
    positions: BTreeSet<Position>,
    /// How many of them hold it up.
    holding_up: usize,
}

/// Everything a group has put aside.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SetAside {
    items: BTreeMap<Position, Item>,
    lanes: HashMap<TopicKey, Lane, foldhash::fast::RandomState>,
    backlogs: Backlogs,
    retrying: usize,
    dead: usize,
    stopped: usize,
    /// Lanes that something holds up.
    blocked: usize,
    texts: Texts,
}

/// What of a lane can be delivered.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Deliverable {
    /// The first events that may go now, in order.
    pub(crate) now: Vec<Position>,
    /// When the one that holds up the rest may go.
    pub(crate) due: Option<Timestamp>,
}

impl SetAside {
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.backlogs.is_empty()
    }

    pub(crate) fn backlogs(&self) -> &Backlogs {
        &self.backlogs
    }

    /// What of the key waits in the log alone.
    pub(crate) fn backlog(&self, lane: KeyRef<'_>) -> Option<Backlog> {
        self.backlogs.get(lane)
    }

    /// Gives a key a backlog as it had one elsewhere.
    pub(crate) fn set_backlog(&mut self, lane: TopicKey, backlog: Backlog) {
        self.backlogs.set(lane, backlog);
    }

    pub(crate) fn retrying(&self) -> usize {
        self.retrying
    }

    pub(crate) fn dead(&self) -> usize {
        self.dead
    }

    /// How many keys wait behind a dead letter only because nothing more can be put aside.
    pub(crate) fn stopped(&self) -> usize {
        self.stopped
    }

    /// How many keys are blocked: something of theirs has to end before later events go on.
    pub(crate) fn blocked(&self) -> usize {
        self.blocked
    }

    /// How many events are parked, those that wait in the log alone included.
    pub(crate) fn parked(&self) -> usize {
        self.items.len() - self.retrying - self.dead + self.backlogs.events() as usize
    }

    /// Everything that was put aside, in the order of positions.
    pub(crate) fn items(&self) -> impl Iterator<Item = (Position, &Item)> {
        self.items.iter().map(|(position, item)| (*position, item))
    }

    /// Adds what another has put aside.
    pub(crate) fn extend(&mut self, other: &Self) {
        for (position, item) in other.items() {
            self.insert(position, item.clone());
        }
        for (lane, backlog) in other.backlogs.iter() {
            self.set_backlog(lane.clone(), backlog);
        }
    }

    /// Puts an event aside as it was put aside elsewhere.
    pub(crate) fn insert(&mut self, position: Position, item: Item) {
        self.remove(position);
        self.put(position, item);
    }

    pub(crate) fn item(&self, position: Position) -> Option<&Item> {
        self.items.get(&position)
    }

    /// Whether an event of this key at `position` that was read must go behind others.
    pub(crate) fn is_occupied(&self, lane: KeyRef<'_>, position: Position) -> bool {
        self.lanes.contains_key(&lane)
            || (!self.backlogs.is_empty()
                && self.backlog(lane).is_some_and(|it| it.from <= position))
    }

    /// How many events of a lane wait, or are waited for.
    pub(crate) fn count_of(&self, lane: &TopicKey) -> usize {
        self.lanes.get(lane).map_or(0, |lane| lane.positions.len())
    }

    /// The last event that a lane keeps.
    pub(crate) fn last_of(&self, lane: &TopicKey) -> Option<Position> {
        self.lanes.get(lane)?.positions.last().copied()
    }

    /// Whether a lane has a backlog, nothing that holds it up and at most `few` events left.
    pub(crate) fn wants_more(&self, lane: &TopicKey, few: usize) -> bool {
        !self.backlogs.is_empty()
            && self.backlog(lane.as_ref()).is_some()
            && (self.lanes.get(lane))
                .is_none_or(|lane| lane.holding_up == 0 && lane.positions.len() <= few)
    }

    /// Whether nothing holds up the key.
    pub(crate) fn is_free(&self, lane: &TopicKey) -> bool {
        self.lanes.get(lane).is_none_or(|lane| lane.holding_up == 0)
    }

    /// How many keys wait, or are waited for: half of them at least.
    pub(crate) fn keys_waiting(&self) -> usize {
        self.lanes.len().max(self.backlogs.len())
    }

    /// The keys of everything that is kept and of all backlogs.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &TopicKey> {
        let backlogs = self.backlogs.iter().map(|(lane, _)| lane);
        let alone = backlogs.filter(|lane| !self.lanes.contains_key(*lane));
        self.lanes.keys().chain(alone)
    }

    /// The oldest event that the log must keep.
    pub(crate) fn first(&self) -> Option<Position> {
        let item = self.items.first_key_value().map(|(position, _)| *position);
        item.into_iter().chain(self.backlogs.first()).min()
    }

    /// The oldest event that waits for an attempt: for its time, or for nothing but its turn.
    pub(crate) fn first_waiting(&self) -> Option<Position> {
        if self.items.len() == self.dead {
            return None;
        }
        let is_free = |lane: &TopicKey| self.lanes.get(lane).is_some_and(|it| it.holding_up == 0);
        let is_waiting = |item: &Item| match item.state {
            State::Retrying { .. } => true,
            State::Parked => is_free(&item.lane),
            State::Dead(_) => false,
        };
        self.items
            .iter()
            .find(|(_, item)| is_waiting(item))
            .map(|(position, _)| *position)
    }

    /// When the next attempt is due, whatever it waits behind.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        if self.retrying == 0 {
            return None;
        }
        let due = self.items.values().filter_map(|item| match item.state {
            State::Retrying { due, .. } => Some(due),
            _ => None,
        });
        due.min()
    }

    /// What waits for an attempt or behind one, by position.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = Position> {
        let is_waiting = |item: &Item| !matches!(item.state, State::Dead(_));
        let waiting = self.items().filter(move |(_, item)| is_waiting(item));
        waiting.map(|(position, _)| position)
    }

    /// The dead letters, the oldest first.
    pub(crate) fn dead_letters(&self) -> impl Iterator<Item = (Position, &Item, &Dead)> {
        self.items
            .iter()
            .filter_map(|(position, item)| match &item.state {
                State::Dead(dead) => Some((*position, item, dead.as_ref())),
                _ => None,
            })
    }

    /// Whether there is a dead letter at `position`.
    pub(crate) fn is_dead(&self, position: Position) -> bool {
        let item = self.items.get(&position);
        item.is_some_and(|item| matches!(item.state, State::Dead(_)))
    }

    /// How many events are parked behind `position` in its lane.
    pub(crate) fn parked_behind(&self, position: Position, lane: &TopicKey) -> usize {
        let backlog = self.backlog(lane.as_ref());
        let backlog = backlog.map_or(0, |backlog| backlog.events as usize);
        let Some(lane) = self.lanes.get(lane) else {
            return backlog;
        };
        let later = lane.positions.range(position.next()..);
        let parked = |position: &&Position| {
            self.items
                .get(position)
                .is_some_and(|item| item.state == State::Parked)
        };
        later.filter(parked).count() + backlog
    }

    /// How many parked events may go: nothing of their key is before them that has to end first.
    pub(crate) fn ready(&self, is_out: impl Fn(Position) -> bool) -> usize {
        let of_lane = |lane: &Lane| {
            let items = lane
                .positions
                .iter()
                .filter_map(|at| Some((*at, self.items.get(at)?)));
            let free = items.take_while(|(_, item)| !item.holds_up());
            free.filter(|(at, item)| item.state == State::Parked && !is_out(*at))
                .count()
        };
        let is_free = |lane: &TopicKey| self.wants_more(lane, usize::MAX);
        let backlogs = self.backlogs.iter().filter(|(lane, _)| is_free(lane));
        let backlogs: u64 = backlogs.map(|(_, backlog)| backlog.events).sum();
        self.lanes.values().map(of_lane).sum::<usize>() + backlogs as usize
    }

    /// The first up to `max` events of a lane that may go at `now`. Nothing goes past a dead
    /// letter that blocks, a retry that is not due, or a retry whose attempt is under way; parked
    /// events that are in a member's hands (`is_out`) are passed over.
    pub(crate) fn deliverable(
        &self,
        lane: &TopicKey,
        now: Timestamp,
        max: usize,
        is_out: impl Fn(Position) -> bool,
    ) -> Deliverable {
        let mut found = Deliverable::default();
        let positions = self
            .lanes
            .get(lane)
            .into_iter()
            .flat_map(|lane| &lane.positions);
        for position in positions {
            if found.now.len() >= max {
                return found;
            }
            match self.items.get(position).map(|item| &item.state) {
                Some(State::Dead(dead)) if dead.blocks => return found,
                None | Some(State::Dead(_)) => {}
                Some(State::Parked) => {
                    if !is_out(*position) {
                        found.now.push(*position);
                    }
                }
                Some(State::Retrying { due, since }) => {
                    if is_out(*position) {
                    } else if *due <= now || now.is_set_back(*since) {
                        found.now.push(*position);
                    } else {
                        found.due = Some(*due);
                    }
                    return found;
                }
            }
        }
        found
    }

    pub(crate) fn park(&mut self, parked: &Parked) {
        let mut item = self.take(parked.position, &parked.topic, &parked.key);
        item.state = State::Parked;
        self.put(parked.position, item);
    }

    /// What becomes of a key's backlog.
    pub(crate) fn defer(&mut self, deferred: &Deferred) {
        let (topic, key) = (&deferred.topic, &deferred.key);
        for position in &deferred.taken {
            let item = self.take(*position, topic, key);
            self.put(*position, item);
        }
        let lane = self.lane_key(topic, key);
        self.backlogs.apply(&lane, deferred);
    }

    pub(crate) fn retry(&mut self, retried: &Retried, at: Timestamp) {
        let mut item = self.take(retried.position, &retried.topic, &retried.key);
        item.attempts = retried.attempt;
        item.state = State::Retrying {
            due: retried.due,
            since: at,
        };
        self.put(retried.position, item);
    }

    pub(crate) fn die(&mut self, died: &Died, at: Timestamp) {
        let mut item = self.take(died.position, &died.topic, &died.key);
        item.attempts = died.attempts;
        item.state = State::Dead(Box::new(Dead::new(died, at, &mut self.texts)));
        self.put(died.position, item);
    }

    /// Gives a dead letter another life.
    pub(crate) fn redrive(&mut self, position: Position, at: Timestamp) {
        if !self.is_dead(position) {
            return;
        }
        if let Some(mut item) = self.remove(position) {
            item.attempts = 0;
            item.redriven += 1;
            item.state = State::Retrying { due: at, since: at };
            self.put(position, item);
        }
    }

    pub(crate) fn discard(&mut self, position: Position) {
        if self.is_dead(position) {
            self.remove(position);
        }
    }

    /// Forgets an event that is done.
    pub(crate) fn remove(&mut self, position: Position) -> Option<Item> {
        let item = self.items.remove(&position)?;
        self.count(&item, false);
        if item.occupies()
            && let Some(lane) = self.lanes.get_mut(&item.lane)
        {
            lane.positions.remove(&position);
            if item.holds_up() {
                lane.holding_up -= 1;
                self.blocked -= usize::from(lane.holding_up == 0);
            }
            if lane.positions.is_empty() {
                self.lanes.remove(&item.lane);
            }
        }
        Some(item)
    }

    /// Drops what a group that is moved to `to` will read again. Of what lies before, all stays
    /// when the group goes back; when it goes forward, dead letters do, and block nothing.
    pub(crate) fn reset(&mut self, to: Position, is_back: bool) {
        let Self {
            items: mut kept,
            backlogs,
            ..
        } = std::mem::take(self);
        for (lane, Backlog { from, .. }) in backlogs.iter().filter(|_| is_back) {
            if from < to {
                // How many of them lie before the place is not known.
                let backlog = Backlog { from, events: 0 };
                self.set_backlog(lane.clone(), backlog);
            }
        }
        kept.split_off(&to);
        for (position, mut item) in kept {
            match &mut item.state {
                State::Dead(dead) => dead.blocks &= is_back,
                State::Parked | State::Retrying { .. } if is_back => {}
                State::Parked | State::Retrying { .. } => continue,
            }
            self.put(position, item);
        }
    }

    /// The item at `position`, taken out, or a fresh one.
    fn take(&mut self, position: Position, topic: &str, key: &str) -> Item {
        self.remove(position).unwrap_or_else(|| Item {
            lane: self.lane_key(topic, key),
            attempts: 0,
            redriven: 0,
            state: State::Parked,
        })
    }

    /// The key, in the memory that it has already, if it has some.
    fn lane_key(&self, topic: &str, key: &str) -> TopicKey {
        let lane = KeyRef(topic, key);
        let known = self.lanes.get_key_value(&lane).map(|(key, _)| key);
        let known = known.or_else(|| self.backlogs.key(lane));
        known.map_or_else(|| TopicKey::new(topic, key), TopicKey::clone)
    }

    fn put(&mut self, position: Position, item: Item) {
        self.count(&item, true);
        if item.occupies() {
            let lane = self.lanes.entry(item.lane.clone()).or_default();
            lane.positions.insert(position);
            if item.holds_up() {
                self.blocked += usize::from(lane.holding_up == 0);
                lane.holding_up += 1;
            }
        }
        self.items.insert(position, item);
    }

    fn count(&mut self, item: &Item, is_added: bool) {
        if matches!(&item.state, State::Dead(dead) if dead.blocks && dead.is_stopped) {
            let stopped = &mut self.stopped;
            *stopped = if is_added { *stopped + 1 } else { *stopped - 1 };
        }
        let counter = match item.state {
            State::Parked => return,
            State::Retrying { .. } => &mut self.retrying,
            State::Dead(_) => &mut self.dead,
        };
        *counter = if is_added { *counter + 1 } else { *counter - 1 };
    }
}

/// All of them.
#[derive(Serialize, Deserialize)]
struct StoredSetAside {
    items: Vec<Stored>,
    backlogs: Backlogs,
}

impl Serialize for SetAside {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let items = self.items.iter().map(|(position, item)| Stored {
            position: *position,
            topic: item.lane.topic().to_owned(),
            key: item.lane.key().to_owned(),
            attempts: item.attempts,
            redriven: item.redriven,
            state: item.state.clone(),
        });
        let (items, backlogs) = (items.collect(), self.backlogs.clone());
        StoredSetAside { items, backlogs }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SetAside {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let StoredSetAside { items, backlogs } = StoredSetAside::deserialize(deserializer)?;
        let mut lanes = Self {
            backlogs,
            ..Self::default()
        };
        for stored in items {
            let mut item = lanes.take(stored.position, &stored.topic, &stored.key);
            item.attempts = stored.attempts;
            item.redriven = stored.redriven;
            item.state = stored.state;
            if let State::Dead(dead) = &mut item.state {
                dead.share(&mut lanes.texts);
            }
            lanes.put(stored.position, item);
        }
        Ok(lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::DeathCause;

    fn at(number: u64) -> Position {
        Position::new(number)
    }

    /// The numbers of positions.
    fn numbers(positions: Vec<Position>) -> Vec<u64> {
        positions.into_iter().map(Position::get).collect()
    }

    fn parked(position: u64) -> Parked {
        Parked {
            position: at(position),
            topic: "t".into(),
            key: "k".into(),
        }
    }

    fn retried(position: u64, due: i64) -> Retried {
        Retried {
            position: at(position),
            topic: "t".into(),
            key: "k".into(),
            attempt: 1,
            due: Timestamp::from_micros(due),
            reason: String::new(),
        }
    }

    #[test]
    fn parked_events_wait_for_the_retry_before_them() {
        let mut lanes = SetAside::default();
        let key = TopicKey::new("t", "k");
        lanes.retry(&retried(5, 100), Timestamp::from_micros(90));
        lanes.park(&parked(7));
        lanes.park(&parked(8));
        let found = |lanes: &SetAside, now, out: &[u64]| {
            let is_out = |position: Position| out.contains(&position.get());
            lanes.deliverable(&key, Timestamp::from_micros(now), 10, is_out)
        };
        let now = |lanes: &SetAside, now, out: &[u64]| numbers(found(lanes, now, out).now);
        let due = Some(Timestamp::from_micros(100));
        assert_eq!(found(&lanes, 99, &[]), Deliverable { now: vec![], due });
        let set_back = now(&lanes, 90 - 2_000_000, &[]);
        assert_eq!(set_back, [5], "it is unknown how long it has waited");
        assert_eq!(now(&lanes, 100, &[]), [5]);
        assert_eq!(now(&lanes, 100, &[5]), [0; 0], "nothing overtakes a retry");
        lanes.remove(at(5));
        assert_eq!(now(&lanes, 100, &[]), [7, 8]);
        assert_eq!(now(&lanes, 100, &[7]), [8]);
        assert!(lanes.is_occupied(KeyRef("t", "k"), at(9)));
        lanes.remove(at(7));
        lanes.remove(at(8));
        assert!(!lanes.is_occupied(KeyRef("t", "k"), at(9)) && lanes.is_empty());
    }

    #[test]
    fn a_dead_letter_blocks_until_it_is_redriven_or_discarded() {
        let mut lanes = SetAside::default();
        let key = TopicKey::new("t", "k");
        let died = Died {
            position: at(5),
            topic: "t".into(),
            key: "k".into(),
            id: "i".into(),
            source: "/s".into(),
            kind: "e".into(),
            attempts: 3,
            cause: DeathCause::Exhausted,
            reason: "r".into(),
            blocks: true,
            is_stopped: false,
        };
        lanes.die(&died, Timestamp::EPOCH);
        lanes.park(&parked(6));
        let now = |lanes: &SetAside| {
            numbers(lanes.deliverable(&key, Timestamp::EPOCH, 10, |_| false).now)
        };
        assert_eq!(now(&lanes), [0; 0]);
        assert_eq!(lanes.parked_behind(at(5), &key), 1);
        assert_eq!((lanes.dead(), lanes.parked(), lanes.retrying()), (1, 1, 0));

        let mut redriven = lanes.clone();
        redriven.redrive(at(5), Timestamp::EPOCH);
        assert_eq!(now(&redriven), [5]);
        let item = redriven.item(at(5)).unwrap();
        assert_eq!((item.attempts, item.redriven), (0, 1));

        lanes.discard(at(5));
        assert_eq!(now(&lanes), [6]);

        lanes.die(
            &Died {
                blocks: false,
                ..died
            },
            Timestamp::EPOCH,
        );
        assert_eq!(now(&lanes), [6], "a skipped dead letter blocks nothing");
        lanes.remove(at(6));
        assert!(!lanes.is_occupied(KeyRef("t", "k"), at(9)));
        let bytes = rmp_serde::to_vec_named(&lanes).unwrap();
        assert_eq!(rmp_serde::from_slice::<SetAside>(&bytes).unwrap(), lanes);
    }
}

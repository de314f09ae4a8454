//! Events that wait for their time. Memory holds when and where; the events are in the log.
//!
//! A schedule goes by a name, within its source: its timer's, or the id of its event. A timer's name stands for the
//! last event that was scheduled under it, and can be used again and again; an id names one event.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::record::{Firing, Scheduled};
use crate::engine::Position;
use crate::event::EventId;
use crate::time::Timestamp;

/// When an event is due, and the position of the record that holds it.
pub(crate) type Due = (Timestamp, Position);

/// All scheduled events: the fold of their control records.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Schedules {
    names: HashMap<Arc<EventId>, Due, foldhash::fast::RandomState>,
    due: BTreeMap<Due, Arc<EventId>>,
}

impl Schedules {
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// The position of the record that schedules `name`.
    pub(crate) fn get(&self, name: &EventId) -> Option<Position> {
        self.names.get(name).map(|(_, position)| *position)
    }

    /// Whether this very event waits under its name.
    pub(crate) fn is_pending(&self, firing: &Firing) -> bool {
        self.get(&firing.name) == Some(firing.position)
    }

    /// Whether this very event waits under its name, and is due by `latest`.
    pub(crate) fn may_fire(&self, firing: &Firing, latest: Timestamp) -> bool {
        let due = self.names.get(&firing.name);
        due.is_some_and(|(at, position)| *position == firing.position && *at <= latest)
    }

    /// When the next is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// In the order in which they are due.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Due, &Arc<EventId>)> {
        self.due.iter().map(|(due, name)| (*due, name))
    }

    /// The record at `position` schedules an event: in place of what is pending under its name, if
    /// that is a timer's; otherwise unless something is.
    pub(crate) fn schedule(&mut self, scheduled: &Scheduled, position: Position) {
        if self.names.contains_key(&scheduled.name) {
            if !scheduled.is_timer {
                return;
            }
            self.remove(&scheduled.name);
        }
        self.insert(scheduled.name.clone(), scheduled.at, position);
    }

    /// Events were appended.
    pub(crate) fn fire(&mut self, events: &[Firing]) {
        for firing in events {
            if self.is_pending(firing) {
                self.remove(&firing.name);
            }
        }
    }

    /// Names are to stand for nothing.
    pub(crate) fn cancel(&mut self, names: &[EventId]) {
        names.iter().for_each(|name| self.remove(name));
    }

    fn insert(&mut self, name: EventId, at: Timestamp, position: Position) {
        let name = Arc::new(name);
        self.names.insert(name.clone(), (at, position));
        self.due.insert((at, position), name);
    }

    fn remove(&mut self, name: &EventId) {
        if let Some(due) = self.names.remove(name) {
            self.due.remove(&due);
        }
    }

    /// The oldest record that must stay in the log.
    pub(crate) fn floor(&self) -> Option<Position> {
        self.oldest().map(|(position, _)| position)
    }

    /// The oldest record, and the name that it schedules.
    pub(crate) fn oldest(&self) -> Option<(Position, &EventId)> {
        let all = self.due.iter();
        let all = all.map(|((_, position), name)| (*position, name.as_ref()));
        all.min_by_key(|(position, _)| *position)
    }
}

impl Serialize for Schedules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            self.due
                .iter()
                .map(|((at, position), name)| (name.as_ref(), at, position)),
        )
    }
}

impl<'de> Deserialize<'de> for Schedules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut schedules = Self::default();
        for (name, at, position) in
            Vec::<(EventId, Timestamp, Position)>::deserialize(deserializer)?
        {
            schedules.insert(name, at, position);
        }
        Ok(schedules)
    }
}

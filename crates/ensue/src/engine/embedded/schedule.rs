//! Events that wait for their time. Memory holds when and where; the events are in the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::EventId;
use crate::time::Timestamp;

/// When an event is due, and the position of the record that holds it.
pub(super) type Due = (Timestamp, u64);

/// All scheduled events: the fold of their control records.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Schedules {
    ids: HashMap<Arc<EventId>, Due, foldhash::fast::RandomState>,
    due: BTreeMap<Due, Arc<EventId>>,
}

impl Schedules {
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The position of the record that schedules `id`.
    pub(super) fn get(&self, id: &EventId) -> Option<u64> {
        self.ids.get(id).map(|(_, position)| *position)
    }

    /// When the next is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// In the order in which they are due.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Due, &Arc<EventId>)> {
        self.due.iter().map(|(due, id)| (*due, id))
    }

    /// Adds an event, unless its id is pending already.
    pub(super) fn add(&mut self, id: &EventId, at: Timestamp, position: u64) {
        if self.ids.contains_key(id) {
            return;
        }
        let id = Arc::new(id.clone());
        self.ids.insert(id.clone(), (at, position));
        self.due.insert((at, position), id);
    }

    /// Takes events out, because they were appended or cancelled.
    pub(super) fn remove_all(&mut self, ids: &[EventId]) {
        for id in ids {
            if let Some(due) = self.ids.remove(id) {
                self.due.remove(&due);
            }
        }
    }

    /// The oldest record that must stay in the log.
    pub(super) fn floor(&self) -> Option<u64> {
        self.due.keys().map(|(_, position)| *position).min()
    }
}

impl Serialize for Schedules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            self.due
                .iter()
                .map(|((at, position), id)| (id.as_ref(), at, position)),
        )
    }
}

impl<'de> Deserialize<'de> for Schedules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut schedules = Self::default();
        for (id, at, position) in Vec::<(EventId, Timestamp, u64)>::deserialize(deserializer)? {
            schedules.add(&id, at, position);
        }
        Ok(schedules)
    }
}

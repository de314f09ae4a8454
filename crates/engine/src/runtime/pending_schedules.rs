//! The schedules as they will be once everything that was submitted is durable.
//!
//! What is decided while records are on their way (is this name pending? how many will there be?)
//! goes by this, so that it agrees with the order of the log. It decides nothing by itself: the
//! fold of the records does, and forgets here what it has applied.

use hashbrown::HashMap;

use crate::engine::Position;
use crate::event::EventId;
use crate::model::change::Change;
use crate::model::schedule::Schedules;
use crate::pending_write::PendingWrite;

/// Names that records on their way are about.
#[derive(Debug, Default)]
pub(crate) struct PendingSchedules {
    names: HashMap<EventId, Touched, foldhash::fast::RandomState>,
    /// How many of them are going to be scheduled.
    coming: usize,
}

#[derive(Debug)]
struct Touched {
    /// How many records on their way are about it.
    records: usize,
    /// The record of the last batch that schedules it, unless it is going to be free.
    scheduled_by: Option<usize>,
    /// The last batch.
    submitted: PendingWrite,
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// Nothing.
    Free,
    /// The event in the record at this position.
    Pending(Position),
    /// The event in this record of a batch that is not durable yet.
    Coming(usize, Box<PendingWrite>),
}

impl Fate {
    pub(crate) fn is_free(&self) -> bool {
        matches!(self, Self::Free)
    }
}

impl PendingSchedules {
    /// A record was submitted, as the `index`-th of its batch; whether it is about schedules.
    pub(crate) fn submitted(
        &mut self,
        index: usize,
        change: &Change,
        submitted: &PendingWrite,
    ) -> bool {
        match change {
            Change::Scheduled(scheduled) => self.touch(&scheduled.name, Some(index), submitted),
            Change::Fired(fired) => {
                for firing in &fired.events {
                    self.touch(&firing.name, None, submitted);
                }
            }
            Change::Cancelled(cancelled) => {
                for name in &cancelled.names {
                    self.touch(name, None, submitted);
                }
            }
            _ => return false,
        }
        true
    }

    fn touch(&mut self, name: &EventId, scheduled_by: Option<usize>, submitted: &PendingWrite) {
        self.coming += usize::from(scheduled_by.is_some());
        let Some(touched) = self.names.get_mut(name) else {
            let touched = Touched {
                records: 1,
                scheduled_by,
                submitted: submitted.clone(),
            };
            self.names.insert(name.clone(), touched);
            return;
        };
        self.coming -= usize::from(touched.scheduled_by.is_some());
        touched.records += 1;
        touched.scheduled_by = scheduled_by;
        touched.submitted = submitted.clone();
    }

    /// A record that was submitted has an outcome, and was applied or failed.
    pub(crate) fn concluded(&mut self, change: &Change) {
        match change {
            Change::Scheduled(scheduled) => self.release(&scheduled.name),
            Change::Fired(fired) => fired.events.iter().for_each(|it| self.release(&it.name)),
            Change::Cancelled(it) => it.names.iter().for_each(|name| self.release(name)),
            _ => {}
        }
    }

    fn release(&mut self, name: &EventId) {
        let Some(touched) = self.names.get_mut(name) else {
            return;
        };
        touched.records -= 1;
        if touched.records == 0 {
            self.coming -= usize::from(touched.scheduled_by.is_some());
            self.names.remove(name);
        }
    }

    /// What `name` is going to stand for.
    pub(crate) fn fate(&self, durable: &Schedules, name: &EventId) -> Fate {
        match self.names.get(name) {
            Some(touched) => match touched.scheduled_by {
                Some(index) => Fate::Coming(index, Box::new(touched.submitted.clone())),
                None => Fate::Free,
            },
            None => durable.get(name).map_or(Fate::Free, Fate::Pending),
        }
    }

    /// Whether a record on its way is about `name`.
    pub(crate) fn is_touched(&self, name: &EventId) -> bool {
        self.names.contains_key(name)
    }

    /// How many there are going to be at the most.
    pub(crate) fn len_max(&self, durable: &Schedules) -> usize {
        durable.len() + self.coming
    }

    /// How many there are going to be: counts.
    pub(crate) fn len(&self, durable: &Schedules) -> usize {
        let is_new = |(name, it): &(&EventId, &Touched)| {
            it.scheduled_by.is_some() && durable.get(name).is_none()
        };
        let is_old = |(name, it): &(&EventId, &Touched)| {
            it.scheduled_by.is_none() && durable.get(name).is_some()
        };
        let (new, old) = (
            self.names.iter().filter(is_new).count(),
            self.names.iter().filter(is_old).count(),
        );
        durable.len() + new - old
    }

    /// A batch on its way that is about schedules, if there is one.
    pub(crate) fn any(&self) -> Option<PendingWrite> {
        self.names.values().next().map(|it| it.submitted.clone())
    }
}

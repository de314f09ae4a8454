//! Events on their way into the log, now or later: what appends and commits share.

use std::sync::Arc;

use ensue_log as log;
use hashbrown::HashMap;

use crate::engine::{APPEND_EVENTS_MAX, Append, Appended, Effect, Expect, Position};
use crate::error::{EngineError, Error, LimitError, Result};
use crate::event::{EventId, InvalidEvent};
use crate::log_position::{from_log, to_log};
use crate::model::change::Change;
use crate::model::record;
use crate::model::record::{Cancelled, Scheduled};
use crate::pending_write::PendingWrite;
use crate::runtime::engine_inner::EngineInner;
use crate::runtime::locked_state::LockedState;
use crate::runtime::lookup::blocking;
use crate::runtime::pending_changes::Terms;
use crate::runtime::pending_schedules::Fate;
use crate::time::Timestamp;

/// What a record costs beside its texts and its body, in bytes, at the most.
const RECORD_BYTES: usize = 40;

/// What is said in an append or a commit, encoded.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// The events to append now.
    pub(crate) batch: log::Batch,
    /// How many they are; what is decided about the schedules comes behind them.
    events: usize,
    /// What concerns the schedules, in the order in which it was said.
    steps: Vec<Step>,
    /// Whether submitting may have to look something up on disk.
    pub(crate) is_conditional: bool,
    places: Vec<Place>,
}

/// One thing that is said.
#[derive(Clone, Copy)]
pub(crate) enum Said<'a> {
    Append(&'a Append),
    Cancel(&'a EventId),
}

impl<'a> From<&'a Effect> for Said<'a> {
    fn from(effect: &'a Effect) -> Self {
        match effect {
            Effect::Append(append) => Self::Append(append),
            Effect::Cancel(name) => Self::Cancel(name),
        }
    }
}

#[derive(Debug)]
enum Step {
    /// The event with this id is this record of the batch.
    Append {
        id: u128,
        record: usize,
    },
    /// The event with this id is appended now instead of what its timer would append.
    Replace {
        id: u128,
        timer: EventId,
    },
    /// The event with this id, which has this place, is to be appended later.
    Schedule {
        id: u128,
        place: usize,
        scheduled: Scheduled,
    },
    Cancel(EventId),
}

/// What becomes of one event.
#[derive(Debug)]
enum Place {
    /// It is this record of the batch.
    Record(usize),
    /// Nothing is decided.
    Later,
    /// This record of the batch has its id, or schedules it.
    Twin(usize),
    /// The record at this position has its id, or schedules it.
    Known(Position),
    /// This record of this batch, which is not durable yet, schedules it.
    Coming(usize, Box<PendingWrite>),
}

impl Outgoing {
    /// Encodes what is said: outside of every lock.
    pub(crate) fn of<'a>(
        said: impl ExactSizeIterator<Item = Said<'a>> + Clone,
        now: Timestamp,
    ) -> Result<Self> {
        if said.len() > APPEND_EVENTS_MAX {
            return Err(Error::Limit(LimitError {
                what: "the number of events in one append".into(),
                value: said.len() as u64,
                limit: "APPEND_EVENTS_MAX",
                max: APPEND_EVENTS_MAX as u64,
                advice: "append them in several batches",
            }));
        }
        let (mut bytes, mut events, mut schedules) = (0, 0, false);
        for one in said.clone() {
            if let Said::Append(append) = one {
                bytes += append.envelope.content().len() + RECORD_BYTES;
                events += 1;
                schedules |= append.schedule.is_some();
            }
        }
        let mut outgoing = Self {
            batch: log::Batch::with_capacity(bytes),
            ..Self::default()
        };
        outgoing.places.reserve(events);
        for one in said {
            match one {
                Said::Append(append) => outgoing.add(append, now, schedules)?,
                Said::Cancel(name) => outgoing.steps.push(Step::Cancel(name.clone())),
            }
        }
        Ok(outgoing)
    }

    /// Adds an event. `schedules` says that some of the batch may be scheduled: then it matters
    /// which ids the others have.
    fn add(&mut self, append: &Append, now: Timestamp, schedules: bool) -> Result<()> {
        let envelope = &append.envelope;
        if envelope
            .topic_bytes()
            .starts_with(record::CONTROL.as_bytes())
        {
            return Err(InvalidEvent::ReservedTopic(envelope.topic().to_owned()).into());
        }
        if let Some(expect) = append.expect {
            let expect = match expect {
                Expect::Absent => log::Expect::Absent,
                Expect::At(position) => log::Expect::At(to_log(position)),
            };
            self.batch
                .expect(envelope.topic(), envelope.key().as_bytes(), expect);
            self.is_conditional = true;
        }
        let id = || envelope.identity();
        let timer = append.schedule.as_ref().and_then(|it| it.timer.clone());
        if let Some(at) = append
            .schedule
            .as_ref()
            .map(|it| it.at)
            .filter(|at| *at > now)
        {
            self.steps.push(Step::Schedule {
                id: id(),
                place: self.places.len(),
                scheduled: Scheduled {
                    is_timer: timer.is_some(),
                    name: match timer {
                        Some(timer) => EventId::new(envelope.source(), timer),
                        None => envelope.event_id(),
                    },
                    at,
                    topic_bytes: envelope.topic().len(),
                    key_bytes: envelope.key().len(),
                    content: envelope.content().clone(),
                },
            });
            self.places.push(Place::Later);
            return Ok(());
        }
        if let Some(timer) = timer {
            let timer = EventId::new(envelope.source(), timer);
            self.steps.push(Step::Replace { id: id(), timer });
        }
        let record = self.batch.len();
        if schedules {
            self.steps.push(Step::Append { id: id(), record });
        }
        self.places.push(Place::Record(record));
        record::push_event(&mut self.batch, envelope)?;
        self.events = self.batch.len();
        Ok(())
    }

    /// Whether nothing of it concerns the schedules.
    pub(crate) fn is_now(&self) -> bool {
        self.steps.is_empty()
    }

    /// Decides what becomes of the schedules, and adds the control records that say so to the batch,
    /// in order: behind the events, instead of what was decided before. Under the lock, for each
    /// submit: a batch that had no room may find them changed.
    pub(crate) fn decide(
        &mut self,
        locked: &LockedState,
        inner: &EngineInner,
    ) -> Result<Vec<Change>> {
        self.batch.truncate(self.events);
        let mut plan = Plan::new(locked, inner.log(), self.events);
        for step in &self.steps {
            match step {
                Step::Append { id, record } => {
                    plan.appended.entry(*id).or_insert(*record);
                }
                Step::Replace { id, timer } => {
                    if plan.known(*id).is_none() {
                        plan.cancel(timer);
                    }
                }
                Step::Cancel(name) => plan.cancel(name),
                Step::Schedule {
                    id,
                    place,
                    scheduled,
                } => {
                    let found = plan.schedule(*id, scheduled);
                    if let Some(place) = self.places.get_mut(*place) {
                        *place = found;
                    }
                }
            }
        }
        plan.check(inner.settings().schedules_max)?;
        for change in &plan.changes {
            change.push_to(&mut self.batch)?;
        }
        // Memory keeps them without the events, which are in the log.
        Ok(plan.changes.iter().map(Change::light).collect())
    }

    /// The events that were not appended because their ids were known, and where those are.
    pub(crate) async fn duplicates(&self, receipt: &log::Receipt) -> Vec<(usize, Position)> {
        let mut duplicates = Vec::new();
        for (index, place) in self.places.iter().enumerate() {
            let at = match place {
                Place::Record(record) if receipt.is_duplicate(*record) => receipt.position(*record),
                Place::Twin(record) => receipt.position(*record),
                Place::Known(position) => Some(to_log(*position)),
                Place::Coming(record, submitted) => {
                    let durable = PendingWrite::clone(submitted).await.ok();
                    durable.and_then(|receipt| receipt.position(*record))
                }
                Place::Record(_) | Place::Later => None,
            };
            duplicates.extend(at.map(|at| (index, from_log(at))));
        }
        duplicates
    }

    /// What became of the events, once the batch with them is durable.
    pub(crate) async fn appended(self, receipt: &log::Receipt) -> Result<Vec<Appended>> {
        let mut appended = Vec::with_capacity(self.places.len());
        for place in self.places {
            let (position, is_duplicate) = match place {
                Place::Record(index) => (receipt.position(index), receipt.is_duplicate(index)),
                Place::Twin(index) => (receipt.position(index), true),
                Place::Known(at) => (Some(to_log(at)), true),
                Place::Coming(index, submitted) => (submitted.await?.position(index), true),
                // Not reached: nothing is submitted before it is decided.
                Place::Later => (None, false),
            };
            let position = position.ok_or_else(|| {
                EngineError::Stopped(format!(
                    "the log took {} records and did not say where event {} is; this is a fault of \
                     Ensue, report it",
                    receipt.len(),
                    appended.len()
                ))
            })?;
            let position = from_log(position);
            appended.push(Appended {
                position,
                is_duplicate,
            });
        }
        Ok(appended)
    }
}

/// The control records about schedules that a batch is going to have.
struct Plan<'a> {
    locked: &'a LockedState,
    log: &'a log::Log,
    /// How many records of the batch come before them.
    before: usize,
    changes: Vec<Change>,
    /// What the batch makes of names: the record that schedules one, or nothing.
    names: HashMap<EventId, Option<usize>>,
    /// The ids of the batch's own events.
    appended: HashMap<u128, usize>,
    /// How many schedules there will be more, or fewer.
    growth: isize,
}

impl<'a> Plan<'a> {
    fn new(locked: &'a LockedState, log: &'a log::Log, before: usize) -> Self {
        Self {
            locked,
            log,
            before,
            changes: Vec::new(),
            names: HashMap::default(),
            appended: HashMap::default(),
            growth: 0,
        }
    }

    /// What has this id already.
    fn known(&self, id: u128) -> Option<Place> {
        let twin = self.appended.get(&id).copied().map(Place::Twin);
        twin.or_else(|| Some(Place::Known(from_log(self.log.find(id)?))))
    }

    /// What a name is going to stand for before the batch's next record.
    fn pending(&self, name: &EventId) -> Option<Place> {
        match self.names.get(name) {
            Some(record) => record.map(Place::Twin),
            None => match self.locked.fate(name) {
                Fate::Free => None,
                Fate::Pending(position) => Some(Place::Known(position)),
                Fate::Coming(index, submitted) => Some(Place::Coming(index, submitted)),
            },
        }
    }

    fn schedule(&mut self, id: u128, scheduled: &Scheduled) -> Place {
        // A duplicate would never be appended, and no error would say so.
        if let Some(known) = self.known(id) {
            return known;
        }
        match self.pending(&scheduled.name) {
            Some(pending) if !scheduled.is_timer => return pending,
            Some(_) => {}
            None => self.growth += 1,
        }
        let record = self.before + self.changes.len();
        self.names.insert(scheduled.name.clone(), Some(record));
        self.changes.push(Change::Scheduled(scheduled.clone()));
        Place::Record(record)
    }

    fn cancel(&mut self, name: &EventId) {
        // Also when nothing is known to be pending: where several processes share the log, another
        // one may have scheduled it.
        self.growth -= isize::from(self.pending(name).is_some());
        self.names.insert(name.clone(), None);
        let name = name.clone();
        match self.changes.last_mut() {
            Some(Change::Cancelled(cancelled)) => cancelled.names.push(name),
            _ => self
                .changes
                .push(Change::Cancelled(Cancelled { names: vec![name] })),
        }
    }

    fn check(&self, schedules_max: usize) -> Result<()> {
        let with = |len: usize| len.saturating_add_signed(self.growth);
        let (at_most, counted) = self.locked.schedules_len();
        if self.growth <= 0 || with(at_most) <= schedules_max {
            return Ok(());
        }
        let len = with(counted());
        if len <= schedules_max {
            return Ok(());
        }
        Err(Error::Limit(LimitError {
            what: "the number of scheduled events".into(),
            value: len as u64,
            limit: "schedules_max",
            max: schedules_max as u64,
            advice: "raise the limit in the engine's URL, or schedule less",
        }))
    }
}

/// See [`Driver::append`](crate::engine::Driver::append).
pub(crate) async fn append(inner: Arc<EngineInner>, appends: Vec<Append>) -> Result<Vec<Appended>> {
    inner.check_open()?;
    let mut outgoing = Outgoing::of(appends.iter().map(Said::Append), inner.now())?;
    drop(appends);
    inner.warm().await?;
    let is_now = outgoing.is_now();
    let submitted = if is_now {
        submit_events(&inner, &mut outgoing).await?
    } else {
        submit_later(&inner, &mut outgoing).await?
    };
    let receipt = submitted.await?;
    if !is_now {
        inner.locked().advance();
    }
    outgoing.appended(&receipt).await
}

async fn submit_events(inner: &Arc<EngineInner>, outgoing: &mut Outgoing) -> Result<PendingWrite> {
    let batch = std::mem::take(&mut outgoing.batch);
    if !outgoing.is_conditional {
        return inner
            .submit(batch, |batch| Ok(inner.submit_events(batch)?))
            .await;
    }
    let mut batch = batch;
    loop {
        let (room, engine) = (inner.room(), inner.clone());
        inner.grew(batch.bytes());
        let outcome = blocking(move || Ok(engine.submit_events(batch))).await?;
        match outcome {
            Ok(submitted) => return Ok(submitted),
            Err(log::SubmitError::Full(refused)) => batch = refused,
            Err(error) => return Err(inner.refused(error)),
        }
        room.wait().await;
    }
}

/// Submits events of which some concern the schedules.
async fn submit_later(inner: &Arc<EngineInner>, outgoing: &mut Outgoing) -> Result<PendingWrite> {
    let mut is_counted = false;
    loop {
        let room = inner.room();
        let outcome = {
            let mut locked = inner.advanced();
            let changes = outgoing.decide(&locked, inner)?;
            if !std::mem::replace(&mut is_counted, true) {
                inner.grew(outgoing.batch.bytes());
            }
            let batch = std::mem::take(&mut outgoing.batch);
            inner.submit_locked(&mut locked, batch, changes, Terms::default())
        };
        match outcome {
            Ok(submitted) => return Ok(submitted),
            Err(log::SubmitError::Full(batch)) => outgoing.batch = batch,
            Err(error) => return Err(inner.refused(error)),
        }
        room.wait().await;
    }
}

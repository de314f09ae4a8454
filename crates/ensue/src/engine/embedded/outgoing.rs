//! Events on their way into the log, now or later: what appends and commits share.

use std::sync::Arc;

use ensue_log as log;
use hashbrown::HashMap;

use super::binary::Binary;
use super::core::Core;
use super::failure;
use super::record::{self, Change, Scheduled};
use super::shared::Shared;
use super::submission::Submission;
use crate::engine::{APPEND_EVENTS_MAX, Append, Appended, Expect, Position};
use crate::error::{Error, Result};
use crate::event::{EventId, InvalidEvent};
use crate::time::Timestamp;

/// What a record costs beside its texts and its body, in bytes, at the most.
const RECORD_BYTES: usize = 40;

/// Some events, encoded.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Those to append now.
    pub(super) batch: log::Batch,
    /// Those to append later.
    later: Vec<Scheduled>,
    /// Whether submitting may have to look something up on disk.
    pub(super) is_conditional: bool,
    places: Vec<Place>,
}

/// What becomes of one event.
#[derive(Clone, Debug)]
enum Place {
    /// It is this record of the batch.
    Record(usize),
    /// It is this one of `later`.
    Later(usize),
    /// Its id is scheduled by this record of the same batch.
    Twin(usize),
    /// Its id is scheduled already, by the record at this position.
    Scheduled(u64),
    /// Its id is scheduled by this record of this batch, which is not durable yet.
    Scheduling(usize, Box<Submission>),
}

impl Outgoing {
    /// Encodes events: outside of every lock.
    pub(super) fn of(appends: &[Append], now: Timestamp) -> Result<Self> {
        if appends.len() > APPEND_EVENTS_MAX {
            return Err(Error::Limit {
                what: "the number of events in one append".into(),
                value: appends.len() as u64,
                limit: "APPEND_EVENTS_MAX",
                max: APPEND_EVENTS_MAX as u64,
                advice: "append them in several batches",
            });
        }
        let bytes = |append: &Append| append.envelope.content().len() + RECORD_BYTES;
        let capacity = appends.iter().map(bytes).sum();
        let mut outgoing = Self {
            batch: log::Batch::with_capacity(capacity),
            ..Self::default()
        };
        outgoing.places.reserve(appends.len());
        for append in appends {
            outgoing.add(append, now)?;
        }
        Ok(outgoing)
    }

    fn add(&mut self, append: &Append, now: Timestamp) -> Result<()> {
        let envelope = &append.envelope;
        if envelope.topic().starts_with(record::CONTROL) {
            return Err(InvalidEvent::ReservedTopic(envelope.topic().to_owned()).into());
        }
        if let Some(expect) = append.expect {
            let expect = match expect {
                Expect::Absent => log::Expect::Absent,
                Expect::At(position) => log::Expect::At(log::Position::new(position.get())),
            };
            self.batch
                .expect(envelope.topic(), envelope.key().as_bytes(), expect);
            self.is_conditional = true;
        }
        if let Some(at) = append.at.filter(|at| *at > now) {
            self.places.push(Place::Later(self.later.len()));
            self.later.push(Scheduled {
                id: envelope.event_id(),
                at,
                topic_bytes: envelope.topic().len(),
                key_bytes: envelope.key().len(),
                content: Binary::from(envelope),
            });
            return Ok(());
        }
        self.places.push(Place::Record(self.batch.len()));
        record::push_event(&mut self.batch, envelope)
    }

    /// Whether nothing of it concerns the schedules.
    pub(super) fn is_now(&self) -> bool {
        self.later.is_empty()
    }

    /// Drops what is scheduled already, and makes control records of the rest. Under the lock.
    pub(super) fn schedule(&mut self, core: &Core, schedules_max: usize) -> Result<Vec<Change>> {
        let later = std::mem::take(&mut self.later);
        if later.is_empty() {
            return Ok(Vec::new());
        }
        let pending = core.state.schedules.len() + core.scheduling.len();
        if pending + later.len() > schedules_max {
            self.later = later;
            return Err(Error::Limit {
                what: "the number of scheduled events".into(),
                value: (pending + self.later.len()) as u64,
                limit: "schedules_max",
                max: schedules_max as u64,
                advice: "raise the limit in the engine's URL, or schedule less",
            });
        }
        let mut changes = Vec::with_capacity(later.len());
        let mut places: Vec<Place> = Vec::with_capacity(later.len());
        let mut here: HashMap<EventId, usize> = HashMap::default();
        for scheduled in later {
            let known = core
                .state
                .schedules
                .get(&scheduled.id)
                .map(Place::Scheduled);
            let coming = || {
                let (index, submitted) = core.scheduling.get(&scheduled.id)?;
                Some(Place::Scheduling(*index, Box::new(submitted.clone())))
            };
            let twin = || here.get(&scheduled.id).map(|record| Place::Twin(*record));
            places.push(known.or_else(coming).or_else(twin).unwrap_or_else(|| {
                let record = self.batch.len() + changes.len();
                here.insert(scheduled.id.clone(), record);
                changes.push(Change::Scheduled(scheduled));
                Place::Record(record)
            }));
        }
        for place in &mut self.places {
            if let Place::Later(index) = place
                && let Some(found) = places.get(*index)
            {
                *place = found.clone();
            }
        }
        Ok(changes)
    }

    /// What became of the events, once the batch with them is durable.
    pub(super) async fn appended(self, receipt: &log::Receipt) -> Result<Vec<Appended>> {
        let mut appended = Vec::with_capacity(self.places.len());
        for place in self.places {
            let (position, is_duplicate) = match place {
                Place::Record(index) => (receipt.position(index), receipt.is_duplicate(index)),
                Place::Twin(index) | Place::Later(index) => (receipt.position(index), true),
                Place::Scheduled(at) => (Some(log::Position::new(at)), true),
                Place::Scheduling(index, submitted) => (submitted.await?.position(index), true),
            };
            let position = Position::new(position.unwrap_or_default().get());
            appended.push(Appended {
                position,
                is_duplicate,
            });
        }
        Ok(appended)
    }
}

impl Shared {
    /// See [`Engine::append`](crate::engine::Engine::append).
    pub(super) async fn append(self: Arc<Self>, appends: Vec<Append>) -> Result<Vec<Appended>> {
        self.check_open()?;
        let mut outgoing = Outgoing::of(&appends, self.settings.clock.now())?;
        drop(appends);
        self.warm().await?;
        let is_now = outgoing.is_now();
        let submitted = if is_now {
            self.submit_events(&mut outgoing).await?
        } else {
            self.submit_later(&mut outgoing).await?
        };
        let receipt = submitted.await?;
        if !is_now {
            self.core().advance();
        }
        outgoing.appended(&receipt).await
    }

    async fn submit_events(self: &Arc<Self>, outgoing: &mut Outgoing) -> Result<Submission> {
        let batch = std::mem::take(&mut outgoing.batch);
        if !outgoing.is_conditional {
            return self
                .submit(batch, |batch| Ok(self.submit_batch(batch)?))
                .await;
        }
        let mut batch = batch;
        loop {
            let (room, shared) = (self.room(), self.clone());
            self.grew(batch.bytes());
            let outcome = super::fetch::blocking(move || Ok(shared.submit_batch(batch))).await?;
            match outcome {
                Ok(submitted) => return Ok(submitted),
                Err(log::SubmitError::Full(refused)) => batch = refused,
                Err(error) => return Err(failure::of_submit(error)),
            }
            room.wait().await;
        }
    }

    /// Submits events of which some are to be appended later.
    async fn submit_later(self: &Arc<Self>, outgoing: &mut Outgoing) -> Result<Submission> {
        let schedules_max = self.settings.schedules_max;
        let changes = outgoing.schedule(&self.core(), schedules_max)?;
        let mut batch = std::mem::take(&mut outgoing.batch);
        for change in &changes {
            change.push_to(&mut batch)?;
        }
        self.submit(batch, |batch| {
            Ok(self
                .core()
                .submit(&self.log, batch, light(&changes), Default::default())?)
        })
        .await
    }
}

/// The changes as memory keeps them: the events are in the log.
pub(super) fn light(changes: &[Change]) -> Vec<Change> {
    changes.iter().map(Change::light).collect()
}

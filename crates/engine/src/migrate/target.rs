//! The log that becomes the copy.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ensue_log as log;

use super::events::{Both, Event, Events, count};
use super::exclusive;
use super::place::Place;
use super::progress::{Progress, Step, Tell};
use super::restore;
use super::source::Source;
use crate::engine::Driver as _;
use crate::engine::Position;
use crate::engine::Url;
use crate::error::{EngineError, Error, LimitError, MigrateError, OpenError, Result};
use crate::log_position::from_log;
use crate::model::change::Change;
use crate::model::group::Group;
use crate::model::record::{Migrated, Migrating, Scheduled};
use crate::pending_write::PendingWrite;
use crate::runtime::embedded::{Embedded, directory};
use crate::runtime::engine_inner::EngineInner;
use crate::runtime::lookup;
use crate::runtime::lookup::blocking;
use crate::runtime::settings::Settings;
use crate::time::Clock;

/// How many events one batch has, and how many bytes of them, unless one event is larger.
const BATCH_EVENTS_MAX: usize = 1_000;
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// How many batches are on their way to a server.
const BATCHES_MAX: usize = 32;
/// How many scheduled events one batch has; the larger ones of them go alone.
const SCHEDULES_MAX: usize = 256;
/// The time of the clock, not one of the source's.
const NOW: i64 = i64::MIN;

pub(super) struct Target {
    engine: Embedded,
    /// What the log takes for the time, if it can be told.
    time: Option<Arc<AtomicI64>>,
}

impl Target {
    /// Opens the target; nothing happens in it by itself.
    pub(super) async fn open(place: Place, source: &Source) -> Result<Self> {
        match place {
            Place::Directory(url) => Self::open_directory(url, source).await,
            Place::Server { url, connector } => Ok(Self {
                engine: exclusive::open(url, connector).await?,
                time: None,
            }),
        }
    }

    async fn open_directory(url: Url, source: &Source) -> Result<Self> {
        let mut settings = Settings::of(&url, Clock::system())?;
        // Nothing goes before everything is there.
        (settings.retention_age, settings.retention_bytes) = (None, None);
        let mut first = source.events(Position::ZERO);
        let first = blocking(move || first.next()).await?;
        let time = Arc::new(AtomicI64::new(first.map_or(NOW, |event| event.time)));
        let (told, clock) = (time.clone(), settings.clock.clone());
        let options = log::Options {
            // The source has found its duplicates, by a window of its own.
            dedup_window: 0,
            // Synced when it is closed: the source is still there.
            durability: log::Durability::Os,
            clock: Arc::new(move || match told.load(Ordering::Acquire) {
                NOW => clock.now().as_micros(),
                time => time,
            }),
            ..settings.log_options()
        };
        let directory = directory(&url)?;
        let storage = Arc::new(log::storage::File::new(&directory));
        let opened = blocking(move || EngineInner::open_with(storage, settings, options)).await;
        let inner = opened.map_err(|error| match error {
            Error::Open(OpenError::Locked { pid, .. }) => {
                Error::Open(OpenError::Locked { directory, pid })
            }
            other => Settings::refused(&url, other),
        })?;
        Ok(Self {
            engine: Embedded::of(Arc::new(inner)),
            time: Some(time),
        })
    }

    fn inner(&self) -> &Arc<EngineInner> {
        self.engine.inner()
    }

    pub(super) fn view(&self) -> &log::View {
        self.inner().view()
    }

    pub(super) fn url(&self) -> String {
        self.inner().settings().url.clone()
    }

    /// Whether it has the source's times of appending.
    pub(super) fn keeps_times(&self) -> bool {
        self.time.is_some()
    }

    /// Whether it may become the copy, or is it: whether it was completed before.
    pub(super) async fn check_fit(&self, source: &Source) -> Result<bool> {
        let settings = self.inner().settings();
        let limits = [
            (
                "the size of all groups' state in bytes",
                source.state.cell_bytes(),
                "state_bytes_max",
                settings.state_bytes_max,
            ),
            (
                "the number of scheduled events",
                source.state.schedules().len(),
                "schedules_max",
                settings.schedules_max,
            ),
        ];
        for (what, value, limit, max) in limits {
            if value > max {
                return Err(Error::Limit(LimitError {
                    what: what.to_owned(),
                    value: value as u64,
                    limit,
                    max: max as u64,
                    advice: "raise the limit in the target's URL",
                }));
            }
        }
        let (migration, holds_nothing) = {
            let locked = self.inner().locked();
            let state = locked.state();
            (state.migration().cloned(), state.holds_nothing())
        };
        if let Some(migration) = migration {
            return Ok(migration.is_complete());
        }
        let view = self.view().clone();
        let events =
            blocking(move || count(&view, Position::ZERO, from_log(view.durable()))).await?;
        if events == 0 && holds_nothing {
            return Ok(false);
        }
        Err(Error::Migrate(MigrateError::Differs {
            url: self.url(),
            expected: "nothing, or an earlier copy of the source",
            found: "events or groups that no migration wrote".to_owned(),
        }))
    }

    /// The error of a target that was completed and is not as it was then.
    pub(super) fn moved_on(&self) -> Error {
        Error::Migrate(MigrateError::Completed { url: self.url() })
    }

    /// Says that a copy is made. Groups and schedules of an earlier try are gone then.
    pub(super) async fn begin(&self, source: &Source) -> Result<()> {
        let boot = self.inner().locked().boot();
        let from = source.url.clone();
        let is_trimmed = source.is_trimmed();
        let begun = self.record(Change::Migrating(Migrating {
            from,
            boot,
            is_trimmed,
        }));
        begun.await.map_err(|error| match error {
            // The log that refuses it does not know its URL.
            Error::Migrate(MigrateError::InUse { found, .. }) => {
                let url = self.url();
                Error::Migrate(MigrateError::InUse { url, found })
            }
            error => error,
        })
    }

    async fn record(&self, change: Change) -> Result<()> {
        self.inner().record(vec![change]).await
    }

    /// Appends what is not there yet of the source's events.
    pub(super) async fn append_rest(
        &self,
        source: &Source,
        there: &Both,
        total: u64,
        tell: Tell<'_>,
    ) -> Result<()> {
        let mut recent = Recent::new(match self.time {
            // The log was opened without a window.
            Some(_) => 0,
            None => self.inner().settings().dedup_window,
        });
        let mut events = source.events(Position::ZERO);
        let next = there.next;
        let mut done = there.events;
        let mut pending: Option<Event> = None;
        let mut on_their_way: VecDeque<PendingWrite> = VecDeque::new();
        loop {
            let keeps_times = self.keeps_times();
            let filled;
            (events, recent, pending, filled) = blocking(move || {
                let filled = fill(&mut events, &mut recent, &mut pending, next, keeps_times)?;
                Ok((events, recent, pending, filled))
            })
            .await?;
            let Some((batch, time)) = filled else { break };
            let count = batch.len() as u64;
            if let Some(told) = &self.time {
                told.store(time, Ordering::Release);
            }
            on_their_way.push_back(self.submit(batch).await?);
            // A log that is told the time has to be told for each batch.
            let room = if keeps_times { 0 } else { BATCHES_MAX };
            while on_their_way.len() > room {
                if let Some(first) = on_their_way.pop_front() {
                    first.await?;
                }
            }
            done += count;
            let step = Step::Copying;
            tell(Progress { step, done, total });
        }
        for submitted in on_their_way {
            submitted.await?;
        }
        if let Some(time) = &self.time {
            time.store(NOW, Ordering::Release);
        }
        Ok(())
    }

    async fn submit(&self, batch: log::Batch) -> Result<PendingWrite> {
        let inner = self.inner();
        inner
            .submit(batch, |batch| Ok(inner.submit_events(batch)?))
            .await
    }

    /// Writes schedules and groups.
    pub(super) async fn restore(
        &self,
        source: &Source,
        groups: &BTreeMap<String, Group>,
        tell: Tell<'_>,
    ) -> Result<()> {
        let mut progress = Progress {
            step: Step::Restoring,
            done: 0,
            total: (source.state.schedules().len() + groups.len()) as u64,
        };
        if let Some(time) = &self.time {
            time.store(NOW, Ordering::Release);
        }
        let mut schedules = Schedules::of(source);
        // In the order of their records, which decides between those of one time.
        schedules
            .due
            .sort_unstable_by_key(|(_, position)| *position);
        loop {
            let some = schedules.next(&source.view).await?;
            if some.is_empty() {
                break;
            }
            progress.done += some.len() as u64;
            let changes = some.into_iter().map(Change::Scheduled);
            self.inner().record(changes.collect()).await?;
            tell(progress);
        }
        for (name, group) in groups {
            for change in restore::records(name, group) {
                self.record(change).await?;
            }
            progress.done += 1;
            tell(progress);
        }
        Ok(())
    }

    pub(super) fn has_groups(&self, groups: &BTreeMap<String, Group>) -> bool {
        let locked = self.inner().advanced();
        restore::are_same(groups, locked.state().groups())
    }

    /// Whether its schedules are the source's.
    pub(super) async fn has_schedules(&self, source: &Source) -> Result<bool> {
        let mut theirs = Schedules {
            due: {
                let locked = self.inner().locked();
                locked
                    .state()
                    .schedules()
                    .iter()
                    .map(|(due, _)| due)
                    .collect()
            },
            at: 0,
        };
        let mut ours = Schedules::of(source);
        let (mut from_ours, mut from_theirs) = (VecDeque::new(), VecDeque::new());
        loop {
            if from_ours.is_empty() {
                from_ours.extend(ours.next(&source.view).await?);
            }
            if from_theirs.is_empty() {
                from_theirs.extend(theirs.next(self.view()).await?);
            }
            match (from_ours.pop_front(), from_theirs.pop_front()) {
                (None, None) => return Ok(true),
                (ours, theirs) if ours != theirs => return Ok(false),
                _ => {}
            }
        }
    }

    /// Says that everything is there.
    pub(super) async fn complete(&self, events: u64) -> Result<()> {
        self.record(Change::Migrated(Migrated { events })).await
    }

    pub(super) async fn close(self) -> Result<()> {
        self.engine.close().await
    }
}

/// The next batch: in a log that is told the time, of events of one time. Blocks.
fn fill(
    events: &mut Events,
    recent: &mut Recent,
    pending: &mut Option<Event>,
    next: Position,
    is_of_one_time: bool,
) -> Result<Option<(log::Batch, i64)>> {
    let mut batch = log::Batch::new();
    let mut time = None;
    loop {
        let event = match pending.take() {
            Some(event) => event,
            None => match events.next()? {
                Some(event) => event,
                None => break,
            },
        };
        if event.position < next {
            // It is there already; its id counts.
            recent.id_for(event.id);
            continue;
        }
        let bytes = batch.bytes() + event.content.len();
        let is_full = batch.len() >= BATCH_EVENTS_MAX || bytes > BATCH_BYTES_MAX;
        let is_later = is_of_one_time && time.is_some_and(|time| time != event.time);
        if !batch.is_empty() && (is_full || is_later) {
            *pending = Some(event);
            break;
        }
        time.get_or_insert(event.time);
        event.push_to(&mut batch, recent.id_for(event.id))?;
    }
    Ok(time.map(|time| (batch, time)))
}

/// The last ids, as many as the target remembers: an event whose id is among them again, because
/// the source remembered fewer, goes without one, or the target would take it for a duplicate.
struct Recent {
    window: usize,
    order: VecDeque<u128>,
    ids: HashSet<u128, foldhash::fast::RandomState>,
}

impl Recent {
    fn new(window: u32) -> Self {
        Self {
            window: window as usize,
            order: VecDeque::new(),
            ids: HashSet::default(),
        }
    }

    fn id_for(&mut self, id: Option<u128>) -> Option<u128> {
        let id = id?;
        if self.window == 0 {
            return Some(id);
        }
        if !self.ids.insert(id) {
            return None;
        }
        self.order.push_back(id);
        if self.order.len() > self.window
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        Some(id)
    }
}

/// Scheduled events, read a few at a time.
struct Schedules {
    /// When, and the positions of their records.
    due: Vec<crate::model::schedule::Due>,
    at: usize,
}

impl Schedules {
    fn of(source: &Source) -> Self {
        Self {
            due: source
                .state
                .schedules()
                .iter()
                .map(|(due, _)| due)
                .collect(),
            at: 0,
        }
    }

    /// The next ones, as many as fit; none at the end.
    async fn next(&mut self, view: &log::View) -> Result<Vec<Scheduled>> {
        let some = self.due.iter().skip(self.at).take(SCHEDULES_MAX);
        let positions: Vec<Position> = some.map(|(_, position)| *position).collect();
        let Some(first) = positions.first() else {
            return Ok(Vec::new());
        };
        let mut found: BTreeMap<Position, _> = lookup::scheduled(view, positions.clone())
            .await?
            .into_iter()
            .collect();
        if !found.contains_key(first) {
            // Large ones with older records were in the way.
            found = lookup::scheduled(view, vec![*first])
                .await?
                .into_iter()
                .collect();
        }
        let mut scheduled = Vec::with_capacity(found.len());
        for position in &positions {
            match found.remove(position) {
                Some(found) => scheduled.push(found),
                None => break,
            }
        }
        self.at += scheduled.len();
        if scheduled.is_empty() {
            return Err(Error::Engine(EngineError::Corrupt(format!(
                "the record at position {first} holds no scheduled event"
            ))));
        }
        Ok(scheduled)
    }
}

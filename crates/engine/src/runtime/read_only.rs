//! Reading a log that another process owns.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ensue_log as log;
use futures_util::future::BoxFuture;

use super::reset::Draft;
use super::settings::Settings;
use super::unfired::Unfired;
use super::{query, replay, reset, status};
use crate::engine::{
    Append, Appended, Cursor, DeadLetter, DeadLetterFilter, Driver, EngineStatus, GroupStatus,
    Guarantees, Health, Member, Page, Position, Query, Reset, ResetPlan, Scheduled, Subscription,
};
use crate::error::{EngineError, Error, OpenError, ReadError, Result};
use crate::event::EventId;
use crate::log_error;
use crate::log_position::from_log;
use crate::model::state::State;
use crate::runtime::admin;
use crate::runtime::lookup::blocking;
use crate::time::Clock;

/// How often something is read again because its owner trimmed it meanwhile.
const TRIMMED_MAX: u32 = 100;
/// How often the log is looked at for something new.
const LOOK_WAIT: Duration = Duration::from_millis(50);

/// An engine that only reads.
#[derive(Debug)]
pub(crate) struct Reader {
    settings: Settings,
    directory: String,
    guarantees: Guarantees,
    view: log::View,
    followed: Arc<Mutex<Followed>>,
}

/// The log as of the last look, and the fold of its control records.
#[derive(Debug)]
struct Followed {
    follower: log::Follower,
    state: State,
    /// The position up to which `state` is folded.
    at: Position,
}

impl Followed {
    fn open(directory: &str) -> Result<Self> {
        let storage = Arc::new(log::storage::File::new(directory));
        let follower = log::Follower::open(storage).map_err(log_error::of_log)?;
        let (state, at, _) = replay::load(&follower.view())?;
        Ok(Self {
            follower,
            state,
            at,
        })
    }

    /// Looks for what is new. Blocks.
    fn look(&mut self) -> Result<()> {
        self.follower.refresh().map_err(log_error::of_log)?;
        let view = self.follower.view();
        if self.at < from_log(view.first()) {
            // Retention overtook this reader; a checkpoint has what the lost records said.
            (self.state, self.at, _) = replay::load(&view)?;
        } else {
            self.at = replay::catch_up(&mut self.state, &view, self.at)?;
        }
        Ok(())
    }
}

impl Reader {
    pub(crate) async fn open(directory: String, settings: Settings) -> Result<Self> {
        let path = directory.clone();
        let followed = blocking(move || again(|| Followed::open(&path))).await?;
        // Another process reads it: it is in files.
        let guarantees = settings.guarantees(true);
        let view = followed.follower.view();
        let followed = Arc::new(Mutex::new(followed));
        Ok(Self {
            settings,
            directory,
            guarantees,
            view,
            followed,
        })
    }

    /// Runs `work` on the log as it is now, where it may block.
    async fn look<T: Send + 'static>(
        &self,
        work: impl Fn(&Followed) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let followed = self.followed.clone();
        blocking(move || {
            let mut followed = lock(&followed);
            again(|| {
                followed.look()?;
                work(&followed)
            })
        })
        .await
    }

    /// Why nothing can be written.
    fn refused<T>(&self) -> BoxFuture<'_, Result<T>> {
        let directory = self.directory.clone();
        Box::pin(async move {
            let shown = directory.clone();
            let owner = blocking(move || match log::storage::File::new(&directory).owner() {
                Ok(log::storage::Ownership::Owned { pid }) => Ok(Some(pid)),
                _ => Ok(None),
            });
            Err(match owner.await? {
                Some(pid) => Error::Open(OpenError::Locked {
                    directory: shown,
                    pid,
                }),
                None => Error::Engine(EngineError::ReadOnly { directory: shown }),
            })
        })
    }
}

/// Reads, and reads again where the owner trimmed what is read meanwhile.
fn again<T>(mut read: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 1..TRIMMED_MAX {
        match read() {
            Err(Error::Read(ReadError::Trimmed { .. })) => {}
            outcome => return outcome,
        }
    }
    read()
}

/// As [`again`].
async fn again_async<T, F: Future<Output = Result<T>>>(read: impl Fn() -> F) -> Result<T> {
    for _ in 1..TRIMMED_MAX {
        match read().await {
            Err(Error::Read(ReadError::Trimmed { .. })) => {}
            outcome => return outcome,
        }
    }
    read().await
}

fn lock(followed: &Mutex<Followed>) -> MutexGuard<'_, Followed> {
    followed.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Driver for Reader {
    fn url(&self) -> &str {
        &self.settings.url
    }

    fn guarantees(&self) -> &Guarantees {
        &self.guarantees
    }

    fn clock(&self) -> &Clock {
        &self.settings.clock
    }

    fn append(&self, _: Vec<Append>) -> BoxFuture<'_, Result<Vec<Appended>>> {
        self.refused()
    }

    fn join(&self, _: Subscription) -> BoxFuture<'_, Result<Box<dyn Member>>> {
        self.refused()
    }

    fn read(&self, query: Query) -> BoxFuture<'_, Result<Page>> {
        Box::pin(async move {
            again_async(|| async {
                self.look(|_| Ok(())).await?;
                query::read(&self.view, query.clone()).await
            })
            .await
        })
    }

    fn wait(&self, cursor: Cursor) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            loop {
                self.look(|_| Ok(())).await?;
                if from_log(self.view.durable()) > cursor.position() {
                    return Ok(());
                }
                self.settings.clock.sleep(LOOK_WAIT).await;
            }
        })
    }

    fn cancel(&self, _: Vec<EventId>) -> BoxFuture<'_, Result<usize>> {
        self.refused()
    }

    fn scheduled(&self, limit: usize) -> BoxFuture<'_, Result<Vec<Scheduled>>> {
        Box::pin(async move {
            again_async(|| async {
                let due = self
                    .look(move |it| Ok(admin::find_scheduled(&it.state, limit)))
                    .await?;
                admin::scheduled(&self.view, due).await
            })
            .await
        })
    }

    fn state<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
        key: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Bytes>>> {
        let [group, topic, key, name] = [group, topic, key, name].map(str::to_owned);
        Box::pin(self.look(move |it| {
            let group = admin::existing(&it.state, &group)?;
            Ok(group.cells().get(&topic, &key, &name).cloned())
        }))
    }

    fn states<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
        name: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(String, Bytes)>>> {
        let [group, topic, name] = [group, topic, name].map(str::to_owned);
        let after = after.map(str::to_owned);
        Box::pin(self.look(move |it| {
            let cells = admin::existing(&it.state, &group)?.cells();
            Ok(cells.page(&topic, &name, after.as_deref(), limit))
        }))
    }

    fn dead_letters<'a>(
        &'a self,
        group: Option<&'a str>,
        filter: DeadLetterFilter,
    ) -> BoxFuture<'a, Result<Vec<DeadLetter>>> {
        let group = group.map(str::to_owned);
        Box::pin(async move {
            again_async(|| async {
                let (group, filter) = (group.clone(), filter.clone());
                let found = self
                    .look(move |it| admin::find_dead(&it.state, group.as_deref(), &filter))
                    .await?;
                admin::dead_letters(&self.view, found).await
            })
            .await
        })
    }

    fn redrive<'a>(&'a self, _: &'a str, _: DeadLetterFilter) -> BoxFuture<'a, Result<usize>> {
        self.refused()
    }

    fn discard<'a>(&'a self, _: &'a str, _: DeadLetterFilter) -> BoxFuture<'a, Result<usize>> {
        self.refused()
    }

    fn reset<'a>(&'a self, _: &'a str, _: Reset) -> BoxFuture<'a, Result<ResetPlan>> {
        self.refused()
    }

    fn plan_reset<'a>(&'a self, group: &'a str, wanted: Reset) -> BoxFuture<'a, Result<ResetPlan>> {
        let (group, now) = (group.to_owned(), self.settings.clock.now());
        Box::pin(self.look(move |it| {
            let view = it.follower.view();
            admin::existing(&it.state, &group)?;
            let to = reset::resolve(&view, now, wanted.to.clone())?;
            Draft::of(&it.state, &group, wanted.clone(), to)?.count(&view)
        }))
    }

    fn delete_group<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        self.refused()
    }

    fn health(&self) -> BoxFuture<'_, Result<Health>> {
        let now = self.settings.clock.now();
        Box::pin(self.look(move |it| {
            let view = it.follower.view();
            let schedules = it.state.schedules();
            Ok(Health {
                trouble: Unfired::look(schedules, &view, now).trouble(schedules),
                first: from_log(view.first()).into(),
                end: from_log(view.durable()).into(),
            })
        }))
    }

    fn group<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<GroupStatus>> {
        let name = name.to_owned();
        Box::pin(self.look(move |it| status::group_of_state(&it.state, &it.follower.view(), &name)))
    }

    fn status(&self) -> BoxFuture<'_, Result<EngineStatus>> {
        let (url, guarantees) = (self.settings.url.clone(), self.guarantees);
        // How the owner was opened is not in its files.
        let durability = "unknown".to_owned();
        let now = self.settings.clock.now();
        Box::pin(self.look(move |it| {
            let view = it.follower.view();
            let schedules = it.state.schedules();
            let (topics, replies) = status::topics(&view)?;
            let groups = status::of_state(&it.state, &view)?;
            Ok(EngineStatus {
                url: url.clone(),
                trouble: Unfired::look(schedules, &view, now).trouble(schedules),
                durability: durability.clone(),
                first: from_log(view.first()).into(),
                end: from_log(view.durable()).into(),
                bytes: None,
                needed: status::needed(it.state.holders(from_log(view.durable())), &groups),
                topics,
                replies,
                groups,
                scheduled: schedules.len(),
                next_due: schedules.next_due(),
                guarantees,
            })
        }))
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

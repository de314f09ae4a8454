//! The log that is copied: only read, and no process works on it meanwhile.

use std::path::Path;
use std::sync::Arc;

use ensue_log as log;

use super::events::{Events, count};
use super::exclusive;
use super::place::Place;
use super::restore;
use crate::engine::Driver as _;
use crate::engine::Position;
use crate::engine::Url;
use crate::error::{EngineError, Error, MigrateError, OpenError, Result};
use crate::log_error;
use crate::log_position::from_log;
use crate::model::state::State;
use crate::runtime::embedded::{Embedded, directory};
use crate::runtime::lookup::blocking;
use crate::runtime::replay;

pub(crate) struct Source {
    pub(crate) url: String,
    pub(crate) view: log::View,
    /// What is durable beside the events.
    pub(crate) state: State,
    /// The position after the last record that is copied.
    pub(crate) end: Position,
    hold: Hold,
}

/// What keeps others away.
enum Hold {
    /// The lock of the directory.
    Directory(#[allow(dead_code, reason = "held for its Drop")] log::storage::Lock),
    /// This process among those that share the log.
    Server(Embedded),
}

impl Source {
    pub(crate) async fn open(place: Place) -> Result<Self> {
        match place {
            Place::Directory(url) => blocking(move || Self::open_directory(&url)).await,
            Place::Server { url, connector } => {
                let engine = exclusive::open(url, connector).await?;
                Ok(Self::of_engine(engine))
            }
        }
    }

    /// Blocks.
    fn open_directory(url: &Url) -> Result<Self> {
        let directory = directory(url)?;
        if !Path::new(&directory).join("log").is_dir() {
            // Locking would make one.
            return Err(nothing(&url.to_string()));
        }
        let storage: Arc<dyn log::Storage> = Arc::new(log::storage::File::new(&directory));
        let lock = match storage.lock() {
            Ok(log::storage::Locking::Acquired(lock)) => lock,
            Ok(log::storage::Locking::Held { pid }) => {
                return Err(Error::Open(OpenError::Locked { directory, pid }));
            }
            Err(source) => {
                let what = format!("could not lock {directory}");
                return Err(Error::Engine(EngineError::Io {
                    what,
                    reason: source,
                }));
            }
        };
        let view = log::Follower::open(storage)
            .map_err(log_error::of_log)?
            .view();
        let (state, end, _) = replay::load(&view)?;
        Ok(Self {
            url: url.to_string(),
            view,
            state,
            end,
            hold: Hold::Directory(lock),
        })
    }

    fn of_engine(engine: Embedded) -> Self {
        let inner = engine.inner();
        let (state, end) = (inner.locked().state().clone(), inner.end());
        let view = inner.view().clone();
        Self {
            url: engine.url().to_owned(),
            view,
            state,
            end,
            hold: Hold::Server(engine),
        }
    }

    /// Refuses a log that is itself half a copy.
    pub(crate) fn check_whole(&self) -> Result<()> {
        match self.state.unfinished_migration() {
            Some(migration) => Err(Error::Migrate(MigrateError::Unfinished {
                url: Some(self.url.clone()),
                from: migration.from().to_owned(),
            })),
            None => Ok(()),
        }
    }

    /// Whether retention has removed events, here or where this log was copied from.
    pub(crate) fn is_trimmed(&self) -> bool {
        self.view.first() > log::Position::ZERO || self.state.is_of_trimmed()
    }

    /// How many events it has.
    ///
    /// # Errors
    /// [`MigrateError::Nothing`] when there is nothing at all.
    pub(crate) async fn count(&self) -> Result<u64> {
        let (view, end) = (self.view.clone(), self.end);
        let count = blocking(move || count(&view, Position::ZERO, end)).await?;
        if count == 0 && self.state.holds_nothing() {
            return Err(nothing(&self.url));
        }
        Ok(count)
    }

    /// Its events from `from` on.
    pub(crate) fn events(&self, from: Position) -> Events {
        Events::of(&self.view, from, self.end)
    }

    /// Refuses a source that another process worked on while it was copied.
    pub(crate) async fn check_unchanged(&self) -> Result<()> {
        let Hold::Server(engine) = &self.hold else {
            return Ok(());
        };
        let (view, end) = (self.view.clone(), self.end);
        let added = blocking(move || count(&view, end, from_log(view.durable()))).await?;
        let locked = engine.inner().locked();
        let (state, own) = (locked.state(), locked.boot());
        let is_alone = state.processes().iter().all(|(boot, _)| boot == own);
        let groups = restore::are_same(self.state.groups(), state.groups());
        if added == 0 && is_alone && groups && state.schedules() == self.state.schedules() {
            return Ok(());
        }
        Err(Error::Migrate(MigrateError::InUse {
            url: self.url.clone(),
            found: "it changed while it was copied".to_owned(),
        }))
    }

    pub(crate) async fn close(self) -> Result<()> {
        match self.hold {
            Hold::Directory(_) => Ok(()),
            Hold::Server(engine) => engine.close().await,
        }
    }
}

fn nothing(url: &str) -> Error {
    Error::Migrate(MigrateError::Nothing {
        url: url.to_owned(),
    })
}

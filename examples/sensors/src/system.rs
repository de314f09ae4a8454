//! Ingestion, services and database of one process, started and stopped together.

use std::sync::Arc;
use std::time::Duration;

use ensue::Running;
use ensue::prelude::*;
use ensue_blocks::cache::LocalStore;

use crate::error::Error;
use crate::events::ReadingMeasured;
use crate::ingestion::Ingestion;
use crate::mqtt::{BrokerPlace, Line};
use crate::services::{self, LastValues};
use crate::store::{Store, StoreError, Storing};

/// How many last values the memory of a process has.
const CACHED_MAX: u64 = 100_000;
/// How long to wait before the database is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// Where everything is.
#[derive(Clone, PartialEq, Eq)]
pub struct Places {
    /// The engine's URL.
    pub engine: String,
    /// The database's.
    pub database: String,
    /// The cache's, unless it is the process's memory.
    pub cache: Option<String>,
}

/// What runs.
pub struct System {
    engine: Engine,
    store: Arc<Store>,
    storing: Storing,
    running: Running,
    ingestion: Ingestion,
    last_values: LastValues,
}

impl System {
    /// Starts everything. Servers that are away are waited for.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn open(places: &Places, broker: &BrokerPlace) -> Result<Self, Error> {
        let engine = Engine::open(&places.engine).await?;
        let store = Arc::new(Store::open(&places.database).await?);
        let storing = storing(&store, &engine).await?;
        let last_values = last_values(places, &store)?;
        let line = Arc::new(Line::open(broker));
        let app = App::new(engine.clone()).publishes::<ReadingMeasured>();
        let running = services::add(app, line, last_values.clone())
            .start()
            .await?;
        let ingestion = Ingestion::start(&engine, broker);
        Ok(Self {
            engine,
            store,
            storing,
            running,
            ingestion,
            last_values,
        })
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The tables.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What each device has measured last.
    pub fn last_values(&self) -> &LastValues {
        &self.last_values
    }

    /// How many readings are stored. None are, before there is a table.
    pub async fn stored(&self) -> u64 {
        let totals = self.store.totals().await;
        totals.map_or(0, |totals| totals.readings)
    }

    /// Completes when nothing that is in the log is left to do.
    pub fn settling(&self) -> impl Future<Output = Result<(), Error>> + use<> {
        let (engine, group) = (self.engine.clone(), self.storing.group().to_owned());
        async move {
            let groups = services::GROUPS.into_iter().chain([group.as_str()]);
            Ok(engine.settled(groups).await?)
        }
    }

    /// Completes when a part cannot go on, with the reason.
    pub async fn failed(&mut self) -> Error {
        tokio::select! {
            error = self.running.failed() => error.into(),
            error = self.storing.failed() => error.into(),
        }
    }

    /// Lets what is under way finish, and stops.
    ///
    /// # Errors
    /// What the engine reports.
    pub async fn stop(self) -> Result<(), Error> {
        drop(self.ingestion);
        self.running.stop().await?;
        drop(self.storing);
        self.engine.close().await?;
        Ok(())
    }
}

/// Starts the projection, once the database answers.
async fn storing(store: &Store, engine: &Engine) -> Result<Storing, Error> {
    let mut is_warned = false;
    loop {
        match store.start(engine).await {
            Err(StoreError::Projection(error)) if error.is_passing() => {
                if !std::mem::replace(&mut is_warned, true) {
                    tracing::warn!(%error, "the database does not answer, trying again");
                }
                tokio::time::sleep(AGAIN).await;
            }
            started => return Ok(started?),
        }
    }
}

fn last_values(places: &Places, store: &Arc<Store>) -> Result<LastValues, Error> {
    let Some(url) = &places.cache else {
        return Ok(LastValues::new(LocalStore::new(CACHED_MAX), store.clone()));
    };
    #[cfg(feature = "redis")]
    {
        let cache = ensue_blocks::cache::RedisStore::new(url, "sensors:last:");
        Ok(LastValues::new(cache.map_err(Error::Cache)?, store.clone()))
    }
    #[cfg(not(feature = "redis"))]
    {
        let _ = url;
        Err(Error::Feature {
            what: "--cache",
            feature: "redis",
        })
    }
}

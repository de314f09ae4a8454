//! A projection that runs: what became of it, waiting for it, and stopping it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ensue::error::GroupError;
use ensue::{Engine, Position};
use sqlx::Pool;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::build;
use super::definition::Definition;
use super::names;
use super::term::BEAT;
use super::version::{self, Version};
use crate::database::Database;
use crate::error::{Error, Result};

/// How often it is looked whether a group exists that is to exist soon.
const BEGINS_WAIT: Duration = Duration::from_millis(10);

/// A projection that runs, in the background. Dropping it stops it at once, which is not special: what was not
/// committed is applied by the next owner.
#[derive(Debug)]
#[must_use = "dropping a running projection stops it"]
pub struct RunningProjection<DB: Database> {
    name: String,
    engine: Engine,
    pool: Pool<DB>,
    stop: watch::Sender<bool>,
    /// Nothing once its end was told: it cannot be asked again.
    task: Option<JoinHandle<Result<()>>>,
}

impl<DB: Database> RunningProjection<DB> {
    pub(super) fn begin<P: Send + Sync + 'static>(
        definition: Definition<P, DB>,
        engine: &Engine,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let definition = Arc::new(definition);
        Self {
            name: definition.name.clone(),
            engine: engine.clone(),
            pool: definition.pool.clone(),
            stop,
            task: Some(tokio::spawn(supervise(definition, engine.clone(), stopped))),
        }
    }

    /// Completes when the projection cannot go on, with the reason: the database refuses what it must not, the
    /// log is another one. It is told once. A database or a server that is away is waited for. Cancel-safe.
    pub async fn failed(&mut self) -> Error {
        match self.ended().await {
            Some(Err(error)) => error,
            Some(Ok(())) | None => std::future::pending().await,
        }
    }

    /// How the task has ended, unless that was told already.
    async fn ended(&mut self) -> Option<Result<()>> {
        let ended = self.task.as_mut()?.await;
        self.task = None;
        Some(ended.unwrap_or_else(|error| Err(lost(error))))
    }

    /// The group of the version that is read: its lag is the projection's, its dead letters are what
    /// could not be applied.
    ///
    /// # Errors
    /// [`Error::Database`], and [`Error::UnknownProjection`] if its rows were removed.
    pub async fn group(&self) -> Result<String> {
        let mut connection = self.pool.acquire().await?;
        active_group::<DB>(&mut connection, &self.name).await
    }

    /// Waits until the version that is read has the event at `position`, for `deadline` at the most, whichever
    /// process builds it: as [`Engine::wait_until_handled`] for its group, with the same token.
    ///
    /// # Errors
    /// As for [`Engine::wait_until_handled`], and as for [`group`](Self::group).
    pub async fn wait_until_applied(&self, position: Position, deadline: Duration) -> Result<()> {
        wait_until_applied(&self.pool, &self.engine, &self.name, position, deadline).await
    }

    /// Stops: what is being committed is committed or not, the rest is the next owner's.
    ///
    /// # Errors
    /// What [`failed`](Self::failed) has not told already.
    pub async fn stop(mut self) -> Result<()> {
        // There is no receiver when it has ended already.
        let _ = self.stop.send(true);
        self.ended().await.unwrap_or(Ok(()))
    }
}

impl<DB: Database> Drop for RunningProjection<DB> {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Waits until the version of `projection` that is read has the event at `position`, for `deadline` at the most:
/// for programs that read its tables and run it elsewhere.
///
/// # Errors
/// As for [`RunningProjection::wait_until_applied`].
pub async fn wait_until_applied<DB: Database>(
    pool: &Pool<DB>,
    engine: &Engine,
    projection: &str,
    position: Position,
    deadline: Duration,
) -> Result<()> {
    let until = Instant::now() + deadline;
    let group = {
        let mut connection = pool.acquire().await?;
        active_group::<DB>(&mut connection, projection).await?
    };
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match engine.wait_until_handled(&group, position, left).await {
            // Its owner has not begun yet.
            Err(ensue::Error::Group(GroupError::Unknown { .. })) if !left.is_zero() => {
                tokio::time::sleep(BEGINS_WAIT.min(left)).await;
            }
            waited => return Ok(waited?),
        }
    }
}

async fn active_group<DB: Database>(
    connection: &mut DB::Connection,
    projection: &str,
) -> Result<String> {
    let versions = version::versions::<DB>(connection, Some(projection), false).await?;
    let active = versions.iter().find(|version| version.is_active);
    match active {
        Some(active) => Ok(names::group(projection, active.version)),
        None => Err(unknown::<DB>(connection, projection).await?),
    }
}

/// There is no such projection.
pub(super) async fn unknown<DB: Database>(
    connection: &mut DB::Connection,
    projection: &str,
) -> Result<Error> {
    let all = version::versions::<DB>(connection, None, false).await?;
    let mut known: Vec<String> = all.into_iter().map(|version| version.projection).collect();
    known.dedup();
    Ok(Error::UnknownProjection {
        projection: projection.to_owned(),
        known: match known.is_empty() {
            true => "it has none; a program registers its projections when it starts".to_owned(),
            false => format!("it has {}", known.join(", ")),
        },
    })
}

/// Builds every version that this program's code is for, as soon as there is one.
async fn supervise<P: Send + Sync + 'static, DB: Database>(
    definition: Arc<Definition<P, DB>>,
    engine: Engine,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    let mut builders: JoinSet<(i64, Result<()>)> = JoinSet::new();
    let mut built = HashSet::new();
    loop {
        match ours(&definition).await {
            Ok(versions) => {
                for version in versions {
                    if built.insert(version.version) {
                        let definition = Arc::clone(&definition);
                        let (engine, stop) = (engine.clone(), stop.clone());
                        builders.spawn(async move {
                            let number = version.version;
                            (number, build::build(definition, engine, number, stop).await)
                        });
                    }
                }
            }
            Err(error) if error.is_passing() => {}
            Err(error) => return Err(error),
        }
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            Some(ended) = builders.join_next() => {
                let (number, ended) = ended.map_err(lost)?;
                ended?;
                built.remove(&number);
            }
            () = tokio::time::sleep(BEAT) => {}
        }
    }
    while let Some(ended) = builders.join_next().await {
        ended.map_err(lost)?.1?;
    }
    Ok(())
}

fn lost(error: tokio::task::JoinError) -> Error {
    Error::Refused(format!("a task of the projection ended: {error}"))
}

async fn ours<P: Send + Sync + 'static, DB: Database>(
    definition: &Definition<P, DB>,
) -> Result<Vec<Version>> {
    let mut connection = definition.pool.acquire().await?;
    let all = version::versions::<DB>(&mut connection, Some(&definition.name), false).await?;
    let is_ours = |it: &Version| it.revision == definition.revision && !it.is_retired;
    Ok(all.into_iter().filter(is_ours).collect())
}

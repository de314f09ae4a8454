//! How a configuration is put together.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use ensue_core::time::Clock;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;

use super::error::ConfigError;
use super::following::{Follower, Sources};
use super::last_good::LastGood;
use super::source::ConfigSource;
use super::watched::{Config, ConfigStatus, Following};

/// A configuration that is being put together: [`Config::builder`].
#[must_use = "nothing is read until `load`"]
pub struct ConfigBuilder<T> {
    sources: Sources<T>,
    clock: Clock,
}

impl<T: DeserializeOwned + Send + Sync + 'static> Config<T> {
    /// A configuration without sources.
    pub fn builder() -> ConfigBuilder<T> {
        ConfigBuilder {
            sources: Sources {
                sources: Vec::new(),
                validate: None,
                last_good: None,
            },
            clock: Clock::system(),
        }
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> ConfigBuilder<T> {
    /// One more source, which is stronger than those before.
    pub fn source(mut self, source: impl ConfigSource) -> Self {
        self.sources.sources.push(Arc::new(source));
        self
    }

    /// What a configuration has to be beyond its type. What it says is shown to people: leave secrets out.
    pub fn validate<E: fmt::Display>(
        mut self,
        validate: impl Fn(&T) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        let validate = move |it: &T| validate(it).map_err(|error| error.to_string());
        self.sources.validate = Some(Arc::new(validate));
        self
    }

    /// Keeps the last good configuration in this file, and starts with it when the sources have none that is
    /// good. Only its owner can read the file: it has what the sources have, secrets included.
    pub fn last_good(mut self, file: impl Into<PathBuf>) -> Self {
        self.sources.last_good = Some(LastGood(file.into()));
        self
    }

    /// Reads and checks the configuration, and begins to follow it.
    ///
    /// # Errors
    /// What is wrong with it, when there is no last good one, or that is not good any more either.
    pub async fn load(self) -> Result<Config<T>, ConfigError> {
        let Self { sources, clock } = self;
        let (tree, settings, is_kept, problem) = match sources.read().await {
            Ok((tree, settings)) => {
                let is_kept = sources.keep(&tree).await;
                (tree, settings, is_kept, None)
            }
            Err(problem) => {
                let (tree, settings) = last_good(&sources, &problem).await?;
                (tree, settings, true, Some(problem))
            }
        };
        let status = Arc::new(Mutex::new(ConfigStatus {
            since: clock.now(),
            is_last_good: problem.is_some(),
            changes: 0,
            problem: problem.as_ref().map(ToString::to_string),
        }));
        let (sender, now) = watch::channel(Arc::new(settings));
        let follower = Follower {
            sources,
            tree,
            is_kept,
            now: sender,
            status: status.clone(),
            clock,
            problem,
        };
        let task = tokio::spawn(follower.run());
        Ok(Config::new(now, Following { task, status }))
    }
}

/// The last good configuration, if it still is good.
async fn last_good<T: DeserializeOwned>(
    sources: &Sources<T>,
    problem: &ConfigError,
) -> Result<(Value, T), ConfigError> {
    let Some(last_good) = &sources.last_good else {
        return Err(problem.clone());
    };
    let read = last_good.read().await;
    match read.and_then(|document| sources.check(&document)) {
        Ok(good) => {
            tracing::warn!(error = %problem, "started with the last good configuration");
            Ok(good)
        }
        Err(error) => {
            tracing::warn!(%error, "there is no last good configuration");
            Err(problem.clone())
        }
    }
}

impl<T> fmt::Debug for ConfigBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigBuilder")
            .field("sources", &self.sources.sources)
            .field("last_good", &self.sources.last_good)
            .finish_non_exhaustive()
    }
}

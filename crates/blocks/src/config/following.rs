//! Reading sources as a whole, and following them.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ensue_core::contained::message_of;
use ensue_core::time::Clock;
use futures_util::FutureExt as _;
use futures_util::future::select_all;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::document::lay_over;
use super::error::ConfigError;
use super::last_good::LastGood;
use super::source::{ConfigSource, Document};
use super::typed::typed;
use super::watched::ConfigStatus;

/// How soon sources are asked again of which one is away.
const RETRY: Duration = Duration::from_secs(1);

/// What the user's validation is.
pub(super) type Validate<T> = Arc<dyn Fn(&T) -> Result<(), String> + Send + Sync>;

/// Everything that makes a configuration.
pub(super) struct Sources<T> {
    pub(super) sources: Vec<Arc<dyn ConfigSource>>,
    pub(super) validate: Option<Validate<T>>,
    pub(super) last_good: Option<LastGood>,
}

impl<T: DeserializeOwned> Sources<T> {
    /// What all of them say now.
    pub(super) async fn read(&self) -> Result<(Value, T), ConfigError> {
        let mut whole = Document {
            settings: Value::Object(Map::new()),
            texts: Vec::new(),
        };
        let mut failed = None;
        for source in &self.sources {
            // Also behind one that fails: what a source waits for is what it has not read.
            match source.read().await {
                Ok(document) => lay_over(&mut whole, document),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => self.check(&whole),
        }
    }

    /// The settings, if they are good, and the tree that they were read from.
    pub(super) fn check(&self, document: &Document) -> Result<(Value, T), ConfigError> {
        let (settings, tree) = typed(document)?;
        if let Some(validate) = &self.validate {
            validate(&settings).map_err(|reason| ConfigError::Refused { reason })?;
        }
        Ok((tree, settings))
    }

    /// Keeps what is good, for a start when the sources have nothing. Whether there is nothing left to keep.
    pub(super) async fn keep(&self, tree: &Value) -> bool {
        let Some(last_good) = &self.last_good else {
            return true;
        };
        let written = last_good.write(tree).await;
        if let Err(error) = &written {
            let file = last_good.0.display().to_string();
            tracing::warn!(file, %error, "the last good configuration could not be kept");
        }
        written.is_ok()
    }

    /// Waits until one of them may say something else.
    async fn changed(&self) {
        let waits = self.sources.iter().map(|source| source.changed());
        let waits: Vec<_> = waits.collect();
        if waits.is_empty() {
            return std::future::pending().await;
        }
        select_all(waits).await;
    }
}

/// Follows the sources, for as long as the task lives.
pub(super) struct Follower<T> {
    pub(super) sources: Sources<T>,
    /// What counts.
    pub(super) tree: Value,
    /// Whether that is the last good one on disk: it is not written at every look.
    pub(super) is_kept: bool,
    pub(super) now: watch::Sender<Arc<T>>,
    pub(super) status: Arc<Mutex<ConfigStatus>>,
    pub(super) clock: Clock,
    /// What is wrong, as it was said last.
    pub(super) problem: Option<ConfigError>,
}

impl<T: DeserializeOwned + Send + Sync + 'static> Follower<T> {
    pub(super) async fn run(mut self) {
        loop {
            // The type, the validation and sources may be the user's: a panic is the end of a look, not of following.
            let looked = AssertUnwindSafe(self.look()).catch_unwind().await;
            if let Err(panic) = looked {
                let reason = format!("checking it panicked: {}", message_of(panic));
                self.report(ConfigError::Refused { reason });
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Waits until it is worth looking, and looks.
    async fn look(&mut self) {
        match &self.problem {
            // Sources are not watched that have just not answered.
            Some(problem) if problem.is_passing() => tokio::time::sleep(RETRY).await,
            _ => self.sources.changed().await,
        }
        match self.sources.read().await {
            Ok((tree, settings)) => self.take(tree, settings).await,
            Err(problem) => self.report(problem),
        }
    }

    async fn take(&mut self, tree: Value, settings: T) {
        if self.problem.take().is_some() {
            tracing::info!("the configuration can be read again");
        }
        let is_changed = tree != self.tree;
        if is_changed || !self.is_kept {
            self.is_kept = self.sources.keep(&tree).await;
        }
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.problem = None;
        status.is_last_good = false;
        if !is_changed {
            return;
        }
        status.since = self.clock.now();
        status.changes += 1;
        // Before anybody can see the status: what it says is used is used.
        self.now.send_replace(Arc::new(settings));
        drop(status);
        self.tree = tree;
        tracing::info!("a new configuration is used");
    }

    /// Once, until there is another problem or none.
    fn report(&mut self, problem: ConfigError) {
        if self.problem.as_ref() == Some(&problem) {
            return;
        }
        tracing::warn!(error = %problem, "the configuration stays as it is");
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.problem = Some(problem.to_string());
        drop(status);
        self.problem = Some(problem);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::BoxFuture;

    use super::*;

    /// Fails, or not, and counts how often it was read.
    #[derive(Debug)]
    struct Counting(Result<(), ConfigError>, AtomicUsize);

    impl ConfigSource for Counting {
        fn read(&self) -> BoxFuture<'_, Result<Document, ConfigError>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            let read = self.0.clone().map(|()| Document::default());
            std::future::ready(read).boxed()
        }

        fn changed(&self) -> BoxFuture<'_, ()> {
            std::future::pending().boxed()
        }
    }

    #[tokio::test]
    async fn what_is_behind_a_source_that_fails_is_read_too_or_it_would_change_for_ever() {
        let failures = ["first", "second"].map(|from| ConfigError::Away {
            from: from.to_owned(),
            reason: "it is away".to_owned(),
        });
        let [first, second] = failures.map(|it| Counting(Err(it), AtomicUsize::new(0)));
        let last = Arc::new(Counting(Ok(()), AtomicUsize::new(0)));
        let sources = Sources::<Value> {
            sources: vec![Arc::new(first), Arc::new(second), last.clone()],
            validate: None,
            last_good: None,
        };
        let error = sources.read().await.unwrap_err().to_string();
        assert!(error.contains("first"), "{error}");
        assert_eq!(last.1.load(Ordering::Relaxed), 1);
    }
}

//! A model that runs: reading it, waiting for it, and stopping it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::view::{Place, View, Whole};
use super::{Definition, ReadModelError, follow, group};
use crate::app::Running;
use crate::engine::Position;
use crate::handle::Engine;

/// A read model that runs, in the background. Dropping it stops it.
#[must_use = "dropping a running read model stops it"]
pub struct RunningReadModel<T> {
    name: String,
    engine: Engine,
    view: Arc<View<T>>,
    follower: JoinHandle<()>,
    app: Option<Running>,
}

impl<T: Send + Sync + 'static> RunningReadModel<T> {
    pub(super) async fn begin(
        definition: Definition<T>,
        engine: &Engine,
    ) -> Result<Self, ReadModelError> {
        let definition = Arc::new(definition);
        let shared = engine.shared().clone();
        let built = follow::beginning(&definition, &shared).await?;
        let end = shared.health().await?.end.position();
        let view = Arc::new(View::new(built, end));
        let following = (Arc::clone(&definition), Arc::clone(&view));
        let follower = tokio::spawn(async move {
            let (definition, view) = following;
            let reason = follow::follow(&definition, &shared, &view).await;
            view.end(reason);
        });
        let mut running = Self {
            name: definition.name.clone(),
            engine: engine.clone(),
            view,
            follower,
            app: None,
        };
        if let Whole::Ended(reason) = running.view.readable().await {
            return Err(running.ended(reason));
        }
        if definition.has_group {
            let app = group::app(&definition, engine, &running.view);
            running.app = Some(app.start().await?);
        }
        Ok(running)
    }

    /// Reads the value, as of one position. It is not changed meanwhile: be quick, and wait for nothing.
    ///
    /// # Errors
    /// [`ReadModelError::Rebuilding`] and [`ReadModelError::Ended`].
    pub fn read<R>(&self, read: impl FnOnce(&T) -> R) -> Result<R, ReadModelError> {
        self.read_at(|value, _| read(value))
    }

    /// The same, with the position: everything before it is in the value, but for what was left out. As an `ETag`,
    /// say, or in a cache's entry.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn read_at<R>(&self, read: impl FnOnce(&T, Position) -> R) -> Result<R, ReadModelError> {
        self.view.read(read).map_err(|whole| match whole {
            Whole::Ended(reason) => self.ended(reason),
            Whole::From(until) => self.rebuilding(until),
            Whole::Yes => self.rebuilding(self.view.position()),
        })
    }

    /// Everything before it is in the value.
    pub fn position(&self) -> Position {
        self.view.position()
    }

    /// How far the value is behind the end of the log, in positions.
    ///
    /// # Errors
    /// What the engine reports when it is asked for the end of its log.
    pub async fn lag(&self) -> Result<u64, ReadModelError> {
        let end = self.engine.health().await?.end.position();
        Ok(end.get().saturating_sub(self.position().get()))
    }

    /// Waits until the value of this process has the event at `position`, for `deadline` at the most: the token to
    /// read your own write, also one that another process has given out. An event that was left out counts as
    /// applied.
    ///
    /// # Errors
    /// [`ReadModelError::NotApplied`] after the deadline, and [`ReadModelError::Ended`].
    pub async fn wait_until_applied(
        &self,
        position: Position,
        deadline: Duration,
    ) -> Result<(), ReadModelError> {
        tokio::select! {
            biased;
            place = self.view.reached(position) => match place {
                Place::Ended(reason) => Err(self.ended(reason)),
                Place::Has(_) | Place::Ahead => Ok(()),
            },
            () = self.engine.clock().sleep(deadline) => Err(ReadModelError::NotApplied {
                model: self.name.clone(),
                position,
                at: self.position(),
                waited_ms: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }

    /// Completes when the model, or its group, cannot go on, with the reason. Cancel-safe.
    pub async fn failed(&mut self) -> ReadModelError {
        let app = async {
            match &mut self.app {
                Some(app) => app.failed().await,
                None => std::future::pending().await,
            }
        };
        let reason = tokio::select! {
            error = app => return error.into(),
            // Nothing is beyond the last position: this ends when the model does.
            place = self.view.reached(Position::new(u64::MAX)) => match place {
                Place::Ended(reason) => reason,
                Place::Has(_) | Place::Ahead => String::new(),
            },
        };
        self.ended(reason)
    }

    /// Stops, and leaves the group.
    ///
    /// # Errors
    /// What its group has failed with.
    pub async fn stop(mut self) -> Result<(), ReadModelError> {
        let stopped = match self.app.take() {
            Some(app) => app.stop().await,
            None => Ok(()),
        };
        self.follower.abort();
        Ok(stopped?)
    }

    fn ended(&self, reason: String) -> ReadModelError {
        ReadModelError::Ended {
            model: self.name.clone(),
            reason,
        }
    }

    fn rebuilding(&self, until: Position) -> ReadModelError {
        ReadModelError::Rebuilding {
            model: self.name.clone(),
            at: self.position(),
            until,
        }
    }
}

impl<T> Drop for RunningReadModel<T> {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl<T> fmt::Debug for RunningReadModel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningReadModel")
            .field("name", &self.name)
            .field("position", &self.view.position())
            .finish_non_exhaustive()
    }
}

//! Profiles in the memory of this process: folded again at each start, and followed from then on.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ensue::Position;
use ensue::prelude::*;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::fold::Profiles;
use crate::domain::Profile;
use crate::ids::UserId;

/// Profiles that follow a log until this is dropped.
pub(super) struct Following {
    profiles: Arc<RwLock<Profiles>>,
    reached: watch::Receiver<Option<Position>>,
    task: JoinHandle<()>,
}

impl Following {
    /// Follows the log of this engine.
    ///
    /// # Errors
    /// What the engine reports.
    pub(super) fn start(engine: &Engine) -> ensue::Result<Self> {
        let profiles = Arc::new(RwLock::new(Profiles::default()));
        let mut events = engine.read(Profiles::query()?).follow();
        let (reaching, reached) = watch::channel(None);
        let followed = profiles.clone();
        let task = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let applied = event.and_then(|event| {
                    let mut profiles = followed.write().unwrap_or_else(PoisonError::into_inner);
                    profiles.apply(&event.envelope)?;
                    Ok(event.position)
                });
                match applied {
                    Ok(position) => {
                        reaching.send_replace(Some(position));
                    }
                    Err(error) => tracing::error!(%error, "a profile cannot be followed"),
                }
            }
        });
        Ok(Self {
            profiles,
            reached,
            task,
        })
    }

    /// Waits until what stands at this position is in the profiles, if that does not take too long.
    pub(super) async fn reach(&self, position: Position, at_most: Duration) -> bool {
        let mut reached = self.reached.clone();
        let waiting = reached.wait_for(|it| it.is_some_and(|it| it >= position));
        matches!(tokio::time::timeout(at_most, waiting).await, Ok(Ok(_)))
    }

    /// The profile of a user.
    pub(super) fn of(&self, user: &UserId) -> Option<Profile> {
        self.profiles().of(user).cloned()
    }

    /// Those of the users behind this one, in the order of their names, so many at the most.
    pub(super) fn page(&self, after: Option<&UserId>, limit: usize) -> Vec<(UserId, Profile)> {
        self.profiles().page(after, limit)
    }

    fn profiles(&self) -> std::sync::RwLockReadGuard<'_, Profiles> {
        self.profiles.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

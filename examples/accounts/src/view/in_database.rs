//! Profiles in a database, behind a cache that is told of each event.

use std::sync::Arc;
use std::time::Duration;

use ensue::Position;
use ensue::prelude::*;
use ensue_blocks::cache::{Cache, Loaded, LocalStore};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::database::{Opened, Reader, ViewError};
use super::fold::Profiles;
use super::opening::{Sealed, opened};
use crate::domain::{Profile, ShownProfile};
use crate::ids::UserId;

/// How many profiles the cache has at the most.
const CACHED_MAX: u64 = 10_000;

/// Profiles in a database.
pub(super) struct InDatabase {
    reader: Arc<dyn Reader>,
    engine: Engine,
    cache: Cache<Profile>,
    told: watch::Receiver<Position>,
    telling: JoinHandle<()>,
}

impl InDatabase {
    pub(super) async fn start(engine: &Engine, opened: &Opened) -> Result<Self, ViewError> {
        let reader = opened.reader.clone();
        let cache = Cache::builder(LocalStore::new(CACHED_MAX)).build(move |user: String| {
            let reader = reader.clone();
            async move {
                let (position, profile) = reader.row(user).await?;
                Ok(Loaded::new(position, profile))
            }
        });
        // An empty cache has nothing to be told of what was before.
        let end = engine.health().await?.end;
        let (tells, told) = watch::channel(end.position());
        let mut query = Profiles::query()?;
        query.from = end;
        let mut events = engine.read(query).follow();
        let outdating = cache.clone();
        let telling = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let told = match event {
                    Ok(event) => {
                        let (user, position) = (event.envelope.key(), event.position);
                        let told = outdating.invalidate(user, position).await;
                        told.map(|()| position).map_err(ViewError::from)
                    }
                    Err(error) => Err(error.into()),
                };
                match told {
                    Ok(position) => {
                        tells.send_replace(position);
                    }
                    Err(error) => tracing::error!(%error, "the cache of profiles is not told"),
                }
            }
        });
        Ok(Self {
            reader: opened.reader.clone(),
            engine: engine.clone(),
            cache,
            told,
            telling,
        })
    }

    pub(super) async fn reach(&self, position: Position, at_most: Duration) -> bool {
        let mut told = self.told.clone();
        // Both: the row is there, and the cache has no older one.
        let telling = async {
            let telling = told.wait_for(|told| *told >= position);
            matches!(tokio::time::timeout(at_most, telling).await, Ok(Ok(_)))
        };
        let applying = self.reader.applied(self.engine.clone(), position, at_most);
        let (applied, is_told) = tokio::join!(applying, telling);
        applied.is_ok() && is_told
    }

    /// The cache has what the row has: it is opened each time.
    pub(super) async fn of(&self, user: &UserId) -> Result<Option<ShownProfile>, ViewError> {
        match self.cache.get(user.as_str()).await? {
            Some(profile) => Ok(opened(&self.engine, &profile).await?),
            None => Ok(None),
        }
    }

    pub(super) async fn page(
        &self,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Sealed, ViewError> {
        let after = after.map_or("", UserId::as_str).to_owned();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let page = self.reader.page(after, limit).await?.into_iter();
        // Only users have rows.
        let page = page.filter_map(|(user, profile)| Some((user.parse().ok()?, profile)));
        Ok(page.collect())
    }
}

impl Drop for InDatabase {
    fn drop(&mut self) {
        self.telling.abort();
    }
}

//! Last values: what each device has measured last, in a cache.

use std::sync::Arc;
use std::time::Duration;

use ensue::prelude::*;
use ensue_blocks::cache::{Cache, CacheError, CacheStore};

use crate::events::ReadingAccepted;
use crate::store::{LastValue, Store};

/// How long a value is taken for the last one without asking: it is told of each that follows.
const FRESH: Duration = Duration::from_secs(600);

/// `reading.accepted` → the cache. What a cache does not have (any more) is looked up in the table.
#[derive(Clone)]
pub struct LastValues {
    cache: Cache<LastValue>,
}

impl LastValues {
    /// Keeps the values in this store, and loads them from these tables.
    pub fn new(cache: impl CacheStore<LastValue>, store: Arc<Store>) -> Self {
        let cache = Cache::builder(cache)
            .fresh(FRESH)
            .build(move |device: String| {
                let store = store.clone();
                async move { store.last(&device).await }
            });
        Self { cache }
    }

    /// What a device has measured last.
    ///
    /// # Errors
    /// When neither the cache nor the table can be asked.
    pub async fn of(&self, device: &str) -> Result<Option<Arc<LastValue>>, CacheError> {
        self.cache.get(device).await
    }
}

#[service]
impl LastValues {
    #[on(attempts = 10, backoff = "100ms..5s", on_dead = "skip")]
    async fn keep(&self, reading: ReadingAccepted, ctx: &Context) -> Result<(), Failure> {
        let last = LastValue {
            sequence: reading.sequence,
            at: reading.at,
            value: reading.value,
        };
        let device = reading.device;
        self.cache.put(&device, ctx.position(), Some(last)).await?;
        Ok(())
    }
}

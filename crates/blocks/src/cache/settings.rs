//! How a cache is made.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ensue_core::time::Clock;

use super::caching::Cache;
use super::entry::Loaded;
use super::error::BoxError;
use super::store::CacheStore;
use super::times::Times;

const FRESH: Duration = Duration::from_secs(60);
const STALE: Duration = Duration::from_secs(10 * 60);
const ABSENT: Duration = Duration::from_secs(10);
const LOAD_TIMEOUT: Duration = Duration::from_secs(10);
const LOADS_MAX: usize = 64;
/// The longest of these times: a year.
const TIME_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A cache that is being made: [`Cache::builder`]. Times are a year at the most.
#[must_use = "a cache is made by `build`"]
pub struct CacheBuilder<T> {
    store: Arc<dyn CacheStore<T>>,
    times: Times,
    loads_max: usize,
}

impl<T: Send + Sync + 'static> Cache<T> {
    /// A cache that keeps its entries in `store`.
    pub fn builder(store: impl CacheStore<T>) -> CacheBuilder<T> {
        CacheBuilder {
            store: Arc::new(store),
            times: Times {
                fresh: FRESH,
                stale: STALE,
                absent: ABSENT,
                load_timeout: LOAD_TIMEOUT,
                clock: Clock::system(),
            },
            loads_max: LOADS_MAX,
        }
    }
}

impl<T: Send + Sync + 'static> CacheBuilder<T> {
    /// How long a value is given without another look, up to a tenth less at random. Default: 1 min.
    pub fn fresh(mut self, time: Duration) -> Self {
        self.times.fresh = time.min(TIME_MAX);
        self
    }

    /// How long after that it is given while it is loaded anew. Default: 10 min; zero is never.
    pub fn stale(mut self, time: Duration) -> Self {
        self.times.stale = time.min(TIME_MAX);
        self
    }

    /// How long it is kept that a key has no value. Default: 10 s.
    pub fn absent(mut self, time: Duration) -> Self {
        self.times.absent = time.min(TIME_MAX);
        self
    }

    /// How long loading one value may take. Default: 10 s.
    pub fn load_timeout(mut self, time: Duration) -> Self {
        self.times.load_timeout = time.min(TIME_MAX);
        self
    }

    /// How many values are loaded at the same time; others wait, as long as someone waits for them. Default: 64.
    pub fn loads_max(mut self, loads: usize) -> Self {
        self.loads_max = loads.max(1);
        self
    }

    /// Which clock says what is fresh.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.times.clock = clock;
        self
    }

    /// The cache of what `load` gives for a key.
    pub fn build<L, F>(self, load: L) -> Cache<T>
    where
        L: Fn(String) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Loaded<T>, BoxError>> + Send + 'static,
    {
        let load = Arc::new(move |key| -> super::flights::Loading<T> { Box::pin(load(key)) });
        Cache::new(self.store, load, self.times, self.loads_max)
    }
}

impl<T> fmt::Debug for CacheBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder")
            .field("times", &self.times)
            .field("loads_max", &self.loads_max)
            .finish_non_exhaustive()
    }
}

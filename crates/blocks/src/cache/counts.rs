//! What a cache counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// How a cache has fared since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheCounts {
    /// Answers that were fresh.
    pub hits: u64,
    /// Answers that were given while they were loaded anew.
    pub stale: u64,
    /// Questions that had to be loaded, or waited for what loads.
    pub misses: u64,
    /// How often something was loaded.
    pub loads: u64,
    /// How many of these failed.
    pub load_failures: u64,
    /// How many entries were not kept, because a newer one was there.
    pub outdated: u64,
    /// How often the store reported an error.
    pub store_failures: u64,
    /// How often the store was not asked, because it was away.
    pub bypassed: u64,
    /// Whether the store is away.
    pub is_store_away: bool,
}

/// The counters behind them.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) hits: Counter,
    pub(super) stale: Counter,
    pub(super) misses: Counter,
    pub(super) loads: Counter,
    pub(super) load_failures: Counter,
    pub(super) outdated: Counter,
    pub(super) store_failures: Counter,
    pub(super) bypassed: Counter,
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(super) fn counts(&self, is_store_away: bool) -> CacheCounts {
        CacheCounts {
            hits: self.hits.get(),
            stale: self.stale.get(),
            misses: self.misses.get(),
            loads: self.loads.get(),
            load_failures: self.load_failures.get(),
            outdated: self.outdated.get(),
            store_failures: self.store_failures.get(),
            bypassed: self.bypassed.get(),
            is_store_away,
        }
    }
}

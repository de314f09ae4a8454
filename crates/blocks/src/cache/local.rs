//! A cache in this process.

use std::fmt;
use std::time::{Duration, Instant};

use ensue_core::error::Result;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use moka::Expiry;
use moka::ops::compute::{CompResult, Op};
use moka::policy::EvictionPolicy;
use moka::sync;

use super::entry::Entry;
use super::store::CacheStore;

/// Keeps entries in this process (moka): those that were used last. Values are not copied.
pub struct LocalStore<T>(sync::Cache<String, Entry<T>>);

/// Each entry says how long it is kept.
struct Kept;

impl<T> Expiry<String, Entry<T>> for Kept {
    fn expire_after_create(&self, _: &String, entry: &Entry<T>, _: Instant) -> Option<Duration> {
        Some(entry.keep)
    }

    fn expire_after_update(
        &self,
        _: &String,
        entry: &Entry<T>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.keep)
    }
}

impl<T: Send + Sync + 'static> LocalStore<T> {
    /// Up to about `entries_max` entries.
    pub fn new(entries_max: u64) -> Self {
        Self(Self::building(entries_max).build())
    }

    /// Up to about `weight_max`, as `weigh` weighs values: in bytes, for instance. That a key has no value
    /// weighs 1.
    pub fn weighing(weight_max: u64, weigh: impl Fn(&T) -> u32 + Send + Sync + 'static) -> Self {
        let weigh = move |_: &String, entry: &Entry<T>| match &entry.content {
            super::Content::Present(value) => weigh(value),
            _ => 1,
        };
        Self(Self::building(weight_max).weigher(weigh).build())
    }

    fn building(
        capacity: u64,
    ) -> sync::CacheBuilder<String, Entry<T>, sync::Cache<String, Entry<T>>> {
        // Every entry is taken in: its other policy refuses keys that are new, and so what was told of them.
        sync::Cache::builder()
            .max_capacity(capacity)
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(Kept)
    }
}

impl<T: Send + Sync + 'static> CacheStore<T> for LocalStore<T> {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry<T>>>> {
        std::future::ready(Ok(self.0.get(key))).boxed()
    }

    fn put<'a>(&'a self, key: &'a str, entry: Entry<T>) -> BoxFuture<'a, Result<bool>> {
        // One at a time for each key.
        let put = self.0.entry_by_ref(key).and_compute_with(|there| {
            match there.is_some_and(|it| it.value().position > entry.position) {
                true => Op::Nop,
                false => Op::Put(entry),
            }
        });
        let is_kept = !matches!(put, CompResult::Unchanged(_) | CompResult::StillNone(_));
        std::future::ready(Ok(is_kept)).boxed()
    }
}

impl<T> fmt::Debug for LocalStore<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalStore").finish_non_exhaustive()
    }
}

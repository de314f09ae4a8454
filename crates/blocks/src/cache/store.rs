//! What keeps the entries of a cache.

use std::fmt;

use ensue_core::error::Result;
use futures_util::future::BoxFuture;

use super::entry::Entry;

/// Keeps entries: one implementation for each kind of server. It may forget any of them at any time.
pub trait CacheStore<T>: fmt::Debug + Send + Sync + 'static {
    /// What it has of a key. What cannot be read, as another version of the program has written it, is nothing.
    ///
    /// # Errors
    /// What the server reports.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry<T>>>>;

    /// Keeps an entry, unless it has one with a larger position; whether it has kept it. The comparison and the
    /// change are one step.
    ///
    /// # Errors
    /// What the server reports; the entry may have been kept.
    fn put<'a>(&'a self, key: &'a str, entry: Entry<T>) -> BoxFuture<'a, Result<bool>>;
}

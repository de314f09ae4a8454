//! Caches in this process and on real servers: nothing older in the place of what is newer, one load at a time,
//! and servers that are killed.
//!
//! `ENSUE_SERVICES` names the servers, as in the tests of the engines.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

mod loading;
mod positions;
mod servers_killed;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use ensue_blocks::cache::{
    BoxError, Cache, CacheStore, Loaded, LocalStore, MemcachedStore, Position, RedisStore,
};
use servers::Running;
use tokio::sync::RwLock;

/// Only what hangs takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

type Access = Mutex<HashMap<String, Arc<RwLock<()>>>>;

/// Who uses which server: a test that kills one waits for all others.
static ACCESS: LazyLock<Access> = LazyLock::new(Access::default);

/// Where the entries of a test are kept.
pub(crate) struct Kept {
    kind: &'static str,
    url: String,
    prefix: String,
}

impl Kept {
    fn on(kind: &'static str, url: &str) -> Self {
        Self {
            kind,
            url: url.to_owned(),
            prefix: format!("test {:016x}:", fastrand::u64(..)),
        }
    }

    pub(crate) fn store(&self) -> Arc<dyn CacheStore<String>> {
        match self.kind {
            "local" => Arc::new(LocalStore::new(1_000)),
            "redis" => Arc::new(RedisStore::new(&self.url, &self.prefix).unwrap()),
            "memcached" => Arc::new(MemcachedStore::new(&self.url, &self.prefix).unwrap()),
            kind => panic!("nothing is kept in {kind}"),
        }
    }

    /// A store that several caches share, as those of several processes do.
    pub(crate) fn shared(&self) -> Shared {
        Shared(self.store())
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<dyn CacheStore<String>>);

impl CacheStore<String> for Shared {
    fn get<'a>(
        &'a self,
        key: &'a str,
    ) -> futures_util::future::BoxFuture<
        'a,
        ensue_core::error::Result<Option<ensue_blocks::cache::Entry<String>>>,
    > {
        self.0.get(key)
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        entry: ensue_blocks::cache::Entry<String>,
    ) -> futures_util::future::BoxFuture<'a, ensue_core::error::Result<bool>> {
        self.0.put(key, entry)
    }
}

pub(crate) fn at(position: u64) -> Position {
    Position::new(position)
}

pub(crate) fn loaded(position: u64, value: &str) -> Result<Loaded<String>, BoxError> {
    Ok(Loaded::new(at(position), Some(value.to_owned())))
}

/// The value as a text; none is nothing.
pub(crate) async fn value(cache: &Cache<String>, key: &str) -> Option<String> {
    let value = cache.get(key).await.unwrap();
    value.map(|value| value.as_ref().clone())
}

async fn shared(kind: &'static str, test: impl AsyncFn(&Kept)) {
    if kind == "local" {
        return test(&Kept::on(kind, "")).await;
    }
    let Some(server) = Running::find(kind) else {
        return;
    };
    let lock = ACCESS
        .lock()
        .unwrap()
        .entry(kind.to_owned())
        .or_default()
        .clone();
    let _shared = lock.read().await;
    test(&Kept::on(kind, &server.url)).await;
}

async fn alone(kind: &'static str, test: impl AsyncFn(&Kept, &Running)) {
    let Some(server) = Running::find(kind) else {
        return;
    };
    let lock = ACCESS
        .lock()
        .unwrap()
        .entry(kind.to_owned())
        .or_default()
        .clone();
    let _alone = lock.write().await;
    test(&Kept::on(kind, &server.url), &server).await;
}

/// Makes one module with all tests of a store.
macro_rules! cache_tests {
    ($kind:ident) => {
        mod $kind {
            use super::*;

            cache_tests!(@each $kind shared [
                positions::an_older_entry_never_takes_the_place_of_a_newer
                positions::what_was_read_before_a_change_does_not_come_back
                positions::an_entry_that_many_put_at_once_is_the_newest
                positions::a_value_that_is_too_large_takes_the_old_one_away
                positions::a_source_that_is_behind_is_given_and_not_kept
                positions::who_reads_its_own_write_waits_for_no_old_value
                loading::a_value_is_loaded_once_for_all_who_ask
                loading::a_caller_that_is_dropped_does_not_end_the_load
                loading::a_stale_value_is_given_while_it_is_loaded_anew
                loading::nothing_that_is_stale_waits_for_its_turn
                loading::what_no_one_waits_for_any_more_is_not_begun
                loading::a_value_that_is_too_old_is_not_given
                loading::that_there_is_nothing_is_kept_too
                loading::a_failure_is_kept_for_nobody
                loading::a_loader_that_hangs_or_panics_is_told
                loading::keys_are_bounded_and_apart
                loading::an_entry_of_another_type_is_loaded_anew
            ]);
        }
    };
    (@each $kind:ident $access:ident [$($room:ident :: $test:ident)*]) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            $access(stringify!($kind), $room::$test).await;
        }
    )*};
}

cache_tests!(local);
cache_tests!(redis);
cache_tests!(memcached);

mod killed {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn redis() {
        alone(
            "redis",
            servers_killed::values_are_loaded_while_the_store_is_away,
        )
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn memcached() {
        alone(
            "memcached",
            servers_killed::values_are_loaded_while_the_store_is_away,
        )
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn memcached_that_is_back() {
        alone(
            "memcached",
            servers_killed::a_server_that_is_back_is_told_at_once,
        )
        .await;
    }
}

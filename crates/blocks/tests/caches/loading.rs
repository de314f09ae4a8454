//! What is loaded, how often, and what becomes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ensue_blocks::cache::{Cache, CacheError, Loaded, RedisStore};
use ensue_core::time::{Clock, Timestamp, VirtualClock};
use tokio::sync::{Semaphore, mpsc};

use super::{Kept, PATIENCE, at, loaded, value};

/// A cache whose loads each wait for a permit, and say that they have begun.
fn waiting(kept: &Kept) -> (Cache<String>, Arc<Semaphore>, mpsc::Receiver<()>) {
    let permits = Arc::new(Semaphore::new(0));
    let (begin, begun) = mpsc::channel(64);
    let waits = permits.clone();
    let cache = Cache::builder(kept.shared())
        .load_timeout(PATIENCE)
        .build(move |key| {
            let (waits, begin) = (waits.clone(), begin.clone());
            async move {
                begin.send(()).await.unwrap();
                waits.acquire().await.unwrap().forget();
                loaded(1, &key)
            }
        });
    (cache, permits, begun)
}

pub(crate) async fn a_value_is_loaded_once_for_all_who_ask(kept: &Kept) {
    let (cache, permits, mut begun) = waiting(kept);
    let ask = || {
        let cache = cache.clone();
        tokio::spawn(async move { value(&cache, "k").await })
    };
    let first = ask();
    begun.recv().await.unwrap();
    let others: Vec<_> = (0..20).map(|_| ask()).collect();
    while cache.counts().misses < 21 {
        tokio::task::yield_now().await;
    }
    permits.add_permits(1);
    for asked in std::iter::once(first).chain(others) {
        assert_eq!(asked.await.unwrap().as_deref(), Some("k"));
    }
    assert_eq!(value(&cache, "k").await.as_deref(), Some("k"));
    let counts = cache.counts();
    assert_eq!((counts.loads, counts.hits), (1, 1));
}

pub(crate) async fn a_caller_that_is_dropped_does_not_end_the_load(kept: &Kept) {
    let (cache, permits, mut begun) = waiting(kept);
    let asked = tokio::spawn({
        let cache = cache.clone();
        async move { value(&cache, "k").await }
    });
    begun.recv().await.unwrap();
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    permits.add_permits(1);
    assert_eq!(value(&cache, "k").await.as_deref(), Some("k"));
    assert_eq!(cache.counts().loads, 1);
}

pub(crate) async fn a_stale_value_is_given_while_it_is_loaded_anew(kept: &Kept) {
    let hands = VirtualClock::new(Timestamp::EPOCH);
    let number = Arc::new(AtomicU64::new(0));
    let next = number.clone();
    let cache = Cache::builder(kept.shared())
        .fresh(PATIENCE)
        .stale(PATIENCE)
        .clock(Clock::from(hands.clone()))
        .build(move |_| {
            let number = next.fetch_add(1, Ordering::SeqCst) + 1;
            async move { loaded(number, &number.to_string()) }
        });
    assert_eq!(value(&cache, "k").await.as_deref(), Some("1"));
    // A tenth less at random, but not more.
    hands.advance(PATIENCE.mul_f64(0.89));
    assert_eq!(value(&cache, "k").await.as_deref(), Some("1"));
    assert_eq!(cache.counts().hits, 1);
    hands.advance(PATIENCE.mul_f64(0.12));
    assert_eq!(value(&cache, "k").await.as_deref(), Some("1"), "stale");
    assert_eq!(cache.counts().stale, 1);
    // In the background.
    while value(&cache, "k").await.as_deref() == Some("1") {
        tokio::task::yield_now().await;
    }
    assert_eq!(cache.counts().loads, 2);
}

/// A cache that loads one key at a time, with a permit for each; says which it loads.
fn one_at_a_time(
    kept: &Kept,
    hands: &VirtualClock,
) -> (Cache<String>, Arc<Semaphore>, mpsc::Receiver<String>) {
    let permits = Arc::new(Semaphore::new(0));
    let (begin, begun) = mpsc::channel(64);
    let waits = permits.clone();
    let cache = Cache::builder(kept.shared())
        .fresh(PATIENCE)
        .stale(PATIENCE)
        .load_timeout(PATIENCE)
        .loads_max(1)
        .clock(Clock::from(hands.clone()))
        .build(move |key| {
            let (waits, begin) = (waits.clone(), begin.clone());
            async move {
                begin.send(key.clone()).await.unwrap();
                waits.acquire().await.unwrap().forget();
                loaded(1, &key)
            }
        });
    (cache, permits, begun)
}

fn asked(cache: &Cache<String>, key: &'static str) -> tokio::task::JoinHandle<Option<String>> {
    let cache = cache.clone();
    tokio::spawn(async move { value(&cache, key).await })
}

pub(crate) async fn nothing_that_is_stale_waits_for_its_turn(kept: &Kept) {
    let hands = VirtualClock::new(Timestamp::EPOCH);
    let (cache, permits, mut begun) = one_at_a_time(kept, &hands);
    permits.add_permits(3);
    for key in ["a", "b", "c"] {
        assert_eq!(value(&cache, key).await.as_deref(), Some(key));
        assert_eq!(begun.recv().await.unwrap(), key);
    }
    hands.advance(PATIENCE);
    for key in ["a", "b", "c"] {
        assert_eq!(value(&cache, key).await.as_deref(), Some(key));
    }
    assert_eq!(cache.counts().stale, 3);
    assert_eq!(begun.recv().await.unwrap(), "a");
    let missed = asked(&cache, "d");
    while cache.counts().misses < 4 {
        tokio::task::yield_now().await;
    }
    permits.add_permits(2);
    assert_eq!(begun.recv().await.unwrap(), "d", "who waits is next");
    missed.await.unwrap();
    assert_eq!(cache.counts().loads, 5);
}

pub(crate) async fn what_no_one_waits_for_any_more_is_not_begun(kept: &Kept) {
    let hands = VirtualClock::new(Timestamp::EPOCH);
    let (cache, permits, mut begun) = one_at_a_time(kept, &hands);
    let first = asked(&cache, "a");
    assert_eq!(begun.recv().await.unwrap(), "a");
    let given_up = asked(&cache, "b");
    while cache.counts().misses < 2 {
        tokio::task::yield_now().await;
    }
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    let last = asked(&cache, "c");
    while cache.counts().misses < 3 {
        tokio::task::yield_now().await;
    }
    permits.add_permits(2);
    assert_eq!(begun.recv().await.unwrap(), "c");
    for asked in [first, last] {
        assert!(asked.await.unwrap().is_some());
    }
    // Asked for again, it is loaded.
    permits.add_permits(1);
    assert_eq!(value(&cache, "b").await.as_deref(), Some("b"));
    assert_eq!(cache.counts().loads, 3);
}

pub(crate) async fn a_value_that_is_too_old_is_not_given(kept: &Kept) {
    let hands = VirtualClock::new(Timestamp::EPOCH);
    let number = AtomicU64::new(0);
    let cache = Cache::builder(kept.shared())
        .fresh(PATIENCE)
        .stale(Duration::ZERO)
        .clock(Clock::from(hands.clone()))
        .build(move |_| {
            let number = number.fetch_add(1, Ordering::SeqCst) + 1;
            async move { loaded(number, &number.to_string()) }
        });
    assert_eq!(value(&cache, "k").await.as_deref(), Some("1"));
    hands.advance(PATIENCE);
    assert_eq!(value(&cache, "k").await.as_deref(), Some("2"));
}

pub(crate) async fn that_there_is_nothing_is_kept_too(kept: &Kept) {
    let hands = VirtualClock::new(Timestamp::EPOCH);
    let cache = Cache::<String>::builder(kept.shared())
        .absent(PATIENCE)
        .clock(Clock::from(hands.clone()))
        .build(async |_| Ok(Loaded::new(at(1), None)));
    for _ in 0..3 {
        assert_eq!(value(&cache, "k").await, None);
    }
    assert_eq!(cache.counts().loads, 1);
    hands.advance(PATIENCE);
    assert_eq!(value(&cache, "k").await, None);
    assert_eq!(cache.counts().loads, 2, "and is not given when it is stale");
}

pub(crate) async fn a_failure_is_kept_for_nobody(kept: &Kept) {
    let tries = AtomicU64::new(0);
    let cache = Cache::builder(kept.shared()).build(move |_| {
        let number = tries.fetch_add(1, Ordering::SeqCst);
        async move {
            match number {
                0 => Err("the database is away".into()),
                _ => loaded(1, "found"),
            }
        }
    });
    let failed = cache.get("k").await.unwrap_err();
    assert!(
        failed.to_string().contains("the database is away"),
        "{failed}"
    );
    assert_eq!(value(&cache, "k").await.as_deref(), Some("found"));
    assert_eq!(cache.counts().load_failures, 1);
}

pub(crate) async fn a_loader_that_hangs_or_panics_is_told(kept: &Kept) {
    let cache = Cache::<String>::builder(kept.shared())
        .load_timeout(Duration::from_millis(20))
        .build(async |key| match key.as_str() {
            "panics" => panic!("a loader panics: that belongs to the test"),
            _ => std::future::pending().await,
        });
    let failed = cache.get("hangs").await;
    assert!(
        matches!(failed, Err(CacheError::LoadTimeout { .. })),
        "{failed:?}"
    );
    for _ in 0..2 {
        let failed = cache.get("panics").await;
        assert!(
            matches!(failed, Err(CacheError::LoaderEnded { .. })),
            "{failed:?}"
        );
    }
}

pub(crate) async fn keys_are_bounded_and_apart(kept: &Kept) {
    let cache = Cache::builder(kept.shared()).build(async |key: String| loaded(1, &key));
    let long = "x".repeat(200);
    let keys = ["a", "a b", "a%20b", "a\r\nflush_all", "ä", &long];
    for key in keys.iter().chain(&keys) {
        assert_eq!(value(&cache, key).await.as_deref(), Some(*key));
    }
    assert_eq!(cache.counts().loads, 6);
    for key in ["", &"x".repeat(201)] {
        let refused = cache.get(key).await;
        assert!(
            matches!(refused, Err(CacheError::Key { .. })),
            "{refused:?}"
        );
    }
}

/// As an older version of the program left it.
pub(crate) async fn an_entry_of_another_type_is_loaded_anew(kept: &Kept) {
    if kept.kind != "redis" {
        return;
    }
    let old = RedisStore::<u64>::new(&kept.url, &kept.prefix).unwrap();
    let old = Cache::builder(old).build(async |_| panic!("nothing is loaded"));
    old.put("k", at(7), Some(7)).await.unwrap();
    let cache = Cache::builder(kept.shared()).build(async |_| loaded(7, "seven"));
    assert_eq!(value(&cache, "k").await.as_deref(), Some("seven"));
    assert_eq!(value(&cache, "k").await.as_deref(), Some("seven"));
    assert_eq!(cache.counts().loads, 1);
}

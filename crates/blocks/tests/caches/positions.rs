//! Entries and their positions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ensue_blocks::cache::{Cache, CacheError};
use tokio::sync::{Semaphore, mpsc};

use super::{Kept, at, loaded, value};

pub(crate) async fn an_older_entry_never_takes_the_place_of_a_newer(kept: &Kept) {
    let cache = Cache::builder(kept.shared()).build(async |_| panic!("nothing is loaded"));
    let put = async |position, text: &str| {
        cache
            .put("k", at(position), Some(text.to_owned()))
            .await
            .unwrap()
    };
    // Nines and tens: positions are compared as numbers.
    assert!(put(9, "nine").await);
    assert!(put(10, "ten").await);
    assert!(!put(9, "nine").await);
    assert_eq!(value(&cache, "k").await.as_deref(), Some("ten"));
    assert!(
        put(10, "ten again").await,
        "the same event may say it again"
    );
    assert!(cache.put("k", at(u64::MAX), None).await.unwrap());
    assert!(!put(u64::MAX - 1, "before").await);
    assert_eq!(value(&cache, "k").await, None);
    assert_eq!(cache.counts().outdated, 2);
}

/// A reader is slow: it has read the value, then the value changes, and then the reader keeps what it has read.
pub(crate) async fn what_was_read_before_a_change_does_not_come_back(kept: &Kept) {
    let store = kept.shared();
    let (go_on, slow) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU64::new(5)));
    let (reads, mut has_read) = mpsc::channel(8);
    let source = slow.clone();
    let waits = go_on.clone();
    // The source is at the position that the number says; one that read 5 waits before it gives it.
    let cache = Cache::builder(store.clone()).build(move |_| {
        let (source, waits, reads) = (source.clone(), waits.clone(), reads.clone());
        async move {
            let position = source.load(Ordering::SeqCst);
            reads.send(position).await.unwrap();
            if position == 5 {
                waits.acquire().await.unwrap().forget();
            }
            loaded(position, &format!("as of {position}"))
        }
    });
    let reader = tokio::spawn({
        let cache = cache.clone();
        async move { value(&cache, "k").await }
    });
    assert_eq!(has_read.recv().await, Some(5));
    slow.store(6, Ordering::SeqCst);
    // By the handler of the event, in another process.
    let handler = Cache::builder(store).build(async |_| panic!("a handler loads nothing"));
    handler.invalidate("k", at(6)).await.unwrap();
    go_on.add_permits(1);
    // Who asked before may get either; what it keeps is the new one.
    reader.await.unwrap().unwrap();
    assert_eq!(value(&cache, "k").await.as_deref(), Some("as of 6"));
    assert_eq!(value(&cache, "k").await.as_deref(), Some("as of 6"));
    assert_eq!(cache.counts().outdated, 1, "the old one was refused");
}

pub(crate) async fn an_entry_that_many_put_at_once_is_the_newest(kept: &Kept) {
    let store = kept.shared();
    let mut putting = Vec::new();
    for part in 0..8_u64 {
        let cache = Cache::builder(store.clone()).build(async |_| panic!("nothing is loaded"));
        putting.push(tokio::spawn(async move {
            for number in 0..25 {
                let position = number * 8 + part;
                let text = position.to_string();
                cache.put("k", at(position), Some(text)).await.unwrap();
            }
        }));
    }
    for put in putting {
        put.await.unwrap();
    }
    let cache = Cache::builder(store).build(async |_| panic!("nothing is loaded"));
    assert_eq!(value(&cache, "k").await.as_deref(), Some("199"));
}

pub(crate) async fn a_value_that_is_too_large_takes_the_old_one_away(kept: &Kept) {
    let cache = Cache::builder(kept.shared()).build(async |_| loaded(2, "loaded"));
    assert!(cache.put("k", at(1), Some("old".into())).await.unwrap());
    // What a server takes at the most is less; in this process there is no such limit.
    let is_kept = cache.put("k", at(2), Some("x".repeat(9 << 20))).await;
    if !is_kept.unwrap() {
        assert_eq!(value(&cache, "k").await.as_deref(), Some("loaded"));
    }
}

pub(crate) async fn a_source_that_is_behind_is_given_and_not_kept(kept: &Kept) {
    let cache = Cache::builder(kept.shared()).build(async |_| loaded(3, "as of 3"));
    cache.invalidate("k", at(4)).await.unwrap();
    assert_eq!(value(&cache, "k").await.as_deref(), Some("as of 3"));
    assert_eq!(value(&cache, "k").await.as_deref(), Some("as of 3"));
    let counts = cache.counts();
    assert_eq!((counts.hits, counts.misses), (0, 2));
}

pub(crate) async fn who_reads_its_own_write_waits_for_no_old_value(kept: &Kept) {
    let source = Arc::new(AtomicU64::new(1));
    let position = source.clone();
    let cache = Cache::builder(kept.shared()).build(move |_| {
        let position = position.load(Ordering::SeqCst);
        async move { loaded(position, &position.to_string()) }
    });
    assert_eq!(value(&cache, "k").await.as_deref(), Some("1"));
    let behind = cache.get_since("k", at(2)).await;
    assert!(
        matches!(behind, Err(CacheError::Behind { .. })),
        "{behind:?}"
    );
    source.store(2, Ordering::SeqCst);
    assert_eq!(
        value(&cache, "k").await.as_deref(),
        Some("1"),
        "it is fresh"
    );
    let own = cache.get_since("k", at(2)).await.unwrap();
    assert_eq!(own.unwrap().as_str(), "2");
    assert_eq!(value(&cache, "k").await.as_deref(), Some("2"));
}

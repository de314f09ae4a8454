//! Locks of one process.

use std::time::Duration;

use ensue_blocks::lock::LockError;

use super::kept::{Kept, LEASE, PATIENCE};

pub(crate) async fn one_holds_it_at_a_time_and_tokens_grow(kept: &Kept) {
    let (ours, theirs) = (kept.open().await, kept.open().await);
    let name = kept.name("one");
    let mut last = None;
    for _ in 0..3 {
        let lock = ours.locks.acquire(&name, PATIENCE).await.unwrap();
        assert!(lock.is_held());
        assert!(
            last < Some(lock.token()),
            "{last:?}, then {:?}",
            lock.token()
        );
        assert!(theirs.locks.try_acquire(&name).await.unwrap().is_none());
        let first = lock.token();
        lock.release().await.unwrap();
        // Another process's copy of a log hears of it a moment later.
        let lock = theirs.locks.acquire(&name, PATIENCE).await.unwrap();
        assert!(first < lock.token());
        last = Some(lock.token());
        lock.release().await.unwrap();
    }
}

pub(crate) async fn a_lock_outlives_its_lease_while_it_is_held(kept: &Kept) {
    let (ours, theirs) = (kept.open().await, kept.open().await);
    let name = kept.name("long");
    let lock = ours.locks.acquire(&name, PATIENCE).await.unwrap();
    let waited = tokio::select! {
        taken = theirs.locks.acquire(&name, LEASE * 2) => taken,
        // On a machine that is too busy to renew anything.
        () = lock.lost() => return,
    };
    assert!(
        matches!(waited, Err(LockError::Deadline { .. })),
        "{waited:?}"
    );
    assert!(lock.is_held());
    lock.release().await.unwrap();
}

pub(crate) async fn a_drop_releases(kept: &Kept) {
    let held = kept.open().await;
    // Far longer than anybody waits: what releases it is the drop.
    let locks = held.locks.clone().lease(PATIENCE * 10);
    let name = kept.name("dropped");
    drop(locks.acquire(&name, PATIENCE).await.unwrap());
    let lock = locks.acquire(&name, PATIENCE).await.unwrap();
    lock.release().await.unwrap();
}

pub(crate) async fn who_gives_up_waiting_leaves_nothing_behind(kept: &Kept) {
    let held = kept.open().await;
    let locks = held.locks.clone().lease(PATIENCE * 10);
    let name = kept.name("given-up");
    let lock = locks.acquire(&name, PATIENCE).await.unwrap();
    for pause in [0, 1, 5, 20, 80] {
        let waiting = locks.acquire(&name, PATIENCE);
        let waited = tokio::time::timeout(Duration::from_millis(pause), waiting).await;
        assert!(waited.is_err(), "it is held");
    }
    lock.release().await.unwrap();
    // Also while it is free, at any moment.
    for micros in [0, 50, 200, 1_000, 3_000, 10_000] {
        let acquiring = locks.acquire(&name, PATIENCE);
        drop(tokio::time::timeout(Duration::from_micros(micros), acquiring).await);
    }
    let lock = locks.acquire(&name, PATIENCE).await.unwrap();
    lock.release().await.unwrap();
}

pub(crate) async fn a_deadline_is_kept(kept: &Kept) {
    let held = kept.open().await;
    let locks = held.locks.clone().lease(PATIENCE * 10);
    let name = kept.name("deadline");
    let lock = locks.acquire(&name, PATIENCE).await.unwrap();
    let refused = locks.acquire(&name, Duration::from_millis(50)).await;
    assert!(
        matches!(refused, Err(LockError::Deadline { .. })),
        "{refused:?}"
    );
    lock.release().await.unwrap();
    // It does not wait any more: no one else has it.
    let lock = locks.acquire(&name, PATIENCE).await.unwrap();
    lock.release().await.unwrap();
}

pub(crate) async fn names_are_apart(kept: &Kept) {
    let held = kept.open().await;
    let names = ["a", "a/b", "a%2Fb", "a b", "ä", "."].map(|name| kept.name(name));
    let mut locks = Vec::new();
    for name in &names {
        let lock = held.locks.try_acquire(name).await.unwrap();
        locks.push(lock.unwrap_or_else(|| panic!("{name} is free")));
    }
    for lock in locks {
        lock.release().await.unwrap();
    }
    for bad in ["", "a\nb", &"x".repeat(201)] {
        let refused = held.locks.try_acquire(bad).await;
        assert!(
            matches!(refused, Err(LockError::Invalid { .. })),
            "{refused:?}"
        );
    }
}

pub(crate) async fn who_has_waited_longest_is_next(kept: &Kept) {
    let held = kept.open().await;
    let locks = held.locks.clone().lease(PATIENCE);
    let name = kept.name("line");
    let first = locks.acquire(&name, PATIENCE).await.unwrap();
    let mut waiting = Vec::new();
    for number in 0..4 {
        let (locks, name) = (locks.clone(), name.clone());
        waiting.push(tokio::spawn(async move {
            let lock = locks.acquire(&name, PATIENCE).await.unwrap();
            (number, lock)
        }));
        // In the line, before the next one: nothing says so but the server, which takes far less.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let mut last = first.token();
    first.release().await.unwrap();
    for (expected, waiting) in waiting.into_iter().enumerate() {
        let (number, lock) = waiting.await.unwrap();
        assert_eq!(number, expected);
        assert!(last < lock.token());
        last = lock.token();
        lock.release().await.unwrap();
    }
}

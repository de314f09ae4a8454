//! Servers that are killed while a lock is held.

use servers::Running;

use super::kept::{Kept, LEASE, PATIENCE};

pub(crate) async fn a_lock_survives_a_server_that_comes_back_and_not_one_that_stays_away(
    kept: &Kept,
    server: &Running,
) {
    let (ours, theirs) = (kept.open().await, kept.open().await);
    // Long enough for any server to come back on any machine.
    let locks = ours.locks.clone().lease(PATIENCE);
    let name = kept.name("survivor");
    let lock = locks.acquire(&name, PATIENCE).await.unwrap();
    let (short, thing) = (kept.name("short"), kept.name("short-thing"));
    let lost = ours.locks.acquire(&short, PATIENCE).await.unwrap();
    assert!(ours.write(&lost, &thing, "before").await);

    server.kill();
    lost.lost().await;
    assert!(!lost.is_held(), "after {LEASE:?} without an answer");
    assert!(lock.is_held(), "its lease is longer than that");
    server.start();

    let next = theirs.locks.acquire(&short, PATIENCE).await.unwrap();
    assert!(lost.token() < next.token(), "tokens grow across restarts");
    assert!(theirs.write(&next, &thing, "after").await);
    next.release().await.unwrap();
    // ZooKeeper's sessions have at most 20 ticks, which such a restart may take.
    if kept.kind != "zookeeper" {
        assert!(theirs.locks.try_acquire(&name).await.unwrap().is_none());
        lock.release().await.unwrap();
        let lock = theirs.locks.acquire(&name, PATIENCE).await.unwrap();
        lock.release().await.unwrap();
    }
}

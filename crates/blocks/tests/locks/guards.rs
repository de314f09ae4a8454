//! Guards: who does not hold the lock does not write.

use ensue::{Engine, Envelope, Outgoing};
use ensue_blocks::lock::{LockError, Locks, LogLocks, PostgresLocks};

use super::kept::{self, Kept, LEASE, PATIENCE};

pub(crate) async fn a_guard_lets_the_holder_alone_write(kept: &Kept) {
    let (ours, theirs) = (kept.open().await, kept.open().await);
    let (name, thing) = (kept.name("guarded"), kept.name("thing"));
    let first = ours.locks.acquire(&name, PATIENCE).await.unwrap();
    assert!(ours.write(&first, &thing, "one").await);
    assert!(
        ours.write(&first, &thing, "two").await,
        "as often as it likes"
    );
    // The lock goes to others behind the holder's back: as if it had been paused.
    let stolen = steal(kept, &name).await;
    if !stolen {
        first.release().await.unwrap();
        return;
    }
    let second = theirs.locks.acquire(&name, PATIENCE).await.unwrap();
    assert!(theirs.write(&second, &thing, "three").await);
    assert!(!ours.write(&first, &thing, "four").await, "it is fenced");
    first.lost().await;
    assert!(
        theirs.write(&second, &thing, "five").await,
        "and no one else is"
    );
    if let Some(found) = theirs.read(&thing).await {
        assert_eq!(found, "five");
    }
    second.release().await.unwrap();
}

/// A transaction that has begun under a lock takes its time: who waits for that lock must not wait for it in the
/// database, where it would hold up the other locks of its process, and the holder renews its own beside it.
pub(crate) async fn a_guarded_transaction_blocks_no_one_and_keeps_the_lock(kept: &Kept) {
    let (ours, theirs) = (kept.open().await, kept.open().await);
    let name = kept.name("long-guarded");
    let lock = ours.locks.acquire(&name, PATIENCE).await.unwrap();
    let (mut client, looker) = (kept::sql(&kept.url).await, kept::sql(&kept.url).await);
    let transaction = client.transaction().await.unwrap();
    let claim: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
        [&lock.name(), &lock.token().to_i64()];
    let held = transaction.query(PostgresLocks::CHECK_HELD, &claim).await;
    if held.unwrap().is_empty() {
        // On a machine that is too busy to renew anything.
        return;
    }
    let own = transaction
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap();
    let own: i32 = own.get(0);
    let waiting = tokio::spawn({
        let (locks, name) = (theirs.locks.clone(), name.clone());
        async move { locks.acquire(&name, LEASE).await }
    });
    while !waiting.is_finished() {
        let blocked = "SELECT query FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))";
        let blocked = looker.query(blocked, &[&own]).await.unwrap();
        let blocked: Vec<&str> = blocked.iter().map(|row| row.get(0)).collect();
        assert_eq!(blocked, Vec::<&str>::new());
    }
    let waited = waiting.await.unwrap();
    assert!(
        matches!(waited, Err(LockError::Deadline { .. })),
        "{waited:?}"
    );
    // Also when it is given back: the transaction was told that no other gets it before.
    lock.release().await.unwrap();
    assert!(theirs.locks.try_acquire(&name).await.unwrap().is_none());
    transaction.commit().await.unwrap();
    let next = theirs.locks.acquire(&name, PATIENCE).await.unwrap();
    next.release().await.unwrap();
}

/// A newer program may write of locks what this one does not know.
#[tokio::test]
async fn what_the_log_says_of_a_lock_and_is_not_known_does_not_free_it() {
    let engine = Engine::open("memory:").await.unwrap();
    let locks = Locks::new(LogLocks::new(&engine));
    let lock = locks.acquire("newer", PATIENCE).await.unwrap();
    let handed_on = Envelope::builder("locks", "lock.handed-on").key("newer");
    engine.publish(Outgoing::raw(handed_on)).await.unwrap();
    let refused = locks.try_acquire("newer").await;
    assert!(
        matches!(&refused, Err(LockError::Invalid { value, .. }) if value == "lock.handed-on"),
        "{refused:?}"
    );
    drop(lock);
}

/// Ends the lease on the server, where a test can.
async fn steal(kept: &Kept, name: &str) -> bool {
    match kept.kind {
        "postgres" => {
            let (client, connection) = tokio_postgres::connect(&kept.url, tokio_postgres::NoTls)
                .await
                .unwrap();
            tokio::spawn(connection);
            let end = "UPDATE ensue_locks SET until = now() - interval '1 second' WHERE name = $1";
            assert_eq!(client.execute(end, &[&name]).await.unwrap(), 1);
            true
        }
        "redis" => {
            let client = ensue_brokers::redis::Client::new(&kept.url).unwrap();
            let mut delete = redis::cmd("DEL");
            delete.arg(format!("ensue:lock:{{{name}}}"));
            assert_eq!(client.ask_one(delete).await.unwrap(), redis::Value::Int(1));
            true
        }
        "log" => {
            kept.open().await.expire(name).await;
            true
        }
        // The holder's session and lease cannot be ended without the holder: it is paused instead, by
        // `processes`.
        _ => false,
    }
}

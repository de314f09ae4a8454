//! Guards: who does not hold the lock does not write.

use super::kept::{Kept, PATIENCE};

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
        "and nobody else is"
    );
    if let Some(found) = theirs.read(&thing).await {
        assert_eq!(found, "five");
    }
    second.release().await.unwrap();
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

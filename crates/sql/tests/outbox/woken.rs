//! Relays that wait: they are woken, and need not look.

use std::time::Duration;

use ensue::prelude::*;
use ensue_sql::Database;

use super::shop::{Shop, Terms};

/// Longer than any test: who is not woken hangs.
const NEVER: Duration = Duration::from_secs(24 * 3_600);
const AT_ONCE: Terms = Terms {
    begins_early: false,
    lingers: Duration::ZERO,
    commits: true,
};

/// Waits for the next event, however long the machine takes.
async fn next(tail: &mut ensue::Events) {
    let next = tokio::time::timeout(Duration::from_secs(600), tail.next()).await;
    next.expect("the relay is woken").unwrap().unwrap();
}

/// A program that publishes and relays wakes its own relay when it has committed.
pub(crate) async fn by_its_own_process<DB: Database>(shop: &Shop<DB>) {
    shop.accounts(1).await;
    let engine = Engine::open("memory:").await.unwrap();
    let mut tail = engine.tail("moves").await.unwrap();
    let relay = tokio::spawn(shop.outbox.relay(&engine).poll(NEVER, NEVER).run());
    for _ in 0..5 {
        shop.move_on("a-0", AT_ONCE).await.unwrap();
        next(&mut tail).await;
    }
    relay.abort();
}

/// PostgreSQL wakes the relay of another process, also when it has been idle.
#[cfg(feature = "postgres")]
pub(crate) async fn by_the_database(shop: &Shop<ensue_sql::sqlx::Postgres>) {
    let engine = Engine::open("memory:").await.unwrap();
    let mut tail = engine.tail("things").await.unwrap();
    let relay = tokio::spawn(shop.outbox.relay(&engine).poll(NEVER, NEVER).run());
    for _ in 0..5 {
        let insert =
            "INSERT INTO ensue_outbox (topic, type, data) VALUES ('things', 'thing.done', '1')";
        shop.run(insert, &[]).await;
        next(&mut tail).await;
        // Until it has removed the row, and says that it is idle again.
        while shop
            .rows("SELECT 1 FROM ensue_outbox_relay WHERE is_idle = 1 AND NOT EXISTS (SELECT 1 FROM ensue_outbox)")
            .await
            .is_empty()
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    relay.abort();
}

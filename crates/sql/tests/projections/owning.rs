//! Several who would build the same version.

use std::time::Duration;

use ensue::Engine;

use crate::accounts::{Balances, Moves, Tricks, balances, publish, verify};
use crate::database::Kind;

/// Both are on a log of their own process, so that each takes over whenever it has lost: a race without end.
pub(crate) async fn of_two_owners_one_applies_each_event<DB: Kind>()
where
    Balances: Moves<DB>,
{
    let Some(database) = DB::fresh().await else {
        return;
    };
    let engine = Engine::open("memory:").await.unwrap();
    let pools = [database.another_pool().await, database.another_pool().await];
    let start = |pool| {
        let projection = balances(pool, &Tricks::default());
        projection.batch_events_max(20).lanes(2)
    };
    let first = start(&pools[0]).start(&engine).await.unwrap();
    let second = start(&pools[1]).start(&engine).await.unwrap();
    for _ in 0..40 {
        publish(&engine, 50).await;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..40))).await;
    }
    let last = publish(&engine, 1).await;
    // While they go on taking it from each other, the group is never at rest.
    first
        .wait_until_applied(last, crate::accounts::PATIENCE)
        .await
        .unwrap();
    second.stop().await.unwrap();
    verify(&engine, &first, &database.pool, last).await;
    first.stop().await.unwrap();
}

/// Whoever has not noticed that another has taken over writes behind its guard.
pub(crate) async fn an_owner_that_was_replaced_cannot_commit<DB: Kind>()
where
    Balances: Moves<DB>,
{
    let Some(database) = DB::fresh().await else {
        return;
    };
    let engine = Engine::open("memory:").await.unwrap();
    let pool = &database.pool;
    let running = balances(pool, &Tricks::default())
        .start(&engine)
        .await
        .unwrap();
    let last = publish(&engine, 50).await;
    verify(&engine, &running, pool, last).await;
    // Another takes over: in the database alone, so that the old one is not told.
    let mut connection = pool.acquire().await.unwrap();
    let statement = "UPDATE ensue_position SET epoch = epoch + 1";
    assert_eq!(
        DB::execute(&mut connection, statement, []).await.unwrap(),
        1
    );
    let before = DB::balances(pool, "balances").await;
    publish(&engine, 50).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(DB::balances(pool, "balances").await, before);
    running.stop().await.unwrap();
}

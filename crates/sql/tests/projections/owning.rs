//! Several who would build the same version.

use std::time::Duration;

use crate::accounts::{Balances, Moves, balances, publish};
use crate::database::Kind;
use crate::stage::Stage;

/// Both are on a log of their own process, so that each takes over whenever it has lost: a race without end.
pub(crate) async fn of_two_owners_one_applies_each_event<DB: Kind>(stage: Stage<DB>)
where
    Balances: Moves<DB>,
{
    let pools = [
        stage.database.another_pool().await,
        stage.database.another_pool().await,
    ];
    let start = |pool| {
        let projection = balances(pool, &stage.tricks);
        projection.batch_events_max(20).lanes(2)
    };
    let first = start(&pools[0]).start(&stage.engine).await.unwrap();
    let second = start(&pools[1]).start(&stage.engine).await.unwrap();
    for _ in 0..40 {
        publish(&stage.engine, 50).await;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..40))).await;
    }
    let last = publish(&stage.engine, 1).await;
    // While they go on taking it from each other, the group is never at rest.
    first
        .wait_until_applied(last, crate::accounts::PATIENCE)
        .await
        .unwrap();
    second.stop().await.unwrap();
    stage.verify(&first, last).await;
    first.stop().await.unwrap();
}

/// Whoever has not noticed that another has taken over writes behind its guard.
pub(crate) async fn an_owner_that_was_replaced_cannot_commit<DB: Kind>(stage: Stage<DB>)
where
    Balances: Moves<DB>,
{
    let running = stage.start().await;
    let last = publish(&stage.engine, 50).await;
    stage.verify(&running, last).await;
    // Another takes over: in the database alone, so that the old one is not told.
    let mut connection = stage.pool().acquire().await.unwrap();
    let statement = "UPDATE ensue_position SET epoch = epoch + 1";
    assert_eq!(
        DB::execute(&mut connection, statement, []).await.unwrap(),
        1
    );
    let before = stage.balances().await;
    publish(&stage.engine, 50).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(stage.balances().await, before);
    running.stop().await.unwrap();
}

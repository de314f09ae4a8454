//! Databases that were put back to an older state, and logs that are not the ones that they were.

use ensue::Engine;
use ensue::engine::DeadLetterFilter;
use ensue_sql::Error;

use crate::accounts::{
    Balances, Moves, PATIENCE, balances, fold, publish, publish_one, until, verify,
};
use crate::database::Kind;
use crate::stage::Stage;

const POISON: i64 = 1_000_000;

pub(crate) async fn a_database_that_was_put_back_catches_up<DB: Kind>(stage: Stage<DB>)
where
    Balances: Moves<DB>,
{
    let tricks = &stage.tricks;
    let running = stage
        .projection()
        .lanes(3)
        .start(&stage.engine)
        .await
        .unwrap();
    let last = publish(&stage.engine, 300).await;
    stage.verify(&running, last).await;
    running.stop().await.unwrap();
    let backup = DB::copy(&stage.database).await;
    let later = stage.database.another_pool().await;
    let running = balances(&later, tricks)
        .lanes(3)
        .start(&stage.engine)
        .await
        .unwrap();
    let last = publish(&stage.engine, 300).await;
    verify(&stage.engine, &running, &later, last).await;
    running.stop().await.unwrap();
    // What the group has handled, and the backup lacks: some of it cannot be applied at first.
    let poison = publish_one(&stage.engine, "poisoned", POISON).await;
    let running = balances(&later, tricks)
        .lanes(3)
        .start(&stage.engine)
        .await
        .unwrap();
    running.wait_until_applied(poison, PATIENCE).await.unwrap();
    running.stop().await.unwrap();
    tricks.times.store(4, std::sync::atomic::Ordering::Relaxed);
    tricks.refuse(POISON);
    let running = balances(&backup.pool, tricks)
        .lanes(3)
        .start(&stage.engine)
        .await
        .unwrap();
    let last = publish(&stage.engine, 10).await;
    running.wait_until_applied(last, PATIENCE).await.unwrap();
    until("the poison was tried again", async || {
        tricks.refused.lock().unwrap().is_empty()
    })
    .await;
    verify(&stage.engine, &running, &backup.pool, last).await;
    running.stop().await.unwrap();
}

pub(crate) async fn a_letter_that_was_redriven_before_the_backup_is_handled_again<DB: Kind>(
    stage: Stage<DB>,
) where
    Balances: Moves<DB>,
{
    let tricks = &stage.tricks;
    tricks.refuse(POISON);
    publish_one(&stage.engine, "poisoned", POISON).await;
    let last = publish_one(&stage.engine, "poisoned", 5).await;
    let running = stage
        .projection()
        .attempts(1)
        .start(&stage.engine)
        .await
        .unwrap();
    let group = running.group().await.unwrap();
    until("there is a dead letter", async || {
        stage
            .engine
            .group(&group)
            .await
            .is_ok_and(|group| group.dead == 1)
    })
    .await;
    running.stop().await.unwrap();
    let backup = DB::copy(&stage.database).await;
    let later = stage.database.another_pool().await;
    let running = balances(&later, tricks).start(&stage.engine).await.unwrap();
    tricks.relent();
    stage
        .engine
        .redrive(&group, DeadLetterFilter::default())
        .await
        .unwrap();
    verify(&stage.engine, &running, &later, last).await;
    running.stop().await.unwrap();
    // Nothing in the log will bring it again, unless somebody asks.
    let running = balances(&backup.pool, tricks)
        .start(&stage.engine)
        .await
        .unwrap();
    until("the backup has caught up", async || {
        // Its view is its owner's to make.
        DB::balances(&backup.pool, "balances_v1").await == fold(&stage.engine).await
    })
    .await;
    running.stop().await.unwrap();
}

pub(crate) async fn another_log_is_refused<DB: Kind>(stage: Stage<DB>)
where
    Balances: Moves<DB>,
{
    let running = stage.start().await;
    let last = publish(&stage.engine, 100).await;
    stage.verify(&running, last).await;
    running.stop().await.unwrap();
    let before = stage.balances().await;
    for events in [10, 1_000] {
        let other = Engine::open("memory:").await.unwrap();
        publish(&other, events).await;
        let mut running = stage.projection().start(&other).await.unwrap();
        let error = running.failed().await;
        assert!(matches!(error, Error::OtherLog { .. }), "{error}");
        assert_eq!(stage.balances().await, before);
        running.stop().await.unwrap(); // it was told already
    }
}

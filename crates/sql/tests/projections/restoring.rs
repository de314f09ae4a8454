//! Databases that were put back to an older state, and logs that are not the ones that they were.

use ensue::Engine;
use ensue::engine::DeadLetterFilter;
use ensue_sql::Error;

use crate::accounts::{
    Balances, Moves, PATIENCE, Tricks, balances, fold, publish, publish_one, until, verify,
};
use crate::database::Kind;

const POISON: i64 = 1_000_000;

pub(crate) async fn a_database_that_was_put_back_catches_up<DB: Kind>()
where
    Balances: Moves<DB>,
{
    let Some(database) = DB::fresh().await else {
        return;
    };
    let engine = Engine::open("memory:").await.unwrap();
    let tricks = Tricks::default();
    let running = balances(&database.pool, &tricks)
        .lanes(3)
        .start(&engine)
        .await
        .unwrap();
    let last = publish(&engine, 300).await;
    verify(&engine, &running, &database.pool, last).await;
    running.stop().await.unwrap();
    let backup = DB::copy(&database).await;
    let later = database.another_pool().await;
    let running = balances(&later, &tricks)
        .lanes(3)
        .start(&engine)
        .await
        .unwrap();
    let last = publish(&engine, 300).await;
    verify(&engine, &running, &later, last).await;
    running.stop().await.unwrap();
    // What the group has handled, and the backup lacks: some of it cannot be applied at first.
    let poison = publish_one(&engine, "poisoned", POISON).await;
    let running = balances(&later, &tricks)
        .lanes(3)
        .start(&engine)
        .await
        .unwrap();
    running.wait_until_applied(poison, PATIENCE).await.unwrap();
    running.stop().await.unwrap();
    tricks.times.store(4, std::sync::atomic::Ordering::Relaxed);
    tricks.refuse(POISON);
    let running = balances(&backup.pool, &tricks)
        .lanes(3)
        .start(&engine)
        .await
        .unwrap();
    let last = publish(&engine, 10).await;
    running.wait_until_applied(last, PATIENCE).await.unwrap();
    until("the poison was tried again", async || {
        tricks.refused.lock().unwrap().is_empty()
    })
    .await;
    verify(&engine, &running, &backup.pool, last).await;
    running.stop().await.unwrap();
}

pub(crate) async fn a_letter_that_was_redriven_before_the_backup_is_handled_again<DB: Kind>()
where
    Balances: Moves<DB>,
{
    let Some(database) = DB::fresh().await else {
        return;
    };
    let engine = Engine::open("memory:").await.unwrap();
    let tricks = Tricks::default();
    tricks.refuse(POISON);
    publish_one(&engine, "poisoned", POISON).await;
    let last = publish_one(&engine, "poisoned", 5).await;
    let running = balances(&database.pool, &tricks)
        .attempts(1)
        .start(&engine)
        .await
        .unwrap();
    let group = running.group().await.unwrap();
    until("there is a dead letter", async || {
        engine
            .group(&group)
            .await
            .is_ok_and(|group| group.dead == 1)
    })
    .await;
    running.stop().await.unwrap();
    let backup = DB::copy(&database).await;
    let later = database.another_pool().await;
    let running = balances(&later, &tricks).start(&engine).await.unwrap();
    tricks.relent();
    engine
        .redrive(&group, DeadLetterFilter::default())
        .await
        .unwrap();
    verify(&engine, &running, &later, last).await;
    running.stop().await.unwrap();
    // Nothing in the log will bring it again, unless somebody asks.
    let running = balances(&backup.pool, &tricks)
        .start(&engine)
        .await
        .unwrap();
    until("the backup has caught up", async || {
        // Its view is its owner's to make.
        DB::balances(&backup.pool, "balances_v1").await == fold(&engine).await
    })
    .await;
    running.stop().await.unwrap();
}

pub(crate) async fn another_log_is_refused<DB: Kind>()
where
    Balances: Moves<DB>,
{
    let Some(database) = DB::fresh().await else {
        return;
    };
    let pool = &database.pool;
    let engine = Engine::open("memory:").await.unwrap();
    let running = balances(pool, &Tricks::default())
        .start(&engine)
        .await
        .unwrap();
    let last = publish(&engine, 100).await;
    verify(&engine, &running, pool, last).await;
    running.stop().await.unwrap();
    let before = DB::balances(pool, "balances").await;
    for events in [10, 1_000] {
        let other = Engine::open("memory:").await.unwrap();
        publish(&other, events).await;
        let mut running = balances(pool, &Tricks::default())
            .start(&other)
            .await
            .unwrap();
        let error = running.failed().await;
        assert!(matches!(error, Error::OtherLog { .. }), "{error}");
        assert_eq!(DB::balances(pool, "balances").await, before);
        running.stop().await.unwrap(); // it was told already
    }
}

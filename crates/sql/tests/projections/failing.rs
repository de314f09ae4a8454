//! Events that cannot be applied.

use ensue::engine::{DeadLetterFilter, DeathCause};
use ensue::{Codec, Engine, Envelope, Outgoing};

use crate::accounts::{
    Balances, Moves, PATIENCE, Tricks, balances, fold, publish, publish_one, until, verify,
};
use crate::database::Kind;

/// An amount that no random movement has.
const POISON: i64 = 1_000_000;

pub(crate) async fn what_cannot_be_applied_is_a_dead_letter_and_the_rest_commits<DB: Kind>()
where
    Balances: Moves<DB>,
{
    let Some(database) = DB::fresh().await else {
        return;
    };
    let engine = Engine::open("memory:").await.unwrap();
    let (pool, tricks) = (&database.pool, Tricks::default());
    tricks.refuse(POISON);
    publish(&engine, 100).await;
    let poison = publish_one(&engine, "poisoned", POISON).await;
    let behind = publish_one(&engine, "poisoned", 5).await;
    let last = publish(&engine, 100).await;
    let running = balances(pool, &tricks)
        .attempts(3)
        .start(&engine)
        .await
        .unwrap();
    running.wait_until_applied(last, PATIENCE).await.unwrap();
    let group = running.group().await.unwrap();
    until("there is a dead letter", async || {
        engine.group(&group).await.unwrap().dead == 1
    })
    .await;
    let letters = engine
        .dead_letters(Some(&group), DeadLetterFilter::default())
        .await
        .unwrap();
    assert_eq!((letters[0].position, letters[0].attempts), (poison, 3));
    assert!(
        letters[0].reason.contains("is refused"),
        "{}",
        letters[0].reason
    );
    // The rest is there; what is behind it is not.
    let rest: Vec<_> = fold(&engine)
        .await
        .into_iter()
        .filter(|it| it.0 != "poisoned")
        .collect();
    assert_eq!(DB::balances(pool, "balances").await, rest);
    let waits = running
        .wait_until_applied(behind, std::time::Duration::from_millis(50))
        .await;
    assert!(waits.unwrap_err().to_string().contains("put aside"));

    // Also under another owner, who makes one lane's batch of what comes.
    running.stop().await.unwrap();
    let running = balances(pool, &tricks)
        .attempts(3)
        .start(&engine)
        .await
        .unwrap();
    let last = publish_one(&engine, "poisoned", 7).await;
    tricks.relent();
    engine
        .redrive(&group, DeadLetterFilter::default())
        .await
        .unwrap();
    verify(&engine, &running, pool, last).await;
    // The key goes with its lane again.
    let last = publish_one(&engine, "poisoned", 11).await;
    verify(&engine, &running, pool, last).await;
    running.stop().await.unwrap();
    let aside: i64 = count(pool, "ensue_aside").await;
    assert_eq!(aside, 0);
}

async fn count<DB: Kind>(pool: &sqlx::Pool<DB>, table: &str) -> i64 {
    let mut connection = pool.acquire().await.unwrap();
    let statement = format!("SELECT COUNT(*) FROM {table}");
    let rows = DB::rows(&mut connection, statement, []).await.unwrap();
    match rows[0][0] {
        ensue_sql::Cell::Integer(count) => count,
        ref other => panic!("{other:?}"),
    }
}

pub(crate) async fn a_failure_that_passes_leaves_no_trace<DB: Kind>()
where
    Balances: Moves<DB>,
{
    let Some(database) = DB::fresh().await else {
        return;
    };
    let engine = Engine::open("memory:").await.unwrap();
    let (pool, tricks) = (&database.pool, Tricks::default());
    // Together, behind a savepoint, and three times alone.
    tricks.times.store(5, std::sync::atomic::Ordering::Relaxed);
    tricks.refuse(POISON);
    publish(&engine, 50).await;
    publish_one(&engine, "a-1", POISON).await;
    let last = publish(&engine, 500).await;
    let running = balances(pool, &tricks)
        .attempts(10)
        .start(&engine)
        .await
        .unwrap();
    verify(&engine, &running, pool, last).await;
    let group = running.group().await.unwrap();
    let status = engine.group(&group).await.unwrap();
    assert_eq!((status.dead, status.parked, status.lag), (0, 0, 0));
    running.stop().await.unwrap();
}

/// A deadlock on MySQL takes the savepoint, too. SQLite has one writer, and none.
pub(crate) async fn a_transaction_that_the_database_has_undone_is_tried_again<DB: Kind>()
where
    Balances: Moves<DB>,
{
    let Some(database) = DB::fresh().await.filter(|_| DB::KIND != "sqlite") else {
        return;
    };
    let engine = Engine::open("memory:").await.unwrap();
    let (pool, tricks) = (&database.pool, Tricks::default());
    tricks.times.store(3, std::sync::atomic::Ordering::Relaxed);
    tricks
        .undoes
        .store(true, std::sync::atomic::Ordering::Relaxed);
    tricks.refuse(POISON);
    publish(&engine, 50).await;
    publish_one(&engine, "a-1", POISON).await;
    let last = publish(&engine, 50).await;
    let running = balances(pool, &tricks)
        .attempts(10)
        .start(&engine)
        .await
        .unwrap();
    verify(&engine, &running, pool, last).await;
    running.stop().await.unwrap();
}

pub(crate) async fn what_cannot_be_decoded_is_a_dead_letter_at_once<DB: Kind>()
where
    Balances: Moves<DB>,
{
    let Some(database) = DB::fresh().await else {
        return;
    };
    let engine = Engine::open("memory:").await.unwrap();
    let pool = &database.pool;
    publish(&engine, 20).await;
    let odd = Envelope::builder("transfers", "money.moved").key("odd");
    let odd = odd.payload(Codec::Json, b"{}".to_vec());
    let odd = engine.publish(Outgoing::raw(odd)).await.unwrap().position;
    let last = publish(&engine, 20).await;
    let running = balances(pool, &Tricks::default())
        .start(&engine)
        .await
        .unwrap();
    verify(&engine, &running, pool, last).await;
    let group = running.group().await.unwrap();
    let letters = engine
        .dead_letters(Some(&group), DeadLetterFilter::default())
        .await
        .unwrap();
    assert_eq!((letters[0].position, letters[0].attempts), (odd, 1));
    assert_eq!(letters[0].cause, DeathCause::Undecodable);
    running.stop().await.unwrap();
}

pub(crate) async fn what_is_discarded_holds_up_its_key_no_more<DB: Kind>()
where
    Balances: Moves<DB>,
{
    let Some(database) = DB::fresh().await else {
        return;
    };
    let engine = Engine::open("memory:").await.unwrap();
    let (pool, tricks) = (&database.pool, Tricks::default());
    tricks.refuse(POISON);
    for account in ["alone", "followed"] {
        publish_one(&engine, account, POISON).await;
    }
    let behind = publish_one(&engine, "followed", 5).await;
    let running = balances(pool, &tricks)
        .attempts(1)
        .start(&engine)
        .await
        .unwrap();
    let group = {
        let group = running.group().await.unwrap();
        until("both are dead letters", async || {
            engine
                .group(&group)
                .await
                .is_ok_and(|group| group.dead == 2)
        })
        .await;
        group
    };
    engine
        .discard(&group, DeadLetterFilter::default())
        .await
        .unwrap();
    running.wait_until_applied(behind, PATIENCE).await.unwrap();
    assert_eq!(
        DB::balances(pool, "balances").await,
        [("followed".to_owned(), 5, 1)]
    );
    until("no key has a position of its own", async || {
        count(pool, "ensue_aside").await == 0
    })
    .await;
    running.stop().await.unwrap();
    // It does not come back.
    let running = balances(pool, &tricks)
        .attempts(1)
        .start(&engine)
        .await
        .unwrap();
    let last = publish_one(&engine, "alone", 3).await;
    running.wait_until_applied(last, PATIENCE).await.unwrap();
    assert_eq!(engine.group(&group).await.unwrap().dead, 0);
    let expected = [("alone".to_owned(), 3, 1), ("followed".to_owned(), 5, 1)];
    assert_eq!(DB::balances(pool, "balances").await, expected);
    running.stop().await.unwrap();
}

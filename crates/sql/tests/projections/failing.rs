//! Events that cannot be applied.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ensue::engine::{DeadLetterFilter, DeathCause};
use ensue::{Codec, Envelope, Outgoing};

use crate::accounts::{Balances, Moves, PATIENCE, fold, publish, publish_one, until};
use crate::database::Kind;
use crate::stage::Stage;

/// An amount that no random movement has.
const POISON: i64 = 1_000_000;

pub(crate) async fn what_cannot_be_applied_is_a_dead_letter_and_the_rest_commits<DB: Kind>(
    stage: Stage<DB>,
) where
    Balances: Moves<DB>,
{
    let tricks = &stage.tricks;
    tricks.refuse(POISON);
    publish(&stage.engine, 100).await;
    let poison = publish_one(&stage.engine, "poisoned", POISON).await;
    let behind = publish_one(&stage.engine, "poisoned", 5).await;
    let last = publish(&stage.engine, 100).await;
    let running = stage
        .projection()
        .attempts(3)
        .start(&stage.engine)
        .await
        .unwrap();
    running.wait_until_applied(last, PATIENCE).await.unwrap();
    let group = running.group().await.unwrap();
    until("there is a dead letter", async || {
        stage.engine.group(&group).await.unwrap().dead == 1
    })
    .await;
    let letters = stage
        .engine
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
    let rest: Vec<_> = fold(&stage.engine)
        .await
        .into_iter()
        .filter(|it| it.0 != "poisoned")
        .collect();
    assert_eq!(stage.balances().await, rest);
    let waits = running
        .wait_until_applied(behind, Duration::from_millis(50))
        .await;
    assert!(waits.unwrap_err().to_string().contains("put aside"));

    // Also under another owner, who makes one lane's batch of what comes.
    running.stop().await.unwrap();
    let running = stage
        .projection()
        .attempts(3)
        .start(&stage.engine)
        .await
        .unwrap();
    let last = publish_one(&stage.engine, "poisoned", 7).await;
    tricks.relent();
    stage
        .engine
        .redrive(&group, DeadLetterFilter::default())
        .await
        .unwrap();
    stage.verify(&running, last).await;
    // The key goes with its lane again.
    let last = publish_one(&stage.engine, "poisoned", 11).await;
    stage.verify(&running, last).await;
    running.stop().await.unwrap();
    let aside: i64 = count(stage.pool(), "ensue_aside").await;
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

pub(crate) async fn a_failure_that_passes_leaves_no_trace<DB: Kind>(stage: Stage<DB>)
where
    Balances: Moves<DB>,
{
    let tricks = &stage.tricks;
    // Together, behind a savepoint, and three times alone.
    tricks.times.store(5, Ordering::Relaxed);
    tricks.refuse(POISON);
    publish(&stage.engine, 50).await;
    publish_one(&stage.engine, "a-1", POISON).await;
    let last = publish(&stage.engine, 500).await;
    let running = stage
        .projection()
        .attempts(10)
        .start(&stage.engine)
        .await
        .unwrap();
    stage.verify(&running, last).await;
    let group = running.group().await.unwrap();
    let status = stage.engine.group(&group).await.unwrap();
    assert_eq!((status.dead, status.parked, status.lag), (0, 0, 0));
    running.stop().await.unwrap();
}

/// A deadlock on MySQL takes the savepoint, too. SQLite has one writer, and none.
pub(crate) async fn a_transaction_that_the_database_has_undone_is_tried_again<DB: Kind>(
    stage: Stage<DB>,
) where
    Balances: Moves<DB>,
{
    if DB::KIND == "sqlite" {
        return;
    }
    let tricks = &stage.tricks;
    tricks.times.store(3, Ordering::Relaxed);
    tricks.undoes.store(true, Ordering::Relaxed);
    tricks.refuse(POISON);
    publish(&stage.engine, 50).await;
    publish_one(&stage.engine, "a-1", POISON).await;
    let last = publish(&stage.engine, 50).await;
    let running = stage
        .projection()
        .attempts(10)
        .start(&stage.engine)
        .await
        .unwrap();
    stage.verify(&running, last).await;
    running.stop().await.unwrap();
}

/// A statement that goes on when its handler's time is up holds up neither the rest nor its own rollback. SQLite
/// has none that takes so long.
pub(crate) async fn a_statement_without_end_is_ended<DB: Kind>(stage: Stage<DB>)
where
    Balances: Moves<DB>,
{
    if DB::KIND == "sqlite" {
        return;
    }
    let tricks = &stage.tricks;
    // Together, behind a savepoint, and alone.
    tricks.times.store(3, Ordering::Relaxed);
    tricks.hangs.store(true, Ordering::Relaxed);
    tricks.refuse(POISON);
    publish(&stage.engine, 20).await;
    publish_one(&stage.engine, "a-1", POISON).await;
    let last = publish(&stage.engine, 20).await;
    let running = stage
        .projection()
        .timeout(Duration::from_millis(300))
        .attempts(10)
        .start(&stage.engine)
        .await
        .unwrap();
    stage.verify(&running, last).await;
    assert!(tricks.refused.lock().unwrap().is_empty(), "it has hung");
    running.stop().await.unwrap();
}

pub(crate) async fn what_cannot_be_decoded_is_a_dead_letter_at_once<DB: Kind>(stage: Stage<DB>)
where
    Balances: Moves<DB>,
{
    publish(&stage.engine, 20).await;
    let odd = Envelope::builder("transfers", "money.moved").key("odd");
    let odd = odd.payload(Codec::Json, b"{}".to_vec());
    let odd = stage
        .engine
        .publish(Outgoing::raw(odd))
        .await
        .unwrap()
        .position;
    let last = publish(&stage.engine, 20).await;
    let running = stage.start().await;
    stage.verify(&running, last).await;
    let group = running.group().await.unwrap();
    let letters = stage
        .engine
        .dead_letters(Some(&group), DeadLetterFilter::default())
        .await
        .unwrap();
    assert_eq!((letters[0].position, letters[0].attempts), (odd, 1));
    assert_eq!(letters[0].cause, DeathCause::Undecodable);
    running.stop().await.unwrap();
}

pub(crate) async fn what_is_discarded_holds_up_its_key_no_more<DB: Kind>(stage: Stage<DB>)
where
    Balances: Moves<DB>,
{
    let tricks = &stage.tricks;
    tricks.refuse(POISON);
    for account in ["alone", "followed"] {
        publish_one(&stage.engine, account, POISON).await;
    }
    let behind = publish_one(&stage.engine, "followed", 5).await;
    let running = stage
        .projection()
        .attempts(1)
        .start(&stage.engine)
        .await
        .unwrap();
    let group = {
        let group = running.group().await.unwrap();
        until("both are dead letters", async || {
            stage
                .engine
                .group(&group)
                .await
                .is_ok_and(|group| group.dead == 2)
        })
        .await;
        group
    };
    stage
        .engine
        .discard(&group, DeadLetterFilter::default())
        .await
        .unwrap();
    running.wait_until_applied(behind, PATIENCE).await.unwrap();
    assert_eq!(stage.balances().await, [("followed".to_owned(), 5, 1)]);
    until("no key has a position of its own", async || {
        count(stage.pool(), "ensue_aside").await == 0
    })
    .await;
    running.stop().await.unwrap();
    // It does not come back.
    let running = stage
        .projection()
        .attempts(1)
        .start(&stage.engine)
        .await
        .unwrap();
    let last = publish_one(&stage.engine, "alone", 3).await;
    running.wait_until_applied(last, PATIENCE).await.unwrap();
    assert_eq!(stage.engine.group(&group).await.unwrap().dead, 0);
    let expected = [("alone".to_owned(), 3, 1), ("followed".to_owned(), 5, 1)];
    assert_eq!(stage.balances().await, expected);
    running.stop().await.unwrap();
}

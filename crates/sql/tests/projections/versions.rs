//! Versions beside each other: rebuilding, comparing, switching, and back.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use ensue::Engine;
use ensue_sql::{Comparison, Error, Projections};
use sqlx::Connection as _;

use crate::accounts::{Balances, Moves, PATIENCE, fold, publish, publish_one, until};
use crate::database::Kind;
use crate::stage::Stage;

async fn caught_up(projections: &Projections, version: i64) {
    until("the version has caught up", async || {
        let all = projections.list(Some("balances")).await.unwrap();
        let it = all.iter().find(|it| it.version == version).unwrap();
        it.log_end > 0 && it.position >= it.log_end
    })
    .await;
}

pub(crate) async fn a_version_is_built_beside_compared_switched_to_and_back<DB: Kind>(
    stage: Stage<DB>,
) where
    Balances: Moves<DB>,
{
    let projections = Projections::of(stage.database.another_pool().await);
    let running = stage
        .projection()
        .lanes(2)
        .start(&stage.engine)
        .await
        .unwrap();
    let last = publish(&stage.engine, 500).await;
    stage.verify(&running, last).await;
    // Something has gone wrong with the tables.
    let mut connection = stage.pool().acquire().await.unwrap();
    DB::execute(
        &mut connection,
        "UPDATE balances_v1 SET cents = cents + 1",
        [],
    )
    .await
    .unwrap();
    drop(connection);

    assert_eq!(projections.rebuild("balances").await.unwrap(), 2);
    let again = projections
        .rebuild("balances")
        .await
        .unwrap_err()
        .to_string();
    assert!(again.contains("version 2 is being built"), "{again}");
    caught_up(&projections, 2).await;
    let comparison = projections
        .compare("balances", [1, 2], PATIENCE)
        .await
        .unwrap();
    assert!(!comparison.is_equal());
    let (table, [wrong, right]) = &comparison.tables[0];
    assert_eq!((table.as_str(), wrong.rows), ("balances", right.rows));
    assert_ne!(wrong.checksum, right.checksum);
    // Both go on.
    let last = publish(&stage.engine, 100).await;
    running.wait_until_applied(last, PATIENCE).await.unwrap();
    assert_ne!(stage.balances().await, fold(&stage.engine).await);

    caught_up(&projections, 2).await;
    projections.switch("balances", 2, false).await.unwrap();
    let last = publish(&stage.engine, 100).await;
    stage.verify(&running, last).await;
    let status = projections.list(Some("balances")).await.unwrap();
    assert_eq!(
        status.iter().map(|it| it.is_active).collect::<Vec<_>>(),
        [false, true]
    );

    projections.switch("balances", 1, false).await.unwrap();
    assert_ne!(stage.balances().await, fold(&stage.engine).await);
    projections.switch("balances", 2, false).await.unwrap();
    let read = projections
        .retire("balances", 2)
        .await
        .unwrap_err()
        .to_string();
    assert!(read.contains("the one that is read"), "{read}");
    projections.retire("balances", 1).await.unwrap();
    let retired = projections.switch("balances", 1, true).await.unwrap_err();
    assert!(matches!(retired, Error::Retired { .. }), "{retired}");
    until("nobody builds it", async || {
        stage
            .engine
            .group("balances-v1")
            .await
            .unwrap()
            .members
            .is_empty()
    })
    .await;
    // A restart builds the one that is read, and no other.
    running.stop().await.unwrap();
    let running = stage.start().await;
    let last = publish(&stage.engine, 10).await;
    stage.verify(&running, last).await;
    assert_eq!(projections.list(None).await.unwrap().len(), 2);
    running.stop().await.unwrap();
}

/// Publishes until it is aborted.
fn publishing(engine: &Engine) -> tokio::task::JoinHandle<()> {
    let engine = engine.clone();
    tokio::spawn(async move {
        loop {
            publish(&engine, 3).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
}

/// A comparison while events come: on a busy machine one may be far behind for a moment.
async fn compared(projections: &Projections, versions: [i64; 2]) -> Comparison {
    loop {
        match projections.compare("balances", versions, PATIENCE).await {
            Err(Error::Behind { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
            compared => break compared.unwrap(),
        }
    }
}

pub(crate) async fn versions_are_compared_at_one_position_while_events_come<DB: Kind>(
    stage: Stage<DB>,
) where
    Balances: Moves<DB>,
{
    let projections = Projections::of(stage.database.another_pool().await);
    let running = stage
        .projection()
        .lanes(2)
        .start(&stage.engine)
        .await
        .unwrap();
    let last = publish(&stage.engine, 200).await;
    stage.verify(&running, last).await;
    projections.rebuild("balances").await.unwrap();
    caught_up(&projections, 2).await;
    let publisher = publishing(&stage.engine);
    for _ in 0..2 {
        let comparison = compared(&projections, [1, 2]).await;
        assert!(comparison.is_equal(), "{comparison:?}");
    }
    publisher.abort();
    let last = publish_one(&stage.engine, "last", 1).await;
    stage.verify(&running, last).await;
    running.stop().await.unwrap();
}

/// Of several comparisons of the same versions each holds them in its turn, and one whose process is gone holds
/// them for a while at the most.
pub(crate) async fn several_who_compare_do_not_let_go_of_each_other<DB: Kind>(stage: Stage<DB>)
where
    Balances: Moves<DB>,
{
    let projections = Projections::of(stage.database.another_pool().await);
    let running = stage.start().await;
    let last = publish(&stage.engine, 200).await;
    stage.verify(&running, last).await;
    projections.rebuild("balances").await.unwrap();
    caught_up(&projections, 2).await;
    let publisher = publishing(&stage.engine);
    let compare = |versions| compared(&projections, versions);
    for _ in 0..3 {
        let (first, second, third) =
            tokio::join!(compare([1, 2]), compare([2, 1]), compare([1, 2]));
        assert_eq!(second.versions, [2, 1]);
        for comparison in [first, second, third] {
            assert!(comparison.is_equal(), "{comparison:?}");
        }
    }
    publisher.abort();
    // One whose process is gone.
    let pool = stage.pool().clone();
    until("it holds them", async || {
        let given_up = projections.compare("balances", [1, 2], PATIENCE);
        let _ = tokio::time::timeout(Duration::from_millis(fastrand::u64(1..20)), given_up).await;
        let mut connection = pool.acquire().await.unwrap();
        let held = "SELECT lane FROM ensue_position WHERE hold IS NOT NULL";
        let held = DB::rows(&mut connection, held, []).await.unwrap();
        !held.is_empty()
    })
    .await;
    assert!(compare([1, 2]).await.is_equal());
    let last = publish_one(&stage.engine, "last", 1).await;
    stage.verify(&running, last).await;
    running.stop().await.unwrap();
}

/// Dropped at whatever it waits for, a comparison leaves no connection of the pool within a transaction.
pub(crate) async fn a_comparison_that_is_dropped_leaves_no_transaction<DB: Kind>(stage: Stage<DB>)
where
    Balances: Moves<DB>,
{
    let pool = stage.database.another_pool().await;
    let projections = Projections::of(pool.clone());
    let running = stage.start().await;
    let last = publish(&stage.engine, 20).await;
    stage.verify(&running, last).await;
    projections.rebuild("balances").await.unwrap();
    caught_up(&projections, 2).await;
    for waits in 0.. {
        let mut connection = pool.acquire().await.unwrap();
        let let_go = "UPDATE ensue_position SET hold = NULL";
        DB::run(&mut connection, let_go).await.unwrap();
        drop(connection);
        let compared = {
            let mut comparing = pin!(projections.compare("balances", [1, 2], PATIENCE));
            let mut left = waits;
            poll_fn(|context| match comparing.as_mut().poll(context) {
                Poll::Ready(compared) => Poll::Ready(Some(compared.unwrap())),
                Poll::Pending if left == 0 => Poll::Ready(None),
                Poll::Pending => {
                    left -= 1;
                    Poll::Pending
                }
            })
            .await
        };
        until("its connections are back", async || {
            pool.num_idle() == usize::try_from(pool.size()).unwrap()
        })
        .await;
        let mut connections = Vec::new();
        while let Some(mut connection) = pool.try_acquire() {
            let transaction = connection.begin_with(DB::BEGIN).await.unwrap();
            transaction.rollback().await.unwrap();
            connections.push(connection);
        }
        if let Some(comparison) = compared {
            assert!(comparison.is_equal(), "{comparison:?}");
            assert!(waits > 3, "it was never dropped");
            break;
        }
    }
    running.stop().await.unwrap();
}

/// New code builds a version of its own, and what the old code has built is read until the switch.
pub(crate) async fn new_code_builds_beside_what_is_read<DB: Kind>(stage: Stage<DB>)
where
    Balances: Moves<DB>,
{
    let projections = Projections::of(stage.database.another_pool().await);
    let old = stage.start().await;
    let last = publish(&stage.engine, 100).await;
    stage.verify(&old, last).await;
    let new = stage
        .projection()
        .revision(2)
        .start(&stage.engine)
        .await
        .unwrap();
    caught_up(&projections, 2).await;
    let all = projections.list(None).await.unwrap();
    let told: Vec<_> = all.iter().map(|it| (it.revision, it.is_active)).collect();
    assert_eq!(told, [(1, true), (2, false)]);
    assert_eq!(old.group().await.unwrap(), "balances-v1");
    projections.switch("balances", 2, false).await.unwrap();
    old.stop().await.unwrap();
    let last = publish(&stage.engine, 100).await;
    stage.verify(&new, last).await;
    assert_eq!(new.group().await.unwrap(), "balances-v2");
    // What nobody builds any more cannot be compared, nor switched to once it is far behind.
    publish(&stage.engine, 1_100).await;
    let last = publish_one(&stage.engine, "last", 1).await;
    stage.verify(&new, last).await;
    for behind in [
        projections.switch("balances", 1, false).await.unwrap_err(),
        projections
            .compare("balances", [1, 2], PATIENCE)
            .await
            .unwrap_err(),
    ] {
        assert!(
            matches!(behind, Error::Behind { version: 1, .. }),
            "{behind}"
        );
    }
    new.stop().await.unwrap();
}

//! What a process that starts need not read again, and what it must not believe.

use std::sync::atomic::Ordering;

use ensue::engine::Append;
use ensue::prelude::*;
use ensue::{Position, ReadModel, RunningReadModel};

use crate::balances::{Balances, PANICS, PATIENCE, model, publish, publish_one, until, verify};

const TOPIC: &str = "_snapshot.view.balances";

/// A process that starts, and how many events it has applied for that.
async fn started(
    engine: &Engine,
    model: ReadModel<Balances>,
) -> (RunningReadModel<Balances>, usize) {
    let running = model.start(engine).await.unwrap();
    let applied = running.read(|it| it.applied.0.load(Ordering::Relaxed));
    (running, applied.unwrap())
}

/// Waits for the snapshot of everything up to `last`.
async fn kept(engine: &Engine, last: Position) {
    until("a snapshot", async || {
        let newest = engine.last(TOPIC, "balances").await.unwrap();
        newest.is_some_and(|newest| newest.position > last)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_reads_what_came_after_the_newest_snapshot() {
    let engine = Engine::open("memory:").await.unwrap();
    publish(&engine, 989).await;
    publish_one(&engine, "trouble", PANICS).await;
    let last = publish(&engine, 10).await;
    let (running, _) = started(&engine, model().snapshots(1_000)).await;
    kept(&engine, last).await;
    verify(&engine, &running, last).await;
    running.stop().await.unwrap();

    let last = publish(&engine, 15).await;
    let (running, applied) = started(&engine, model().snapshots(1_000)).await;
    assert_eq!(applied, 15, "those after it");
    verify(&engine, &running, last).await;
    // What it lacks, it lacks still: a panic builds it again from there.
    publish_one(&engine, "trouble", PANICS).await;
    let last = publish(&engine, 1).await;
    verify(&engine, &running, last).await;
    running.stop().await.unwrap();

    for (other, of_it) in [
        (model(), "without snapshots"),
        (
            model().snapshots(100_000).revision(2),
            "of another revision",
        ),
    ] {
        let (running, applied) = started(&engine, other).await;
        assert_eq!(applied, 1_015, "{of_it}");
        verify(&engine, &running, last).await;
        running.stop().await.unwrap();
    }
}

/// A snapshot in a log that it is not of, and one that cannot be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_the_log_does_not_bear_out_is_not_used() {
    let engine = Engine::open("memory:").await.unwrap();
    let last = publish(&engine, 100).await;
    let (running, _) = started(&engine, model().snapshots(100)).await;
    kept(&engine, last).await;
    running.stop().await.unwrap();
    let snapshot = engine.last(TOPIC, "balances").await.unwrap().unwrap();

    let other = Engine::open("memory:").await.unwrap();
    publish(&other, 120).await;
    other
        .append(vec![Append::from(snapshot.envelope.clone())])
        .await
        .unwrap();
    let last = publish(&other, 1).await;
    let (running, applied) = started(&other, model().snapshots(1_000)).await;
    assert_eq!(applied, 121);
    verify(&other, &running, last).await;
    running.stop().await.unwrap();

    let short = Engine::open("memory:").await.unwrap();
    let damaged = snapshot.envelope.payload().get(..40).unwrap().to_vec();
    let damaged = Envelope::builder(TOPIC, "ensue.snapshot")
        .key("balances")
        .payload(ensue::Codec::MessagePack, damaged);
    let damaged = damaged.build().unwrap();
    short.append(vec![Append::from(damaged)]).await.unwrap();
    let last = publish(&short, 1).await;
    let (running, applied) = started(&short, model().snapshots(1_000)).await;
    assert_eq!(applied, 1);
    running.wait_until_applied(last, PATIENCE).await.unwrap();
    running.stop().await.unwrap();
}

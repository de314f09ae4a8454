//! The value follows the log, and says where it is.

use std::sync::Arc;
use std::time::Duration;

use ensue::prelude::*;
use ensue::{Position, ReadModel, ReadModelError};

use crate::balances::{Balances, PATIENCE, fold, model, publish, publish_one, until, verify};

/// What is read while others publish is what the log had made of it at the position that is told with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_look_is_the_fold_of_the_log_up_to_its_position() {
    let engine = Engine::open("memory:").await.unwrap();
    publish(&engine, 2_500).await;
    let running = Arc::new(model().start(&engine).await.unwrap());
    assert_eq!(
        running.read(|it| it.moves).unwrap(),
        2_500,
        "all that was there"
    );
    let publishing = engine.clone();
    let publisher = tokio::spawn(async move {
        for _ in 0..200 {
            publish(&publishing, 5).await;
            tokio::task::yield_now().await;
        }
    });
    let mut looks = 0;
    while !publisher.is_finished() || looks < 20 {
        let (value, at) = running.read_at(|it, at| (it.clone(), at)).unwrap();
        assert_eq!(value, fold(&engine, Some(at)).await);
        looks += 1;
    }
    publisher.await.unwrap();
    let last = publish(&engine, 1).await;
    verify(&engine, &running, last).await;
    assert_eq!(running.read(|it| it.moves).unwrap(), 3_501);
    assert_eq!(running.lag().await.unwrap(), 0);
}

/// Each process has everything, and reads what it has written, whichever of them the group hands an event to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_several_processes_reads_its_own_writes() {
    let engine = Engine::open("memory:").await.unwrap();
    let models = [
        model().start(&engine).await.unwrap(),
        model().start(&engine).await.unwrap(),
        model().without_group().start(&engine).await.unwrap(),
    ];
    for round in 1..=50 {
        for model in &models {
            let written = publish_one(&engine, "mine", 1).await;
            model.wait_until_applied(written, PATIENCE).await.unwrap();
            let mine = model.read(|it| it.cents["mine"]).unwrap();
            assert!(mine > (round - 1) * 3, "{mine} in round {round}");
        }
    }
    engine.settled(["balances"]).await.unwrap();
    let group = engine.group("balances").await.unwrap();
    assert_eq!((group.members.len(), group.lag, group.dead), (2, 0, 0));
    for model in models {
        model.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_said() {
    let engine = Engine::open("memory:").await.unwrap();
    let empty = ReadModel::new("balances", Balances::default);
    let empty = empty.start(&engine).await.unwrap_err().to_string();
    assert!(empty.contains("applies nothing"), "{empty}");
    let twice = model().on(Balances::moved).start(&engine).await;
    let twice = twice.unwrap_err().to_string();
    assert!(twice.contains("two methods apply `money.moved`"), "{twice}");
    let name = ReadModel::new("no name", Balances::default).on(Balances::moved);
    let name = name.start(&engine).await.unwrap_err().to_string();
    assert!(name.contains("`no name`"), "{name}");

    let mut running = model().start(&engine).await.unwrap();
    publish(&engine, 1).await;
    let beyond = Position::new(1_000_000);
    let late = running.wait_until_applied(beyond, Duration::from_millis(20));
    let late = late.await.unwrap_err();
    assert!(matches!(late, ReadModelError::NotApplied { .. }), "{late}");
    engine.close().await.unwrap();
    running.failed().await;
    until("it ends", async || running.read(|_| ()).is_err()).await;
    let ended = running.wait_until_applied(beyond, PATIENCE).await;
    let ended = ended.unwrap_err();
    assert!(matches!(ended, ReadModelError::Ended { .. }), "{ended}");
}

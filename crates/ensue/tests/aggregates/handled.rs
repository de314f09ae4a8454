//! Reading what was just written.

use std::sync::Arc;
use std::time::Duration;

use ensue::engine::{DeadLetterFilter, Handling};
use ensue::error::GroupError;
use ensue::prelude::*;
use ensue::testing::TestApp;
use ensue::{Error, HandlerOptions, Position};
use tokio::sync::Semaphore;

use super::account::{Account, Deposited};

const DEADLINE: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn a_view_has_what_was_decided_before_and_waits_for_no_other_key() {
    let engine = Engine::open("memory:").await.unwrap();
    let (go_on, begun) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let view = Arc::new(std::sync::Mutex::new(0));
    let app = App::new(engine.clone()).on_with("balances", HandlerOptions::default(), {
        let (go_on, begun, view) = (go_on.clone(), begun.clone(), view.clone());
        move |deposited: Deposited, context: Context| {
            let (go_on, begun, view) = (go_on.clone(), begun.clone(), view.clone());
            async move {
                begun.add_permits(1);
                if context.key() == "slow" {
                    go_on.acquire().await.unwrap().forget();
                }
                *view.lock().unwrap() += deposited.cents;
            }
        }
    });
    let running = app.start().await.unwrap();
    let accounts = engine.aggregates::<Account>("/bank");
    let Ok(slow) = accounts
        .decide("slow", |_| Deposited { cents: 1 })
        .await
        .unwrap();
    begun.acquire().await.unwrap().forget();
    let Ok(fast) = accounts
        .decide("fast", |_| Deposited { cents: 10 })
        .await
        .unwrap();
    let text = fast.position.unwrap().to_string();
    let position = Position::new(text.parse().unwrap());
    engine
        .wait_until_handled("balances", position, DEADLINE)
        .await
        .unwrap();
    assert_eq!(
        *view.lock().unwrap(),
        10,
        "the slow one is earlier, and still at work"
    );

    let slow = slow.position.unwrap();
    let soon = Duration::from_millis(1);
    let error = engine
        .wait_until_handled("balances", slow, soon)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Group(GroupError::NotHandled { position, .. }) if *position == slow),
        "{error}"
    );
    let waiting = tokio::spawn({
        let engine = engine.clone();
        async move { engine.wait_until_handled("balances", slow, DEADLINE).await }
    });
    go_on.add_permits(1);
    waiting.await.unwrap().unwrap();
    assert_eq!(*view.lock().unwrap(), 11);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_not_handled_and_neither_is_what_waits_behind_it() {
    let app = TestApp::start(|app| {
        app.on("view", async |deposited: Deposited| match deposited.cents {
            13 => Err(Failure::reject("unlucky")),
            _ => Ok(()),
        })
    })
    .await
    .unwrap();
    let publish = async |cents: u64, key: &str| {
        let event = Outgoing::new(Deposited { cents }).key(key);
        app.publish(event).await.unwrap().position
    };
    let (failed, behind) = (publish(13, "a").await, publish(1, "a").await);
    let other = publish(2, "b").await;
    app.settle().await.unwrap();
    let handling = async |position| {
        app.engine()
            .progress("view", position)
            .await
            .unwrap()
            .handling
    };
    assert_eq!(handling(failed).await, Handling::PutAside);
    assert_eq!(handling(behind).await, Handling::PutAside);
    assert_eq!(handling(other).await, Handling::Done);

    let engine = app.engine();
    let waiting = tokio::spawn({
        let engine = engine.clone();
        async move { engine.wait_until_handled("view", behind, DEADLINE).await }
    });
    // Not before the dead letter is out of the way.
    engine
        .discard("view", DeadLetterFilter::default())
        .await
        .unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(handling(failed).await, Handling::Done, "given up for good");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_tells_of_what_is_put_aside_and_an_unknown_group_is_named() {
    let app = TestApp::start(|app| {
        app.on("view", async |_: Deposited| {
            Err::<(), _>(Failure::reject("no"))
        })
    })
    .await
    .unwrap();
    let event = Outgoing::new(Deposited { cents: 1 }).key("a");
    let position = app.publish(event).await.unwrap().position;
    app.settle().await.unwrap();
    let engine = app.engine();
    let waiting = tokio::spawn({
        let engine = engine.clone();
        async move { engine.wait_until_handled("view", position, DEADLINE).await }
    });
    // Wakes the one that waits, whenever it has begun to.
    while !waiting.is_finished() {
        app.clock().advance(DEADLINE);
        tokio::task::yield_now().await;
    }
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("dead letter"), "{error}");
    let unknown = engine.wait_until_handled("views", position, DEADLINE).await;
    assert!(matches!(
        unknown,
        Err(Error::Group(GroupError::Unknown { .. }))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_group_does_not_take_it_has_handled() {
    let engine = Engine::open("memory:").await.unwrap();
    let app = App::new(engine.clone()).on("view", async |_: Deposited| {});
    let running = app.start().await.unwrap();
    let other = Outgoing::raw(Envelope::builder("elsewhere", "thing.happened"));
    let other = engine.publish(other).await.unwrap().position;
    engine
        .wait_until_handled("view", other, DEADLINE)
        .await
        .unwrap();
    running.stop().await.unwrap();
}

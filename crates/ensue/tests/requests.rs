//! Requests that are refused, that fail, and that have no requester.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use ensue::engine::{DeathCause, Query};
use ensue::error::{EngineError, RequestError};
use ensue::prelude::*;
use ensue::testing::TestApp;
use ensue::{Error, HandlerOptions};
use tokio::sync::Barrier;

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(type = "quote.requested", topic = "quotes")]
struct QuoteRequested {
    item: String,
}

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(type = "quote.given", topic = "quotes")]
struct QuoteGiven {
    cents: u64,
}

async fn shop(attempts: u32) -> TestApp {
    TestApp::start(move |app| {
        let options = HandlerOptions::default()
            .attempts(attempts)
            .backoff(Duration::from_secs(2), Duration::from_secs(60));
        app.on_with("shop", options, |request: QuoteRequested, _| async move {
            match request.item.as_str() {
                "gold" => Err(Failure::reject("we do not sell gold")),
                "broken" => Err(Failure::retry("the till is broken")),
                item => Ok(Reply(QuoteGiven {
                    cents: item.len() as u64,
                })),
            }
        })
    })
    .await
    .unwrap()
}

fn quote(item: &str, key: &str) -> Outgoing {
    Outgoing::new(QuoteRequested { item: item.into() }).key(key)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_is_settled_and_its_key_goes_on() {
    let app = shop(3).await;
    let requester = Requester::new(app.engine(), "/till");
    let deadline = Duration::from_secs(5);
    for (item, is_sold) in [("tea", true), ("gold", false), ("tea", true)] {
        let asked = requester.request::<QuoteGiven>(quote(item, "counter"), deadline);
        // The clock stands still: an answer that never comes would be awaited for ever.
        let answer = tokio::time::timeout(Duration::from_secs(20), asked).await;
        match answer.expect("an answer") {
            Ok(given) => assert!(is_sold && given.cents == 3, "{item}"),
            Err(Error::Request(RequestError::Failed(reason))) => {
                assert!(
                    !is_sold && reason == "we do not sell gold",
                    "{item}: {reason}"
                )
            }
            Err(other) => panic!("{other}"),
        }
    }
    app.settle().await.unwrap();
    let status = app.engine().status().await.unwrap();
    let shop = status.group("shop").unwrap();
    assert_eq!((shop.dead, shop.parked, shop.retrying), (0, 0, 0));
    assert_eq!(status.replies, 3, "the refusal is one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_cannot_be_tried_again_in_time_is_answered_and_holds_up_no_other() {
    let app = shop(10).await;
    let requester = Requester::new(app.engine(), "/till");
    let second = Duration::from_millis(500); // The first attempt is followed by another after 1 s at the least.
    let asked = requester.request::<QuoteGiven>(quote("broken", "counter"), second);
    let answer = tokio::time::timeout(Duration::from_secs(20), asked).await;
    let error = answer.expect("an answer").unwrap_err().to_string();
    assert!(
        error.contains("the till is broken") && error.contains("deadline"),
        "{error}"
    );
    app.settle().await.unwrap();
    let status = app.engine().status().await.unwrap();
    let shop = status.group("shop").unwrap();
    assert_eq!((shop.dead, shop.parked, shop.retrying), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_ran_out_of_attempts_is_a_dead_letter_that_parks_nothing() {
    let app = shop(1).await;
    let requester = Requester::new(app.engine(), "/till");
    for (item, is_given) in [("broken", false), ("tea", true)] {
        let asked =
            requester.request::<QuoteGiven>(quote(item, "counter"), Duration::from_secs(3600));
        let answer = tokio::time::timeout(Duration::from_secs(20), asked).await;
        assert_eq!(answer.expect("an answer").is_ok(), is_given, "{item}");
    }
    let dead = app.dead_letters("shop").await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].cause, dead[0].parked), (DeathCause::Exhausted, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_outcome_the_engine_refuses_does_not_block_its_key() {
    let engine = ensue::connect("memory:?state_bytes_max=4096")
        .await
        .unwrap();
    let running = App::new(engine.clone())
        .on("shop", |request: QuoteRequested| async move {
            let given = Effects::none().reply(QuoteGiven { cents: 3 });
            match request.item.as_str() {
                "everything" => given.set_named_state("shelf", "x".repeat(10_000)),
                _ => given,
            }
        })
        .start()
        .await
        .unwrap();
    let requester = Requester::new(engine.clone(), "/till");
    let deadline = Duration::from_secs(20);
    for (item, is_given) in [("everything", false), ("tea", true)] {
        let answer = requester.request::<QuoteGiven>(quote(item, "counter"), deadline);
        assert_eq!(answer.await.is_ok(), is_given, "{item}");
    }
    running.stop().await.unwrap();
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_a_key_do_not_wait_for_each_other() {
    let app = TestApp::start(|app| {
        app.on("shop", |request: QuoteRequested| async move {
            if request.item == "slow" {
                std::future::pending::<()>().await;
            }
            Reply(QuoteGiven { cents: 1 })
        })
    })
    .await
    .unwrap();
    let requester = Requester::new(app.engine(), "/till");
    let hour = Duration::from_secs(3600);
    let ask = |item: &str| Outgoing::new(QuoteRequested { item: item.into() });
    let slow = requester.clone();
    let waiting = tokio::spawn({
        let ask = ask("slow");
        async move { slow.request::<QuoteGiven>(ask, hour).await }
    });
    // The slow one is first in the log.
    while app.envelopes().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let asked = requester.request::<QuoteGiven>(ask("fast"), hour);
    let answer = tokio::time::timeout(Duration::from_secs(20), asked).await;
    assert_eq!(answer.expect("an answer").unwrap().cents, 1);
    waiting.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_no_request_may_have_an_extension_named_deadline() {
    let app = shop(1).await;
    let tea = Outgoing::new(QuoteRequested { item: "tea".into() });
    let long_ago = tea.extension("deadline", "2020-01-01T00:00:00Z");
    app.publish(long_ago).await.unwrap();
    app.publish(quote("gold", "counter").extension("deadline", "2020-01-01T00:00:00Z"))
        .await
        .unwrap();
    app.settle().await.unwrap();
    let dead = app.dead_letters("shop").await.unwrap();
    assert_eq!(dead.len(), 1, "both were handled, and one was refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_go_by_the_source_of_their_request_too() {
    // Both wait before one of them is answered.
    let both = Arc::new(Barrier::new(2));
    let app = TestApp::start(move |app| {
        let both = both.clone();
        let options = HandlerOptions::default();
        app.on_with(
            "shop",
            options,
            move |_: QuoteRequested, context: Context| {
                let both = both.clone();
                async move {
                    both.wait().await;
                    let cents = if context.source() == "/hall" { 1 } else { 2 };
                    Reply(QuoteGiven { cents })
                }
            },
        )
    })
    .await
    .unwrap();
    let requester = Requester::new(app.engine(), "/till");
    let hour = Duration::from_secs(3600);
    let ask = |source: &str| {
        let request = Envelope::of(&QuoteRequested { item: "tea".into() }).unwrap();
        let request = request.id("1").source(source).key(source);
        requester.request::<QuoteGiven>(Outgoing::raw(request), hour)
    };
    let asked = async { tokio::join!(ask("/hall"), ask("/yard")) };
    let answers = tokio::time::timeout(Duration::from_secs(20), asked).await;
    let (hall, yard) = answers.expect("two answers");
    assert_eq!((hall.unwrap().cents, yard.unwrap().cents), (1, 2));
    // Asked again, each gets its own from the log.
    let asked = async { tokio::join!(ask("/yard"), ask("/hall")) };
    let answers = tokio::time::timeout(Duration::from_secs(20), asked).await;
    let (yard, hall) = answers.expect("two answers");
    assert_eq!((hall.unwrap().cents, yard.unwrap().cents), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_ends_with_its_engine() {
    let engine = ensue::connect("memory:").await.unwrap();
    let requester = Requester::new(engine.clone(), "/till");
    let hour = Duration::from_secs(3600);
    let waiting = tokio::spawn(async move {
        let asked = requester.request::<QuoteGiven>(quote("tea", "counter"), hour);
        asked.await.unwrap_err()
    });
    while engine
        .read(Query::default())
        .await
        .unwrap()
        .events
        .is_empty()
    {
        tokio::task::yield_now().await;
    }
    engine.close().await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    let error = ended.expect("an end").unwrap();
    assert!(
        matches!(error, Error::Engine(EngineError::Closed)),
        "{error}"
    );
}

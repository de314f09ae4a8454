//! Events for later and replies: what a program sees of them.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ensue::prelude::*;
use ensue::testing::TestApp;

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(type = "door.used", topic = "doors", key = door)]
struct DoorUsed {
    door: String,
    action: String,
}

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(type = "alarm.raised", topic = "alarms", key = door)]
struct AlarmRaised {
    door: String,
    because: String,
}

fn used(action: &str) -> DoorUsed {
    DoorUsed {
        door: "d".into(),
        action: action.into(),
    }
}

fn alarm(because: &str) -> Outgoing {
    Outgoing::new(AlarmRaised {
        door: "d".into(),
        because: because.into(),
    })
}

const MINUTE: Duration = Duration::from_secs(60);

/// Handles doors as the actions say: each letter is an effect, in this order.
async fn doors() -> TestApp {
    TestApp::start(|app| {
        app.on("doors", |used: DoorUsed| async move {
            let mut effects = Effects::none();
            for action in used.action.split(' ') {
                effects = match action {
                    "cancel" => effects.cancel("alarm"),
                    because => effects.publish(alarm(because).id("alarm").after(MINUTE)),
                };
            }
            effects
        })
    })
    .await
    .unwrap()
}

async fn pending(app: &TestApp) -> Vec<String> {
    let scheduled = app.engine().scheduled(100).await.unwrap();
    let because = |it: &ensue::engine::Scheduled| {
        let alarm: AlarmRaised = it.envelope.as_ref().unwrap().decode().unwrap();
        alarm.because
    };
    scheduled.iter().map(because).collect()
}

async fn raised(app: &TestApp) -> Vec<String> {
    let alarms = app.events::<AlarmRaised>().await.unwrap();
    alarms.into_iter().map(|alarm| alarm.because).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_of_one_handler_apply_in_the_order_in_which_it_said_them() {
    for (actions, left) in [
        (vec!["cancel open"], vec!["open"]),
        (vec!["open cancel"], vec![]),
        (vec!["open", "cancel ajar"], vec!["ajar"]),
        (vec!["open", "cancel ajar cancel"], vec![]),
        (vec!["open", "ajar cancel wide"], vec!["wide"]),
    ] {
        let app = doors().await;
        for action in &actions {
            app.publish(used(action)).await.unwrap();
            app.settle().await.unwrap();
        }
        assert_eq!(pending(&app).await, left, "{actions:?}");
        app.advance(2 * MINUTE).await.unwrap();
        assert_eq!(raised(&app).await, left, "{actions:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_of_many_events_apply_in_the_order_of_the_events() {
    let app = doors().await;
    let actions = ["open", "cancel", "ajar", "cancel", "wide"];
    let events = actions.map(|action| Outgoing::new(used(action)));
    // All are there at once: many of them end up in one commit.
    app.publisher().publish_all(events).await.unwrap();
    app.settle().await.unwrap();
    assert_eq!(pending(&app).await, ["wide"]);
    app.advance(2 * MINUTE).await.unwrap();
    assert_eq!(raised(&app).await, ["wide"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_was_appended_is_a_duplicate_when_it_is_scheduled_again() {
    let app = doors().await;
    let publisher = app.publisher();
    let daily = || alarm("daily").id("daily").after(MINUTE);
    let first = publisher.publish(daily()).await.unwrap();
    assert!(!first.is_duplicate);
    app.advance(MINUTE).await.unwrap();
    assert_eq!(raised(&app).await, ["daily"]);

    let again = publisher.publish(daily()).await.unwrap();
    assert!(again.is_duplicate, "it would never be appended");
    let page = app
        .engine()
        .shared()
        .read(Default::default())
        .await
        .unwrap();
    assert_eq!(again.position, page.events[0].position);
    assert!(pending(&app).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_is_moved_and_set_again_after_it_has_gone_off() {
    let app = TestApp::start(|app| {
        app.on("doors", |used: DoorUsed| async move {
            alarm(&used.action).timer("alarm", MINUTE)
        })
    })
    .await
    .unwrap();
    for action in ["open", "ajar"] {
        app.publish(used(action)).await.unwrap();
        app.settle().await.unwrap();
    }
    assert_eq!(pending(&app).await, ["ajar"]);
    app.advance(MINUTE).await.unwrap();
    app.publish(used("wide")).await.unwrap();
    app.settle().await.unwrap();
    app.advance(MINUTE).await.unwrap();
    assert_eq!(raised(&app).await, ["ajar", "wide"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_whose_id_names_another_event_are_counted() {
    let metrics = Arc::new(Mutex::new(None));
    let kept = metrics.clone();
    let app = TestApp::start(move |app| {
        *kept.lock().unwrap() = Some(app.metrics());
        app.on("doors", |used: DoorUsed| async move {
            // An id that was meant as a name: only the first of them is appended.
            [alarm(&used.action).id("alarm"), alarm(&used.action)]
        })
    })
    .await
    .unwrap();
    for action in ["open", "ajar", "wide"] {
        app.publish(used(action)).await.unwrap();
        app.settle().await.unwrap();
    }
    assert_eq!(raised(&app).await, ["open", "open", "ajar", "wide"]);
    let metrics = metrics.lock().unwrap().take().unwrap();
    assert_eq!(metrics.groups()["doors"].dropped, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_limit_a_pending_id_can_be_scheduled_again() {
    let engine = ensue::connect("memory:?schedules_max=2").await.unwrap();
    let publisher = Publisher::new(engine.clone(), "/test");
    let hour = Duration::from_secs(3600);
    for id in ["a", "b"] {
        publisher
            .publish(alarm(id).id(id).after(hour))
            .await
            .unwrap();
    }
    let again = publisher
        .publish(alarm("a").id("a").after(hour))
        .await
        .unwrap();
    assert!(again.is_duplicate);
    let third = publisher.publish(alarm("c").id("c").after(hour)).await;
    assert!(
        matches!(
            third,
            Err(ensue::Error::Limit(ensue::error::LimitError {
                limit: "schedules_max",
                value: 3,
                ..
            }))
        ),
        "{third:?}"
    );
    engine.close().await.unwrap();
}

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

#[tokio::test(flavor = "multi_thread")]
async fn requests_with_one_id_all_get_its_reply() {
    let engine = ensue::connect("memory:").await.unwrap();
    let asked = Arc::new(AtomicU64::new(0));
    let app = App::new(engine.clone())
        .on("quotes", move |_: QuoteRequested| {
            let asked = asked.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let before = asked.fetch_add(1, Ordering::Relaxed);
                Reply(QuoteGiven {
                    cents: 100 + before,
                })
            }
        })
        .start()
        .await
        .unwrap();
    let requester = Requester::new(engine.clone(), "/test");
    let ask = async || {
        let request = QuoteRequested { item: "tea".into() };
        let request = Outgoing::new(request).id("quote-1");
        let reply = requester.request::<QuoteGiven>(request, Duration::from_secs(10));
        reply.await.map(|quote| quote.cents)
    };
    let (one, two, three) = tokio::join!(ask(), ask(), ask());
    assert_eq!(
        (one.unwrap(), two.unwrap(), three.unwrap()),
        (100, 100, 100)
    );
    // It was asked and answered before.
    assert_eq!(ask().await.unwrap(), 100);
    app.stop().await.unwrap();
    engine.close().await.unwrap();
}

#[test]
fn schedules_fire_when_the_runtime_that_opened_the_engine_is_gone() {
    let opener = tokio::runtime::Runtime::new().unwrap();
    let engine = opener.block_on(ensue::connect("memory:")).unwrap();
    drop(opener);
    let other = tokio::runtime::Runtime::new().unwrap();
    other.block_on(async {
        let publisher = Publisher::new(engine.clone(), "/test");
        let soon = alarm("soon").after(Duration::from_millis(20));
        publisher.publish(soon).await.unwrap();
        let fired = async {
            loop {
                let page = engine.read(Default::default()).await.unwrap();
                if !page.events.is_empty() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let fired = tokio::time::timeout(Duration::from_secs(10), fired).await;
        fired.expect("the scheduled event was never appended");
        engine.close().await.unwrap();
    });
}

#[test]
fn replies_come_when_the_runtime_of_the_first_request_is_gone() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let (first, second) = (runtime(), runtime());
    let engine = first.block_on(ensue::connect("memory:")).unwrap();
    let app = App::new(engine.clone()).on("quotes", |_: QuoteRequested| async {
        Reply(QuoteGiven { cents: 100 })
    });
    let app = second.block_on(app.start()).unwrap();
    let requester = Requester::new(engine.clone(), "/test");
    let ask = async || {
        let request = QuoteRequested { item: "tea".into() };
        let reply = requester.request::<QuoteGiven>(request, Duration::from_secs(10));
        reply.await.map(|quote| quote.cents)
    };
    assert_eq!(first.block_on(ask()).unwrap(), 100);
    drop(first);
    assert_eq!(second.block_on(ask()).unwrap(), 100);
    second.block_on(app.stop()).unwrap();
    second.block_on(engine.close()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_the_id_of_an_event_that_asks_for_no_reply_is_told_so() {
    let engine = ensue::connect("memory:").await.unwrap();
    let request = QuoteRequested { item: "tea".into() };
    let publisher = Publisher::new(engine.clone(), "/test");
    let plain = Outgoing::new(request.clone()).id("quote-1");
    publisher.publish(plain).await.unwrap();
    let requester = Requester::new(engine.clone(), "/test");
    let asked = Outgoing::new(request).id("quote-1");
    let told = requester.request::<QuoteGiven>(asked, Duration::from_secs(60));
    let told = told.await.unwrap_err().to_string();
    assert!(
        told.contains("quote-1") && told.contains("asks for no reply"),
        "{told}"
    );
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_requester_gets_the_reply_that_is_in_the_log() {
    let engine = ensue::connect("memory:").await.unwrap();
    let app = App::new(engine.clone())
        .on("quotes", |_: QuoteRequested| async {
            Reply(QuoteGiven { cents: 100 })
        })
        .start()
        .await
        .unwrap();
    for when in ["before a restart", "after it"] {
        let requester = Requester::new(engine.clone(), "/test");
        let request = QuoteRequested { item: "tea".into() };
        let request = Outgoing::new(request).id("quote-1");
        let reply = requester.request::<QuoteGiven>(request, Duration::from_secs(10));
        assert_eq!(reply.await.unwrap().cents, 100, "{when}");
    }
    app.stop().await.unwrap();
    engine.close().await.unwrap();
}

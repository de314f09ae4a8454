//! Events for later: what a program sees of them.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use ensue::prelude::*;
use ensue::testing::TestApp;

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(name = "door.used", topic = "doors", key = door)]
struct DoorUsed {
    door: String,
    action: String,
}

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(name = "alarm.raised", topic = "alarms", key = door)]
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
    Outgoing::new(&AlarmRaised {
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
        let alarm: AlarmRaised = it.envelope.decode().unwrap();
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
            app.publish(&used(action)).await.unwrap();
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
    let events = actions.map(|action| Outgoing::new(&used(action)));
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
    let page = app.engine().read(Default::default()).await.unwrap();
    assert_eq!(again.position, page.events[0].position);
    assert!(pending(&app).await.is_empty());
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
            Err(ensue::Error::Limit {
                limit: "schedules_max",
                value: 3,
                ..
            })
        ),
        "{third:?}"
    );
    engine.close().await.unwrap();
}

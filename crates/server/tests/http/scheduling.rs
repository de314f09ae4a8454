//! Events for later.

use serde_json::json;

use crate::site::{Site, event};

#[tokio::test]
async fn an_event_for_later_waits_in_the_schedule() {
    let site = Site::start().await;
    let mut client = site.client().await;
    let path = "/v1/events?topic=t&at=2100-01-01T00:00:00%2B00:00";
    let receipt = client.event(path, event("1", "")).await.ok();
    assert_eq!(
        receipt,
        json!({"scheduled": "2100-01-01T00:00:00Z", "duplicate": false})
    );
    let again = client.event(path, event("1", "")).await.ok();
    assert_eq!(again["duplicate"], true);
    assert!(site.events().await.is_empty());
    let scheduled = site.engine.scheduled(10).await.unwrap();
    assert_eq!(scheduled.len(), 1);
    assert_eq!(scheduled[0].at.to_string(), "2100-01-01T00:00:00Z");
    let due = client
        .event("/v1/events?topic=t&at=2000-01-01T00:00:00Z", event("2", ""))
        .await;
    assert!(
        due.ok()["position"].is_string(),
        "what is due is appended now"
    );
    site.end().await;
}

#[tokio::test]
async fn a_timer_is_moved_by_its_name() {
    let site = Site::start().await;
    let mut client = site.client().await;
    for id in ["1", "2"] {
        let path = "/v1/events?topic=t&after=2h&timer=reminder";
        let receipt = client.event(path, event(id, "")).await.ok();
        assert!(receipt["scheduled"].is_string(), "{receipt}");
    }
    let scheduled = site.engine.scheduled(10).await.unwrap();
    assert_eq!(scheduled.len(), 1);
    assert_eq!(scheduled[0].envelope.as_ref().unwrap().id(), "2");
    assert_eq!(scheduled[0].name.id(), "reminder");
    site.end().await;
}

#[tokio::test]
async fn a_time_that_cannot_be_is_refused_by_the_name_of_its_parameter() {
    let site = Site::start().await;
    let mut client = site.client().await;
    for (query, name) in [
        ("at=tomorrow", "at"),
        ("after=soon", "after"),
        ("at=2100-01-01T00:00:00Z&after=1h", "after"),
        ("timer=without-a-time", "timer"),
    ] {
        let answer = client
            .event(&format!("/v1/events?topic=t&{query}"), event("1", ""))
            .await;
        assert_eq!(answer.problem(400, "invalid_parameter")["parameter"], name);
    }
    let unnamed = client
        .event("/v1/events?topic=t&timer=", event("1", ""))
        .await;
    unnamed.problem(400, "invalid_event");
    let two = format!("[{},{}]", event("1", ""), event("2", ""));
    let two = client
        .batch("/v1/events?topic=t&after=1h&timer=x", two)
        .await;
    assert_eq!(two.problem(400, "invalid_parameter")["parameter"], "timer");
    assert!(site.engine.scheduled(10).await.unwrap().is_empty());
    site.end().await;
}

//! Batches: whole, or each event for itself.

use ensue_server::Config;
use serde_json::json;

use crate::site::{Site, event};

fn three(middle: &str) -> String {
    let of = |id: &str| event(id, r#","topic":"t","subject":"k","data":1.10"#);
    format!("[{},{middle},{}]", of("1"), of("3"))
}

#[tokio::test]
async fn a_batch_is_appended_whole_in_its_order() {
    let site = Site::start().await;
    let mut client = site.client().await;
    let batch = three(&event("2", r#","topic":"u""#));
    let results = client.batch("/v1/events", batch.clone()).await.ok();
    let results = results["results"].as_array().unwrap().clone();
    let events = site.events().await;
    assert_eq!(
        events.iter().map(|it| it.envelope.id()).collect::<Vec<_>>(),
        ["1", "2", "3"]
    );
    for (event, result) in events.iter().zip(&results) {
        let position = event.position.to_string();
        assert_eq!(*result, json!({"position": position, "duplicate": false}));
    }
    let again = client.batch("/v1/events", batch).await.ok();
    let duplicates = again["results"].as_array().unwrap().iter();
    assert_eq!(duplicates.filter(|it| it["duplicate"] == true).count(), 3);
    let empty = client.batch("/v1/events", "[]").await.ok();
    assert_eq!(empty, json!({"results": []}));
    site.end().await;
}

#[tokio::test]
async fn of_a_batch_with_an_invalid_event_nothing_is_appended() {
    let site = Site::start().await;
    let mut client = site.client().await;
    let answer = client.batch("/v1/events", three(r#"{"id":"2"}"#)).await;
    let problem = answer.problem(400, "invalid_event");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("event 2 of the batch"),
        "{problem}"
    );
    assert_eq!(problem["errors"][0]["index"], 1);
    assert_eq!(problem["errors_total"], 1);
    for none in ["{}", "[", "[1]", "", "[[]]"] {
        client
            .batch("/v1/events", none)
            .await
            .problem(400, "invalid_event");
    }
    assert!(site.events().await.is_empty());
    site.end().await;
}

#[tokio::test]
async fn without_atomicity_the_valid_events_are_appended_and_the_others_named() {
    let site = Site::start().await;
    let mut client = site.client().await;
    let path = "/v1/events?atomic=false";
    let mixed = client.batch(path, three(r#"{"id":"2"}"#)).await;
    assert_eq!(mixed.status, 207);
    let results = mixed.json()["results"].clone();
    assert_eq!(results[0]["duplicate"], false);
    assert_eq!(results[1]["problem"]["code"], "invalid_event");
    assert_eq!(results[2]["duplicate"], false);
    assert_eq!(site.events().await.len(), 2);
    let good = client
        .batch(path, three(&event("2", r#","topic":"t""#)))
        .await
        .ok();
    assert_eq!(good["results"][1]["duplicate"], false);
    assert_eq!(good["results"][2]["duplicate"], true);
    let none = client.batch(path, r#"[{"id":"2"},7]"#).await;
    let none = none.problem(400, "invalid_event");
    assert_eq!(none["results"].as_array().unwrap().len(), 2);
    let conditional = client
        .batch("/v1/events?atomic=false&expect=absent", "[]")
        .await;
    conditional.problem(400, "invalid_parameter");
    site.end().await;
}

#[tokio::test]
async fn a_conditional_batch_is_about_one_key() {
    let site = Site::start().await;
    let mut client = site.client().await;
    let path = "/v1/events?expect=absent";
    let mixed = client
        .batch(path, three(&event("2", r#","topic":"u""#)))
        .await;
    mixed.problem(400, "invalid_parameter");
    let same = three(&event("2", r#","topic":"t","subject":"k""#));
    client.batch(path, same).await.ok();
    let other = event("9", r#","topic":"t","subject":"k""#);
    client
        .batch(path, format!("[{other}]"))
        .await
        .problem(409, "conflict");
    assert_eq!(site.events().await.len(), 3);
    site.end().await;
}

#[tokio::test]
async fn a_batch_of_more_events_than_the_limit_is_refused() {
    let mut config = Config::default();
    config.limits.batch_events_max = 2;
    let site = Site::with(config).await;
    let mut client = site.client().await;
    let problem = client
        .batch("/v1/events", three(&event("2", r#","topic":"t""#)))
        .await;
    let problem = problem.problem(413, "batch_too_large");
    assert_eq!(problem["max"], 2);
    assert!(site.events().await.is_empty());
    site.end().await;
}

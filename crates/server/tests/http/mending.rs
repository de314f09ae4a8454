//! Dead letters, groups and schedules, as operators see them.

use ensue::engine::{Commit, Death, DeathCause, StateWrite, Subscription};
use ensue::{Engine, OnDead, Start};
use hyper::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::site::{Site, event};

/// Five orders: the group `payments` settled the first and could not handle the others.
async fn site_with_letters() -> Site {
    let site = Site::start().await;
    let mut client = site.client().await;
    let order = |id: usize| {
        let more = format!(r#","topic":"orders","subject":"o-{id}","data":{{"cents":1.10}}"#);
        event(&id.to_string(), &more)
    };
    let orders: Vec<String> = (0..5).map(order).collect();
    client
        .batch("/v1/events", format!("[{}]", orders.join(",")))
        .await
        .ok();
    handle(&site.engine).await;
    site
}

async fn handle(engine: &Engine) {
    let subscription = Subscription {
        group: "payments".into(),
        topics: vec!["orders".parse().unwrap()],
        types: None,
        start: Start::Earliest,
        in_flight_max: 10,
    };
    let member = engine.join(subscription).await.unwrap();
    let mut left = 5;
    while left > 0 {
        let mut commit = Commit::default();
        for delivery in member.next(left).await.unwrap() {
            left -= 1;
            if delivery.envelope.id() == "0" {
                commit.settled.push(delivery.position);
                commit.state.push(StateWrite {
                    topic: "orders".into(),
                    key: "o-0".into(),
                    name: "total".into(),
                    value: Some(b"1".to_vec().into()),
                });
                continue;
            }
            commit.dead.push(Death {
                position: delivery.position,
                attempts: 3,
                cause: DeathCause::Exhausted,
                reason: format!("card {} declined", delivery.envelope.id()),
                on_dead: OnDead::Park,
                envelope: delivery.envelope,
            });
        }
        member.commit(commit).await.unwrap();
    }
    member.leave().await.unwrap();
}

async fn post(client: &mut Client, path: &str, body: Value) -> Answer {
    let headers = [("content-type", "application/json")];
    client
        .send(Method::POST, path, &headers, body.to_string())
        .await
}

fn ids(letters: &Value) -> Vec<&str> {
    let letters = letters.as_array().unwrap().iter();
    letters
        .map(|letter| letter["id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn dead_letters_are_listed_and_shown_with_their_events() {
    let site = site_with_letters().await;
    let mut client = site.client().await;
    let all = client.get("/v1/dead-letters").await.ok();
    assert_eq!(ids(&all["dead_letters"]), ["1", "2", "3", "4"]);
    assert_eq!(all["more"], false);
    let letter = &all["dead_letters"][0];
    assert_eq!(
        (&letter["cause"], &letter["attempts"]),
        (&json!("exhausted"), &json!(3))
    );
    for (query, expected) in [
        ("limit=2", &["1", "2"][..]),
        ("id=2&id=4", &["2", "4"]),
        ("key=o-3&group=payments", &["3"]),
        ("reason=card%202", &["2"]),
        ("type=other", &[]),
        ("since=2100-01-01T00:00:00Z", &[]),
    ] {
        let found = client.get(&format!("/v1/dead-letters?{query}")).await.ok();
        assert_eq!(ids(&found["dead_letters"]), expected, "{query}");
        assert_eq!(found["more"], query == "limit=2");
    }
    let position = letter["position"].as_str().unwrap();
    let path = format!("/v1/groups/payments/dead-letters/{position}");
    let shown = client.get(&path).await;
    assert!(
        shown.text().contains(r#""data":{"cents":1.10}"#),
        "{}",
        shown.text()
    );
    assert_eq!(shown.ok()["dead_letter"], *letter);
    let none = client.get("/v1/groups/payments/dead-letters/99").await;
    none.problem(404, "no_dead_letter");
    client
        .get("/v1/groups/other/dead-letters/1")
        .await
        .problem(404, "unknown_group");
    client
        .get("/v1/dead-letters?limit=201")
        .await
        .problem(400, "invalid_parameter");
    site.end().await;
}

#[tokio::test]
async fn what_a_dry_run_showed_is_redriven_or_discarded_and_nothing_else() {
    let site = site_with_letters().await;
    let mut client = site.client().await;
    let redrive = "/v1/groups/payments/dead-letters/redrive";
    let discard = "/v1/groups/payments/dead-letters/discard";
    let plan = post(
        &mut client,
        redrive,
        json!({"ids": ["1", "2"], "dry_run": true}),
    )
    .await
    .ok();
    assert_eq!((&plan["count"], &plan["more"]), (&json!(2), &json!(false)));
    assert_eq!(ids(&plan["dead_letters"]), ["1", "2"]);
    assert_eq!(
        ids(&client.get("/v1/dead-letters").await.ok()["dead_letters"]).len(),
        4
    );
    let letters = plan["dead_letters"].as_array().unwrap().iter();
    let positions: Vec<_> = letters.map(|letter| letter["position"].clone()).collect();
    let done = post(&mut client, redrive, json!({"positions": positions}))
        .await
        .ok();
    assert_eq!(
        done,
        json!({"group": "payments", "dry_run": false, "count": 2})
    );
    assert_eq!(
        ids(&client.get("/v1/dead-letters").await.ok()["dead_letters"]),
        ["3", "4"]
    );
    let group = client.get("/v1/groups/payments").await.ok();
    assert_eq!(group["dead"], 2);
    let one = post(&mut client, discard, json!({"limit": 1})).await.ok();
    assert_eq!(one["count"], 1);
    let plan = post(&mut client, discard, json!({"all": true, "dry_run": true}))
        .await
        .ok();
    assert_eq!(ids(&plan["dead_letters"]), ["4"]);
    assert_eq!(
        post(&mut client, discard, json!({"all": true})).await.ok()["count"],
        1
    );
    assert_eq!(
        post(&mut client, discard, json!({"all": true})).await.ok()["count"],
        0
    );
    site.end().await;
}

#[tokio::test]
async fn a_selection_that_does_not_say_which_letters_changes_nothing() {
    let site = site_with_letters().await;
    let mut client = site.client().await;
    let path = "/v1/groups/payments/dead-letters/discard";
    for body in [
        json!({}),
        json!({"dry_run": true}),
        json!({"all": true, "ids": ["1"]}),
        json!({"id": ["1"]}),
        json!({"positions": ["x"]}),
        json!([]),
    ] {
        post(&mut client, path, body)
            .await
            .problem(400, "invalid_body");
    }
    let text = client
        .send(Method::POST, path, &[], r#"{"all":true}"#)
        .await;
    text.problem(415, "unsupported_media_type");
    let other = "/v1/groups/other/dead-letters/discard";
    post(&mut client, other, json!({"all": true}))
        .await
        .problem(404, "unknown_group");
    assert_eq!(
        ids(&client.get("/v1/dead-letters").await.ok()["dead_letters"]).len(),
        4
    );
    site.end().await;
}

#[tokio::test]
async fn a_rehearsal_refuses_the_reason_that_the_operation_would() {
    let site = site_with_letters().await;
    let mut client = site.client().await;
    let long = "x".repeat(1001);
    for path in ["dead-letters/redrive", "reset"] {
        let body = json!({ "dry_run": true, "all": true });
        let path = format!("/v1/groups/payments/{path}");
        for reason in ["%ff", "%20", &long] {
            let headers = [
                ("content-type", "application/json"),
                ("ensue-reason", reason),
            ];
            let answer = client
                .send(Method::POST, &path, &headers, body.to_string())
                .await;
            answer.problem(400, "invalid_header");
        }
    }
    site.end().await;
}

#[tokio::test]
async fn a_group_is_moved_as_its_plan_said_and_forgotten() {
    let site = site_with_letters().await;
    let mut client = site.client().await;
    let groups = client.get("/v1/groups").await.ok();
    assert_eq!(groups["groups"][0]["name"], "payments");
    let path = "/v1/groups/payments/reset";
    let plan = post(
        &mut client,
        path,
        json!({"to": "earliest", "dry_run": true}),
    )
    .await
    .ok();
    assert_eq!(
        (&plan["again"], &plan["state"], &plan["to"]),
        (&json!(1), &json!(null), &json!("0"))
    );
    let undecided = post(&mut client, path, json!({"to": "earliest"})).await;
    let undecided = undecided.problem(409, "undecided_state");
    assert_eq!(
        (&undecided["cells"], &undecided["again"]),
        (&json!(1), &json!(1))
    );
    let moved = json!({"to": plan["to"], "state": "afresh", "effects": "publish"});
    let moved = post(&mut client, path, moved).await.ok();
    assert_eq!(
        (&moved["dry_run"], &moved["effects"]),
        (&json!(false), &json!("publish"))
    );
    let group = client.get("/v1/groups/payments").await.ok();
    assert_eq!(
        (&group["position"], &group["dead"]),
        (&json!("0"), &json!(0))
    );
    for (body, code) in [
        (json!({"to": "yesterday"}), "invalid_body"),
        (json!({"to": "99"}), "beyond_end"),
        (json!({"to": "2100-01-01T00:00:00Z"}), "in_the_future"),
        (json!({"to": "latest", "colour": 1}), "invalid_body"),
        (json!({"to": "latest", "state": "x"}), "invalid_body"),
    ] {
        post(&mut client, path, body).await.problem(400, code);
    }
    let deleted = client
        .send(Method::DELETE, "/v1/groups/payments", &[], "")
        .await;
    assert_eq!(deleted.ok(), json!({"deleted": "payments"}));
    client
        .get("/v1/groups/payments")
        .await
        .problem(404, "unknown_group");
    let again = client
        .send(Method::DELETE, "/v1/groups/payments", &[], "")
        .await;
    again.problem(404, "unknown_group");
    site.end().await;
}

#[tokio::test]
async fn what_is_scheduled_is_listed_and_cancelled_by_its_name() {
    let site = Site::start().await;
    let mut client = site.client().await;
    for (id, query) in [("1", "after=2h"), ("2", "after=1h&timer=reminder")] {
        let path = format!("/v1/events?topic=t&{query}");
        client.event(&path, event(id, r#","data":1.10"#)).await.ok();
    }
    let answer = client.get("/v1/schedules").await;
    assert!(
        answer.text().contains(r#""data":1.10"#),
        "{}",
        answer.text()
    );
    let listed = answer.ok();
    assert_eq!(listed["total"], 2);
    let first = &listed["schedules"][0];
    assert_eq!(
        (&first["name"], &first["source"]),
        (&json!("reminder"), &json!("/shop"))
    );
    assert_eq!(first["event"]["id"], "2");
    assert_eq!(
        client.get("/v1/schedules?limit=1").await.ok()["schedules"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let path = "/v1/schedules?source=/shop&name=reminder";
    assert_eq!(
        client.send(Method::DELETE, path, &[], "").await.ok()["cancelled"],
        1
    );
    let again = client.send(Method::DELETE, path, &[], "").await;
    again.problem(404, "not_scheduled");
    let half = client
        .send(Method::DELETE, "/v1/schedules?name=1", &[], "")
        .await;
    half.problem(400, "invalid_parameter");
    assert_eq!(client.get("/v1/schedules").await.ok()["total"], 1);
    site.end().await;
}

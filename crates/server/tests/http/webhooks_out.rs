//! Events that are delivered to webhook endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ensue_server::Server;
use hyper::Method;
use hyper::body::Bytes;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::client::Client;
use crate::endpoint::{FAILS, OK, OTHER, SECRET, Secrets, endpoint, order, publish, verify};
use crate::receiver::{Received, Receiver};
use crate::site::{PATIENCE, Site, event};

#[tokio::test]
async fn events_of_a_key_arrive_once_and_in_order_while_deliveries_fail() {
    let mut count = 0;
    let receiver = Receiver::answering(move |_| {
        count += 1;
        if count % 3 == 0 { FAILS } else { OK }
    })
    .await;
    let secrets = Secrets::new(SECRET);
    let site = Site::with(secrets.config(&receiver.url(), "attempts = 1000")).await;
    let mut client = site.client().await;
    publish(
        &mut client,
        (0..120).map(|id| order(id, &format!("o-{}", id % 5))),
    )
    .await;
    let taken = receiver.taken(120).await;
    let mut by_key: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for one in &taken {
        by_key
            .entry(one.key())
            .or_default()
            .push(one.id().parse().unwrap());
    }
    for (key, ids) in by_key {
        let key: usize = key.trim_start_matches("o-").parse().unwrap();
        assert_eq!(ids, (0..24).map(|n| n * 5 + key).collect::<Vec<_>>());
    }
    let all = receiver.received();
    assert!(all.len() > 120, "some were tried again");
    verify(SECRET, &all);
    let first = &all[0];
    assert_eq!(first.path, "/hook");
    assert_eq!(first.header("content-type"), "application/cloudevents+json");
    assert!(first.body.windows(4).any(|it| it == b"1.10"));
    assert!(first.header("user-agent").starts_with("Ensue/"));
    let shown = endpoint(&mut client, |it| it["lag"] == 0 && it["in_flight"] == 0).await;
    assert_eq!(shown["state"], "active");
    assert_eq!(shown["dead_letters"], 0);
    assert_eq!(shown["responses"].as_array().unwrap().len(), 50);
    site.end().await;
}

#[tokio::test]
async fn an_event_that_cannot_be_delivered_parks_its_key_alone_until_it_is_redriven() {
    let receiver = Receiver::answering(|it| if it.id() == "1" { FAILS } else { OK }).await;
    let secrets = Secrets::new(SECRET);
    let site = Site::with(secrets.config(&receiver.url(), "attempts = 2")).await;
    let mut client = site.client().await;
    publish(
        &mut client,
        [order(1, "a"), order(2, "a"), order(3, "b"), order(4, "a")],
    )
    .await;
    let shown = endpoint(&mut client, |it| {
        it["dead_letters"] == 1 && it["parked"] == 2
    })
    .await;
    assert!(shown["last"]["status"].is_u64());
    let letters = client.get("/v1/dead-letters?group=webhook.shop").await.ok();
    let letter = &letters["dead_letters"][0];
    assert_eq!(letter["attempts"], 2);
    let reason = letter["reason"].as_str().unwrap();
    assert!(reason.contains("500 Internal Server Error"), "{reason}");
    assert_eq!(receiver.taken(1).await[0].id(), "3");
    receiver.answer(|_| OK);
    let path = "/v1/groups/webhook.shop/dead-letters/redrive";
    let json = [("content-type", "application/json")];
    let redriven = client
        .send(Method::POST, path, &json, r#"{"all": true}"#)
        .await;
    assert_eq!(redriven.ok()["count"], 1);
    let taken = receiver.taken(4).await;
    let of_a: Vec<&str> = taken
        .iter()
        .filter(|it| it.key() == "a")
        .map(Received::id)
        .collect();
    assert_eq!(of_a, ["1", "2", "4"]);
    site.end().await;
}

#[tokio::test]
async fn a_receiver_that_is_down_opens_the_circuit_and_gets_everything_when_it_is_back() {
    let mut receiver = Receiver::start().await;
    receiver.down().await;
    let secrets = Secrets::new(SECRET);
    let circuit = "attempts = 1000";
    let mut config = secrets.config(&receiver.url(), circuit);
    let shop = &mut config.webhooks.endpoints[0];
    shop.circuit_failures = 3;
    shop.circuit_pause.min = Duration::from_millis(5);
    shop.circuit_pause.max = Duration::from_millis(20);
    let site = Site::with(config).await;
    let mut client = site.client().await;
    publish(
        &mut client,
        (0..50).map(|id| order(id, &format!("o-{}", id % 3))),
    )
    .await;
    let shown = endpoint(&mut client, |it| it["state"] == "circuit_open").await;
    assert!(shown["failures"].as_u64().unwrap() >= 3, "{shown}");
    let problem = shown["last"]["problem"].as_str().unwrap();
    assert!(problem.contains("cannot connect to 127.0.0.1"), "{problem}");
    let metrics = client.get("/metrics").await;
    for line in [
        "ensue_webhook_callable{endpoint=\"shop\"} 0",
        "ensue_handled_total{group=\"webhook.shop\"} 0",
        "ensue_handled_total{group=\"webhooks\"} 0",
    ] {
        assert!(
            metrics.text().lines().any(|it| it == line),
            "{}",
            metrics.text()
        );
    }
    let family = "# TYPE ensue_handled_total";
    assert_eq!(metrics.text().matches(family).count(), 1);
    receiver.up().await;
    let taken = receiver.taken(50).await;
    let mut last = BTreeMap::new();
    for one in &taken {
        let id: usize = one.id().parse().unwrap();
        assert!(last.insert(one.key(), id).is_none_or(|before| before < id));
    }
    endpoint(&mut client, |it| {
        it["state"] == "active" && it["failures"] == 0
    })
    .await;
    site.end().await;
}

#[tokio::test]
async fn a_failure_that_all_deliveries_share_uses_up_no_attempt() {
    let mut receiver = Receiver::start().await;
    receiver.down().await;
    let secrets = Secrets::new(SECRET);
    let mut config = secrets.config(&receiver.url(), "attempts = 1");
    let shop = &mut config.webhooks.endpoints[0];
    shop.circuit_failures = 1;
    // Longer than the test: none of them tries again.
    shop.circuit_pause.min = Duration::from_secs(3600);
    shop.circuit_pause.max = Duration::from_secs(3600);
    let site = Site::with(config).await;
    let mut client = site.client().await;
    publish(&mut client, (0..6).map(|id| order(id, &format!("o-{id}")))).await;
    let all_wait = |it: &Value| it["state"] == "circuit_open" && it["in_flight"] == 6;
    let shown = endpoint(&mut client, all_wait).await;
    let counts = [&shown["retrying"], &shown["dead_letters"], &shown["parked"]];
    assert_eq!(counts, [0, 0, 0], "{shown}");
    // Enabled again, as an operator does who knows that the receiver is back.
    receiver.up().await;
    for what in ["disable", "enable"] {
        let path = format!("/v1/webhooks/shop/{what}");
        client.send(Method::POST, &path, &[], "").await.ok();
    }
    receiver.taken(6).await;
    site.end().await;
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_disabled_also_after_a_restart_and_loses_nothing() {
    let receiver = Receiver::answering(|_| (410, &[], Bytes::new())).await;
    let secrets = Secrets::new(SECRET);
    let config = secrets.config(&receiver.url(), "attempts = 1");
    let site = Site::with(config.clone()).await;
    let mut client = site.client().await;
    publish(&mut client, [order(1, "a"), order(2, "b"), order(3, "a")]).await;
    // Its reason is there once the switch is durable.
    let shown = endpoint(&mut client, |it| it["reason"].is_string()).await;
    assert_eq!(shown["state"], "disabled");
    assert!(
        shown["reason"].as_str().unwrap().contains("410 Gone"),
        "{shown}"
    );
    assert_eq!(shown["dead_letters"], 0);
    let called = receiver.received().len();
    receiver.answer(|_| OK);
    let Site {
        engine, running, ..
    } = site;
    running.stop().await;
    let mut config = config;
    config.listen = "127.0.0.1:0".parse().unwrap();
    let running = Server::new(engine.clone())
        .config(config)
        .start()
        .await
        .unwrap();
    let mut client = Client::connect(running.address()).await;
    let shown = endpoint(&mut client, |it| it["reason"].is_string()).await;
    assert_eq!(shown["state"], "disabled");
    assert_eq!(receiver.received().len(), called, "it was called");
    let enabled = client
        .send(Method::POST, "/v1/webhooks/shop/enable", &[], "")
        .await;
    assert_eq!(enabled.ok()["state"], "active");
    let taken = receiver.taken(3).await;
    let ids: BTreeSet<&str> = taken.iter().map(Received::id).collect();
    assert_eq!(ids, BTreeSet::from(["1", "2", "3"]));
    running.stop().await;
    engine.close().await.unwrap();
}

#[tokio::test]
async fn an_operator_disables_an_endpoint_with_a_reason() {
    let receiver = Receiver::start().await;
    let secrets = Secrets::new(SECRET);
    let site = Site::with(secrets.config(&receiver.url(), "")).await;
    let mut client = site.client().await;
    let json = [("content-type", "application/json")];
    let body = r#"{"reason": "maintenance"}"#;
    let shown = client
        .send(Method::POST, "/v1/webhooks/shop/disable", &json, body)
        .await
        .ok();
    assert_eq!(
        (&shown["state"], &shown["reason"]),
        (&json!("disabled"), &json!("maintenance"))
    );
    publish(&mut client, [order(1, "a")]).await;
    endpoint(&mut client, |it| it["in_flight"] == 1).await;
    assert!(receiver.received().is_empty());
    client
        .send(Method::POST, "/v1/webhooks/shop/enable", &[], "")
        .await
        .ok();
    assert_eq!(receiver.taken(1).await.len(), 1);
    site.end().await;
}

#[tokio::test]
async fn a_receiver_that_says_when_to_come_again_costs_no_attempt() {
    let mut count = 0;
    let receiver = Receiver::answering(move |_| {
        count += 1;
        let status = if count % 2 == 0 { 429 } else { 503 };
        if count <= 5 {
            (status, &[("retry-after", "0")], Bytes::new())
        } else {
            OK
        }
    })
    .await;
    let secrets = Secrets::new(SECRET);
    let site = Site::with(secrets.config(&receiver.url(), "attempts = 1")).await;
    let mut client = site.client().await;
    publish(&mut client, [order(1, "a")]).await;
    assert_eq!(receiver.taken(1).await[0].id(), "1");
    assert_eq!(receiver.received().len(), 6);
    let shown = endpoint(&mut client, |it| it["in_flight"] == 0).await;
    assert_eq!(shown["dead_letters"], 0);
    let outcomes: Vec<&Value> = shown["responses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["outcome"])
        .collect();
    assert_eq!(outcomes[..2], [&json!("delivered"), &json!("later")]);
    site.end().await;
}

#[tokio::test]
async fn a_receiver_that_asks_for_patience_for_ever_uses_up_its_attempts_all_the_same() {
    let receiver = Receiver::answering(|_| (429, &[("retry-after", "0")], Bytes::new())).await;
    let secrets = Secrets::new(SECRET);
    let site = Site::with(secrets.config(&receiver.url(), "attempts = 2")).await;
    let mut client = site.client().await;
    publish(&mut client, [order(1, "a")]).await;
    let shown = endpoint(&mut client, |it| it["dead_letters"] == 1).await;
    assert_eq!(receiver.received().len(), 22);
    assert_eq!(
        shown["failures"], 1,
        "the circuit counts the end of each attempt"
    );
    site.end().await;
}

#[tokio::test]
async fn what_is_too_large_for_the_receiver_is_a_dead_letter_at_once() {
    let receiver = Receiver::answering(|_| (413, &[], Bytes::new())).await;
    let secrets = Secrets::new(SECRET);
    let site = Site::with(secrets.config(&receiver.url(), "attempts = 100")).await;
    let mut client = site.client().await;
    publish(&mut client, [order(1, "a")]).await;
    endpoint(&mut client, |it| it["dead_letters"] == 1).await;
    assert_eq!(receiver.received().len(), 1);
    site.end().await;
}

#[tokio::test]
async fn secrets_are_rotated_without_a_restart_and_both_verify_meanwhile() {
    let receiver = Receiver::start().await;
    let secrets = Secrets::new(SECRET);
    let site = Site::with(secrets.config(&receiver.url(), "")).await;
    let mut client = site.client().await;
    let mut id = 0;
    let mut deliver_until = async |signatures: usize| {
        let waiting = async {
            loop {
                id += 1;
                publish(&mut client, [order(id, "a")]).await;
                let received = receiver.taken(id).await;
                let last = received.last().unwrap().clone();
                if last.header("webhook-signature").split(' ').count() == signatures {
                    return last;
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap()
    };
    verify(SECRET, &[deliver_until(1).await]);
    let text = format!("{OTHER}\n{SECRET} until 2100-01-01T00:00:00Z");
    std::fs::write(&secrets.path, text).unwrap();
    let both = [deliver_until(2).await];
    verify(SECRET, &both);
    verify(OTHER, &both);
    // The grace period is over.
    let text = format!("{OTHER}\n{SECRET} until 2020-01-01T00:00:00Z");
    std::fs::write(&secrets.path, text).unwrap();
    let new = [deliver_until(1).await];
    verify(OTHER, &new);
    assert!(
        Webhook::new(SECRET)
            .unwrap()
            .verify(&new[0].body, &new[0].headers)
            .is_err()
    );
    site.end().await;
}

#[tokio::test]
async fn only_the_events_that_an_endpoint_is_to_have_are_sent() {
    let receiver = Receiver::start().await;
    let secrets = Secrets::new(SECRET);
    let more =
        "types = [\"order.created\"]\nfilter = \"subject LIKE 'x-%' AND NOT EXISTS internal\"";
    let site = Site::with(secrets.config(&receiver.url(), more)).await;
    let mut client = site.client().await;
    let other = order(2, "x-1").replace("order.created", "order.paid");
    let internal = order(3, "x-1").replacen('{', r#"{"internal":true,"#, 1);
    publish(
        &mut client,
        [order(1, "y-1"), other, internal, order(4, "x-1")],
    )
    .await;
    let elsewhere = event("5", r#","topic":"elsewhere","subject":"x-1""#);
    publish(&mut client, [elsewhere]).await;
    endpoint(&mut client, |it| it["lag"] == 0 && it["in_flight"] == 0).await;
    let ids: Vec<String> = receiver
        .taken(1)
        .await
        .iter()
        .map(|it| it.id().into())
        .collect();
    assert_eq!(ids, ["4"]);
    site.end().await;
}

#[tokio::test]
async fn the_binary_mode_sends_the_payload_as_it_is() {
    let receiver = Receiver::start().await;
    let secrets = Secrets::new(SECRET);
    let site = Site::with(secrets.config(&receiver.url(), "content = \"binary\"")).await;
    let mut client = site.client().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let more = format!(
        r#","topic":"orders","subject":"a","traceparent":"{trace}","data":{{"a": 1.10, "a":2}}"#
    );
    publish(&mut client, [event("1", &more)]).await;
    let received = receiver.taken(1).await;
    verify(SECRET, &received);
    let one = &received[0];
    assert_eq!(&one.body[..], br#"{"a": 1.10, "a":2}"#);
    for (name, value) in [
        ("ce-id", "1"),
        ("ce-type", "order.created"),
        ("ce-subject", "a"),
        ("traceparent", trace),
    ] {
        assert_eq!(one.header(name), value);
    }
    site.end().await;
}

#[tokio::test]
async fn a_server_stops_at_once_while_an_endpoint_waits() {
    let mut receiver = Receiver::start().await;
    receiver.down().await;
    let secrets = Secrets::new(SECRET);
    let mut config = secrets.config(&receiver.url(), "attempts = 1000");
    config.webhooks.endpoints[0].circuit_failures = 1;
    let site = Site::with(config).await;
    let mut client = site.client().await;
    publish(&mut client, (0..20).map(|id| order(id, "a"))).await;
    endpoint(&mut client, |it| it["state"] == "circuit_open").await;
    let Site {
        engine, running, ..
    } = site;
    // Within the drain timeout of 20 s by far, or the test says so.
    tokio::time::timeout(Duration::from_secs(15), running.stop())
        .await
        .unwrap();
    engine.close().await.unwrap();
}

#[tokio::test]
async fn a_reset_sends_again_under_the_same_ids_or_holds_back_as_it_was_asked() {
    let receiver = Receiver::start().await;
    let secrets = Secrets::new(SECRET);
    let site = Site::with(secrets.config(&receiver.url(), "")).await;
    let mut client = site.client().await;
    publish(&mut client, [order(1, "a"), order(2, "a")]).await;
    receiver.taken(2).await;
    endpoint(&mut client, |it| it["lag"] == 0 && it["in_flight"] == 0).await;
    let mut reset = async |effects: &str| {
        let path = "/v1/groups/webhook.shop/reset";
        let json = [("content-type", "application/json")];
        let body = json!({"to": "earliest", "effects": effects}).to_string();
        client.send(Method::POST, path, &json, body).await.ok();
        endpoint(&mut client, |it| it["lag"] == 0 && it["in_flight"] == 0).await;
        publish(&mut client, [order(3, "a")]).await;
    };
    reset("hold_back").await;
    let ids =
        |taken: &[Received]| -> Vec<String> { taken.iter().map(|it| it.id().into()).collect() };
    assert_eq!(ids(&receiver.taken(3).await), ["1", "2", "3"]);
    reset("publish").await;
    assert_eq!(
        ids(&receiver.taken(6).await),
        ["1", "2", "3", "1", "2", "3"]
    );
    site.end().await;
}

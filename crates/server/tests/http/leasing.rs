//! Members: leases, limits, and those that are gone.

use std::time::Duration;

use ensue::engine::{Query, connect_with};
use ensue::{Clock, Engine, Timestamp, VirtualClock};
use ensue_server::{Config, Server};
use hyper::Method;
use serde_json::json;

use crate::client::Client;
use crate::consuming::orders;
use crate::member::{MemberClient, ids, of, post};
use crate::secure::{Bearer, Setup};
use crate::site::{Site, event};

/// A server of an engine in memory, whose clock stands still.
async fn on_a_clock() -> (VirtualClock, Engine, ensue_server::Running) {
    let hands = VirtualClock::new("2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap());
    let engine = connect_with("memory:", Clock::from(hands.clone())).await;
    let engine = Engine::from(engine.unwrap());
    let server = Server::new(engine.clone()).listen("127.0.0.1:0").unwrap();
    let running = server.start().await.unwrap();
    (hands, engine, running)
}

#[tokio::test]
async fn a_member_that_left_or_was_reset_is_told_to_join_again() {
    let site = Site::start().await;
    orders(&site, &["a:1"]).await;
    let mut member = MemberClient::join(&site, "g", json!({})).await;
    let taken = member.take("").await;
    let run = taken[0]["run"].as_u64().unwrap();
    let reset = json!({"to": "earliest"});
    post(&mut member.client, "/v1/groups/g/reset", &reset)
        .await
        .ok();
    member
        .settle(&taken[0], json!({}))
        .await
        .problem(409, "fenced");
    member
        .settle(&taken[0], json!({}))
        .await
        .problem(404, "unknown_member");

    let mut member = MemberClient::join(&site, "g", json!({})).await;
    let taken = member.take("").await;
    assert_eq!(
        (taken[0]["run"].as_u64(), ids(&taken)),
        (Some(run + 1), vec!["1"])
    );
    member.leave().await.ok();
    member.leave().await.problem(404, "unknown_member");
    member.try_take("").await.problem(404, "unknown_member");
    let mut next = MemberClient::join(&site, "g", json!({})).await;
    let taken = next.take("").await;
    assert_eq!(
        (taken[0]["attempt"].as_u64(), ids(&taken)),
        (Some(1), vec!["1"])
    );
    // Its id means nothing in another group.
    next.path = next.path.replace("/g/", "/h/");
    next.try_take("").await.problem(404, "unknown_member");
    site.end().await;
}

#[tokio::test]
async fn members_beyond_a_limit_are_refused_by_its_name() {
    let mut config = Config::default();
    config.limits.members_max = 3;
    config.limits.group_members_max = 2;
    let site = Site::with(config).await;
    let mut first = MemberClient::join(&site, "g", json!({})).await;
    let _second = MemberClient::join(&site, "g", json!({})).await;
    let mut client = site.client().await;
    let body = json!({"topics": ["orders"]});
    let refused = post(&mut client, "/v1/groups/g/members", &body).await;
    let refused = refused.problem(503, "overloaded");
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("group_members_max")
    );
    let _third = MemberClient::join(&site, "h", json!({})).await;
    let refused = post(&mut client, "/v1/groups/i/members", &body).await;
    let refused = refused.problem(503, "overloaded");
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("`members_max`")
    );
    first.leave().await.ok();
    post(&mut client, "/v1/groups/g/members", &body).await.ok();
    site.end().await;
}

#[tokio::test]
async fn what_clients_hold_together_is_bounded() {
    let mut config = Config::default();
    config.limits.deliveries_bytes_max = 1024;
    let site = Site::with(config).await;
    let mut client = site.client().await;
    let more = format!(r#","topic":"orders","data":"{}""#, "x".repeat(2000));
    client.event("/v1/events", event("1", &more)).await.ok();
    let mut one = MemberClient::join(&site, "g", json!({})).await;
    let taken = one.take("").await;
    let mut other = MemberClient::join(&site, "h", json!({})).await;
    let refused = other.try_take("").await.problem(503, "overloaded");
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("deliveries_bytes_max")
    );
    one.settle(&taken[0], json!({})).await.ok();
    assert_eq!(ids(&other.take("").await), ["1"]);
    site.end().await;
}

#[tokio::test]
async fn a_client_that_is_gone_loses_its_lease_and_its_keys_go_to_others() {
    let (hands, engine, running) = on_a_clock().await;
    let mut client = Client::connect(running.address()).await;
    let order = |id: &str, key: &str| {
        let more = format!(r#","topic":"orders","subject":"{key}""#);
        event(id, &more)
    };
    for (id, key) in [("1", "a"), ("2", "a"), ("3", "b")] {
        client.event("/v1/events", order(id, key)).await.ok();
    }
    let members = "/v1/groups/g/members";
    let body = json!({"topics": ["orders"], "lease": "10s", "key_events_max": 2});
    let gone = post(&mut client, members, &body).await.ok();
    let gone = format!("{members}/{}", gone["member"].as_str().unwrap());
    let long = format!("{gone}/take?wait=60s&max=2");
    let lost = client.send(Method::POST, &long, &[], "").await.ok();
    assert_eq!(lost["deliveries"].as_array().unwrap().len(), 2);
    let other = post(
        &mut client,
        members,
        &json!({"topics": ["orders"], "lease": "1h"}),
    )
    .await;
    let other = format!("{members}/{}", other.ok()["member"].as_str().unwrap());
    // It says something once more, so that its lease runs from here.
    hands.advance(Duration::from_secs(9));
    client
        .send(Method::POST, &format!("{gone}/renew"), &[], "")
        .await
        .ok();
    hands.advance(Duration::from_secs(9));
    client
        .send(Method::POST, &format!("{gone}/renew"), &[], "")
        .await
        .ok();
    let renew = format!("{gone}/renew");
    let mut seen = Vec::new();
    while seen.len() < 2 {
        // The lease begins when the call's task has seen its end: so the clock goes on until it is over.
        hands.advance(Duration::from_secs(10));
        let path = format!("{other}/take?wait=0s");
        let taken = client.send(Method::POST, &path, &[], "").await.ok();
        seen.extend(taken["deliveries"].as_array().unwrap().clone());
    }
    client
        .send(Method::POST, &renew, &[], "")
        .await
        .problem(404, "unknown_member");
    seen.sort_by_key(|it| it["position"].as_str().unwrap().to_owned());
    assert_eq!(ids(&seen), ["1", "3"]);
    // The client had two events: which of them ended it is not known. `b` it had not been told of.
    assert_eq!(
        (seen[0]["attempt"].as_u64(), seen[1]["attempt"].as_u64()),
        (Some(1), Some(1))
    );
    let settle = json!({"settle": [of(&seen[0], json!({}))]});
    post(&mut client, &format!("{other}/commit"), &settle)
        .await
        .ok();
    let next = client
        .send(Method::POST, &format!("{other}/take?wait=60s"), &[], "")
        .await
        .ok();
    assert_eq!(next["deliveries"][0]["event"]["id"], "2");
    assert_eq!(next["deliveries"][0]["attempt"], 1);
    running.stop().await;
    engine.close().await.unwrap();
}

#[tokio::test]
async fn an_event_that_ends_its_clients_counts_attempts_and_others_beside_it_do_not() {
    let (hands, engine, running) = on_a_clock().await;
    let mut client = Client::connect(running.address()).await;
    for (id, key) in [("1", "a"), ("poison", "b"), ("2", "c")] {
        let more = format!(r#","topic":"orders","subject":"{key}""#);
        client.event("/v1/events", event(id, &more)).await.ok();
    }
    let members = "/v1/groups/g/members";
    let body = json!({"topics": ["orders"], "lease": "10s"});
    let (mut lost, mut others) = (0, 0);
    'clients: loop {
        let joined = post(&mut client, members, &body).await.ok();
        let member = format!("{members}/{}", joined["member"].as_str().unwrap());
        loop {
            let take = format!("{member}/take?wait=0s");
            let taken = client.send(Method::POST, &take, &[], "").await;
            if taken.status == 404 {
                continue 'clients;
            }
            let taken = taken.ok()["deliveries"].as_array().unwrap().clone();
            if taken.is_empty() {
                // What another client had comes when its lease is over; so may be the one of this.
                hands.advance(Duration::from_secs(10));
                continue;
            }
            let Some(poison) = taken.iter().find(|it| it["event"]["id"] == "poison") else {
                others += taken.len();
                let settle: Vec<_> = taken.iter().map(|it| of(it, json!({}))).collect();
                let settle = json!({ "settle": settle });
                let path = format!("{member}/commit");
                let committed = post(&mut client, &path, &settle).await;
                if committed.status == 404 {
                    continue 'clients;
                }
                committed.ok();
                continue;
            };
            assert!(taken.iter().all(|it| it["attempt"] == 1 || it == poison));
            if poison["attempt"] == 3 {
                break 'clients;
            }
            lost += 1;
            break;
        }
    }
    assert_eq!(
        lost, 4,
        "two that had others as well, and two that had it alone"
    );
    assert!(others <= 2, "{others}");
    running.stop().await;
    engine.close().await.unwrap();
}

#[tokio::test]
async fn a_server_that_starts_again_knows_no_member_and_loses_nothing() {
    let site = Site::start().await;
    orders(&site, &["a:1", "b:2"]).await;
    let mut member = MemberClient::join(&site, "g", json!({})).await;
    let taken = member.take("").await;
    let effect = json!({"effects": [{"event": {"type": "e", "topic": "out"}}]});
    member.settle(&taken[0], effect).await.ok();
    let Site {
        engine,
        running,
        directory,
    } = site;
    running.stop().await;
    let status = engine.status().await.unwrap();
    assert_eq!(status.groups[0].members.len(), 0, "its members left");
    let server = Server::new(engine.clone()).listen("127.0.0.1:0").unwrap();
    let running = server.start().await.unwrap();
    let site = Site {
        engine,
        running,
        directory,
    };
    let mut client = site.client().await;
    let path = "/v1/groups/g/members/x/take";
    client
        .send(Method::POST, path, &[], "")
        .await
        .problem(404, "unknown_member");
    let mut member = MemberClient::join(&site, "g", json!({})).await;
    assert_eq!(ids(&member.take("").await), ["2"]);
    let out = Query {
        topics: Some("out".parse().unwrap()),
        ..Query::default()
    };
    assert_eq!(
        site.engine.shared().read(out).await.unwrap().events.len(),
        1
    );
    site.end().await;
}

#[tokio::test]
async fn a_consumer_may_do_with_its_own_member_what_its_roles_say() {
    let setup = Setup::with_tokens();
    let (consumer, other, owner) = (
        setup.token("consumer"),
        setup.token("operator"),
        setup.token("owner"),
    );
    let site = Site::with(setup.config()).await;
    let mut owner = Bearer::connect(&site, &owner).await;
    let order = event("1", r#","topic":"orders.eu""#);
    owner.event("/v1/events", &order).await.ok();
    let mut consumer = Bearer::connect(&site, &consumer).await;
    let members = "/v1/groups/g/members";
    let join = |topic: &str| json!({"topics": [topic]}).to_string();
    for topic in ["photos", ">", "_audit"] {
        let answer = consumer.post(members, &join(topic)).await;
        answer.problem(403, "forbidden");
    }
    let joined = consumer.post(members, &join("orders.*")).await.ok();
    let member = format!("{members}/{}", joined["member"].as_str().unwrap());
    let taken = consumer.post(&format!("{member}/take"), "").await.ok();
    let delivery = &taken["deliveries"][0];
    assert_eq!(delivery["event"]["id"], "1");
    // Another caller's member is not there, whatever the caller may do.
    let commit = json!({"settle": [of(delivery, json!({}))]}).to_string();
    let answer = owner.post(&format!("{member}/commit"), &commit).await;
    answer.problem(404, "unknown_member");
    let mut other = Bearer::connect(&site, &other).await;
    let answer = other.post(&format!("{member}/take"), "").await;
    answer.problem(403, "forbidden");
    // What follows is published by the consumer.
    for effect in [
        json!({"event": {"type": "e", "topic": "orders.eu"}}),
        json!({"cancel": "x", "source": "/services/h"}),
    ] {
        let body = json!({"settle": [of(delivery, json!({"effects": [effect]}))]}).to_string();
        let answer = consumer.post(&format!("{member}/commit"), &body).await;
        answer.problem(403, "forbidden");
    }
    consumer
        .post(&format!("{member}/commit"), &commit)
        .await
        .ok();
    assert_eq!(site.events().await.len(), 1);
    site.end().await;
}

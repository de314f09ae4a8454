//! Tokens, and what callers may do with them.

use ensue::Timestamp;
use hyper::Method;
use serde_json::Value;

use crate::client::Answer;
use crate::secure::{Bearer, ROLES, Setup};
use crate::site::{PATIENCE, Site, event};

#[tokio::test]
async fn a_server_with_tokens_answers_nothing_but_probes_without_one() {
    let setup = Setup::with_tokens();
    let token = setup.token("reader");
    let site = Site::with(setup.config()).await;
    let mut client = site.client().await;
    assert_eq!(client.get("/livez").await.status, 200);
    assert_eq!(client.get("/readyz").await.status, 200);
    for path in ["/v1/status", "/v1/events", "/metrics", "/v1/nothing", "/"] {
        let answer = client.get(path).await;
        answer.problem(401, "unauthenticated");
        assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"ensue\"");
    }
    let answer = client.send(Method::PUT, "/v1/events", &[], "").await;
    answer.problem(401, "unauthenticated");
    let (id, secret) = token.rsplit_once('_').unwrap();
    let other = Setup::with_tokens().token("reader");
    for credential in [
        format!("Bearer {other}"),
        format!("Bearer {id}_{}", "A".repeat(43)),
        format!("Bearer {secret}"),
        format!("Basic {token}"),
        format!("Bearer {token}x"),
        "Bearer".to_owned(),
        String::new(),
    ] {
        let headers = [("authorization", credential.as_str())];
        let answer = client.send(Method::GET, "/v1/status", &headers, "").await;
        let problem = answer.problem(401, "unauthenticated").to_string();
        assert!(!problem.contains(secret), "{problem}");
        // A probe whose token is not valid is no reason to restart a server.
        let probe = client.send(Method::GET, "/livez", &headers, "").await;
        assert_eq!(probe.status, 200);
    }
    let known = format!("bearer {token}");
    let headers = [("authorization", known.as_str())];
    client
        .send(Method::GET, "/v1/status", &headers, "")
        .await
        .ok();
    let twice = [headers[0], headers[0]];
    let answer = client.send(Method::GET, "/v1/status", &twice, "").await;
    answer.problem(401, "unauthenticated");
    // In a URL it is not looked for.
    let url = format!("/v1/status?access_token={token}");
    client.get(&url).await.problem(401, "unauthenticated");
    site.end().await;
}

#[tokio::test]
async fn tokens_are_made_and_revoked_without_a_restart() {
    let setup = Setup::with_tokens();
    let site = Site::with(setup.config()).await;
    let token = setup.token("reader");
    let mut reader = Bearer::connect(&site, &token).await;
    // By itself: the server looks at its files.
    let seen = async { while reader.get("/v1/status").await.status != 200 {} };
    tokio::time::timeout(PATIENCE, seen).await.unwrap();
    let other = setup.token("reader");
    site.running.reload().await.unwrap();
    let mut second = Bearer::connect(&site, &other).await;
    second.get("/v1/status").await.ok();
    setup.tokens().revoke("reader").unwrap();
    site.running.reload().await.unwrap();
    reader
        .get("/v1/status")
        .await
        .problem(401, "unauthenticated");
    second
        .get("/v1/status")
        .await
        .problem(401, "unauthenticated");
    site.end().await;
}

#[tokio::test]
async fn a_file_that_loses_authentication_or_tls_changes_nothing_in_a_server_that_runs() {
    let setup = Setup::with_tokens();
    let token = setup.token("reader");
    let site = Site::with(setup.config()).await;
    // As for a moment while it is written.
    setup.write("ensue.toml", "");
    let error = site.running.reload().await.unwrap_err().to_string();
    assert!(error.contains("`auth` is gone"), "{error}");
    let stranger = site.client().await.get("/v1/status").await;
    stranger.problem(401, "unauthenticated");
    let mut reader = Bearer::connect(&site, &token).await;
    reader.get("/v1/status").await.ok();
    site.end().await;

    let (setup, _) = Setup::with_tls();
    let site = Site::with(setup.config()).await;
    let without_tls = format!("[auth]\ntokens = 'tokens.json'\n{ROLES}");
    setup.write("ensue.toml", &without_tls);
    let error = site.running.reload().await.unwrap_err().to_string();
    assert!(error.contains("`tls` is gone"), "{error}");
    site.end().await;
}

#[tokio::test]
async fn what_has_a_receipt_is_there_through_reloads_and_a_flood_of_strangers() {
    const CLIENTS: usize = 4;
    const EVENTS: usize = 50;
    let setup = Setup::with_tokens();
    let token = setup.token("publisher");
    let site = Site::with(setup.config()).await;
    let mut clients = Vec::new();
    for client in 0..CLIENTS {
        let mut publisher = Bearer::connect(&site, &token).await;
        let mut stranger = site.client().await;
        clients.push(tokio::spawn(async move {
            for number in 0..EVENTS {
                let event = event(&format!("{client}-{number}"), "");
                let path = "/v1/events?topic=orders.eu";
                publisher.event(path, &event).await.ok();
                let refused = stranger.event(path, event).await;
                refused.problem(401, "unauthenticated");
            }
        }));
    }
    // A good reload, with another token, and a bad one, until all events have their receipts.
    let whole = std::fs::read_to_string(setup.path("ensue.toml")).unwrap();
    while !clients.iter().all(tokio::task::JoinHandle::is_finished) {
        setup.token("reader");
        site.running.reload().await.unwrap();
        setup.write("ensue.toml", "listen = ");
        site.running.reload().await.unwrap_err();
        setup.write("ensue.toml", &whole);
    }
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(site.events().await.len(), CLIENTS * EVENTS);
    site.end().await;
}

#[tokio::test]
async fn an_expired_token_is_refused_with_what_to_do() {
    let setup = Setup::with_tokens();
    let roles = ["reader".to_owned()];
    let made = Timestamp::now() - std::time::Duration::from_secs(10);
    let expires = Some(made.plus(std::time::Duration::from_secs(5)));
    let (_, token) = setup.tokens().create("old", &roles, expires, made).unwrap();
    let site = Site::with(setup.config()).await;
    let mut client = Bearer::connect(&site, token.reveal()).await;
    let problem = client
        .get("/v1/status")
        .await
        .problem(401, "unauthenticated");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("expired") && detail.contains("token create"),
        "{detail}"
    );
    site.end().await;
}

#[tokio::test]
async fn a_stream_ends_when_its_token_is_revoked_and_another_one_goes_on() {
    let setup = Setup::with_tokens();
    let (first, second) = (setup.token("reader"), setup.token("owner"));
    let site = Site::with(setup.config()).await;
    let headers = |token: &str| format!("Bearer {token}");
    let path = "/v1/events/stream?topic=orders.eu";
    let client = site.client().await;
    let mut revoked = client.stream_as(path, &headers(&first)).await.unwrap();
    let client = site.client().await;
    let mut other = client.stream_as(path, &headers(&second)).await.unwrap();
    setup.tokens().revoke("reader").unwrap();
    site.running.reload().await.unwrap();
    let last = revoked.next().await.unwrap();
    assert_eq!(last.kind.as_deref(), Some("problem"));
    assert_eq!(last.data.unwrap()["code"], "unauthenticated");
    assert!(revoked.next().await.is_none());
    let mut owner = Bearer::connect(&site, &second).await;
    owner
        .event("/v1/events?topic=orders.eu", &event("1", ""))
        .await
        .ok();
    assert_eq!(other.next().await.unwrap().data.unwrap()["id"], "1");
    drop(other);
    site.end().await;
}

/// Two topics with an event each, and a group of each with a dead letter.
async fn site_with_two_worlds(setup: &Setup) -> Site {
    use ensue::engine::{Commit, Death, DeathCause, Subscription};
    let site = Site::with(setup.config()).await;
    let owner = setup.token("owner");
    site.running.reload().await.unwrap();
    let mut owner = Bearer::connect(&site, &owner).await;
    for topic in ["orders.eu", "photos"] {
        let path = format!("/v1/events?topic={topic}");
        owner
            .event(&path, &event(topic, r#","subject":"key-1""#))
            .await
            .ok();
        let later = format!("{path}&at=2100-01-01T00:00:00Z");
        owner
            .event(&later, &event(&format!("{topic}-later"), ""))
            .await
            .ok();
        let subscription = Subscription {
            group: format!("of-{topic}"),
            topics: vec![topic.parse().unwrap()],
            types: None,
            start: ensue::Start::Earliest,
            in_flight_max: 10,
        };
        let member = site.engine.join(subscription).await.unwrap();
        let taken = member.next(1).await.unwrap();
        let death = |delivery: ensue::engine::Delivery| Death {
            position: delivery.position,
            attempts: 1,
            cause: DeathCause::Exhausted,
            reason: format!("{topic} went wrong"),
            on_dead: ensue::OnDead::Park,
            envelope: delivery.envelope,
        };
        let commit = Commit {
            dead: taken.into_iter().map(death).collect(),
            ..Commit::default()
        };
        member.commit(commit).await.unwrap();
        member.leave().await.unwrap();
    }
    site
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_list_has_nothing_that_its_caller_may_not_see() {
    let setup = Setup::with_tokens();
    let token = |role: &str| setup.token(role);
    let (reader, operator, admin, owner) = (
        token("reader"),
        token("operator"),
        token("admin"),
        token("owner"),
    );
    let site = site_with_two_worlds(&setup).await;
    let mut reader = Bearer::connect(&site, &reader).await;
    let text = |answer: Answer| {
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text().to_owned()
    };
    for path in [
        "/v1/status",
        "/v1/events",
        "/v1/events?topic=%3E",
        "/v1/events?filter=TRUE",
        "/v1/groups",
        "/v1/dead-letters",
        "/v1/schedules",
    ] {
        let answer = text(reader.get(path).await);
        assert!(answer.contains("orders.eu"), "{path}: {answer}");
        assert!(!answer.contains("photos"), "{path}: {answer}");
    }
    reader
        .get("/v1/events?topic=photos")
        .await
        .problem(403, "forbidden");
    reader
        .get("/v1/groups/of-photos")
        .await
        .problem(404, "unknown_group");
    let letters = "/v1/dead-letters?group=of-photos";
    reader.get(letters).await.problem(404, "unknown_group");
    let letter = "/v1/groups/of-photos/dead-letters/1";
    reader.get(letter).await.problem(404, "unknown_group");
    reader.get("/metrics").await.problem(403, "forbidden");

    let mut operator = Bearer::connect(&site, &operator).await;
    operator.get("/v1/events").await.problem(403, "forbidden");
    let letters = operator.get("/v1/dead-letters").await.ok();
    assert_eq!(letters["dead_letters"].as_array().unwrap().len(), 1);
    let position = letters["dead_letters"][0]["position"].as_str().unwrap();
    let letter = format!("/v1/groups/of-orders.eu/dead-letters/{position}");
    let shown = operator.get(&letter).await.ok();
    assert!(shown["event"].is_null(), "an operator does not read events");
    assert!(reader.get(&letter).await.ok()["event"].is_object());

    let mut admin = Bearer::connect(&site, &admin).await;
    let status = admin.get("/v1/status").await.ok();
    assert_eq!(
        names(&status["engine"]["groups"]),
        ["of-orders.eu", "of-photos"]
    );
    assert_eq!(names(&status["engine"]["topics"]), ["orders.eu", "photos"]);
    assert!(text(admin.get("/metrics").await).contains("of-photos"));
    for path in ["/v1/events", "/v1/schedules"] {
        admin.get(path).await.problem(403, "forbidden");
    }
    let letters = admin.get("/v1/dead-letters").await.ok();
    assert_eq!(letters["dead_letters"], serde_json::json!([]));

    let mut owner = Bearer::connect(&site, &owner).await;
    let letters = owner.get("/v1/dead-letters").await.ok();
    assert_eq!(letters["dead_letters"].as_array().unwrap().len(), 2);
    let page = owner.get("/v1/dead-letters?limit=1").await.ok();
    assert_eq!(page["more"], true);
    site.end().await;
}

#[tokio::test]
async fn what_a_caller_may_not_do_is_forbidden_and_does_not_happen() {
    let setup = Setup::with_tokens();
    let roles = [
        "publisher",
        "reader",
        "consumer",
        "operator",
        "stranger-to-orders",
        "admin",
    ];
    let tokens: Vec<String> = roles.iter().map(|role| setup.token(role)).collect();
    let site = site_with_two_worlds(&setup).await;
    let before = site.events().await.len();
    for (role, token) in roles.iter().zip(&tokens) {
        let mut caller = Bearer::connect(&site, token).await;
        let refused = |answer: Answer| {
            let allowed = [403, 404];
            let status = answer.status.as_u16();
            assert!(
                allowed.contains(&status),
                "{role}: {status} {}",
                answer.text()
            );
        };
        if *role != "publisher" {
            let order = event("new", r#","topic":"orders.eu""#);
            refused(caller.event("/v1/events", &order).await);
        }
        if *role != "operator" {
            let group = "/v1/groups/of-orders.eu";
            let reset = r#"{"to": "earliest"}"#;
            refused(caller.post(&format!("{group}/reset"), reset).await);
            for fate in ["redrive", "discard"] {
                let path = format!("{group}/dead-letters/{fate}");
                refused(caller.post(&path, r#"{"all": true}"#).await);
            }
            refused(caller.send(Method::DELETE, group, &[], "").await);
            let schedule = "/v1/schedules?source=/shop&name=orders.eu-later";
            refused(caller.send(Method::DELETE, schedule, &[], "").await);
        }
    }
    assert_eq!(site.events().await.len(), before);
    let status = site.engine.status().await.unwrap();
    assert_eq!(status.scheduled, 2);
    assert!(status.groups.iter().all(|group| group.dead == 1));
    site.end().await;
}

#[tokio::test]
async fn a_batch_with_a_topic_that_is_not_the_callers_is_refused_whole_or_in_part() {
    let setup = Setup::with_tokens();
    let token = setup.token("publisher");
    let site = Site::with(setup.config()).await;
    let mut publisher = Bearer::connect(&site, &token).await;
    let batch = format!(
        "[{},{}]",
        event("1", r#","topic":"orders.eu""#),
        event("2", r#","topic":"photos""#)
    );
    let headers = [("content-type", "application/cloudevents-batch+json")];
    let answer = publisher
        .send(Method::POST, "/v1/events", &headers, &batch)
        .await;
    answer.problem(403, "forbidden");
    assert!(site.events().await.is_empty());
    let path = "/v1/events?atomic=false";
    let answer = publisher.send(Method::POST, path, &headers, &batch).await;
    assert_eq!(answer.status, 207);
    let results = answer.json();
    assert_eq!(results["results"][1]["problem"]["code"], "forbidden");
    assert_eq!(site.events().await.len(), 1);
    let reserved = event("3", r#","topic":"_audit""#);
    publisher
        .event("/v1/events", &reserved)
        .await
        .problem(400, "invalid_event");
    site.end().await;
}

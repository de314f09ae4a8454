//! The audit trail: what operators do, who, and why.

use ensue::engine::{Query, Subscription};
use ensue::{Engine, Start};
use ensue_server::{AuditChain, AuditReport, Config, Server};
use hyper::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::secure::{Bearer, Setup};
use crate::site::{PATIENCE, Site, event};

/// A group of these topics without members.
pub(crate) async fn group(engine: &Engine, name: &str, topic: &str) {
    let subscription = Subscription {
        group: name.into(),
        topics: vec![topic.parse().unwrap()],
        types: None,
        start: Start::Earliest,
        in_flight_max: 10,
    };
    let member = engine.join(subscription).await.unwrap();
    member.leave().await.unwrap();
}

pub(crate) async fn trail(engine: &Engine) -> (Vec<Value>, AuditReport) {
    let query = Query {
        topics: Some("_audit".parse().unwrap()),
        ..Query::default()
    };
    let page = engine.shared().read(query).await.unwrap();
    let mut chain = AuditChain::new(None);
    for found in &page.events {
        chain.add(found.position, &found.envelope);
    }
    let payload =
        |it: &ensue::engine::Recorded| serde_json::from_slice(it.envelope.payload()).unwrap();
    (
        page.events.iter().map(payload).collect(),
        chain.finish(false),
    )
}

#[tokio::test]
async fn what_an_operator_does_is_written_before_and_after_with_who_and_why() {
    let setup = Setup::with_tokens();
    let token = setup.token("owner");
    let site = Site::with(setup.config()).await;
    group(&site.engine, "payments", "orders").await;
    let mut owner = Bearer::connect(&site, &token).await;
    let why = [
        ("content-type", "application/json"),
        ("ensue-reason", "zu alt: %C3%BCber ein Jahr"),
    ];
    let reset = r#"{"to": "earliest"}"#;
    let path = "/v1/groups/payments/reset";
    let answer = owner.send(Method::POST, path, &why, reset).await;
    answer.ok();
    let path = "/v1/groups/payments/dead-letters/redrive";
    owner.post(path, r#"{"all": true}"#).await.ok();
    let path = "/v1/groups/payments";
    owner.send(Method::DELETE, path, &why, "").await.ok();
    let (entries, report) = trail(&site.engine).await;
    assert!(report.is_good(), "{report:?}");
    let told = |entry: &Value| {
        let text = |name: &str| entry[name].as_str().unwrap_or("-").to_owned();
        format!("{} {} {}", text("action"), text("stage"), entry["ends"])
    };
    let told: Vec<String> = entries.iter().map(told).collect();
    assert_eq!(
        told,
        [
            "group.reset requested null",
            "group.reset done 1",
            "dead_letters.redrive requested null",
            "dead_letters.redrive done 3",
            "group.delete requested null",
            "group.delete done 5",
        ]
    );
    let first = &entries[0];
    assert_eq!(first["number"], 1);
    assert_eq!(first["actor"]["name"], "owner");
    assert_eq!(first["actor"]["by"], "token");
    assert_eq!(first["reason"], "zu alt: über ein Jahr");
    assert_eq!(first["target"]["group"], "payments");
    assert_eq!(entries[3]["outcome"]["count"], 0);
    assert!(first["previous"].is_null() && entries[1]["previous"].is_string());
    let whole = format!("{entries:?}");
    let (_, secret) = token.rsplit_once('_').unwrap();
    assert!(!whole.contains(secret));
    // It is read like any other topic, by those who may.
    let page = owner.get("/v1/events?topic=_audit").await.ok();
    assert_eq!(page["events"].as_array().unwrap().len(), 6);
    let everything = owner.get("/v1/events").await.ok();
    assert_eq!(everything["events"], json!([]));
    site.end().await;
}

#[tokio::test]
async fn what_destroys_something_needs_a_reason_and_does_not_happen_without() {
    let setup = Setup::with_tokens();
    let token = setup.token("owner");
    let site = Site::with(setup.config()).await;
    group(&site.engine, "payments", "orders").await;
    let mut owner = Bearer::connect(&site, &token).await;
    let later = "/v1/events?topic=orders&at=2100-01-01T00:00:00Z";
    owner.event(later, &event("1", "")).await.ok();
    let path = "/v1/groups/payments";
    let answer = owner.send(Method::DELETE, path, &[], "").await;
    answer.problem(400, "reason_required");
    let answer = owner
        .post(&format!("{path}/reset"), r#"{"to": "latest"}"#)
        .await;
    answer.problem(400, "reason_required");
    let discard = format!("{path}/dead-letters/discard");
    let answer = owner.post(&discard, r#"{"all": true}"#).await;
    answer.problem(400, "reason_required");
    let schedule = "/v1/schedules?source=/shop&name=1";
    let answer = owner.send(Method::DELETE, schedule, &[], "").await;
    answer.problem(400, "reason_required");
    let long = "x".repeat(1001);
    for reason in ["", "  ", "%ff", long.as_str()] {
        let headers = [("ensue-reason", reason)];
        let answer = owner.send(Method::DELETE, path, &headers, "").await;
        answer.problem(400, "invalid_header");
    }
    let (entries, _) = trail(&site.engine).await;
    assert!(entries.is_empty(), "{entries:?}");
    // To ask what would happen destroys nothing.
    let rehearsed = r#"{"to": "latest", "dry_run": true}"#;
    owner.post(&format!("{path}/reset"), rehearsed).await.ok();
    let rehearsed = r#"{"all": true, "dry_run": true}"#;
    owner.post(&discard, rehearsed).await.ok();
    let status = site.engine.status().await.unwrap();
    assert_eq!((status.groups.len(), status.scheduled), (1, 1));
    site.end().await;
}

#[tokio::test]
async fn what_failed_is_written_with_its_code() {
    let setup = Setup::with_tokens();
    let token = setup.token("owner");
    let site = Site::with(setup.config()).await;
    let subscription = Subscription {
        group: "payments".into(),
        topics: vec!["orders".parse().unwrap()],
        types: None,
        start: Start::Earliest,
        in_flight_max: 10,
    };
    let member = site.engine.join(subscription).await.unwrap();
    let mut owner = Bearer::connect(&site, &token).await;
    let headers = [("ensue-reason", "no longer used")];
    let answer = owner
        .send(Method::DELETE, "/v1/groups/payments", &headers, "")
        .await;
    answer.problem(409, "has_members");
    let (entries, _) = trail(&site.engine).await;
    assert_eq!(entries[1]["stage"], "failed");
    assert_eq!(entries[1]["outcome"]["code"], "has_members");
    member.leave().await.unwrap();
    site.end().await;
}

#[tokio::test]
async fn who_may_do_something_else_after_a_reload_is_written() {
    let setup = Setup::with_tokens();
    setup.token("reader");
    let site = Site::with(setup.config()).await;
    setup.token("operator");
    setup.tokens().revoke("reader").unwrap();
    site.running.reload().await.unwrap();
    // Nothing is different: nothing is written.
    site.running.reload().await.unwrap();
    let (entries, report) = trail(&site.engine).await;
    assert!(report.is_good());
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0]["action"], "server.reload");
    assert_eq!(entries[0]["actor"]["name"], "server");
    let target = &entries[0]["target"];
    let added = target["tokens_added"][0].as_str().unwrap();
    let revoked = target["tokens_revoked"][0].as_str().unwrap();
    assert!(
        added.starts_with("operator ") && revoked.starts_with("reader "),
        "{target}"
    );
    assert_eq!(target["permissions_changed"], json!(["operator", "reader"]));
    site.end().await;
}

#[tokio::test]
async fn two_servers_of_one_engine_write_one_trail() {
    let setup = Setup::with_tokens();
    let token = setup.token("owner");
    let site = Site::with(setup.config()).await;
    group(&site.engine, "payments", "orders").await;
    let mut config = setup.config();
    config.listen = "127.0.0.1:0".parse().unwrap();
    let second = Server::new(site.engine.clone()).config(config);
    let second = second.start().await.unwrap();
    let addresses = [site.running.address(), second.address()];
    let clients = addresses.map(|address| {
        let token = token.clone();
        tokio::spawn(async move {
            let mut client = Bearer::connect_to(address, &token).await;
            for _ in 0..10 {
                let path = "/v1/groups/payments/dead-letters/redrive";
                client.post(path, r#"{"all": true}"#).await.ok();
            }
        })
    });
    for client in clients {
        client.await.unwrap();
    }
    let (entries, report) = trail(&site.engine).await;
    assert_eq!(entries.len(), 40);
    assert!(report.is_good(), "{report:?}");
    second.stop().await;
    site.end().await;
}

#[tokio::test]
async fn without_authentication_the_trail_is_there_when_it_is_asked_for() {
    for (text, entries_expected) in [("", 0), ("audit = true", 2)] {
        let site = Site::with(text.parse::<Config>().unwrap()).await;
        group(&site.engine, "payments", "orders").await;
        let mut client = site.client().await;
        let headers = [("ensue-reason", "no longer used")];
        let path = "/v1/groups/payments";
        client.send(Method::DELETE, path, &headers, "").await.ok();
        let (entries, _) = trail(&site.engine).await;
        assert_eq!(entries.len(), entries_expected, "{text}");
        site.end().await;
    }
}

#[tokio::test]
async fn what_an_operator_began_is_finished_and_written_when_its_client_has_gone() {
    const GROUPS: usize = 30;
    let setup = Setup::with_tokens();
    let token = setup.token("owner");
    let site = Site::with(setup.config()).await;
    for number in 0..GROUPS {
        group(&site.engine, &format!("g-{number}"), "orders").await;
    }
    for number in 0..GROUPS {
        let mut stream = TcpStream::connect(site.running.address()).await.unwrap();
        let request = format!(
            "DELETE /v1/groups/g-{number} HTTP/1.1\r\nhost: localhost\r\nensue-reason: over\r\n\
             authorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        // Some have begun, some have not.
        for _ in 0..number % 3 {
            trail(&site.engine).await;
            tokio::task::yield_now().await;
        }
        drop(stream);
    }
    let ended = async {
        loop {
            let (entries, _) = trail(&site.engine).await;
            let begun = entries.iter().filter(|it| it["stage"] == "requested");
            if begun.count() * 2 == entries.len() && !entries.is_empty() {
                return entries;
            }
            tokio::task::yield_now().await;
        }
    };
    let entries = tokio::time::timeout(PATIENCE, ended).await.unwrap();
    let status = site.engine.status().await.unwrap();
    let done = entries.iter().filter(|it| it["stage"] == "done").count();
    assert_eq!(status.groups.len() + done, GROUPS);
    site.end().await;
}

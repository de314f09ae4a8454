//! The remote engine, where the server asks who calls: by token, over TLS.

use std::time::Duration;

use ensue::engine::{Append, Commit, Query, Schedule, SharedEngine, Subscription};
use ensue::error::{EngineError, OpenError};
use ensue::{Codec, Envelope, Error, Timestamp};
use hyper::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::pki::write_private;
use crate::secure::{Setup, tls_client};
use crate::site::{PATIENCE, Site};

/// The engine of a caller with this role, whose token is in a file of its name.
async fn engine(setup: &Setup, site: &Site, role: &str) -> SharedEngine {
    let token = std::fs::read_to_string(setup.path(role)).unwrap();
    let url = format!(
        "{}&token_file={}",
        url(setup, site),
        setup.path(role).display()
    );
    let engine = ensue::connect(&url).await.unwrap();
    assert!(!format!("{engine:?}").contains(&token), "a secret is shown");
    assert!(!engine.url().contains("token"), "{}", engine.url());
    engine
}

fn url(setup: &Setup, site: &Site) -> String {
    let port = site.running.address().port();
    let ca = setup.path("ca.crt");
    format!(
        "ensue://localhost:{port}?tls=true&ca={}&connect_timeout=5s",
        ca.display()
    )
}

fn event(topic: &str) -> Envelope {
    let builder = Envelope::builder(topic, "t").key("k");
    builder
        .payload(Codec::Json, b"{}".to_vec())
        .build()
        .unwrap()
}

fn subscription(topic: &str) -> Subscription {
    Subscription {
        group: "g".into(),
        topics: vec![topic.parse().unwrap()],
        types: None,
        start: Default::default(),
        in_flight_max: 10,
    }
}

/// Whether the error says that the caller may not do this.
fn is_forbidden(error: &Error) -> bool {
    error.to_string().contains("it may not") || error.to_string().contains("none of its roles")
}

#[tokio::test]
async fn the_remote_engine_may_do_what_its_token_may() {
    let (setup, _authority) = Setup::with_tls();
    for role in [
        "publisher",
        "reader",
        "consumer",
        "operator",
        "stranger-to-orders",
    ] {
        setup.write(role, &setup.token(role));
    }
    let site = Site::with(setup.config()).await;
    let publisher = engine(&setup, &site, "publisher").await;
    publisher
        .append(vec![event("orders.new").into()])
        .await
        .unwrap();
    let refused = publisher
        .append(vec![event("photos").into()])
        .await
        .unwrap_err();
    assert!(is_forbidden(&refused), "{refused}");
    let query = Query {
        topics: Some("orders.new".parse().unwrap()),
        ..Query::default()
    };
    let refused = publisher.read(query.clone()).await.unwrap_err();
    assert!(is_forbidden(&refused), "{refused}");
    let refused = publisher.join(subscription("orders.>")).await.unwrap_err();
    assert!(is_forbidden(&refused), "{refused}");
    let reader = engine(&setup, &site, "reader").await;
    assert_eq!(reader.read(query).await.unwrap().events.len(), 1);

    let consumer = engine(&setup, &site, "consumer").await;
    let refused = consumer.join(subscription("photos")).await.unwrap_err();
    assert!(is_forbidden(&refused), "{refused}");
    let member = consumer.join(subscription("orders.>")).await.unwrap();
    let taken = member.next(10).await.unwrap();
    let commit = Commit {
        settled: taken.iter().map(|it| it.position).collect(),
        ..Commit::default()
    };
    let beyond = Commit {
        effects: vec![event("photos").into()],
        ..commit.clone()
    };
    let refused = member.commit(beyond).await.unwrap_err();
    assert!(is_forbidden(&refused), "{refused}");
    member.commit(commit).await.unwrap();
    let refused = consumer.delete_group("g").await.unwrap_err();
    assert!(is_forbidden(&refused), "{refused}");
    let operator = engine(&setup, &site, "operator").await;
    let status = operator.status().await.unwrap();
    assert_eq!(status.groups[0].name, "g");
    let stranger = engine(&setup, &site, "stranger-to-orders").await;
    let status = stranger.status().await.unwrap();
    assert!(
        status.groups.is_empty() && status.topics.is_empty(),
        "{status:?}"
    );
    let refused = stranger.redrive("g", Default::default()).await.unwrap_err();
    assert!(
        refused.to_string().contains("there is no group"),
        "{refused}"
    );
    drop(member);
    for engine in [publisher, reader, consumer, operator, stranger] {
        engine.close().await.unwrap();
    }
    site.end().await;
}

#[tokio::test]
async fn what_waits_is_counted_after_what_the_caller_may_not_see_is_left_out() {
    let (setup, _authority) = Setup::with_tls();
    for role in ["owner", "reader"] {
        setup.write(role, &setup.token(role));
    }
    let site = Site::with(setup.config()).await;
    let owner = engine(&setup, &site, "owner").await;
    let later = |id: usize, topic: &str| {
        let at = Timestamp::now() + Duration::from_secs(3_600 + id as u64);
        let mut append = Append::from(event(topic));
        append.schedule = Some(Schedule { at, timer: None });
        append
    };
    let mut batch: Vec<_> = (0..300).map(|id| later(id, "photos")).collect();
    batch.push(later(301, "orders.new"));
    owner.append(batch).await.unwrap();
    let reader = engine(&setup, &site, "reader").await;
    let scheduled = reader.scheduled(1).await.unwrap();
    let topics: Vec<_> = scheduled
        .iter()
        .map(|it| it.envelope.as_ref().unwrap().topic())
        .collect();
    assert_eq!(topics, ["orders.new"]);
    site.end().await;
}

/// One with more rights joins the group with more topics, and leaves.
async fn widen(owner: &SharedEngine, group: &str) {
    let wide = owner.join(of_group(group)).await.unwrap();
    wide.leave().await.unwrap();
}

fn of_group(group: &str) -> Subscription {
    Subscription {
        group: group.into(),
        ..subscription(">")
    }
}

#[tokio::test]
async fn a_member_gets_no_topics_that_its_caller_may_not_consume_though_another_widened_the_group()
{
    let (setup, authority) = Setup::with_tls();
    for role in ["owner", "consumer"] {
        setup.write(role, &setup.token(role));
    }
    let site = Site::with(setup.config()).await;
    let owner = engine(&setup, &site, "owner").await;
    // By gRPC.
    let consumer = engine(&setup, &site, "consumer").await;
    let member = consumer.join(subscription("orders.>")).await.unwrap();
    widen(&owner, "g").await;
    owner.append(vec![event("photos").into()]).await.unwrap();
    member.next(10).await.unwrap_err();
    let refused = consumer.join(subscription("orders.>")).await.unwrap_err();
    assert!(refused.to_string().contains("may not consume"), "{refused}");
    let other = owner.join(subscription(">")).await.unwrap();
    let taken = tokio::time::timeout(PATIENCE, other.next(10)).await;
    assert_eq!(taken.unwrap().unwrap()[0].envelope.topic(), "photos");
    other.leave().await.unwrap();
    // By HTTP.
    let token = std::fs::read_to_string(setup.path("consumer")).unwrap();
    let mut client = tls_client(&site, authority.client(None)).await.unwrap();
    let authorization = format!("Bearer {token}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
    ];
    let members = "/v1/groups/h/members";
    let join = r#"{"topics": ["orders.>"]}"#;
    let joined = client
        .send(Method::POST, members, &headers, join)
        .await
        .ok();
    widen(&owner, "h").await;
    owner.append(vec![event("photos").into()]).await.unwrap();
    let take = format!(
        "{members}/{}/take?wait=20s",
        joined["member"].as_str().unwrap()
    );
    let barred = client.send(Method::POST, &take, &headers, "").await;
    barred.problem(403, "forbidden");
    let other = owner.join(of_group("h")).await.unwrap();
    let taken = tokio::time::timeout(PATIENCE, other.next(10)).await;
    assert_eq!(taken.unwrap().unwrap()[0].envelope.topic(), "photos");
    site.end_at_once().await;
}

#[tokio::test]
async fn a_token_that_is_replaced_ends_neither_calls_nor_members() {
    let (setup, _authority) = Setup::with_tls();
    setup.write("owner", &setup.token("owner"));
    let site = Site::with(setup.config()).await;
    let engine = engine(&setup, &site, "owner").await;
    let member = engine.join(subscription("orders.>")).await.unwrap();
    engine
        .append(vec![event("orders.new").into()])
        .await
        .unwrap();
    let taken = member.next(10).await.unwrap();
    for _ in 0..2 {
        setup.tokens().revoke("owner").unwrap();
        setup.write("owner", &setup.token("owner"));
        site.running.reload().await.unwrap();
        let status = engine.status().await.unwrap();
        assert_eq!(status.groups[0].members.len(), 1);
    }
    let commit = Commit {
        settled: taken.iter().map(|it| it.position).collect(),
        ..Commit::default()
    };
    member.commit(commit).await.unwrap();
    // Without another one the refusal is said.
    setup.tokens().revoke("owner").unwrap();
    site.running.reload().await.unwrap();
    let refused = engine.status().await.unwrap_err();
    assert!(
        matches!(refused, Error::Open(OpenError::Unfit { .. })),
        "{refused}"
    );
    member.next(10).await.unwrap_err();
    site.end().await;
}

#[tokio::test]
async fn a_remote_engine_that_is_not_known_or_does_not_trust_the_server_says_so() {
    let (setup, _authority) = Setup::with_tls();
    let site = Site::with(setup.config()).await;
    let refused = ensue::connect(&url(&setup, &site)).await.unwrap_err();
    assert!(
        matches!(refused, Error::Open(OpenError::Unfit { .. })),
        "{refused}"
    );
    assert!(refused.to_string().contains("ENSUE_TOKEN"), "{refused}");
    let port = site.running.address().port();
    let url = format!("ensue://localhost:{port}?tls=true&connect_timeout=10ms");
    let refused = ensue::connect(&url).await.unwrap_err();
    let is_away = matches!(refused, Error::Engine(EngineError::Unavailable { .. }));
    assert!(is_away, "{refused}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_not_what_the_url_says_is_told_at_once() {
    let (setup, authority) = Setup::with_tls();
    let encrypted = Site::with(setup.config()).await;
    let plain = Site::start().await;
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ports = [
        encrypted.running.address().port(),
        plain.running.address().port(),
        other.local_addr().unwrap().port(),
    ];
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = other.accept().await {
            tokio::spawn(async move {
                let mut read = [0; 1024];
                while let Ok(1..) = stream.read(&mut read).await {
                    let _ = stream.write_all(b"-ERR unknown command\r\n").await;
                }
            });
        }
    });
    for (port, options, part) in [
        (ports[0], "", "add the option `tls=true`"),
        (ports[1], "?tls=true", "leave out `tls=true`"),
        (ports[2], "", "not Ensue"),
    ] {
        let refused = ensue::connect(&format!("ensue://localhost:{port}{options}"))
            .await
            .unwrap_err();
        let is_unfit = matches!(refused, Error::Open(OpenError::Unfit { .. }));
        assert!(is_unfit && refused.to_string().contains(part), "{refused}");
    }
    encrypted.end().await;
    // The authority's own certificate in place of one that it signed.
    std::fs::write(
        setup.path("server.crt"),
        std::fs::read(setup.path("ca.crt")).unwrap(),
    )
    .unwrap();
    write_private(
        &setup.path("server.key"),
        &authority.issuer.key().serialize_pem(),
    );
    let site = Site::with(setup.config()).await;
    let port = site.running.address().port();
    let ca = setup.path("ca.crt");
    let url = format!(
        "ensue://localhost:{port}?tls=true&ca={}&connect_timeout=10ms",
        ca.display()
    );
    let refused = ensue::connect(&url).await.unwrap_err().to_string();
    assert!(
        refused.contains("an authority's") && refused.contains("CA:FALSE"),
        "{refused}"
    );
    site.end().await;
    plain.end().await;
}

//! `ensue token`, `ensue audit`, and a server with authentication.

#![allow(clippy::disallowed_types, reason = "it is a client of the server")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Instant;

use ensue::engine::{Append, Query, Recorded};
use serde_json::Value;

use crate::serving::Serving;
use crate::shop::{PATIENCE, Shop};

const CONFIG: &str = "[auth]\ntokens = 'tokens.json'\n[roles.owner]\npublish = ['>']\nread = ['>', '_audit']\n\
                      operate = ['>']\nadmin = true\n";

/// A configuration beside the log.
fn configured(shop: &Shop, text: &str) -> PathBuf {
    let path = shop.path().with_file_name("ensue.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// A request over a connection of its own: the status, and the body.
fn ask(address: &str, request: &str, token: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "{request} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         ensue-reason: a test\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    (status.parse().unwrap(), body.to_owned())
}

/// Asks until the status is this one: a server sees within seconds that a file has changed.
fn ask_until(address: &str, token: &str, status: u16) {
    let before = Instant::now();
    while ask(address, "GET /v1/status", token).0 != status {
        assert!(before.elapsed() < PATIENCE, "the server does not see it");
    }
}

#[test]
fn a_token_is_made_listed_and_revoked_while_the_server_runs() {
    let shop = Shop::empty();
    let path = configured(&shop, CONFIG);
    let config = path.to_str().unwrap();
    let serving = Serving::start_with(&shop, &["--config", config]);
    let create = [
        "token", "create", "shop", "--role", "owner", "--config", config,
    ];
    let run = shop.run(&create).succeeds().warns("not shown again");
    let token = run.out.trim();
    assert!(token.starts_with("ensue_"), "{token}");
    let listed = shop.json(&["token", "list", "--config", config]);
    assert_eq!(listed[0]["name"], "shop");
    assert_eq!(listed[0]["expired"], false);
    assert!(listed[0]["expires"].is_string(), "tokens expire by default");
    let shown = shop.run(&["token", "list", "--config", config]).succeeds();
    let (_, secret) = token.rsplit_once('_').unwrap();
    assert!(shown.out.contains("shop") && !shown.out.contains(secret));
    ask_until(&serving.address, token, 200);
    let id = listed[0]["id"].as_str().unwrap();
    let revoke = ["token", "revoke", id, "--config", config];
    shop.run(&revoke).succeeds().says("revoked 1 token");
    ask_until(&serving.address, token, 401);
    shop.run(&revoke).fails(1).warns("no token");
    assert_eq!(serving.end(), Some(0));
}

#[test]
fn sighup_reloads_and_does_not_end_the_server() {
    let shop = Shop::empty();
    let path = configured(&shop, CONFIG);
    let config = path.to_str().unwrap();
    let create = [
        "token", "create", "shop", "--role", "owner", "--config", config,
    ];
    let token = shop.run(&create).succeeds().out.trim().to_owned();
    let serving = Serving::start_with(&shop, &["--config", config]);
    let reloaded = || {
        let (status, body) = ask(&serving.address, "GET /v1/status", &token);
        assert_eq!(status, 200, "{body}");
        let status: Value = serde_json::from_str(&body).unwrap();
        status["server"]["reloaded"].clone()
    };
    assert!(reloaded().is_null());
    serving.signal("-HUP");
    let before = Instant::now();
    while reloaded().is_null() {
        assert!(before.elapsed() < PATIENCE, "SIGHUP does nothing");
    }
    assert_eq!(serving.end(), Some(0));
}

#[test]
fn a_token_that_cannot_be_is_refused_with_what_was_meant() {
    let shop = Shop::empty();
    let path = configured(&shop, CONFIG);
    let config = path.to_str().unwrap();
    let create = |rest: &[&str]| {
        let args = [&["token", "create"], rest, &["--config", config]].concat();
        shop.run(&args)
    };
    create(&["shop", "--role", "ower"])
        .fails(1)
        .warns("did you mean `owner`");
    create(&["a b", "--role", "owner"])
        .fails(1)
        .warns("not a name of a token");
    create(&["shop", "--role", "owner", "--expires", "0s"])
        .fails(1)
        .warns("future");
    create(&["shop", "--role", "owner", "--expires", "soon"]).fails(2);
    create(&["shop"]).fails(2).warns("--role");
    assert!(!path.with_file_name("tokens.json").exists());
    configured(&shop, "");
    create(&["shop", "--role", "owner"])
        .fails(1)
        .warns("[auth]");
}

#[test]
fn a_configuration_is_checked_with_the_files_that_it_names() {
    let shop = Shop::empty();
    for (text, part) in [
        ("[auth]\n", "auth.tokens"),
        ("[auth]\ntoken = 'x'", "did you mean `auth.tokens`"),
        ("[tls]\ncertificate = 'no.crt'\nkey = 'no.key'", "no.crt"),
        ("[tls]\ncertificate = 'no.crt'", "tls.key"),
        ("[roles.a]\nreads = ['x']", "did you mean `roles.a.read`"),
        ("[roles.a]\nread = ['a..b']", "empty part"),
        ("listen = '0.0.0.0:0'", "not a loopback address"),
        ("listen = '0.0.0.0:0'\n[auth]\ntokens = 't'", "plain text"),
    ] {
        let path = configured(&shop, text);
        let args = ["serve", "--config", path.to_str().unwrap(), "--check"];
        shop.run(&args).fails(1).warns(part);
    }
    let path = configured(&shop, "listen = '0.0.0.0:0'");
    let args = [
        "--json",
        "serve",
        "--config",
        path.to_str().unwrap(),
        "--insecure-let-everyone-in",
        "--check",
    ];
    let shown = shop.run(&args).succeeds().json();
    assert_eq!(shown["insecure_let_everyone_in"], true);
    assert!(!shop.path().exists(), "nothing was made");
}

/// A log with the audit trail of six operations, twelve entries.
fn audited() -> Shop {
    let shop = Shop::empty();
    let path = configured(&shop, CONFIG);
    let config = path.to_str().unwrap();
    let create = [
        "token", "create", "shop", "--role", "owner", "--config", config,
    ];
    let token = shop.run(&create).succeeds().out.trim().to_owned();
    let serving = Serving::start_with(&shop, &["--config", config]);
    for index in 0..6 {
        let id = format!("/v1/events?topic=t&at=2100-01-01T00:00:00Z&timer=timer-{index}");
        let mut stream = TcpStream::connect(&serving.address).unwrap();
        let request = format!(
            "POST {id} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\
             ce-specversion: 1.0\r\nce-id: {index}\r\nce-source: /shop\r\nce-type: t\r\n\
             content-length: 0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let cancel = format!("DELETE /v1/schedules?source=/shop&name=timer-{index}");
        let (status, body) = ask(&serving.address, &cancel, &token);
        assert_eq!(status, 200, "{body}");
    }
    assert_eq!(serving.end(), Some(0));
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_trail_is_verified_and_what_was_changed_is_named() {
    let shop = audited();
    let whole = shop.json(&["audit", "verify"]);
    assert_eq!(
        (&whole["good"], &whole["entries"]),
        (&true.into(), &12.into())
    );
    let head = format!(
        "{}:{}",
        whole["head"]["number"],
        whole["head"]["hash"].as_str().unwrap()
    );
    shop.run(&["audit", "verify", "--known", &head])
        .succeeds()
        .says("is whole");
    let engine = shop.open().await;
    let query = Query {
        topics: Some("_audit".parse().unwrap()),
        ..Query::default()
    };
    let entries = engine.read(query).await.unwrap().events;
    engine.close().await.unwrap();
    type Forge = fn(&mut Vec<Recorded>);
    let forgeries: [(Forge, &str); 3] = [
        (
            |entries| {
                let payload = String::from_utf8(entries[4].envelope.payload().to_vec()).unwrap();
                let payload = payload.replace("a test", "no test").into_bytes();
                let changed = entries[4].envelope.to_builder();
                entries[4].envelope = changed
                    .payload(ensue::Codec::Json, payload)
                    .build()
                    .unwrap();
            },
            "entry 5 was changed",
        ),
        (
            |entries| {
                entries.remove(4);
            },
            "entry 5 is missing",
        ),
        (|entries| entries.swap(4, 5), "entry 5 is not in its place"),
    ];
    for (forge, finding) in forgeries {
        let mut entries = entries.clone();
        forge(&mut entries);
        let other = Shop::empty();
        let engine = other.open().await;
        for entry in entries {
            engine
                .append(vec![Append::from(entry.envelope)])
                .await
                .unwrap();
        }
        engine.close().await.unwrap();
        other
            .run(&["audit", "verify"])
            .fails(1)
            .says(finding)
            .says("is not whole");
    }
    // The newest entries cut off: seen by who knows one of them.
    let cut = Shop::empty();
    let engine = cut.open().await;
    for entry in entries.iter().take(10) {
        let entry = entry.envelope.clone();
        engine.append(vec![entry.into()]).await.unwrap();
    }
    engine.close().await.unwrap();
    cut.run(&["audit", "verify"]).succeeds();
    let known = ["audit", "verify", "--known", &head];
    cut.run(&known)
        .fails(1)
        .says("entry 12 is not the one that is known");
}

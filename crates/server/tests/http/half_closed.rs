//! Clients that end their side of the connection behind their request.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::member::MemberClient;
use crate::site::{PATIENCE, Site, event};

/// What comes back for this, when nothing follows it.
async fn said(site: &Site, request: &str) -> String {
    let mut stream = TcpStream::connect(site.running.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer));
    // A server that gives up a request may reset the connection.
    let _ = read.await.unwrap();
    answer
}

fn post(path: &str, body: &str, bytes: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\n\
         content-length: {bytes}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn a_client_that_ends_its_side_behind_its_request_is_answered() {
    let site = Site::start().await;
    let payload = "x".repeat(1 << 20);
    for id in 0..8 {
        let more = format!(r#","topic":"orders","data":"{payload}""#);
        let event = event(&id.to_string(), &more);
        let answer = said(&site, &post("/v1/events", &event, event.len())).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(
            answer.contains(&format!(r#""position":"{id}""#)),
            "{answer}"
        );
    }
    // An answer that is longer than what the system takes at once, and more than one request.
    let get = "GET /v1/events?topic=orders HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let answer = said(&site, &[get, get].concat()).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2);
    assert_eq!(answer.matches(&payload).count(), 16);
    // Of answers whose bodies are given as a whole, the last ones wait to be written when all requests are done.
    const MANY: usize = 100;
    let get = "GET /v1/openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let answer = said(&site, &get.repeat(MANY)).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), MANY);
    let document = ensue_server::openapi();
    assert_eq!(answer.matches(document).count(), MANY, "{}", document.len());
    site.end().await;
}

#[tokio::test]
async fn a_client_that_is_gone_in_the_middle_of_its_request_is_given_up_at_once() {
    let mut config = ensue_server::Config::default();
    // Who would wait for the rest would wait for longer than the test does.
    config.limits.body_timeout = 2 * PATIENCE;
    let site = Site::with(config).await;
    let event = event("1", r#","topic":"orders""#);
    for sent in [0, 1, event.len() - 1] {
        let answer = said(&site, &post("/v1/events", &event[..sent], event.len())).await;
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    assert_eq!(site.events().await.len(), 0);
    site.end().await;
}

#[tokio::test]
async fn a_member_that_is_gone_is_given_nothing() {
    let site = Site::start().await;
    let mut member = MemberClient::join(&site, "g", json!({})).await;
    let path = format!("{}/take?wait=60s", member.path);
    let answer = said(&site, &post(&path, "", 0)).await;
    assert_eq!(answer, "");
    let mut client = site.client().await;
    let event = event("1", r#","topic":"orders""#);
    client.event("/v1/events", event).await.ok();
    assert_eq!(member.take("wait=60s").await[0]["attempt"], 1);
    site.end().await;
}

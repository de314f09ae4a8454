//! A server that stops: what is on its way is answered, and members leave early.

use std::io::{Read as _, Write as _};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::consuming::orders;
use crate::member::MemberClient;
use crate::site::{PATIENCE, Site, event};

/// A request whose body has yet to come, but for its first bytes; and the rest.
async fn begun(site: &Site, id: &str) -> (TcpStream, String) {
    let body = event(id, r#","topic":"t""#);
    let (start, rest) = body.split_at(10);
    let mut stream = TcpStream::connect(site.running.address()).await.unwrap();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\
         content-type: application/cloudevents+json\r\n\r\n{start}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // It is under way once its bytes are counted.
    let mut client = site.client().await;
    loop {
        let metrics = client.get("/metrics").await;
        if metrics.text().contains("ensue_http_bodies_bytes 1024") {
            return (stream, rest.to_owned());
        }
        tokio::task::yield_now().await;
    }
}

/// Nothing of the server runs between the requests and its stop: this is the only thread.
#[tokio::test]
async fn requests_of_connections_that_were_not_taken_yet_are_answered() {
    let site = Site::start().await;
    let address = site.running.address();
    let waiting: Vec<_> = (0..8)
        .map(|number| {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            let body = event(&number.to_string(), r#","topic":"t""#);
            let request = format!(
                "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\
                 content-type: application/cloudevents+json\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    let Site {
        engine, running, ..
    } = site;
    let stopping = tokio::spawn(running.stop());
    for mut stream in waiting {
        let read = move || {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map(|_| answer)
        };
        let answer = tokio::task::spawn_blocking(read).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("\r\nconnection: close"), "{answer}");
    }
    tokio::time::timeout(PATIENCE, stopping)
        .await
        .unwrap()
        .unwrap();
    engine.close().await.unwrap();
}

#[tokio::test]
async fn members_leave_while_requests_of_others_are_still_under_way() {
    let site = Site::start().await;
    orders(&site, &["a:1", "b:2"]).await;
    let mut member = MemberClient::join(&site, "g", json!({})).await;
    assert_eq!(member.take("").await.len(), 2);
    let (mut under_way, rest) = begun(&site, "slow").await;
    let Site {
        engine, running, ..
    } = site;
    let stopping = tokio::spawn(running.stop());
    let left = async {
        loop {
            let status = engine.status().await.unwrap();
            if status.group("g").unwrap().members.is_empty() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, left).await.unwrap();
    assert!(!stopping.is_finished());
    under_way.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    under_way.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    tokio::time::timeout(PATIENCE, stopping)
        .await
        .unwrap()
        .unwrap();
    let group = engine.status().await.unwrap();
    let group = group.group("g").unwrap();
    assert_eq!(
        (group.lag, group.retrying, group.dead),
        (2, 0, 0),
        "nothing counts as an attempt"
    );
    engine.close().await.unwrap();
}

//! Status, probes, metrics, and stopping.

use hyper::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::site::{PATIENCE, Site, event};

#[tokio::test]
async fn the_status_shows_the_engine_and_who_can_reach_the_server() {
    let site = Site::start().await;
    let mut client = site.client().await;
    client
        .event("/v1/events?topic=t", event("1", ""))
        .await
        .ok();
    let status = client.get("/v1/status").await.ok();
    assert_eq!(status["server"]["exposure"], "loopback");
    assert_eq!(
        status["server"]["address"],
        site.running.address().to_string()
    );
    let engine = &status["engine"];
    assert_eq!(engine["topics"][0]["name"], "t");
    assert!(
        engine["end"].is_string() && engine["trouble"].is_null(),
        "{engine}"
    );
    assert_eq!(engine["guarantees"]["durable_on_acknowledge"], true);
    site.end().await;
}

#[tokio::test]
async fn probes_tell_a_closed_engine_from_a_dead_process() {
    let site = Site::start().await;
    let mut client = site.client().await;
    assert_eq!(client.get("/livez").await.text(), "alive\n");
    assert_eq!(client.get("/readyz").await.text(), "ready\n");
    site.engine.close().await.unwrap();
    assert_eq!(client.get("/livez").await.status, 200);
    let ready = client.get("/readyz").await;
    assert_eq!(ready.status, 503);
    let closed = client.event("/v1/events?topic=t", event("1", "")).await;
    closed.problem(503, "closed");
    assert_eq!(closed.headers["retry-after"], "1");
    site.end().await;
}

#[tokio::test]
async fn metrics_count_requests_by_route_and_status() {
    let site = Site::start().await;
    let mut client = site.client().await;
    client
        .event("/v1/events?topic=t", event("1", ""))
        .await
        .ok();
    client
        .event("/v1/events?topic=t", event("1", ""))
        .await
        .ok();
    client
        .event("/v1/events", "{")
        .await
        .problem(400, "invalid_event");
    client.get("/nothing/here").await.problem(404, "not_found");
    let answer = client.get("/metrics").await;
    assert_eq!(
        answer.headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    for line in [
        "ensue_http_requests_total{route=\"/v1/events\",status=\"200\"} 2",
        "ensue_http_requests_total{route=\"/v1/events\",status=\"400\"} 1",
        "ensue_http_requests_total{route=\"other\",status=\"404\"} 1",
        "ensue_http_events_total 1",
        "ensue_http_duplicates_total 1",
        "ensue_up 1",
        "ensue_http_connections 1",
        "ensue_http_bodies_bytes 0",
        "ensue_http_answers_bytes 0",
    ] {
        assert!(
            answer.text().lines().any(|it| it == line),
            "{line} in\n{}",
            answer.text()
        );
    }
    site.end().await;
}

#[tokio::test]
async fn what_is_not_there_is_said_as_a_problem() {
    let site = Site::start().await;
    let mut client = site.client().await;
    client.get("/v2/events").await.problem(404, "not_found");
    let answer = client.send(Method::DELETE, "/v1/status", &[], "").await;
    answer.problem(405, "method_not_allowed");
    let allowed = answer.headers["allow"].to_str().unwrap();
    assert!(allowed.contains("GET"), "{allowed}");
    site.end().await;
}

#[tokio::test]
async fn a_server_that_is_stopped_answers_what_is_under_way_and_takes_nothing_more() {
    let site = Site::start().await;
    let address = site.running.address();
    let body = event("1", r#","topic":"t""#);
    let (start, rest) = body.split_at(10);
    let mut under_way = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\
         content-type: application/cloudevents+json\r\n\r\n{start}",
        body.len()
    );
    under_way.write_all(head.as_bytes()).await.unwrap();
    let mut idle = site.client().await;
    // The request above is under way once its bytes are counted.
    loop {
        let metrics = idle.get("/metrics").await;
        if metrics.text().contains("ensue_http_bodies_bytes 1024") {
            break;
        }
        tokio::task::yield_now().await;
    }
    let Site {
        engine, running, ..
    } = site;
    let stopping = tokio::spawn(running.stop());
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert!(!stopping.is_finished());
    under_way.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    under_way.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("\"duplicate\":false"),
        "{answer}"
    );
    tokio::time::timeout(PATIENCE, stopping)
        .await
        .unwrap()
        .unwrap();
    engine.close().await.unwrap();
}

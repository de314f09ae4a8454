//! Clients that want too much, or something else.

use ensue_server::Config;
use hyper::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::site::{PATIENCE, Site, event};

/// What the server answers to these bytes until it closes the connection.
async fn raw(site: &Site, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(site.running.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    // A server that closes without having read everything may reset the connection.
    let _ = read.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_name_in_a_path_that_is_no_text_is_refused_with_a_document() {
    let site = Site::start().await;
    let mut client = site.client().await;
    for path in ["/v1/groups/%ff", "/v1/webhooks/%C3%28"] {
        let problem = client.get(path).await.problem(400, "invalid_parameter");
        assert!(problem["detail"].as_str().unwrap().contains("not UTF-8"));
    }
    let group = client.get("/v1/groups/%C3%BC").await;
    group.problem(404, "unknown_group");
    site.end().await;
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_announced_or_not() {
    let mut config = Config::default();
    config.limits.body_bytes_max = 4096;
    let site = Site::with(config).await;
    let mut client = site.client().await;
    let large = event(
        "1",
        &format!(r#","topic":"t","data":"{}""#, "x".repeat(5000)),
    );
    let problem = client
        .event("/v1/events", large)
        .await
        .problem(413, "body_too_large");
    assert_eq!(problem["max"], 4096);
    let fits = event(
        "1",
        &format!(r#","topic":"t","data":"{}""#, "x".repeat(3000)),
    );
    client.event("/v1/events", fits).await.ok();
    for head in [
        "content-length: 99999999999\r\n",
        "content-length: 50000\r\nexpect: 100-continue\r\n",
    ] {
        let request = format!(
            "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: \
             application/cloudevents+json\r\nconnection: close\r\n{head}\r\n"
        );
        let answer = raw(&site, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    }
    site.end().await;
}

#[tokio::test]
async fn bodies_beyond_the_limit_of_all_together_are_refused_until_there_is_room() {
    let mut config = Config::default();
    config.limits.body_bytes_max = 64 * 1024;
    config.limits.bodies_bytes_max = 64 * 1024;
    config.limits.answer_bytes_max = 64 * 1024;
    let site = Site::with(config).await;
    let mut client = site.client().await;
    let body = event(
        "1",
        &format!(r#","topic":"t","data":"{}""#, "x".repeat(60_000)),
    );
    let (start, rest) = body.split_at(50_000);
    let mut slow = TcpStream::connect(site.running.address()).await.unwrap();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\nconnection: close\r\n\
         content-type: application/cloudevents+json\r\n\r\n{start}",
        body.len()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let other = event(
        "2",
        &format!(r#","topic":"t","data":"{}""#, "x".repeat(30_000)),
    );
    loop {
        let metrics = client.get("/metrics").await;
        if metrics.text().contains("ensue_http_bodies_bytes 50176") {
            break;
        }
        tokio::task::yield_now().await;
    }
    client
        .event("/v1/events", other.clone())
        .await
        .problem(503, "overloaded");
    slow.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut client = site.client().await;
    client.event("/v1/events", other).await.ok();
    site.end().await;
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_the_server_goes_on() {
    let site = Site::start().await;
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("x: {}\r\n", "a".repeat(100_000));
    for (text, status) in [
        ("\u{16}\u{3}\u{1}\0\u{1}\r\n\r\n", "400"),
        ("GET / HTTP/9.9\r\n\r\n", "400"),
        (
            "GET /v1/status HTTP/1.1\r\nhost: localhost\r\nbad header\r\n\r\n",
            "400",
        ),
        (
            &format!("GET / HTTP/1.1\r\nhost: localhost\r\n{many}\r\n"),
            "431",
        ),
        (
            &format!("GET / HTTP/1.1\r\nhost: localhost\r\n{long}\r\n"),
            "431",
        ),
        (
            "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\
             transfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\n",
            "4",
        ),
        (
            "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            "400",
        ),
    ] {
        let answer = raw(&site, text.as_bytes()).await;
        let start = format!("HTTP/1.1 {status}");
        assert!(answer.starts_with(&start), "{text:.60}: {answer:.200}");
    }
    let invalid = b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\nce-specversion: 1.0\r\n\
        ce-id: %ff\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let answer = raw(&site, invalid).await;
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains("invalid_header"),
        "{answer}"
    );
    assert_eq!(site.client().await.get("/livez").await.status, 200);
    site.end().await;
}

#[tokio::test]
async fn a_head_may_be_as_large_as_the_limit_says() {
    let mut config = Config::default();
    config.limits.headers_bytes_max = 1024 * 1024;
    let site = Site::with(config).await;
    let long = format!(
        "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx: {}\r\n\r\n",
        "a".repeat(900_000)
    );
    let answer = raw(&site, long.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:.200}");
    site.end().await;
}

#[tokio::test]
async fn a_body_that_ends_early_appends_nothing() {
    let site = Site::start().await;
    let mut stream = TcpStream::connect(site.running.address()).await.unwrap();
    let body = event("1", r#","topic":"t""#);
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\
         content-type: application/cloudevents+json\r\n\r\n{body}",
        body.len() + 1
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    assert!(site.events().await.is_empty());
    site.end().await;
}

#[tokio::test]
async fn a_name_of_another_site_or_a_page_of_one_is_refused() {
    let site = Site::start().await;
    let mut client = site.client().await;
    let rebound = [("host", "evil.example")];
    let answer = client.send(Method::GET, "/v1/status", &rebound, "").await;
    answer.problem(403, "host_not_allowed");
    let page = [("origin", "https://evil.example")];
    let answer = client.send(Method::POST, "/v1/events", &page, "").await;
    answer.problem(403, "cross_origin");
    site.end().await;
}

#[tokio::test]
async fn a_thousand_connections_are_served_and_one_beyond_the_limit_is_told_so() {
    const CONNECTIONS: usize = 1000;
    let mut config = Config::default();
    config.limits.connections_max = CONNECTIONS as u32;
    let site = Site::with(config).await;
    let mut clients = Vec::new();
    for index in 0..CONNECTIONS {
        let mut client = site.client().await;
        let text = event(&index.to_string(), r#","topic":"t""#);
        client.event("/v1/events", text).await.ok();
        clients.push(client);
    }
    let answer = raw(&site, b"GET /v1/status HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("connections_max"),
        "{answer}"
    );
    assert_eq!(clients[CONNECTIONS - 1].get("/livez").await.status, 200);
    drop(clients);
    // Places are free again once the server has seen that the clients are gone.
    let served = async {
        let request = b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        while !raw(&site, request).await.starts_with("HTTP/1.1 200") {}
    };
    tokio::time::timeout(PATIENCE, served).await.unwrap();
    assert_eq!(site.events().await.len(), CONNECTIONS);
    site.end().await;
}

//! Webhooks that come in, and become events.

use ensue::Timestamp;
use ensue_server::Config;
use hyper::Method;
use hyper::body::Bytes;
use standardwebhooks::Webhook;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Answer, Client};
use crate::pki::write_private;
use crate::site::{PATIENCE, Site};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const FORGED: &str = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const PATH: &str = "/v1/webhooks/in/bank";

/// A server with the sender `bank`.
async fn start(secrets: &str, more: &str) -> (Site, TempDir) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secrets");
    write_private(&path, secrets);
    let text = format!(
        r#"
        [[webhooks.in]]
        name = "bank"
        topic = "payments"
        type = "payment.notified"
        secrets = {{ file = "{}" }}
        {more}
        "#,
        path.display()
    );
    (Site::with(text.parse::<Config>().unwrap()).await, directory)
}

fn now() -> i64 {
    Timestamp::now().as_micros() / 1_000_000
}

/// Sends a webhook, signed by the official library.
async fn send(client: &mut Client, id: &str, sent: i64, body: &'static [u8]) -> Answer {
    let signature = Webhook::new(SECRET).unwrap().sign(id, sent, body).unwrap();
    post(client, id, sent, &signature, body).await
}

async fn post(
    client: &mut Client,
    id: &str,
    sent: i64,
    signature: &str,
    body: &'static [u8],
) -> Answer {
    let sent = sent.to_string();
    let headers = [
        ("content-type", "application/json"),
        ("webhook-id", id),
        ("webhook-timestamp", &sent),
        ("webhook-signature", signature),
    ];
    client
        .send(Method::POST, PATH, &headers, Bytes::from_static(body))
        .await
}

#[tokio::test]
async fn a_signed_request_becomes_an_event_with_its_body_byte_by_byte_and_once() {
    let (site, _directory) = start(SECRET, "key = \"/data/account\"").await;
    let mut client = site.client().await;
    let body = br#"{"data": {"account": "a-1", "amount": 1.10, "n": 23958446825181076828}}"#;
    let first = send(&mut client, "msg_1", now(), body).await.ok();
    assert_eq!(first["duplicate"], false);
    // Another attempt has another time and another signature.
    let again = send(&mut client, "msg_1", now() - 7, body).await.ok();
    assert_eq!(
        (&again["duplicate"], &again["position"]),
        (&true.into(), &first["position"])
    );
    send(&mut client, "msg_2", now(), b"not json \xc3\xbc")
        .await
        .ok();
    let events = site.events().await;
    assert_eq!(events.len(), 2);
    let event = &events[0].envelope;
    assert_eq!(
        (event.topic(), event.event_type()),
        ("payments", "payment.notified")
    );
    assert_eq!((event.id(), event.source()), ("msg_1", "/webhooks/bank"));
    assert_eq!((event.key(), event.payload()), ("a-1", &body[..]));
    assert_eq!(event.content_type(), "application/json");
    assert_eq!(events[1].envelope.key(), "");
    site.end().await;
}

#[tokio::test]
async fn what_is_not_signed_by_the_sender_or_too_old_is_refused_and_not_in_the_log() {
    let (site, _directory) = start(SECRET, "").await;
    let mut client = site.client().await;
    let other = Webhook::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    let sent = now();
    let forged = other.sign("msg_1", sent, b"{}").unwrap();
    for signature in [&forged, FORGED, "", "v1,", "v1a,AAAA"] {
        let answer = post(&mut client, "msg_1", sent, signature, b"{}").await;
        answer.problem(401, "invalid_signature");
    }
    let signature = Webhook::new(SECRET)
        .unwrap()
        .sign("msg_1", sent, b"{}")
        .unwrap();
    let changed = post(&mut client, "msg_1", sent, &signature, b"{ }").await;
    changed.problem(401, "invalid_signature");
    let other_id = post(&mut client, "msg_2", sent, &signature, b"{}").await;
    other_id.problem(401, "invalid_signature");
    for sent in [sent - 400, sent + 400] {
        let stale = send(&mut client, "msg_1", sent, b"{}").await;
        let detail = stale.problem(401, "invalid_signature")["detail"].to_string();
        assert!(detail.contains("tolerance"), "{detail}");
    }
    let unsigned = client.send(Method::POST, PATH, &[], "{}").await;
    unsigned.problem(401, "invalid_signature");
    assert!(site.events().await.is_empty());
    // The signature was right all along.
    assert_eq!(
        post(&mut client, "msg_1", sent, &signature, b"{}")
            .await
            .status,
        200
    );
    site.end().await;
}

#[tokio::test]
async fn strangers_are_told_the_same_of_a_sender_that_there_is_and_of_one_that_there_is_not() {
    for tolerance in ["10s", "5m", "1h"] {
        let (site, _directory) = start(SECRET, &format!("tolerance = \"{tolerance}\"")).await;
        let mut client = site.client().await;
        for ago in [100, 1_000, 10_000] {
            let sent = (now() - ago).to_string();
            let headers = [
                ("webhook-id", "msg_1"),
                ("webhook-timestamp", sent.as_str()),
                ("webhook-signature", FORGED),
            ];
            let mut told = Vec::new();
            for path in [PATH, "/v1/webhooks/in/nobody"] {
                let answer = client.send(Method::POST, path, &headers, "{}").await;
                let detail = answer.problem(401, "invalid_signature")["detail"].to_string();
                told.push(detail.contains("tolerance"));
            }
            assert_eq!(told[0], told[1], "{tolerance} {ago}");
        }
        // Who has the secret is held to the tolerance of the sender.
        let late = send(&mut client, "msg_1", now() - 100, b"{}").await;
        assert_eq!(late.status == 401, tolerance == "10s");
        site.end().await;
    }
}

#[tokio::test]
async fn a_sender_that_sends_too_much_is_told_when_to_come_again() {
    let (site, _directory) = start(SECRET, "rate_per_minute = 2").await;
    let mut client = site.client().await;
    // Forged ones do not use up the sender's turns.
    for _ in 0..5 {
        let forged = post(&mut client, "x", now(), FORGED, b"{}").await;
        forged.problem(401, "invalid_signature");
    }
    let mut refused = None;
    for id in 0..10 {
        let answer = send(&mut client, &id.to_string(), now(), b"{}").await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.unwrap();
    refused.problem(429, "rate_limited");
    let wait: u64 = refused.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    site.end().await;
}

#[tokio::test]
async fn the_handshake_of_cloudevents_grants_the_origins_that_are_configured() {
    let more = "origins = [\"eventemitter.example.com\"]\nrate_per_minute = 120";
    let (site, _directory) = start(SECRET, more).await;
    let mut client = site.client().await;
    for (asked, granted) in [("60", "60"), ("1000", "120"), ("*", "120")] {
        let headers = [
            ("webhook-request-origin", "eventemitter.example.com"),
            ("webhook-request-rate", asked),
            (
                "webhook-request-callback",
                "http://127.0.0.1:1/never-called",
            ),
        ];
        let answer = client.send(Method::OPTIONS, PATH, &headers, "").await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.headers["webhook-allowed-origin"],
            "eventemitter.example.com"
        );
        assert_eq!(answer.headers["webhook-allowed-rate"], granted);
        assert!(answer.headers["allow"].to_str().unwrap().contains("POST"));
    }
    let headers = [("webhook-request-origin", "evil.example")];
    let refused = client.send(Method::OPTIONS, PATH, &headers, "").await;
    refused.problem(403, "origin_not_allowed");
    assert!(!refused.headers.contains_key("webhook-allowed-origin"));
    let plain = client.send(Method::OPTIONS, PATH, &[], "").await;
    assert_eq!(plain.status, 200);
    assert!(!plain.headers.contains_key("webhook-allowed-origin"));
    site.end().await;
}

#[tokio::test]
async fn what_one_server_sends_another_one_takes_with_a_key_pair() {
    let private = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
    let public = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let (taker, directory) = start(public, "").await;
    let path = directory.path().join("private");
    write_private(&path, private);
    let text = format!(
        r#"
        [webhooks]
        allow = ["127.0.0.0/8"]
        [[webhooks.endpoint]]
        name = "partner"
        url = "http://{}{PATH}"
        topics = [">"]
        secrets = {{ file = "{}" }}
        "#,
        taker.running.address(),
        path.display()
    );
    let giver = Site::with(text.parse::<Config>().unwrap()).await;
    let mut client = giver.client().await;
    let shown = client.get("/v1/webhooks/partner").await.ok();
    assert_eq!(shown["public_keys"][0], public);
    let event = crate::site::event("o-1", r#","topic":"orders","data":{"price":1.10}"#);
    client.event("/v1/events", event).await.ok();
    let mut events = taker.engine.read(ensue::engine::Query::default()).follow();
    let waiting = tokio::time::timeout(PATIENCE, events.next());
    let event = waiting.await.unwrap().unwrap().unwrap().envelope;
    assert_eq!((event.id(), event.topic()), ("o-1", "payments"));
    assert!(event.payload().windows(4).any(|it| it == b"1.10"));
    giver.end().await;
    taker.end().await;
}

#[tokio::test]
async fn what_claims_no_signature_is_refused_before_its_body_is_sent() {
    let (site, _directory) = start(SECRET, "").await;
    let stale = (now() - 4_000).to_string();
    for headers in [
        String::new(),
        format!("webhook-id: 1\r\nwebhook-timestamp: {stale}\r\nwebhook-signature: v1,AAAA\r\n"),
    ] {
        let mut stream = TcpStream::connect(site.running.address()).await.unwrap();
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: 9000000\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        // The body would be waited for longer than that.
        let answered = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut text));
        answered.await.unwrap().unwrap();
        assert!(text.starts_with("HTTP/1.1 401"), "{text}");
    }
    site.end().await;
}

#[tokio::test]
async fn cloudevents_of_a_sender_keep_their_attributes_and_get_its_topic() {
    let secrets = TempDir::new().unwrap();
    let path = secrets.path().join("secrets");
    write_private(&path, SECRET);
    let config = |address: &str| {
        let text = format!(
            r#"
            [webhooks]
            allow = ["127.0.0.1"]
            [[webhooks.endpoint]]
            name = "partner"
            url = "http://{address}{PATH}"
            topics = ["orders"]
            content = "binary"
            secrets = {{ file = "{secrets}" }}
            [[webhooks.in]]
            name = "bank"
            topic = "payments"
            content = "cloudevents"
            source = "/shop"
            secrets = {{ file = "{secrets}" }}
            "#,
            secrets = path.display()
        );
        text.parse::<Config>().unwrap()
    };
    let taker = Site::with(config("127.0.0.1:1")).await;
    let giver = Site::with(config(&taker.running.address().to_string())).await;
    let mut client = giver.client().await;
    let text = r#","topic":"orders","subject":"o-1","shard":"7","data":{"price":1.10}"#;
    client
        .event("/v1/events", crate::site::event("1", text))
        .await
        .ok();
    let mut events = taker.engine.read(ensue::engine::Query::default()).follow();
    let waiting = tokio::time::timeout(PATIENCE, events.next());
    let event = waiting.await.unwrap().unwrap().unwrap().envelope;
    assert_eq!(
        (event.topic(), event.event_type()),
        ("payments", "order.created")
    );
    assert_eq!(
        (event.id(), event.source(), event.key()),
        ("1", "/shop", "o-1")
    );
    assert_eq!(
        (event.extension("shard"), event.payload()),
        (Some("7"), &br#"{"price":1.10}"#[..])
    );
    giver.end().await;
    let mut client = taker.client().await;
    let foreign = br#"{"specversion":"1.0","id":"1","source":"/other","type":"t"}"#;
    for (content_type, body, code) in [
        (
            "application/cloudevents+json",
            &foreign[..],
            (400, "invalid_event"),
        ),
        (
            "application/cloudevents-batch+json",
            b"[]",
            (415, "unsupported_media_type"),
        ),
        ("application/json", b"{}", (415, "unsupported_media_type")),
    ] {
        let sent = now();
        let signature = Webhook::new(SECRET).unwrap().sign("m", sent, body).unwrap();
        let sent = sent.to_string();
        let headers = [
            ("content-type", content_type),
            ("webhook-id", "m"),
            ("webhook-timestamp", &sent),
            ("webhook-signature", &signature),
        ];
        let answer = client.send(Method::POST, PATH, &headers, body).await;
        answer.problem(code.0, code.1);
    }
    taker.end().await;
}

#[tokio::test]
async fn bodies_of_strangers_take_nothing_from_callers() {
    const BODY: usize = 32 * 1024;
    let more = format!(
        "[limits]\nanswer_bytes_max = {BODY}\nbody_bytes_max = {BODY}\nbodies_bytes_max = {}",
        2 * BODY
    );
    let (site, _directory) = start(SECRET, &more).await;
    let head = |length: usize| {
        format!(
            "POST {PATH} HTTP/1.1\r\nhost: localhost\r\nwebhook-id: x\r\nwebhook-timestamp: {}\r\n\
             webhook-signature: {FORGED}\r\ncontent-length: {length}\r\n\r\n",
            now()
        )
    };
    // All that strangers may have, held by one that does not end.
    let mut holder = TcpStream::connect(site.running.address()).await.unwrap();
    holder.write_all(head(BODY).as_bytes()).await.unwrap();
    holder.write_all(&vec![b'x'; BODY - 1]).await.unwrap();
    let refused = async {
        loop {
            let mut other = TcpStream::connect(site.running.address()).await.unwrap();
            other.write_all(head(BODY).as_bytes()).await.unwrap();
            // It may be refused before it has sent everything.
            let _ = other.write_all(&vec![b'x'; BODY]).await;
            let mut answer = vec![0; 12];
            if other.read_exact(&mut answer).await.is_ok() && answer == b"HTTP/1.1 503" {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
    let text = crate::site::event("1", &format!(r#","data":"{}""#, "y".repeat(BODY / 2)));
    let mut client = site.client().await;
    client.event("/v1/events?topic=t", text).await.ok();
    drop(holder);
    site.end().await;
}

/// The status and the text of an answer, without what is of this request alone.
fn said(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.text().to_owned())
}

#[tokio::test]
async fn a_stranger_does_not_learn_which_senders_there_are() {
    let (site, _directory) = start(SECRET, "").await;
    let mut client = site.client().await;
    let sent = now().to_string();
    let stale = (now() - 4000).to_string();
    let forged = [
        ("webhook-id", "1"),
        ("webhook-timestamp", sent.as_str()),
        ("webhook-signature", FORGED),
    ];
    let old = [forged[0], ("webhook-timestamp", stale.as_str()), forged[2]];
    let origin = [("webhook-request-origin", "evil.example")];
    for (method, headers) in [
        (Method::POST, &[][..]),
        (Method::POST, &forged),
        (Method::POST, &old),
        (Method::OPTIONS, &[]),
        (Method::OPTIONS, &origin),
    ] {
        let known = client.send(method.clone(), PATH, headers, "{}").await;
        let unknown = client
            .send(method.clone(), "/v1/webhooks/in/none", headers, "{}")
            .await;
        let seconds = |text: String| text.replace("4001 s", "4000 s");
        let (status, text) = said(&unknown);
        assert_eq!(
            (status, seconds(text)),
            (said(&known).0, seconds(said(&known).1))
        );
        assert_eq!(known.headers.get("allow"), unknown.headers.get("allow"));
    }
    site.end().await;
}

#[tokio::test]
async fn a_body_that_is_compressed_in_whatever_way_is_not_taken_as_it_is() {
    let (site, _directory) = start(SECRET, "").await;
    let mut client = site.client().await;
    let sent = now();
    let signature = Webhook::new(SECRET)
        .unwrap()
        .sign("msg_1", sent, b"{}")
        .unwrap();
    let sent = sent.to_string();
    let signed = [
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", sent.as_str()),
        ("webhook-signature", signature.as_str()),
    ];
    for encodings in [
        &[("content-encoding", "gzip")][..],
        &[
            ("content-encoding", "identity"),
            ("content-encoding", "gzip"),
        ],
        &[("content-encoding", "identity, br")],
        &[("transfer-encoding", "gzip, chunked")],
    ] {
        let headers = [&signed[..], encodings].concat();
        let answer = client.send(Method::POST, PATH, &headers, "{}").await;
        answer.problem(415, "unsupported_media_type");
        client = site.client().await;
    }
    assert!(site.events().await.is_empty());
    let headers = [&signed[..], &[("content-encoding", "Identity")]].concat();
    let answer = client.send(Method::POST, PATH, &headers, "{}").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    site.end().await;
}

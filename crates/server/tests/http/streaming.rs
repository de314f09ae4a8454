//! Server-sent events.

use std::time::Duration;

use ensue_server::Config;
use hyper::Method;

use crate::client::Stream;
use crate::site::{PATIENCE, Site, event};

async fn ids(stream: &mut Stream, count: usize) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for _ in 0..count {
        let sent = stream.next().await.unwrap();
        let id = sent.data.unwrap()["id"].as_str().unwrap().to_owned();
        found.push((id, sent.id.unwrap()));
    }
    found
}

async fn publish(site: &Site, ids: std::ops::Range<usize>) {
    let mut client = site.client().await;
    let events = ids.map(|id| event(&id.to_string(), r#","topic":"orders","data":1.10"#));
    let batch = format!("[{}]", events.collect::<Vec<_>>().join(","));
    client.batch("/v1/events", batch).await.ok();
}

#[tokio::test]
async fn a_stream_begins_with_what_comes_next_and_goes_on() {
    let site = Site::start().await;
    publish(&site, 0..3).await;
    let path = "/v1/events/stream?topic=orders";
    let mut stream = site.client().await.stream(path, None).await.unwrap();
    for id in 3..6 {
        publish(&site, id..id + 1).await;
        assert_eq!(ids(&mut stream, 1).await[0].0, id.to_string());
    }
    site.end().await;
}

#[tokio::test]
async fn a_stream_is_resumed_after_any_of_its_events_without_a_gap_or_a_repetition() {
    let site = Site::start().await;
    publish(&site, 0..200).await;
    let path = "/v1/events/stream?from=earliest";
    let mut stream = site.client().await.stream(path, None).await.unwrap();
    let all = ids(&mut stream, 200).await;
    for at in [0, 1, 62, 63, 64, 198] {
        let (id, last) = &all[at];
        assert_eq!(*id, at.to_string());
        let resumed = site.client().await.stream(path, Some(last)).await;
        let next = ids(&mut resumed.unwrap(), 1).await;
        assert_eq!(next[0], all[at + 1]);
    }
    let mut resumed = site
        .client()
        .await
        .stream(path, Some(&all[199].1))
        .await
        .unwrap();
    publish(&site, 200..201).await;
    assert_eq!(ids(&mut resumed, 1).await[0].0, "200");
    assert_eq!(ids(&mut stream, 1).await[0].0, "200");
    let wrong = site.client().await.stream(path, Some("x")).await;
    wrong.err().unwrap().problem(400, "invalid_header");
    let beyond = site.client().await.stream(path, Some("99999")).await;
    beyond.err().unwrap().problem(400, "beyond_end");
    site.end().await;
}

#[tokio::test]
async fn heartbeats_carry_how_far_a_filter_came() {
    let mut config = Config::default();
    config.limits.heartbeat = Duration::from_secs(1);
    let site = Site::with(config).await;
    let path = "/v1/events/stream?filter=id%20%3D%20'7'&from=earliest";
    let mut stream = site.client().await.stream(path, None).await.unwrap();
    publish(&site, 0..5).await;
    let end = site.engine.status().await.unwrap().end.to_string();
    let mut beat = stream.any().await.unwrap();
    while beat.id.as_ref() != Some(&end) {
        assert!(beat.data.is_none(), "{beat:?}");
        beat = stream.any().await.unwrap();
    }
    publish(&site, 5..9).await;
    assert_eq!(ids(&mut stream, 1).await[0].0, "7");
    site.end().await;
}

#[tokio::test]
async fn there_are_no_more_streams_than_the_limit_and_their_places_come_back() {
    let mut config = Config::default();
    config.limits.streams_max = 1;
    let site = Site::with(config).await;
    let first = site
        .client()
        .await
        .stream("/v1/events/stream", None)
        .await
        .unwrap();
    let second = site.client().await.stream("/v1/events/stream", None).await;
    second.err().unwrap().problem(503, "overloaded");
    drop(first);
    // The server sees that the client is gone when it has something to say.
    let mut id = 0;
    loop {
        publish(&site, id..id + 1).await;
        id += 1;
        let next = site.client().await.stream("/v1/events/stream", None).await;
        if next.is_ok() {
            break;
        }
    }
    site.end().await;
}

#[tokio::test]
async fn a_stream_ends_when_the_server_stops_or_the_engine_fails() {
    let site = Site::start().await;
    let mut stream = site
        .client()
        .await
        .stream("/v1/events/stream", None)
        .await
        .unwrap();
    let mut other = site
        .client()
        .await
        .stream("/v1/events/stream", None)
        .await
        .unwrap();
    site.engine.close().await.unwrap();
    let sent = other.next().await.unwrap();
    assert_eq!(sent.kind.as_deref(), Some("problem"));
    assert_eq!(sent.data.unwrap()["code"], "closed");
    assert!(other.next().await.is_none());
    assert_eq!(
        stream.next().await.unwrap().kind.as_deref(),
        Some("problem")
    );
    site.end().await;

    let site = Site::start().await;
    let mut stream = site
        .client()
        .await
        .stream("/v1/events/stream", None)
        .await
        .unwrap();
    site.end().await;
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn streams_go_on_within_what_they_may_hold_together_while_others_are_not_read() {
    let mut config = Config::default();
    config.limits.answer_bytes_max = 256 * 1024;
    config.limits.answers_bytes_max = 256 * 1024;
    let site = Site::with(config).await;
    let payload = "x".repeat(50_000);
    for id in 0..40 {
        let builder = ensue::Envelope::builder("t", "e").id(id.to_string());
        let event = builder.opaque_payload("text/plain", payload.clone().into_bytes());
        site.engine
            .append(vec![event.build().unwrap().into()])
            .await
            .unwrap();
    }
    let path = "/v1/events/stream?from=earliest";
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(site.client().await.stream(path, None).await.unwrap());
    }
    let mut client = site.client().await;
    for stream in &mut streams[4..] {
        let found = ids(stream, 40).await;
        assert_eq!(found[39].0, "39");
        let metrics = client.get("/metrics").await;
        let mut lines = metrics.text().lines();
        let held = lines
            .find_map(|line| line.strip_prefix("ensue_http_answers_bytes "))
            .unwrap();
        assert!(held.parse::<usize>().unwrap() <= 256 * 1024, "{held}");
    }
    site.end().await;
}

#[tokio::test]
async fn what_went_on_from_the_beginning_is_told_that_it_is_gone() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().display();
    let url = format!("embedded:{path}?segment_bytes=65536&retention_bytes=1");
    let payload = "7".repeat(20_000);
    // The second checkpoint lets go of what lies before the first.
    for round in 0..4 {
        let site = Site::at(&url).await;
        let mut client = site.client().await;
        for id in 0..20 {
            let more = format!(r#","topic":"orders","data":"{payload}""#);
            let event = event(&format!("{round}-{id}"), &more);
            client.event("/v1/events", event).await.ok();
        }
        site.end().await;
    }
    let site = Site::at(&url).await;
    let mut client = site.client().await;
    let gone = client.get("/v1/events?cursor=1").await;
    let first = gone.problem(410, "trimmed")["first"].clone();
    let path = "/v1/events/stream?from=earliest";
    for id in ["0", "1"] {
        let headers = [("last-event-id", id)];
        let stream = client.send(Method::GET, path, &headers, "");
        // One that begins has no end.
        let stream = tokio::time::timeout(PATIENCE, stream).await;
        let stream = stream.unwrap();
        let page = client.get(&format!("/v1/events?cursor={id}")).await;
        for refused in [stream, page] {
            let problem = refused.problem(410, "trimmed");
            assert_eq!(problem["first"], first);
        }
    }
    // Who begins gets the oldest that there is.
    client.get("/v1/events").await.ok();
    let mut stream = site.client().await.stream(path, None).await.unwrap();
    stream.next().await.unwrap();
    drop(client);
    site.end_at_once().await;
}

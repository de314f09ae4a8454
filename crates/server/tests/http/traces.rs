//! The trace of a request goes on: to events, their effects, replies, dead letters and webhooks.

use ensue_proto::v1;
use hyper::Method;
use serde_json::{Value, json};

use crate::endpoint::{OK, SECRET, Secrets};
use crate::member::{MemberClient, of};
use crate::receiver::Receiver;
use crate::site::{Site, event};
use crate::{caller, client::Client};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const STATE: &str = "vendor=a,other=b";
const OWN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-b7ad6b7169203331-01";

async fn traced(client: &mut Client, path: &str, media: &str, body: String) -> Value {
    let headers = [
        ("content-type", media),
        ("traceparent", PARENT),
        ("tracestate", STATE),
    ];
    client.send(Method::POST, path, &headers, body).await.ok()
}

fn order(id: &str, more: &str) -> String {
    event(id, &format!(r#","topic":"orders","subject":"{id}"{more}"#))
}

/// The trace of an event in the JSON format.
fn trace_of(event: &Value) -> (Option<&str>, Option<&str>) {
    (event["traceparent"].as_str(), event["tracestate"].as_str())
}

#[tokio::test]
async fn events_get_the_trace_of_their_request_unless_they_bring_their_own() {
    let site = Site::start().await;
    let mut client = site.client().await;
    let json = "application/cloudevents+json";
    traced(&mut client, "/v1/events", json, order("1", "")).await;
    let own = format!(r#","traceparent":"{OWN}""#);
    traced(&mut client, "/v1/events", json, order("2", &own)).await;
    let batch = format!("[{},{}]", order("3", ""), order("4", &own));
    let media = "application/cloudevents-batch+json";
    traced(&mut client, "/v1/events", media, batch).await;
    let binary = [
        ("content-type", "text/plain"),
        ("ce-specversion", "1.0"),
        ("ce-id", "5"),
        ("ce-source", "/shop"),
        ("ce-type", "t"),
        ("ce-topic", "orders"),
        ("traceparent", PARENT),
        ("tracestate", STATE),
    ];
    let sent = client.send(Method::POST, "/v1/events", &binary, "text");
    sent.await.ok();
    client.event("/v1/events", order("6", "")).await.ok();
    let given = (Some(PARENT), Some(STATE));
    let expected = [
        given,
        (Some(OWN), None),
        given,
        (Some(OWN), None),
        given,
        (None, None),
    ];
    let page = client.get("/v1/events?topic=orders").await.ok();
    let events = page["events"].as_array().unwrap();
    let traces: Vec<_> = events.iter().map(trace_of).collect();
    assert_eq!(traces, expected);
    site.end().await;
}

#[tokio::test]
async fn events_of_a_call_by_grpc_get_the_trace_of_its_metadata() {
    let site = Site::start().await;
    let mut calls = caller::client(&site).await;
    let batch = vec![caller::event("1", "k", b"{}")];
    let mut request = tonic::Request::new(v1::AppendRequest { batch });
    let metadata = request.metadata_mut();
    metadata.insert("traceparent", PARENT.parse().unwrap());
    metadata.insert("tracestate", STATE.parse().unwrap());
    calls.append(request).await.unwrap();
    let events = site.events().await;
    let event = &events[0].envelope;
    assert_eq!(event.trace().unwrap().to_string(), PARENT);
    assert_eq!(event.trace_state(), Some(STATE));
    site.end().await;
}

#[tokio::test]
async fn what_follows_from_an_event_is_in_its_trace_up_to_the_webhook() {
    let receiver = Receiver::answering(|_| OK).await;
    let secrets = Secrets::new(SECRET);
    let mut config = secrets.config(&receiver.url(), "");
    config.webhooks.endpoints[0].topics = vec!["paid".parse().unwrap()];
    let site = Site::with(config).await;
    let mut member = MemberClient::join(&site, "payments", json!({})).await;
    let mut client = site.client().await;
    let json = "application/cloudevents+json";
    traced(&mut client, "/v1/events", json, order("1", "")).await;
    let taken = member.take("wait=60s").await;
    let given = (Some(PARENT), Some(STATE));
    assert_eq!(trace_of(&taken[0]["event"]), given);
    // Another attempt is of the same trace.
    let retry = json!({"retry": [of(&taken[0], json!({"reason": "busy"}))]});
    member.commit(retry).await.ok();
    let taken = member.take("wait=60s").await;
    assert_eq!(trace_of(&taken[0]["event"]), given);
    let effects = json!({"effects": [
        {"event": {"type": "order.paid", "topic": "paid"}},
        {"event": {"type": "order.paid", "topic": "paid", "traceparent": OWN}},
        {"event": {"type": "reminder", "topic": "orders"}, "after": "1ms"},
    ]});
    member.settle(&taken[0], effects).await.ok();
    let received = receiver.taken(2).await;
    let mut traces: Vec<_> = received
        .iter()
        .map(|it| (it.header("traceparent"), it.header("tracestate")))
        .collect();
    traces.sort_unstable();
    assert_eq!(traces, [(PARENT, STATE), (OWN, STATE)]);
    // What was scheduled has it when it goes off, and keeps it as a dead letter.
    let taken = member.take("wait=60s").await;
    assert_eq!(trace_of(&taken[0]["event"]), given);
    let dead = json!({"dead": [of(&taken[0], json!({"reason": "no"}))]});
    member.commit(dead).await.ok();
    let position = taken[0]["position"].as_str().unwrap();
    let letter = format!("/v1/groups/payments/dead-letters/{position}");
    let letter = client.get(&letter).await.ok();
    assert_eq!(trace_of(&letter["event"]), given);
    site.end().await;
}

#[tokio::test]
async fn a_request_and_its_reply_are_in_the_trace_of_who_asks() {
    let site = Site::start().await;
    let mut service = MemberClient::join(&site, "quotes", json!({})).await;
    let mut asker = site.client().await;
    let asking = tokio::spawn(async move {
        let (path, json) = ("/v1/requests?deadline=60s", "application/cloudevents+json");
        traced(&mut asker, path, json, order("q-1", "")).await
    });
    let taken = service.take("wait=60s").await;
    assert_eq!(trace_of(&taken[0]["event"]), (Some(PARENT), Some(STATE)));
    let reply = json!({"effects": [{"reply": {"type": "quote.given"}}]});
    service.settle(&taken[0], reply).await.ok();
    let reply = asking.await.unwrap();
    assert_eq!(trace_of(&reply), (Some(PARENT), Some(STATE)));
    site.end().await;
}

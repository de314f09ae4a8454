//! What operators do by gRPC, and calls that come again.

use ensue_proto::v1;
use ensue_server::Server;
use serde_json::Value;
use tonic::{Code, Request};

use crate::audit::{group, trail};
use crate::caller::{Client, client, client_of, event};
use crate::secure::Setup;
use crate::site::{PATIENCE, Site};

/// A request with metadata.
fn with<T>(message: T, metadata: &[(&'static str, &str)]) -> Request<T> {
    let mut request = Request::new(message);
    for (name, value) in metadata {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    request
}

fn keyed<T>(message: T, key: &str) -> Request<T> {
    with(message, &[("idempotency-key", key)])
}

/// The events of a topic: their ids, and whether it is the whole log.
async fn stored(client: &mut Client) -> Vec<String> {
    let read = v1::ReadRequest {
        topics: Some("orders".into()),
        ..v1::ReadRequest::default()
    };
    let mut pages = client.read(read).await.unwrap().into_inner();
    let mut ids = Vec::new();
    while let Some(page) = pages.message().await.unwrap() {
        ids.extend(page.events.into_iter().map(|it| it.event.unwrap().id));
    }
    ids
}

#[tokio::test]
async fn what_an_operator_began_by_grpc_is_finished_and_written_when_its_client_has_gone() {
    const GROUPS: usize = 30;
    let setup = Setup::with_tokens();
    let token = format!("Bearer {}", setup.token("owner"));
    let site = Site::with(setup.config()).await;
    for number in 0..GROUPS {
        group(&site.engine, &format!("g-{number}"), "orders").await;
    }
    for number in 0..GROUPS {
        let mut client = client(&site).await;
        let group = format!("g-{number}");
        let metadata = [("authorization", &*token), ("ensue-reason", "over")];
        let request = with(v1::DeleteGroupRequest { group }, &metadata);
        let call = tokio::spawn(async move { client.delete_group(request).await.map(drop) });
        // Some have begun, some have not.
        for _ in 0..number % 5 {
            trail(&site.engine).await;
            tokio::task::yield_now().await;
        }
        call.abort();
        let _ = call.await;
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
    let entries: Vec<Value> = tokio::time::timeout(PATIENCE, ended).await.unwrap();
    let status = site.engine.status().await.unwrap();
    let done = entries.iter().filter(|it| it["stage"] == "done").count();
    assert_eq!(status.groups.len() + done, GROUPS);
    site.end().await;
}

#[tokio::test]
async fn a_call_that_comes_again_with_its_key_acts_once_and_is_answered_as_at_first() {
    let site = Site::start().await;
    let mut client = client(&site).await;
    let mut later = event("1", "k", b"{}");
    later.schedule = Some(v1::Schedule {
        at_us: 4_102_444_800_000_000,
        timer: None,
    });
    let batch = vec![later];
    client.append(v1::AppendRequest { batch }).await.unwrap();
    let names = vec![v1::EventId {
        source: "/shop".into(),
        id: "1".into(),
    }];
    let cancel = v1::CancelRequest { names };
    for key in ["a", "a", "b"] {
        let cancelled = client.cancel(keyed(cancel.clone(), key)).await.unwrap();
        let expected = if key == "a" { 1 } else { 0 };
        assert_eq!(cancelled.into_inner().cancelled, expected, "{key}");
    }
    let redrive = v1::RedriveRequest::default();
    let mistaken = client.redrive(keyed(redrive, "a")).await.unwrap_err();
    assert_eq!(mistaken.code(), Code::InvalidArgument, "{mistaken}");
    let long = "x".repeat(129);
    let refused = client.cancel(keyed(cancel, &long)).await.unwrap_err();
    assert!(
        refused.message().contains("1 to 128 visible ASCII"),
        "{refused}"
    );
    site.end().await;
}

#[tokio::test]
async fn an_append_that_comes_again_with_its_key_gives_its_first_receipts() {
    let site = Site::start().await;
    let mut client = client(&site).await;
    // One has an id of its own, the others get theirs from the key.
    let batch = vec![
        event("", "k", b"1"),
        event("own", "k", b"2"),
        event("", "k", b"3"),
    ];
    let append = v1::AppendRequest { batch };
    let mut first = None;
    for _ in 0..3 {
        let appended = client.append(keyed(append.clone(), "a")).await.unwrap();
        let receipts = appended.into_inner().receipts;
        assert!(receipts.iter().all(|it| !it.is_duplicate), "{receipts:?}");
        assert_eq!(*first.get_or_insert(receipts.clone()), receipts);
    }
    let ids = stored(&mut client).await;
    assert_eq!(ids.len(), 3);
    assert_eq!(ids[1], "own");
    let (one, other) = (ids[0].strip_suffix("-0"), ids[2].strip_suffix("-2"));
    assert!(one.is_some() && one == other, "{ids:?}");
    // What forgets the answer knows the events: a server that was started again.
    let again = Server::new(site.engine.clone()).listen("127.0.0.1:0");
    let again = again.unwrap().start().await.unwrap();
    let mut other = client_of(again.address()).await;
    let appended = other.append(keyed(append.clone(), "a")).await.unwrap();
    let receipts = appended.into_inner().receipts;
    assert!(receipts.iter().all(|it| it.is_duplicate), "{receipts:?}");
    let appended = client.append(keyed(append, "b")).await.unwrap();
    let new = appended.into_inner().receipts;
    let new: Vec<_> = new.iter().map(|it| it.is_duplicate).collect();
    assert_eq!(new, [false, true, false]);
    again.stop().await;
    site.end().await;
}

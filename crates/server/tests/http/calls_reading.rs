//! Reading by gRPC with a filter, and asking.

use ensue_proto::{detail_of_status, v1};
use ensue_server::Config;
use serde_json::json;
use tonic::{Code, Status};

use crate::caller::{Client, client, event};
use crate::member::{MemberClient, of};
use crate::site::Site;

/// Appends `count` events; the key of the last is `last`.
async fn publish(client: &mut Client, count: usize) {
    let key = |n: usize| if n + 1 == count { "last" } else { "k" };
    let batch = (0..count).map(|n| event(&n.to_string(), key(n), b"{}"));
    let batch = batch.collect();
    client.append(v1::AppendRequest { batch }).await.unwrap();
}

async fn read(client: &mut Client, request: v1::ReadRequest) -> Vec<v1::ReadResponse> {
    let mut responses = client.read(request).await.unwrap().into_inner();
    let mut all = Vec::new();
    while let Some(response) = responses.message().await.unwrap() {
        all.push(response);
    }
    all
}

fn filtered(filter: &str) -> v1::ReadRequest {
    v1::ReadRequest {
        filter: filter.into(),
        ..v1::ReadRequest::default()
    }
}

fn code_of(status: &Status) -> (Code, String) {
    (status.code(), detail_of_status(status).unwrap().code)
}

#[tokio::test]
async fn a_scan_with_a_filter_is_bounded_and_says_how_far_it_came() {
    let config: Config = "[limits]\nscan_events_max = 1000".parse().unwrap();
    let site = Site::with(config).await;
    let mut client = client(&site).await;
    publish(&mut client, 3500).await;
    let mut page = v1::ReadRequest {
        one_page: true,
        ..filtered("subject = 'last'")
    };
    let mut pages = 0;
    loop {
        let response = read(&mut client, page.clone()).await.remove(0);
        pages += 1;
        if response.is_end {
            assert_eq!(response.events[0].event.as_ref().unwrap().key, "last");
            assert_eq!(response.next, "3500");
            break;
        }
        assert_eq!((response.events.len(), response.scanned), (0, 1000));
        page.from = response.next;
    }
    assert_eq!(pages, 4);
    // A stream goes on by itself, and says the same.
    let responses = read(&mut client, filtered("subject = 'last'")).await;
    let scanned: Vec<u64> = responses.iter().map(|it| it.scanned).collect();
    assert_eq!(scanned, [1000, 1000, 1000, 500]);
    let found: usize = responses.iter().map(|it| it.events.len()).sum();
    assert_eq!(found, 1);
    // A limit counts what passes.
    let limited = v1::ReadRequest {
        limit: 2,
        ..filtered("subject = 'k'")
    };
    let responses = read(&mut client, limited).await;
    let found: usize = responses.iter().map(|it| it.events.len()).sum();
    assert_eq!(found, 2);
    assert_eq!(responses.last().unwrap().next, "2");
    site.end().await;
}

#[tokio::test]
async fn a_stream_with_a_filter_follows_what_comes_and_goes_on_where_it_was() {
    let site = Site::start().await;
    let mut client = client(&site).await;
    let follow = v1::ReadRequest {
        follow: true,
        ..filtered("subject = 'last'")
    };
    let mut following = client.read(follow.clone()).await.unwrap().into_inner();
    publish(&mut client, 5).await;
    let next = loop {
        let response = following.message().await.unwrap().unwrap();
        if !response.events.is_empty() {
            assert_eq!(response.events[0].position, 4);
            break response.next;
        }
    };
    let again = v1::ReadRequest {
        from: next,
        ..follow
    };
    let mut following = client.read(again).await.unwrap().into_inner();
    let batch = vec![event("another", "last", b"{}")];
    client.append(v1::AppendRequest { batch }).await.unwrap();
    let response = following.message().await.unwrap().unwrap();
    assert_eq!(response.events[0].position, 5);
    site.end_at_once().await;
}

#[tokio::test]
async fn what_a_filter_cannot_be_evaluated_with_is_counted() {
    let site = Site::start().await;
    let mut client = client(&site).await;
    publish(&mut client, 3).await;
    let responses = read(&mut client, filtered("nosuchattribute = 1")).await;
    let errors = responses.last().unwrap().filter_errors.clone().unwrap();
    assert_eq!(errors.count, 3);
    assert!(errors.first.contains("nosuchattribute"), "{errors:?}");
    let refused = client.read(filtered("subject = ")).await.unwrap_err();
    let expected = (Code::InvalidArgument, "invalid_filter".to_owned());
    assert_eq!(code_of(&refused), expected);
    site.end().await;
}

fn question(id: &str) -> v1::AskRequest {
    v1::AskRequest {
        event: event(id, "", br#"{"item":"tea"}"#).event,
        deadline_ms: Some(60_000),
    }
}

#[tokio::test]
async fn a_question_by_grpc_gets_its_reply_and_the_same_again() {
    let site = Site::start().await;
    let mut service = MemberClient::join(&site, "quotes", json!({})).await;
    let mut client = client(&site).await;
    let mut asker = client.clone();
    let asking = tokio::spawn(async move { asker.ask(question("q-1")).await });
    let taken = service.take("wait=60s").await;
    let reply = json!({"effects": [{"reply": {"type": "quote.given", "data": {"price": 1.10}}}]});
    service.settle(&taken[0], reply).await.ok();
    let reply = asking.await.unwrap().unwrap().into_inner().reply.unwrap();
    assert_eq!(
        (reply.r#type.as_str(), reply.causation.as_str()),
        ("quote.given", "q-1")
    );
    let again = client.ask(question("q-1")).await.unwrap().into_inner();
    assert_eq!(again.reply.unwrap().id, reply.id);

    let mut asker = client.clone();
    let asking = tokio::spawn(async move { asker.ask(question("q-2")).await });
    let taken = service.take("wait=60s").await;
    let reject = of(
        &taken[0],
        json!({"reason": "no such item", "cause": "rejected"}),
    );
    service.commit(json!({"dead": [reject]})).await.ok();
    let refused = asking.await.unwrap().unwrap_err();
    assert_eq!(code_of(&refused).1, "request_failed");
    assert!(refused.message().contains("no such item"), "{refused}");
    site.end().await;
}

#[tokio::test]
async fn a_question_that_cannot_be_asked_is_refused_and_one_without_a_reply_ends() {
    let site = Site::start().await;
    let mut client = client(&site).await;
    for deadline_ms in [Some(0), Some(3_600_000)] {
        let asked = v1::AskRequest {
            deadline_ms,
            ..question("q")
        };
        let refused = client.ask(asked).await.unwrap_err();
        assert_eq!(code_of(&refused).1, "invalid_parameter");
        assert!(refused.message().contains("`wait_max`"), "{refused}");
    }
    let refused = client.ask(v1::AskRequest::default()).await.unwrap_err();
    assert!(
        refused.message().contains("`event` is missing"),
        "{refused}"
    );
    let mut reserved = question("q");
    reserved.event.as_mut().unwrap().topic = "_replies.x".into();
    let refused = client.ask(reserved).await.unwrap_err();
    assert_eq!(code_of(&refused).1, "invalid_event");
    let unanswered = v1::AskRequest {
        deadline_ms: Some(1),
        ..question("q")
    };
    let late = client.ask(unanswered).await.unwrap_err();
    assert_eq!(
        code_of(&late),
        (Code::DeadlineExceeded, "no_reply".to_owned())
    );
    site.end().await;
}

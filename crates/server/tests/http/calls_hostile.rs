//! Calls by gRPC of who wants more than there is for them.

use std::time::Duration;

use ensue_proto::v1;
use ensue_proto::v1::commit_answer::Outcome;
use ensue_proto::v1::join_request::Request as Ask;
use ensue_proto::v1::join_response::Response as Said;
use ensue_server::Config;
use futures_util::StreamExt as _;
use futures_util::stream::{self, Stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::{Method, Request};
use prost::Message;
use tonic::{Code, Status};
use tower_service::Service as _;

use crate::caller::{Client, Member, channel, client, event, of, publish};
use crate::secure::Setup;
use crate::site::{PATIENCE, Site};

const SETUP: &str = "[auth]\ntokens = 'tokens.json'\n\
    [roles.all]\npublish = ['>']\nread = ['>']\nconsume = ['>']\noperate = ['>']\n\
    [roles.shop]\npublish = ['orders']\nread = ['orders']\nconsume = ['orders']\n\
    [roles.sender]\npublish = ['orders']\n\
    [roles.none]\nconsume = ['nothing']\n";

/// A site of these roles, and the tokens of some.
async fn site<const N: usize>(roles: [&str; N]) -> (Site, [String; N], Setup) {
    let setup = Setup::new(SETUP);
    let tokens = roles.map(|role| setup.token(role));
    (Site::with(setup.config()).await, tokens, setup)
}

async fn append(client: &mut Client, token: &str, batch: Vec<v1::Append>) -> Result<(), Status> {
    let request = of(token, v1::AppendRequest { batch });
    client.append(request).await.map(drop)
}

/// An event of this topic and key.
fn of_key(topic: &str, id: &str, key: &str) -> v1::Append {
    let mut append = event(id, key, b"{}");
    append.event.as_mut().unwrap().topic = topic.into();
    append
}

#[tokio::test]
async fn a_message_of_more_parts_than_it_may_have_is_not_decoded() {
    let (site, [all, none], _setup) = site(["all", "none"]).await;
    let mut client = client(&site).await;
    // Decoded, they would be refused for what they lack.
    let empty = vec![v1::Append::default(); 65_537];
    let refused = append(&mut client, &all, empty.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert!(refused.message().contains("65536 events"), "{refused:?}");
    let refused = append(&mut client, &none, empty).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    let names = vec![v1::EventId::default(); 600_000];
    let cancel = of(&all, v1::CancelRequest { names });
    let refused = client.cancel(cancel).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert!(
        refused.message().contains("1048576 at the most"),
        "{refused:?}"
    );
    site.end().await;
}

#[tokio::test]
async fn a_commit_of_more_effects_than_it_may_have_says_so_before_the_stream_ends() {
    let site = Site::start().await;
    let mut client = client(&site).await;
    let (mut member, _) = Member::join(&mut client).await;
    let commit = v1::Commit {
        effects: vec![v1::Effect::default(); 65_537],
        ..v1::Commit::default()
    };
    let (number, commit) = (1, Some(commit));
    member
        .say(Ask::Commit(v1::CommitEvents { number, commit }))
        .await;
    let ended = tokio::time::timeout(PATIENCE, member.responses.message()).await;
    let refused = ended.unwrap().unwrap_err();
    assert!(refused.message().contains("65536 effects"), "{refused:?}");
    site.end().await;
}

#[tokio::test]
async fn an_action_that_no_role_of_the_caller_has_is_refused_whatever_the_call_says() {
    let (site, [none, sender], _setup) = site(["none", "sender"]).await;
    let mut client = client(&site).await;
    for token in [&none, &sender] {
        let read = client.read(of(token, v1::ReadRequest::default())).await;
        assert_eq!(read.err().unwrap().code(), Code::PermissionDenied);
        let list = v1::ListScheduledRequest { limit: 1 };
        let listed = client.list_scheduled(of(token, list)).await;
        assert_eq!(listed.err().unwrap().code(), Code::PermissionDenied);
        let cancel = client.cancel(of(token, v1::CancelRequest::default())).await;
        assert_eq!(cancel.err().unwrap().code(), Code::PermissionDenied);
        let state = v1::GetStateRequest::default();
        let state = client.get_state(of(token, state)).await;
        assert_eq!(state.err().unwrap().code(), Code::PermissionDenied);
    }
    site.end().await;
}

/// What a member of `g` answers a commit.
async fn committed(member: &mut Member, number: u64, commit: v1::Commit) -> Result<(), String> {
    let commit = Some(commit);
    member
        .say(Ask::Commit(v1::CommitEvents { number, commit }))
        .await;
    match member.next().await {
        Said::Commit(answer) => match answer.outcome.unwrap() {
            Outcome::Committed(_) => Ok(()),
            Outcome::Refused(detail) => Err(detail.message),
        },
        other => panic!("{other:?}"),
    }
}

/// A member of a group of `orders`, of who has this token.
async fn join(client: &mut Client, token: &str) -> Member {
    let subscription = v1::Subscription {
        group: "g".into(),
        topics: vec!["orders".into()],
        ..v1::Subscription::default()
    };
    let join = Ask::Join(v1::JoinGroup {
        subscription: Some(subscription),
        lease_ms: 60_000,
    });
    let mut member = Member::open_of(client, of(token, ()), join).await.unwrap();
    assert!(matches!(member.next().await, Said::Joined(_)));
    member
}

#[tokio::test]
async fn a_member_replies_to_the_requests_that_it_handles_and_to_no_others() {
    let (site, [all, shop], _setup) = site(["all", "shop"]).await;
    let mut client = client(&site).await;
    let mut request = of_key("orders", "q-1", "k");
    let replyto = v1::Extension {
        name: "replyto".into(),
        value: Some(v1::extension::Value::Text("_reply.x".into())),
    };
    request.event.as_mut().unwrap().extensions = vec![replyto];
    append(
        &mut client,
        &all,
        vec![request, of_key("orders", "2", "k2")],
    )
    .await
    .unwrap();
    let mut member = join(&mut client, &shop).await;
    member.take(2, true).await;
    let (_, positions) = member.batch().await;
    assert_eq!(positions, [0, 1]);
    let reply = |topic: &str, id: &str, source: &str| {
        let mut reply = of_key(topic, "r", id);
        let event = reply.event.as_mut().unwrap();
        event.extensions = vec![v1::Extension {
            name: "requestsource".into(),
            value: Some(v1::extension::Value::Text(source.into())),
        }];
        let effect = Some(v1::effect::Effect::Append(reply));
        vec![v1::Effect { effect }]
    };
    let commit = |settled: u64, effects: Vec<v1::Effect>| v1::Commit {
        settled: vec![settled],
        effects,
        ..v1::Commit::default()
    };
    for (number, (settled, effects)) in (1..).zip([
        (0, reply("_reply.y", "q-1", "/shop")),
        (0, reply("_reply.x", "q-2", "/shop")),
        (0, reply("_reply.x", "q-1", "/bank")),
        // The request is in hand, and not what the commit is about.
        (1, reply("_reply.x", "q-1", "/shop")),
    ]) {
        let refused = committed(&mut member, number, commit(settled, effects)).await;
        let refused = refused.unwrap_err();
        assert!(refused.contains("may not publish `_reply."), "{refused}");
    }
    let good = commit(0, reply("_reply.x", "q-1", "/shop"));
    committed(&mut member, 5, good).await.unwrap();
    site.end().await;
}

#[tokio::test]
async fn a_commit_sets_state_of_the_keys_that_it_handles_and_of_no_others() {
    let site = Site::start().await;
    let mut client = client(&site).await;
    publish(&mut client, 0..2).await;
    let (mut member, _) = Member::join(&mut client).await;
    member.take(2, true).await;
    assert_eq!(member.batch().await.1, [0, 1]);
    let commit = |topic: &str, key: &str, name: &str| v1::Commit {
        settled: vec![0],
        state: vec![v1::StateWrite {
            topic: topic.into(),
            key: key.into(),
            name: name.into(),
            value: Some(b"1".as_slice().into()),
        }],
        ..v1::Commit::default()
    };
    for (number, (topic, key, name)) in (1..).zip([
        ("secrets", "k0", "n"),
        ("orders", "k1", "n"),
        ("orders", "k0", "a\0"),
        ("orders", "k0", ""),
    ]) {
        let refused = committed(&mut member, number, commit(topic, key, name)).await;
        assert!(refused.is_err(), "{topic} {key} {name:?}");
    }
    let good = commit("orders", "k0", "n");
    committed(&mut member, 5, good).await.unwrap();
    let state = site.engine.shared().state("g", "orders", "k0", "n").await;
    assert_eq!(state.unwrap().unwrap(), b"1".as_slice());
    site.end().await;
}

type Pieces = Box<dyn Stream<Item = Result<Frame<Bytes>, Status>> + Send + Unpin>;

/// A call whose body never ends.
async fn stalled(
    site: &Site,
    method: &str,
    sent: Vec<u8>,
) -> hyper::Response<hyper::body::Incoming> {
    let pieces: Pieces =
        Box::new(stream::iter([Ok(Frame::data(Bytes::from(sent)))]).chain(stream::pending()));
    let address = site.running.address();
    let request = Request::post(format!("http://{address}/ensue.v1.EngineService/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(tonic::body::Body::new(StreamBody::new(pieces)))
        .unwrap();
    let mut channel = channel(site).await;
    let called = tokio::time::timeout(PATIENCE, channel.call(request));
    called.await.unwrap().unwrap()
}

/// A message as it is sent.
fn framed(message: &impl Message) -> Vec<u8> {
    let encoded = message.encode_to_vec();
    let length = u32::try_from(encoded.len()).unwrap().to_be_bytes();
    [&[0][..], &length, &encoded].concat()
}

/// With a second for each message.
async fn site_in_a_hurry() -> Site {
    let mut config = Config::default();
    config.limits.body_timeout = Duration::from_secs(1);
    Site::with(config).await
}

#[tokio::test]
async fn a_message_that_does_not_come_to_its_end_is_given_up() {
    let site = site_in_a_hurry().await;
    let batch = vec![event("1", "k", b"{}")];
    let whole = framed(&v1::AppendRequest { batch });
    for sent in [whole[..3].to_vec(), whole[..20].to_vec(), whole] {
        let answer = stalled(&site, "Append", sent).await;
        let said = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(said("grpc-status"), "4", "{answer:?}");
        assert!(said("grpc-message").contains("body_timeout"), "{answer:?}");
    }
    assert!(site.events().await.is_empty());
    site.end().await;
}

#[tokio::test]
async fn a_later_message_of_a_stream_that_does_not_come_to_its_end_ends_the_stream() {
    let site = site_in_a_hurry().await;
    let subscription = v1::Subscription {
        group: "g".into(),
        topics: vec!["orders".into()],
        ..v1::Subscription::default()
    };
    let join = Ask::Join(v1::JoinGroup {
        subscription: Some(subscription),
        lease_ms: 60_000,
    });
    let request = Some(join);
    let mut sent = framed(&v1::JoinRequest { request });
    sent.extend([0, 0, 0, 0, 9, 1]);
    let answer = stalled(&site, "Join", sent).await;
    let body = tokio::time::timeout(PATIENCE, answer.into_body().collect());
    let trailers = body.await.unwrap().unwrap().trailers().cloned().unwrap();
    assert_eq!(trailers["grpc-status"], "4", "{trailers:?}");
    site.end().await;
}

#[tokio::test]
async fn a_list_that_is_larger_than_an_answer_may_be_is_refused() {
    let mut config = Config::default();
    config.limits.answers_bytes_max = 256 * 1024;
    config.limits.answer_bytes_max = 64 * 1024;
    let site = Site::with(config).await;
    let mut client = client(&site).await;
    let batch = (0..40).map(|id| {
        let mut append = event(&id.to_string(), "k", b"");
        append.event.as_mut().unwrap().payload = vec![b'1'; 8 * 1024].into();
        let (at_us, timer) = (4_102_444_800_000_000, None);
        append.schedule = Some(v1::Schedule { at_us, timer });
        append
    });
    let batch = batch.collect();
    client.append(v1::AppendRequest { batch }).await.unwrap();
    let all = v1::ListScheduledRequest { limit: u64::MAX };
    let refused = client.list_scheduled(all).await.err().unwrap();
    assert!(
        refused.message().contains("ask for up to 16"),
        "{refused:?}"
    );
    let few = v1::ListScheduledRequest { limit: 4 };
    let mut listed = client.list_scheduled(few).await.unwrap().into_inner();
    let mut count = 0;
    while let Some(piece) = listed.message().await.unwrap() {
        count += piece.scheduled.len();
    }
    assert_eq!(count, 4);
    site.end().await;
}

#[tokio::test]
async fn a_read_says_nothing_of_events_that_its_caller_may_not_read() {
    let (site, [all, shop], _setup) = site(["all", "shop"]).await;
    let mut client = client(&site).await;
    let batch = (0..20).map(|id| {
        let topic = if id % 2 == 0 { "secrets" } else { "orders" };
        of_key(topic, &id.to_string(), &format!("k{id}"))
    });
    append(&mut client, &all, batch.collect()).await.unwrap();
    let mut said = Vec::new();
    // A hidden event, and none.
    for key in ["k4", "nothing"] {
        for topics in [None, Some(">".to_owned())] {
            let read = v1::ReadRequest {
                topics,
                key: Some(key.into()),
                limit: 1,
                one_page: true,
                ..v1::ReadRequest::default()
            };
            let mut pages = client.read(of(&shop, read)).await.unwrap().into_inner();
            let page = pages.message().await.unwrap().unwrap();
            said.push((page.events.len(), page.next, page.is_end, page.scanned));
        }
    }
    assert!(said.iter().all(|it| *it == said[0]), "{said:?}");
    assert_eq!(said[0].0, 0);
    site.end().await;
}

#[tokio::test]
async fn the_state_of_a_group_that_a_caller_may_not_see_is_of_no_group() {
    let (site, [all, shop], _setup) = site(["all", "shop"]).await;
    let mut client = client(&site).await;
    let subscription = v1::Subscription {
        group: "hidden".into(),
        topics: vec!["orders".into(), "secrets".into()],
        ..v1::Subscription::default()
    };
    let ask = Ask::Join(v1::JoinGroup {
        subscription: Some(subscription),
        lease_ms: 60_000,
    });
    let mut member = Member::open_of(&mut client, of(&all, ()), ask)
        .await
        .unwrap();
    assert!(matches!(member.next().await, Said::Joined(_)));
    let mut told = Vec::new();
    for group in ["hidden", "nobody"] {
        let get = v1::GetStateRequest {
            group: group.into(),
            topic: "orders".into(),
            key: "k".into(),
            name: "n".into(),
        };
        let list = v1::ListStatesRequest {
            group: group.into(),
            topic: "orders".into(),
            name: "n".into(),
            ..v1::ListStatesRequest::default()
        };
        let got = client.get_state(of(&shop, get.clone())).await.unwrap_err();
        let listed = client.list_states(of(&shop, list)).await.err().unwrap();
        for refused in [got, listed] {
            assert_eq!(refused.code(), Code::NotFound, "{refused:?}");
            told.push(refused.message().replace(group, "GROUP"));
        }
        let seen = client.get_state(of(&all, get)).await;
        assert_eq!(seen.is_ok(), group == "hidden");
    }
    assert!(told.iter().all(|it| *it == told[0]), "{told:?}");
    site.end().await;
}

#[tokio::test]
async fn a_subscription_has_as_many_topics_and_types_as_by_http() {
    let site = Site::start().await;
    let mut client = client(&site).await;
    let names = |count: usize| (0..count).map(|it| format!("t{it}")).collect::<Vec<_>>();
    for (group, topics, types, filters_types, is_refused) in [
        ("a", names(101), vec![], false, true),
        ("b", names(1), names(1_001), true, true),
        ("c", names(1), vec![], true, true),
        ("d", vec![], vec![], false, true),
        ("e", names(1), vec!["a\nb".into()], true, true),
        ("f\x1b[31m", names(1), vec![], false, true),
        ("g", names(100), names(1_000), true, false),
    ] {
        let subscription = v1::Subscription {
            group: group.into(),
            topics,
            types,
            filters_types,
            ..v1::Subscription::default()
        };
        let join = Ask::Join(v1::JoinGroup {
            subscription: Some(subscription),
            lease_ms: 60_000,
        });
        let opened = Member::open(&mut client, join).await;
        assert_eq!(opened.is_err(), is_refused, "{group:?}");
    }
    site.end().await;
}

#[tokio::test]
async fn no_attribute_has_control_characters() {
    let site = Site::start().await;
    let mut client = client(&site).await;
    for (id, key) in [("a\0", "k"), ("1", "a\r\nb"), ("1", "\u{9f}")] {
        let batch = vec![of_key("orders", id, key)];
        let refused = client
            .append(v1::AppendRequest { batch })
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        assert!(
            refused.message().contains("control characters"),
            "{refused:?}"
        );
    }
    let body = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t\u001b","topic":"orders"}"#;
    let answer = site.client().await.event("/v1/events", body).await;
    answer.problem(400, "invalid_event");
    let join = r#"{"topics":["orders"]}"#;
    let headers = [("content-type", "application/json")];
    let path = "/v1/groups/a%0Ab/members";
    let mut http = site.client().await;
    let answer = http.send(Method::POST, path, &headers, join).await;
    answer.problem(400, "invalid_body");
    assert!(site.events().await.is_empty());
    site.end().await;
}

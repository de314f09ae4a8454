//! gRPC, as a program calls it that has only the protocol.

use ensue_proto::v1::engine_service_client::EngineServiceClient;
use ensue_proto::v1::join_request::Request as Ask;
use ensue_proto::v1::join_response::Response as Said;
use ensue_proto::{error_of_status, v1};
use ensue_server::Config;
use tonic::Code;

use crate::caller::{Member, channel, client, event, publish};
use crate::owasp::site_with_orders;
use crate::secure::Setup;
use crate::site::Site;

#[tokio::test]
async fn what_is_appended_by_grpc_is_read_by_http_byte_by_byte() {
    let site = Site::start().await;
    let mut client = client(&site).await;
    let payload = br#"{"a":1.10,"a":23958446825181076828, "b" : []}"#;
    let batch = vec![event("1", "k", payload), event("1", "k", payload)];
    let request = v1::AppendRequest { batch };
    let receipts = client.append(request).await.unwrap().into_inner().receipts;
    assert_eq!((receipts[0].position, receipts[0].is_duplicate), (0, false));
    assert_eq!((receipts[1].position, receipts[1].is_duplicate), (0, true));
    let page = site.client().await.get("/v1/events?topic=orders").await;
    let text = std::str::from_utf8(payload).unwrap();
    assert!(
        page.text().contains(&format!("\"data\":{text}")),
        "{}",
        page.text()
    );
    site.end().await;
}

#[tokio::test]
async fn a_stream_of_reads_ends_at_the_end_or_follows_what_comes() {
    let site = Site::start().await;
    let mut client = client(&site).await;
    publish(&mut client, 0..700).await;
    let request = v1::ReadRequest::default();
    let mut reading = client.read(request).await.unwrap().into_inner();
    let (mut read, mut next) = (0, String::new());
    while let Some(piece) = reading.message().await.unwrap() {
        read += piece.events.len();
        next = piece.next;
    }
    assert_eq!((read, next.as_str()), (700, "700"));
    let request = v1::ReadRequest {
        from: "699".into(),
        follow: true,
        limit: 2,
        ..v1::ReadRequest::default()
    };
    let mut reading = client.read(request).await.unwrap().into_inner();
    let first = reading.message().await.unwrap().unwrap();
    assert_eq!(first.events[0].position, 699);
    publish(&mut client, 700..702).await;
    let second = reading.message().await.unwrap().unwrap();
    assert_eq!(second.events[0].position, 700);
    assert!(
        reading.message().await.unwrap().is_none(),
        "the limit is two"
    );
    site.end().await;
}

#[tokio::test]
async fn no_more_events_come_than_were_asked_for() {
    let site = Site::start().await;
    let mut client = client(&site).await;
    publish(&mut client, 0..10).await;
    let (mut member, _) = Member::join(&mut client).await;
    member.take(3, false).await;
    assert_eq!(member.batch().await.1, [0, 1, 2]);
    member.commit(1, vec![0, 1, 2]).await;
    assert_eq!(member.committed().await, 1, "no event came before");
    member.take(20, true).await;
    assert_eq!(member.batch().await.1.len(), 7);
    publish(&mut client, 10..11).await;
    member.commit(2, vec![]).await;
    assert_eq!(member.committed().await, 2, "what was left has lapsed");
    site.end().await;
}

#[tokio::test]
async fn a_member_whose_stream_was_cut_goes_on_where_it_was() {
    let site = Site::start().await;
    let mut client = client(&site).await;
    publish(&mut client, 0..4).await;
    let (mut member, session) = Member::join(&mut client).await;
    member.take(2, true).await;
    let (number, positions) = member.batch().await;
    member.commit(1, positions.clone()).await;
    assert_eq!(member.committed().await, 1);
    member.take(2, true).await;
    assert_eq!(member.batch().await.1, [2, 3]);
    drop(member);
    // As if neither the second batch nor the answer had arrived.
    let mut member = Member::resume(&mut client, &session, number, 0).await;
    assert_eq!(member.batch().await, (number + 1, vec![2, 3]));
    assert_eq!(member.committed().await, 1);
    // Sent again, it does not happen again: its events are no longer there to settle.
    member.commit(1, positions).await;
    member.commit(2, vec![2, 3]).await;
    assert_eq!(member.committed().await, 2);
    member.say(Ask::Leave(v1::LeaveGroup {})).await;
    assert!(matches!(member.next().await, Said::Left(_)));
    let status = site.engine.status().await.unwrap();
    assert_eq!((status.groups[0].lag, status.groups[0].in_flight), (0, 0));
    let resume = v1::ResumeMember {
        session,
        group: "g".into(),
        ..v1::ResumeMember::default()
    };
    let refused = Member::open(&mut client, Ask::Resume(resume))
        .await
        .err()
        .unwrap();
    let error = error_of_status(&refused, "host").to_string();
    assert!(error.contains("replaced or has left"), "{error}");
    site.end().await;
}

#[tokio::test]
async fn what_is_asked_for_again_on_another_stream_is_answered_by_what_was_missed() {
    let site = Site::start().await;
    let mut client = client(&site).await;
    publish(&mut client, 0..3).await;
    let (mut member, session) = Member::join(&mut client).await;
    member.take(1, true).await;
    assert_eq!(member.batch().await, (1, vec![0]));
    drop(member);
    // As if the batch had not arrived: what waits for it asks again, at once.
    let mut member = Member::resume(&mut client, &session, 0, 0).await;
    member.take(1, true).await;
    assert_eq!(member.batch().await, (1, vec![0]));
    member.commit(1, vec![0]).await;
    assert_eq!(member.committed().await, 1, "no other event came before");
    member.take(1, true).await;
    assert_eq!(member.batch().await, (2, vec![1]));
    site.end_at_once().await;
}

#[tokio::test]
async fn what_is_refused_says_why_in_a_detail() {
    let site = Site::start().await;
    let mut client = client(&site).await;
    let request = v1::RedriveRequest {
        group: "nobody".into(),
        filter: None,
    };
    let refused = client.redrive(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let error = error_of_status(&refused, "host");
    assert!(
        matches!(&error, ensue::Error::Group(ensue::error::GroupError::Unknown { group, .. }) if group == "nobody"),
        "{error}"
    );
    for (request, code) in [
        (
            v1::AppendRequest {
                batch: vec![v1::Append::default()],
            },
            Code::InvalidArgument,
        ),
        (
            v1::AppendRequest {
                batch: vec![v1::Append {
                    expect: Some(v1::Expectation::default()),
                    ..event("1", "k", b"{}")
                }],
            },
            Code::InvalidArgument,
        ),
    ] {
        assert_eq!(client.append(request).await.unwrap_err().code(), code);
    }
    let mut reserved = event("1", "k", b"{}");
    reserved.event.as_mut().unwrap().topic = "_audit".into();
    let request = v1::AppendRequest {
        batch: vec![reserved],
    };
    let refused = client.append(request).await.unwrap_err();
    assert!(refused.message().contains("reserved"), "{refused:?}");
    assert!(site.events().await.is_empty());
    site.end().await;
}

#[tokio::test]
async fn a_call_that_names_another_server_is_refused_as_a_call() {
    let site = Site::start().await;
    let origin = "http://evil.example".parse().unwrap();
    let mut client = EngineServiceClient::with_origin(channel(&site).await, origin);
    let refused = client.get_info(v1::GetInfoRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(
        refused.message().contains("does not name this server"),
        "{refused:?}"
    );
    site.end().await;
}

#[tokio::test]
async fn messages_of_all_calls_together_have_a_limit() {
    let mut config = Config::default();
    config.limits.bodies_bytes_max = 64 * 1024;
    config.limits.body_bytes_max = 64 * 1024;
    config.limits.answer_bytes_max = 64 * 1024;
    let site = Site::with(config).await;
    let mut client = client(&site).await;
    let payload = vec![b'1'; 100 * 1024];
    let mut large = event("1", "k", b"");
    large.event.as_mut().unwrap().payload = payload.into();
    let request = v1::AppendRequest { batch: vec![large] };
    let refused = client.append(request).await.unwrap_err();
    assert!(
        refused.message().contains("bodies_bytes_max"),
        "{refused:?}"
    );
    publish(&mut client, 0..1).await;
    assert_eq!(site.events().await.len(), 1);
    site.end().await;
}

#[tokio::test]
async fn a_server_that_stops_ends_streams_and_says_so() {
    let site = Site::start().await;
    let mut client = client(&site).await;
    let (mut member, _) = Member::join(&mut client).await;
    let request = v1::ReadRequest {
        follow: true,
        from: "0".into(),
        ..v1::ReadRequest::default()
    };
    publish(&mut client, 0..1).await;
    let mut reading = client.read(request).await.unwrap().into_inner();
    let first = reading.message().await.unwrap().unwrap();
    // One that has to wait for its first event, too.
    let request = v1::ReadRequest {
        follow: true,
        from: first.next,
        ..v1::ReadRequest::default()
    };
    let mut waiting = client.read(request).await.unwrap().into_inner();
    let ends = async {
        let ended = [
            member.responses.message().await.map(drop).unwrap_err(),
            reading.message().await.map(drop).unwrap_err(),
            waiting.message().await.map(drop).unwrap_err(),
        ];
        for status in ended {
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
            assert!(status.message().contains("stopping"), "{status:?}");
        }
        drop((member, reading, waiting, client));
    };
    tokio::join!(ends, site.end());
}

#[tokio::test]
async fn health_says_what_readyz_says_and_reflection_what_there_is() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    let site = Site::start().await;
    let origin: hyper::Uri = format!("http://{}", site.running.address())
        .parse()
        .unwrap();
    let mut health = HealthClient::with_origin(channel(&site).await, origin.clone());
    for service in ["", "ensue.v1.EngineService"] {
        let request = HealthCheckRequest {
            service: service.into(),
        };
        let response = health.check(request).await.unwrap().into_inner();
        assert_eq!(response.status, 1, "serving");
    }
    let request = HealthCheckRequest {
        service: "other".into(),
    };
    let refused = health.check(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert!(refused.message().contains("ensue.v1.EngineService"));

    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let mut reflection = ServerReflectionClient::with_origin(channel(&site).await, origin);
    let request = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let request = futures_util::stream::iter([request]);
    let response = reflection.server_reflection_info(request).await.unwrap();
    let response = response.into_inner().message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(services)) = response.message_response else {
        panic!("{response:?}");
    };
    let names: Vec<_> = services.service.into_iter().map(|it| it.name).collect();
    assert!(
        names.contains(&"ensue.v1.EngineService".to_owned()),
        "{names:?}"
    );
    assert!(
        names.contains(&"grpc.health.v1.Health".to_owned()),
        "{names:?}"
    );
    drop((health, reflection));
    site.end().await;
}

#[tokio::test]
async fn a_stranger_is_told_the_health_and_takes_no_stream_for_it() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    let setup = Setup::with_tokens();
    let site = site_with_orders(&setup).await;
    let origin: hyper::Uri = format!("http://{}", site.running.address())
        .parse()
        .unwrap();
    let mut health = HealthClient::with_origin(channel(&site).await, origin);
    let request = HealthCheckRequest::default;
    let response = health.check(request()).await.unwrap().into_inner();
    assert_eq!(response.status, 1, "serving");
    let refused = health.watch(request()).await.map(drop).unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    drop(health);
    site.end().await;
}

#[tokio::test]
async fn a_caller_without_permissions_gets_nothing_by_grpc_and_a_stranger_less() {
    let setup = Setup::with_tokens();
    let token = format!("Bearer {}", setup.token("stranger-to-orders"));
    let site = site_with_orders(&setup).await;
    let mut client = client(&site).await;
    let unknown = client.get_status(v1::GetStatusRequest {}).await;
    assert_eq!(unknown.unwrap_err().code(), Code::Unauthenticated);
    fn as_caller<T>(message: T, token: &str) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("authorization", token.parse().unwrap());
        metadata.insert("ensue-reason", "a try".parse().unwrap());
        request
    }
    let group = || "payments".to_owned();
    macro_rules! refused {
        ($call:ident, $message:expr) => {
            let refused = client.$call(as_caller($message, &token)).await.unwrap_err();
            let codes = [Code::PermissionDenied, Code::NotFound];
            assert!(
                codes.contains(&refused.code()),
                "{}: {refused:?}",
                stringify!($call)
            );
        };
    }
    refused!(
        append,
        v1::AppendRequest {
            batch: vec![event("forged", "k", b"{}")]
        }
    );
    refused!(
        ask,
        v1::AskRequest {
            event: event("forged", "k", b"{}").event,
            deadline_ms: None
        }
    );
    refused!(
        redrive,
        v1::RedriveRequest {
            group: group(),
            filter: None
        }
    );
    refused!(
        discard,
        v1::DiscardRequest {
            group: group(),
            filter: None
        }
    );
    refused!(delete_group, v1::DeleteGroupRequest { group: group() });
    refused!(get_group, v1::GetGroupRequest { group: group() });
    let reset = || {
        Some(v1::Reset {
            to: Some(v1::Start {
                place: Some(v1::start::Place::Earliest(true)),
            }),
            ..v1::Reset::default()
        })
    };
    refused!(
        reset_group,
        v1::ResetGroupRequest {
            group: group(),
            reset: reset()
        }
    );
    refused!(
        plan_reset,
        v1::PlanResetRequest {
            group: group(),
            reset: reset()
        }
    );
    let status = client
        .get_status(as_caller(v1::GetStatusRequest {}, &token))
        .await
        .unwrap();
    let status = format!("{status:?}");
    assert!(
        !status.contains("orders.eu") && !status.contains("payments"),
        "{status}"
    );
    let names = vec![v1::EventId {
        source: "/shop".into(),
        id: "later".into(),
    }];
    // Refused, or as if it were not there.
    if let Ok(answer) = client
        .cancel(as_caller(v1::CancelRequest { names }, &token))
        .await
    {
        assert_eq!(answer.into_inner().cancelled, 0);
    }
    let mut lists = Vec::new();
    let list = v1::ListScheduledRequest { limit: 10 };
    if let Ok(list) = client.list_scheduled(as_caller(list, &token)).await {
        let mut list = list.into_inner();
        while let Ok(Some(part)) = list.message().await {
            lists.push(format!("{part:?}"));
        }
    }
    let read = v1::ReadRequest {
        one_page: true,
        ..v1::ReadRequest::default()
    };
    if let Ok(list) = client.read(as_caller(read, &token)).await {
        let mut list = list.into_inner();
        while let Ok(Some(part)) = list.message().await {
            lists.push(format!("{part:?}"));
        }
    }
    let shown = lists.concat();
    assert!(
        !shown.contains("later") && !shown.contains("secret-order"),
        "{shown}"
    );
    let status = site.engine.status().await.unwrap();
    assert_eq!((status.groups.len(), status.scheduled), (1, 1));
    assert_eq!(site.events().await.len(), 1);
    site.end().await;
}

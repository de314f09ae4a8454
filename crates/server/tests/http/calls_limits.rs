//! What members by gRPC may have: as many, and as much, as those by HTTP.

use ensue_proto::v1;
use ensue_proto::v1::join_request::Request as Ask;
use ensue_proto::v1::join_response::Response as Said;
use ensue_server::Config;
use tonic::Code;

use crate::caller::{Client, Member, client, event, publish};
use crate::site::{PATIENCE, Site};

async fn site(limits: &str) -> (Site, Client) {
    let config: Config = format!("[limits]\n{limits}").parse().unwrap();
    let site = Site::with(config).await;
    let client = client(&site).await;
    (site, client)
}

fn join_of(group: &str, lease_ms: u64) -> Ask {
    let subscription = v1::Subscription {
        group: group.into(),
        topics: vec!["orders".into()],
        in_flight_max: u32::MAX,
        ..v1::Subscription::default()
    };
    Ask::Join(v1::JoinGroup {
        subscription: Some(subscription),
        lease_ms,
    })
}

#[tokio::test]
async fn members_take_places_whatever_carries_them() {
    let (site, mut client) = site("members_max = 2\ngroup_members_max = 1").await;
    let mut first = Member::open(&mut client, join_of("g", 0)).await.unwrap();
    assert!(matches!(first.next().await, Said::Joined(_)));
    let refused = Member::open(&mut client, join_of("g", 0))
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(
        refused.message().contains("`group_members_max`"),
        "{refused}"
    );
    let _second = Member::open(&mut client, join_of("h", 0)).await.unwrap();
    let refused = Member::open(&mut client, join_of("i", 0))
        .await
        .err()
        .unwrap();
    assert!(refused.message().contains("`members_max`"), "{refused}");
    // One that leaves makes room.
    first.say(Ask::Leave(v1::LeaveGroup {})).await;
    assert!(matches!(first.next().await, Said::Left(_)));
    let _third = Member::open(&mut client, join_of("g", 0)).await.unwrap();
    site.end_at_once().await;
}

#[tokio::test]
async fn a_lease_is_no_longer_than_the_server_allows() {
    let (site, mut client) = site("lease_max = \"5s\"").await;
    for (asked, expected) in [(0, 5_000), (60_000, 5_000), (2_000, 2_000)] {
        let mut member = Member::open(&mut client, join_of("g", asked))
            .await
            .unwrap();
        match member.next().await {
            Said::Joined(joined) => assert_eq!(joined.lease_ms, expected),
            other => panic!("{other:?}"),
        }
    }
    site.end_at_once().await;
}

#[tokio::test]
async fn a_member_holds_no_more_events_than_the_server_allows() {
    let (site, mut client) = site("deliveries_max = 3").await;
    publish(&mut client, 0..8).await;
    let mut member = Member::open(&mut client, join_of("g", 0)).await.unwrap();
    assert!(matches!(member.next().await, Said::Joined(_)));
    member.take(u32::MAX, false).await;
    let mut all = Vec::new();
    for commits in 1.. {
        let mut taken = Vec::new();
        while taken.len() < 3.min(8 - all.len()) {
            taken.extend(member.batch().await.1);
        }
        assert!(taken.len() <= 3, "{taken:?}");
        all.extend(taken.clone());
        if all.len() == 8 {
            break;
        }
        member.commit(commits, taken).await;
        assert_eq!(member.committed().await, commits);
        member.take(u32::MAX, false).await;
    }
    site.end_at_once().await;
}

#[tokio::test]
async fn clients_hold_no_more_bytes_than_the_server_allows() {
    const PAYLOAD: &[u8] = &[b'1'; 2_000];
    let (site, mut client) = site("deliveries_bytes_max = 1024").await;
    let batch = vec![event("1", "a", PAYLOAD), event("2", "b", PAYLOAD)];
    client.append(v1::AppendRequest { batch }).await.unwrap();
    let (mut member, _) = Member::join(&mut client).await;
    member.take(1, true).await;
    let (_, first) = member.batch().await;
    let metrics = site.client().await.get("/metrics").await;
    assert!(metrics.text().contains("\nensue_http_deliveries 1\n"));
    // There is credit for another, and no room.
    member.take(1, true).await;
    let waiting = tokio::time::timeout(
        std::time::Duration::from_millis(300),
        member.responses.message(),
    );
    assert!(waiting.await.is_err(), "more than there is room for");
    member.commit(1, first).await;
    assert_eq!(member.committed().await, 1);
    let (_, second) = tokio::time::timeout(PATIENCE, member.batch())
        .await
        .unwrap();
    assert_eq!(second.len(), 1);
    site.end_at_once().await;
}

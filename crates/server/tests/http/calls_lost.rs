//! Members by gRPC whose clients are lost, and the events that may have ended them.

use ensue::Start;
use ensue::engine::Subscription;
use ensue_proto::v1;
use ensue_proto::v1::join_request::Request as Ask;
use ensue_proto::v1::join_response::Response as Said;

use crate::caller::{Member, client, event};
use crate::site::{PATIENCE, Site};

/// How long a member is waited for that was cut off: nothing else waits for it.
const LEASE_MS: u64 = 100;

/// A member of a client of its own, which ends with it.
async fn join(site: &Site) -> Member {
    let subscription = v1::Subscription {
        group: "g".into(),
        topics: vec!["orders".into()],
        ..v1::Subscription::default()
    };
    let join = v1::JoinGroup {
        subscription: Some(subscription),
        lease_ms: LEASE_MS,
    };
    let mut client = client(site).await;
    let mut member = Member::open(&mut client, Ask::Join(join)).await.unwrap();
    assert!(matches!(member.next().await, Said::Joined(_)));
    member
}

/// What comes next: positions, ids and attempts.
async fn deliveries(member: &mut Member) -> Vec<(u64, String, u32)> {
    member.take(10, true).await;
    match member.next().await {
        Said::Deliver(batch) => {
            let deliveries = batch.deliveries.into_iter();
            let told = |it: v1::Delivery| (it.position, it.event.unwrap().id, it.attempt);
            deliveries.map(told).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// Runs clients one after the other that an event named `poison` ends: beside it, they settle what stands
/// before it. Gives how many there were until it was tried three times, and the highest attempt of the others.
async fn poisoned(site: &Site) -> (usize, u32) {
    let (mut clients, mut others) = (0, 0);
    loop {
        clients += 1;
        let mut member = join(site).await;
        let mut commits = 0;
        loop {
            let given = deliveries(&mut member).await;
            let at = given.iter().position(|(_, id, _)| id == "poison");
            if let Some(at) = at
                && given[at].2 > 3
            {
                return (clients, others);
            }
            let harmless = given.iter().filter(|(_, id, _)| id != "poison");
            others = harmless.map(|it| it.2).max().unwrap_or(0).max(others);
            let done = &given[..at.unwrap_or(given.len())];
            if !done.is_empty() {
                commits += 1;
                let positions = done.iter().map(|it| it.0).collect();
                member.commit(commits, positions).await;
                member.committed().await;
            }
            if at.is_some() {
                break; // The process dies.
            }
        }
    }
}

#[tokio::test]
async fn what_ends_its_clients_counts_attempts_though_they_do_other_things_meanwhile() {
    let site = Site::start().await;
    let mut publisher = client(&site).await;
    let batch = ["1", "2", "poison", "3", "4"].map(|id| event(id, &format!("of-{id}"), b"{}"));
    let batch = batch.to_vec();
    publisher.append(v1::AppendRequest { batch }).await.unwrap();
    let poisoned = tokio::time::timeout(PATIENCE, poisoned(&site)).await;
    // Two that had others as well, three that had nothing else, and the one that is told.
    assert_eq!(poisoned.unwrap(), (6, 1));
    site.end_at_once().await;
}

#[tokio::test]
async fn an_attempt_that_ended_its_client_is_in_the_log() {
    let site = Site::start().await;
    let mut publisher = client(&site).await;
    let batch = vec![event("1", "k", b"{}"), event("2", "k", b"{}")];
    publisher.append(v1::AppendRequest { batch }).await.unwrap();
    let mut member = join(&site).await;
    member.take(1, true).await;
    assert!(matches!(member.next().await, Said::Deliver(_)));
    drop(member);
    // What is seen by another: also by one that comes by HTTP, or after a restart.
    let subscription = Subscription {
        group: "g".into(),
        topics: vec!["orders".parse().unwrap()],
        types: None,
        start: Start::Earliest,
        in_flight_max: 10,
    };
    let other = site.engine.join(subscription).await.unwrap();
    let taken = tokio::time::timeout(PATIENCE, other.next(1)).await;
    let taken = taken.unwrap().unwrap();
    assert_eq!((taken[0].envelope.id(), taken[0].attempt), ("1", 2));
    site.end_at_once().await;
}

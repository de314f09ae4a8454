//! Backlogs of keys where several processes share a log.

use super::*;

/// Handles events of members until there are `count`, of which those of each key come in order.
async fn handle(members: &[&dyn Member], count: usize) -> BTreeMap<String, Vec<u64>> {
    let mut keys: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut handled = 0;
    let begun = Instant::now();
    while handled < count {
        assert!(begun.elapsed() < PATIENCE, "{handled} of {count}");
        for member in members {
            if handled == count {
                break;
            }
            let next = member.next(8.min(count - handled).max(1));
            let waiting = tokio::time::timeout(Duration::from_millis(50), next);
            let Ok(taken) = waiting.await else { continue };
            let taken = taken.unwrap();
            let settled = taken.iter().map(|delivery| delivery.position).collect();
            let commit = Commit {
                settled,
                ..Commit::default()
            };
            member.commit(commit).await.unwrap();
            handled += taken.len();
            for delivery in &taken {
                let number = std::str::from_utf8(delivery.envelope.payload()).unwrap();
                let numbers = keys.entry(delivery.envelope.key().to_owned()).or_default();
                numbers.push(number.parse().unwrap());
            }
        }
    }
    assert_eq!(handled, count);
    keys
}

fn all(numbers: std::ops::Range<u64>) -> Vec<u64> {
    numbers.collect()
}

async fn backlog_of(engine: &SharedEngine) -> Option<crate::engine::KeyBacklog> {
    let status = engine.status().await.unwrap();
    status.group("handlers")?.backlogs.first().cloned()
}

/// A dead letter of `blocked` with events up to the 300th behind it, and others that were handled.
async fn with_backlog(member: &dyn Member, engine: &SharedEngine) {
    publish(engine, "blocked", 0..1).await;
    let taken = next(member).await;
    let death = crate::engine::Death {
        envelope: taken[0].envelope.clone(),
        position: taken[0].position,
        attempts: 1,
        cause: crate::engine::DeathCause::Rejected,
        reason: "never".into(),
        on_dead: crate::engine::OnDead::Park,
    };
    let commit = Commit {
        dead: vec![death],
        ..Commit::default()
    };
    member.commit(commit).await.unwrap();
    publish(engine, "blocked", 1..300).await;
    publish(engine, "other", 0..50).await;
    let others = handle(&[member], 50).await;
    assert_eq!(others["other"], all(0..50));
    let backlog = backlog_of(engine).await.unwrap();
    assert_eq!((backlog.key.as_str(), backlog.events), ("blocked", 298));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_goes_to_another_process_with_its_slot() {
    let mut bed = Bed::new(6, CALM);
    bed.key_events_max = 2;
    let (one, two) = (bed.open("a", "a").await, bed.open("b", "b").await);
    let first = join(&one).await.unwrap();
    with_backlog(&*first, &one).await;
    let second = join(&two).await.unwrap();
    // The events of other keys go on, no matter which of the two has it.
    for key in 0..40 {
        publish(&two, &format!("more{key}"), 0..1).await;
    }
    let others = handle(&[&*first, &*second], 40).await;
    assert_eq!(others.len(), 40);
    let redriven = one.redrive("handlers", Default::default()).await.unwrap();
    assert_eq!(redriven, 1);
    let some = handle(&[&*first, &*second], 100).await;
    assert_eq!(some["blocked"], all(0..100));
    // Its owner may have been either of them.
    first.leave().await.unwrap();
    let some = handle(&[&*second], 100).await;
    assert_eq!(some["blocked"], all(100..200));
    let third = join(&one).await.unwrap();
    drop(second);
    let rest = handle(&[&*third], 100).await;
    assert_eq!(rest["blocked"], all(200..300));
    publish(&one, "blocked", 300..310).await;
    let more = handle(&[&*third], 10).await;
    assert_eq!(more["blocked"], all(300..310));
    assert_eq!(backlog_of(&one).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_outlives_the_processes_and_a_reset_forgets_it() {
    let mut bed = Bed::new(7, CALM);
    bed.key_events_max = 2;
    let one = bed.open("a", "a").await;
    let first = join(&one).await.unwrap();
    with_backlog(&*first, &one).await;
    one.abandon();
    drop((first, one));
    let two = bed.open("b", "b").await;
    let second = join(&two).await.unwrap();
    two.discard("handlers", Default::default()).await.unwrap();
    let some = handle(&[&*second], 100).await;
    assert_eq!(some["blocked"], all(1..101));
    assert!(backlog_of(&two).await.is_some());
    two.reset("handlers", crate::engine::Start::Earliest.into())
        .await
        .unwrap();
    assert_eq!(backlog_of(&two).await, None);
    let second = join(&two).await.unwrap();
    let everything = handle(&[&*second], 350).await;
    assert_eq!(everything["blocked"], all(0..300));
    assert_eq!(everything["other"], all(0..50));
}

//! What an engine does.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ensue::engine::{Append, Commit, Member, SharedEngine, Start, Subscription};
use ensue::{Envelope, TopicPattern};
use futures_util::{StreamExt as _, stream};
use tokio::task::JoinHandle;

use super::events::{Seen, TOPIC};
use super::{COMMIT_EVENTS, IN_FLIGHT, WARM_UP};
use crate::Outcome;
use crate::log::statistics::Latencies;
use crate::meter::{Meter, Spent};

/// What a member may hold unsettled: enough that commits never hold it up.
const UNSETTLED_MAX: usize = 10 * COMMIT_EVENTS;

/// A process's engine, with a copy of its own in `directory`.
pub(super) async fn connect(url: &str, name: &str, directory: &Path) -> Outcome<SharedEngine> {
    let replica = directory.display();
    let url = format!("{url}?namespace={name}&replica={replica}");
    Ok(ensue::connect(&url).await?)
}

pub(super) async fn publish(engine: &SharedEngine, batches: Vec<Vec<Append>>) -> Outcome<Spent> {
    let meter = Meter::start();
    let appending = stream::iter(batches).map(|batch| engine.append(batch));
    let mut appending = appending.buffered(IN_FLIGHT);
    while let Some(appended) = appending.next().await {
        if appended?.iter().any(|it| it.is_duplicate) {
            return Err("an event was taken for one that was there".into());
        }
    }
    Ok(meter.stop())
}

/// Joins a new group and handles everything there is.
pub(super) async fn consume(engine: &SharedEngine, group: &str, events: usize) -> Outcome<()> {
    let member = join(engine, group).await?;
    let mut seen = Seen::new(events);
    let mut commit = Commit::default();
    let mut committing: Option<JoinHandle<Outcome<()>>> = None;
    while !seen.is_complete() {
        for delivery in member.next(COMMIT_EVENTS).await? {
            seen.add(&delivery)?;
            commit.settled.push(delivery.position);
        }
        if commit.settled.len() < COMMIT_EVENTS && !seen.is_complete() {
            continue;
        }
        if let Some(last) = committing.take() {
            last.await??;
        }
        let (member, commit) = (Arc::clone(&member), std::mem::take(&mut commit));
        committing = Some(tokio::spawn(async move {
            member.commit(commit).await?;
            Ok(())
        }));
    }
    if let Some(last) = committing {
        last.await??;
    }
    Ok(member.leave().await?)
}

/// From append to delivery to a member of another process, one event at a time.
pub(super) async fn latencies(
    publisher: &SharedEngine,
    consumer: &SharedEngine,
    events: &[Envelope],
) -> Outcome<(Latencies, Latencies)> {
    let member = join(consumer, "bench").await?;
    let (mut delivered, mut acknowledged) = (Latencies::default(), Latencies::default());
    for (number, envelope) in events.iter().enumerate() {
        let begun = Instant::now();
        let timed = |done: Instant| done.duration_since(begun);
        let append = async {
            publisher.append(vec![envelope.clone().into()]).await?;
            Outcome::<Duration>::Ok(timed(Instant::now()))
        };
        let next = async {
            let deliveries = member.next(1).await?;
            Outcome::<_>::Ok((timed(Instant::now()), deliveries))
        };
        let (acknowledgement, next) = tokio::join!(append, next);
        let (delivery, deliveries) = next?;
        if number as f64 >= events.len() as f64 * WARM_UP {
            delivered.push(delivery);
            acknowledged.push(acknowledgement?);
        }
        let mut commit = Commit::default();
        for delivery in deliveries {
            if delivery.envelope.id() != envelope.id() {
                return Err("another event was delivered".into());
            }
            commit.settled.push(delivery.position);
        }
        member.commit(commit).await?;
    }
    member.leave().await?;
    Ok((delivered, acknowledged))
}

async fn join(engine: &SharedEngine, group: &str) -> Outcome<Arc<dyn Member>> {
    let member = engine.join(Subscription {
        group: group.to_owned(),
        topics: vec![TOPIC.parse::<TopicPattern>()?],
        types: None,
        start: Start::Earliest,
        in_flight_max: UNSETTLED_MAX,
    });
    Ok(Arc::from(member.await?))
}

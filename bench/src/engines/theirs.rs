//! The same work through a client crate alone.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::task::JoinHandle;

use super::events::BATCH_EVENTS;
use super::raw::Client;
use super::{COMMIT_EVENTS, WARM_UP};
use crate::Outcome;
use crate::log::statistics::Latencies;
use crate::meter::{Meter, Spent};

pub(super) async fn publish(
    client: &dyn Client,
    messages: Vec<Bytes>,
    in_flight: usize,
) -> Outcome<Spent> {
    let meter = Meter::start();
    let publishing = stream::iter(messages).map(|message| client.publish(message));
    let mut publishing = publishing.buffered(in_flight);
    while let Some(published) = publishing.next().await {
        published?;
    }
    Ok(meter.stop())
}

/// Reads everything; the messages have to be those that were written.
pub(super) async fn consume(client: &dyn Client, messages: &[Bytes]) -> Outcome<Spent> {
    let messages_max = COMMIT_EVENTS / BATCH_EVENTS;
    let meter = Meter::start();
    let mut reader = client.reader().await?;
    let mut bodies: Vec<Bytes> = Vec::with_capacity(messages.len());
    let mut committed = 0;
    let mut committing: Option<JoinHandle<Outcome<()>>> = None;
    while bodies.len() < messages.len() {
        bodies.extend(reader.next(messages_max).await?);
        if bodies.len() - committed < messages_max && bodies.len() < messages.len() {
            continue;
        }
        committed = bodies.len();
        if let Some(last) = committing.take() {
            last.await??;
        }
        committing = Some(tokio::spawn(reader.commit()));
    }
    if let Some(last) = committing {
        last.await??;
    }
    let spent = meter.stop();
    if bodies == messages {
        Ok(spent)
    } else {
        Err("the client read something else than it wrote".into())
    }
}

/// From publish to another connection's reader, one event at a time.
pub(super) async fn latencies(
    client: &dyn Client,
    messages: &[Bytes],
) -> Outcome<(Latencies, Latencies)> {
    let mut reader = client.reader().await?;
    let (mut delivered, mut acknowledged) = (Latencies::default(), Latencies::default());
    for (number, message) in messages.iter().enumerate() {
        let begun = Instant::now();
        let timed = |done: Instant| done.duration_since(begun);
        let publish = async {
            client.publish(message.clone()).await?;
            Outcome::<Duration>::Ok(timed(Instant::now()))
        };
        let next = async {
            let bodies = reader.next(1).await?;
            Outcome::<_>::Ok((timed(Instant::now()), bodies))
        };
        let (acknowledgement, next) = tokio::join!(publish, next);
        let (delivery, bodies) = next?;
        if bodies != [message.clone()] {
            return Err("another message was delivered".into());
        }
        if number as f64 >= messages.len() as f64 * WARM_UP {
            delivered.push(delivery);
            acknowledged.push(acknowledgement?);
        }
        reader.commit().await?;
    }
    Ok((delivered, acknowledged))
}

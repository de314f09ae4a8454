//! Consuming as a group: deliveries are taken and committed, nothing else happens with them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ensue::prelude::*;

use super::connection::{Connection, post};
use crate::Outcome;
use crate::load::Worker;

/// How many events a member over HTTP takes and commits at a time: what it may hold by default.
pub(super) const TAKEN: usize = 100;
const KEYS: u64 = 1_000;
const JSON: &str = "application/json";

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.waiting", topic = "backlog", key = order)]
struct OrderWaiting {
    order: String,
    number: u64,
}

/// Appends what all groups consume.
pub(super) async fn prepare(engine: &Engine, events: u64) -> Outcome<()> {
    let publisher = engine.publisher("/bench");
    let mut number = 0;
    while number < events {
        let until = (number + 10_000).min(events);
        let some = (number..until).map(|number| {
            Outgoing::new(OrderWaiting {
                order: format!("order-{}", number % KEYS),
                number,
            })
        });
        publisher.publish_all(some).await?;
        number = until;
    }
    Ok(())
}

/// A service that consumes the whole backlog of `events`, or as much of it as it can in `time`: events
/// in a second. It is in this process; its engine may be another's.
pub(super) async fn service(
    engine: &Engine,
    group: &str,
    events: u64,
    time: Duration,
) -> Outcome<f64> {
    let handled = Arc::new(AtomicU64::new(0));
    let count = handled.clone();
    let app = App::new(engine.clone()).on(group, move |waiting: OrderWaiting| {
        std::hint::black_box(waiting.number);
        count.fetch_add(1, Ordering::Relaxed);
        std::future::ready(())
    });
    let begun = Instant::now();
    let running = app.start().await?;
    while handled.load(Ordering::Relaxed) < events && begun.elapsed() < time {
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    // What was handled is committed then.
    running.stop().await?;
    let count = handled.load(Ordering::Relaxed);
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

/// A member of a group over HTTP.
pub(super) struct Member {
    connection: Connection,
    take: Vec<u8>,
    commit: String,
}

#[derive(serde::Deserialize)]
struct Joined {
    member: String,
}

#[derive(serde::Deserialize)]
struct Taken {
    deliveries: Vec<Delivery>,
}

#[derive(serde::Deserialize)]
struct Delivery {
    position: String,
    generation: u64,
}

impl Member {
    pub(super) async fn join(address: SocketAddr, group: &str) -> Outcome<Self> {
        let mut connection = Connection::open(address).await?;
        let members = format!("/v1/groups/{group}/members");
        let wanted = post(&members, JSON, "{\"topics\":[\"backlog\"]}");
        let joined: Joined = serde_json::from_slice(connection.exchange(&wanted).await?)?;
        let member = format!("{members}/{}", joined.member);
        Ok(Self {
            connection,
            take: post(&format!("{member}/take?max={TAKEN}&wait=10s"), JSON, ""),
            commit: format!("{member}/commit"),
        })
    }
}

impl Worker for Member {
    async fn step(&mut self) -> Outcome<usize> {
        let taken: Taken = serde_json::from_slice(self.connection.exchange(&self.take).await?)?;
        let settled = taken.deliveries.iter().map(|it| {
            let Delivery {
                position,
                generation,
            } = it;
            format!("{{\"position\":\"{position}\",\"generation\":{generation}}}")
        });
        let settled = settled.collect::<Vec<_>>();
        if settled.is_empty() {
            return Err(
                "the backlog is too short for this machine: nothing was left to take".into(),
            );
        }
        let body = format!("{{\"settle\":[{}]}}", settled.join(","));
        self.connection
            .exchange(&post(&self.commit, JSON, &body))
            .await?;
        Ok(settled.len())
    }
}

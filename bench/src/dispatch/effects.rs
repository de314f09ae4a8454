//! Each event is handled and one effect published: JSON of about 200 bytes, commits included.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ensue::prelude::*;

use super::{Args, median};
use crate::Outcome;
use crate::meter::{Meter, Spent};

/// How many events one batch of a publisher holds, here and in the table.
pub(super) const BATCH: u64 = 100;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders", key = order_id)]
pub(super) struct OrderCreated {
    pub(super) order_id: String,
    pub(super) number: u64,
    pub(super) customer: String,
    pub(super) address: String,
    pub(super) total_cents: u64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.paid", topic = "payments", key = order_id)]
pub(super) struct OrderPaid {
    pub(super) order_id: String,
    pub(super) number: u64,
    pub(super) customer: String,
    pub(super) address: String,
    pub(super) receipt: String,
}

/// How fast one phase was.
#[derive(Clone, Copy, serde::Serialize)]
pub(super) struct Phase {
    /// Events a second.
    pub(super) rate: f64,
    /// Microseconds of a processor for each event, all threads together.
    pub(super) cpu_us: f64,
}

/// One run.
#[derive(Clone, Copy, serde::Serialize)]
pub(super) struct Handled {
    pub(super) published: Phase,
    pub(super) handled: Phase,
}

impl From<(Spent, u64)> for Phase {
    fn from((spent, events): (Spent, u64)) -> Self {
        Self {
            rate: spent.rate(events as usize),
            cpu_us: spent.processor_microseconds(events as usize),
        }
    }
}

impl Handled {
    /// Each figure's own median.
    pub(super) fn median(runs: Vec<Self>) -> Self {
        let of =
            |figure: fn(&Self) -> f64| median(&mut runs.iter().map(figure).collect::<Vec<_>>());
        Self {
            published: Phase {
                rate: of(|run| run.published.rate),
                cpu_us: of(|run| run.published.cpu_us),
            },
            handled: Phase {
                rate: of(|run| run.handled.rate),
                cpu_us: of(|run| run.handled.cpu_us),
            },
        }
    }
}

pub(super) fn order(number: u64, keys: u64) -> OrderCreated {
    OrderCreated {
        order_id: format!("o-{}", number % keys),
        number,
        customer: format!(
            "customer {:>20}",
            number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ),
        address: format!("{:>60}", number.wrapping_mul(0x2545_f491_4f6c_dd1d)),
        total_cents: number % 10_000,
    }
}

pub(super) fn paid(order: OrderCreated) -> OrderPaid {
    OrderPaid {
        receipt: format!("receipt for {} cents", order.total_cents),
        order_id: order.order_id,
        number: order.number,
        customer: order.customer,
        address: order.address,
    }
}

pub(super) async fn handle_and_publish(args: &Args, url: &str) -> Outcome<Handled> {
    let engine = ensue::connect(url).await?;
    let publisher = Publisher::new(engine.clone(), "/bench");
    let meter = Meter::start();
    let mut number = 0;
    let mut under_way = futures_util::stream::FuturesUnordered::new();
    while number < args.events {
        let until = (number + BATCH).min(args.events);
        let batch: Vec<_> = (number..until)
            .map(|n| Outgoing::new(order(n, args.keys)))
            .collect();
        let publisher = publisher.clone();
        under_way.push(async move { publisher.publish_all(batch).await.map(drop) });
        if under_way.len() >= 16 {
            futures_util::StreamExt::next(&mut under_way)
                .await
                .transpose()?;
        }
        number = until;
    }
    while futures_util::StreamExt::next(&mut under_way)
        .await
        .transpose()?
        .is_some()
    {}
    let published = Phase::from((meter.stop(), args.events));

    let handled = Arc::new(AtomicU64::new(0));
    let count = handled.clone();
    let mut app = App::new(engine.clone()).on("payments", move |order: OrderCreated| {
        count.fetch_add(1, Ordering::Relaxed);
        std::future::ready(paid(order))
    });
    if args.workers > 0 {
        app = app.workers(args.workers);
    }
    let meter = Meter::start();
    let running = app.start().await?;
    while handled.load(Ordering::Relaxed) < args.events {
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    running.stop().await?; // the last commit is durable
    let spent = meter.stop();
    let status = engine.status().await?;
    let paid = status.topics.iter().find(|topic| topic.name == "payments");
    if paid.map(|topic| topic.events) != Some(args.events) {
        return Err("the run is void: not every event has exactly one effect".into());
    }
    engine.close().await?;
    Ok(Handled {
        published,
        handled: Phase::from((spent, args.events)),
    })
}

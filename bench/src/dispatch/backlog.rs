//! A backlog of small events, and a handler that only reads them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ensue::prelude::*;

use super::Args;
use crate::Outcome;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "reading.taken", topic = "readings", key = device)]
struct ReadingTaken {
    device: String,
    celsius: f64,
    number: u64,
}
fn reading(number: u64, keys: u64) -> ReadingTaken {
    let device = format!("device-{}", number % keys);
    ReadingTaken {
        device,
        celsius: number as f64 / 7.0,
        number,
    }
}

/// The limit: the same payloads decoded in a loop, nothing else.
pub(super) fn decode_alone(events: u64) -> Outcome<f64> {
    let payloads: Result<Vec<_>, _> = (0..events.min(200_000))
        .map(|n| serde_json::to_vec(&reading(n, 10_000)))
        .collect();
    let payloads = payloads?;
    let begun = Instant::now();
    let mut sum = 0;
    for payload in &payloads {
        let event: ReadingTaken = serde_json::from_slice(payload)?;
        sum += event.number;
    }
    std::hint::black_box(sum);
    Ok(payloads.len() as f64 / begun.elapsed().as_secs_f64())
}

pub(super) async fn drain(args: &Args, url: &str) -> Outcome<f64> {
    let engine = ensue::connect(url).await?;
    let publisher = Publisher::new(engine.clone(), "/bench");
    let mut number = 0;
    while number < args.events {
        let until = (number + 10_000).min(args.events);
        let batch = (number..until).map(|n| Outgoing::new(reading(n, args.keys)));
        publisher.publish_all(batch).await?;
        number = until;
    }

    let handled = Arc::new(AtomicU64::new(0));
    let sum = Arc::new(AtomicU64::new(0));
    let (count, total) = (handled.clone(), sum.clone());
    let mut app = App::new(engine.clone()).on("readings", move |reading: ReadingTaken| {
        count.fetch_add(1, Ordering::Relaxed);
        total.fetch_add(reading.number, Ordering::Relaxed);
        std::future::ready(())
    });
    if args.workers > 0 {
        app = app.workers(args.workers);
    }
    let begun = Instant::now();
    let running = app.start().await?;
    while handled.load(Ordering::Relaxed) < args.events {
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    running.stop().await?; // the last commit is durable
    let elapsed = begun.elapsed();
    let expected = args.events * (args.events - 1) / 2;
    if sum.load(Ordering::Relaxed) != expected || handled.load(Ordering::Relaxed) != args.events {
        return Err("the run is void: not every event was handled exactly once".into());
    }
    engine.close().await?;
    Ok(args.events as f64 / elapsed.as_secs_f64())
}

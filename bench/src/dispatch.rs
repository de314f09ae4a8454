//! Typed dispatch of a backlog.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ensue::prelude::*;
use serde_json::json;

use crate::Outcome;

#[derive(Event, Serialize, Deserialize)]
#[event(name = "reading.taken", topic = "readings", key = device)]
struct ReadingTaken {
    device: String,
    celsius: f64,
    number: u64,
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Events in the backlog
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Different keys
    #[arg(long, default_value_t = 10_000)]
    keys: u64,
    /// Runs; the median is what counts
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Tasks per service; 0 is one per core
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// The engine; without it a new directory for each run
    #[arg(long)]
    engine: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let decoded = decode_alone(args.events)?;
    let mut rates = Vec::new();
    for _ in 0..args.runs {
        let directory = tempfile::tempdir()?;
        let own = format!("embedded:{}", directory.path().join("log").display());
        let url = args.engine.as_deref().unwrap_or(&own);
        rates.push(runtime.block_on(drain(args, url))?);
    }
    rates.sort_by(f64::total_cmp);
    let median = rates.get(rates.len() / 2).copied().unwrap_or_default();
    let ratio = median / decoded;
    if args.json {
        let result = json!({
            "events": args.events, "events_per_second": median, "runs": rates,
            "decode_alone_per_second": decoded, "ratio": ratio,
        });
        println!("{result}");
    } else {
        println!("decode alone, one core   {decoded:>12.0} events/s");
        println!("typed dispatch, median   {median:>12.0} events/s   {ratio:.2} of it");
        println!("runs                     {rates:.0?}");
    }
    Ok(())
}

/// Drains one backlog from a new log below `directory`: the events a second, and how many a second
/// are decoded alone.
pub(crate) fn drain_once(events: u64, directory: &Path) -> Outcome<(f64, f64)> {
    let args = Args {
        events,
        keys: 10_000,
        runs: 1,
        workers: 0,
        engine: None,
        json: false,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let decoded = decode_alone(events)?;
    let url = format!("embedded:{}", directory.join("log").display());
    let drained = runtime.block_on(drain(&args, &url))?;
    Ok((drained, decoded))
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
fn decode_alone(events: u64) -> Outcome<f64> {
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

async fn drain(args: &Args, url: &str) -> Outcome<f64> {
    let engine = ensue::connect(url).await?;
    let publisher = Publisher::new(engine.clone(), "/bench");
    let mut number = 0;
    while number < args.events {
        let until = (number + 10_000).min(args.events);
        let batch = (number..until).map(|n| Outgoing::new(&reading(n, args.keys)));
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

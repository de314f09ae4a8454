//! What recording costs: a backlog is handled without telemetry, and with it at several samplings.
//!
//! `cargo run --release -p ensue-otel --example overhead -- [EVENTS] [RUNS]`. Nothing listens where spans are sent, so
//! the cost of a collector on the same machine is not in it.

use std::time::Instant;

use ensue::prelude::*;
use ensue_otel::{Settings, Telemetry};

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders", key = order)]
struct OrderCreated {
    order: String,
    cents: u64,
}

/// The share of the traces that are sampled; without it there is no telemetry.
const ROWS: [(&str, Option<f64>); 4] = [
    ("without", None),
    ("sampled 0 %", Some(0.0)),
    ("sampled 1 %", Some(0.01)),
    ("sampled 100 %", Some(1.0)),
];

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let events = args.next().map_or(Ok(500_000), |text| text.parse())?;
    let runs = args.next().map_or(Ok(3), |text| text.parse::<usize>())?;
    let mut rates = vec![Vec::new(); ROWS.len()];
    // In turns, so that all meet the same machine.
    for _ in 0..runs {
        for ((_, ratio), rates) in ROWS.iter().zip(&mut rates) {
            let telemetry = ratio.map(telemetry).transpose()?;
            rates.push(run(events, telemetry.as_ref()).await?);
        }
    }
    println!("{:<16}{:>14}{:>14}", "", "appended/s", "handled/s");
    for ((name, _), mut rates) in ROWS.iter().zip(rates) {
        rates.sort_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((appended, handled)) = rates.get(runs / 2) {
            println!("{name:<16}{appended:>14.0}{handled:>14.0}");
        }
    }
    Ok(())
}

fn telemetry(ratio: f64) -> Result<Telemetry, Box<dyn std::error::Error>> {
    let settings = Settings::from_env("overhead")?;
    // Discard: refused at once.
    let settings = settings.endpoint("http://127.0.0.1:9").sample(ratio);
    Ok(Telemetry::start(settings)?)
}

/// Appends a backlog and handles it; how many a second of each.
async fn run(events: u64, telemetry: Option<&Telemetry>) -> ensue::Result<(f64, f64)> {
    const BATCH: u64 = 1_000;
    let engine = Engine::open("memory:").await?;
    let mut publisher = engine.publisher("/bench");
    if let Some(telemetry) = telemetry {
        publisher = publisher.traced(telemetry.tracer());
    }
    let began = Instant::now();
    for batch in 0..events / BATCH {
        let batch = (0..BATCH).map(|number| OrderCreated {
            order: format!("o-{}", (batch * BATCH + number) % 10_000),
            cents: number,
        });
        publisher.publish_all(batch).await?;
    }
    let appended = began.elapsed();
    let mut app = App::new(engine.clone()).on("payments", async |order: OrderCreated| {
        std::hint::black_box(order.cents);
    });
    if let Some(telemetry) = telemetry {
        app = app.layer(telemetry.handlers());
    }
    let began = Instant::now();
    let running = app.start().await?;
    engine.settled(["payments"]).await?;
    let handled = began.elapsed();
    running.stop().await?;
    engine.close().await?;
    let rate = |took: std::time::Duration| events as f64 / took.as_secs_f64();
    Ok((rate(appended), rate(handled)))
}

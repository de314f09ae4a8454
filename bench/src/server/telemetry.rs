//! What telemetry costs: the same work without it, with one trace of a hundred sent, and with all of them.
//!
//! What takes it is in this process, and forgets it: on the same cores, unlike most collectors.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use ensue::PrometheusText;
use ensue::prelude::*;
use ensue_otel::{Settings, Telemetry};
use ensue_server::Server;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::ingest::{Numbers, OverHttp, ReadingTaken, reading};
use crate::Outcome;
use crate::load;
use crate::log::machine::Machine;
use crate::log::report::{Printing, Style, figure, summary, table};
use crate::log::statistics::Summary;

const ROUNDS: usize = 5;
const ROUNDS_QUICK: usize = 1;
const EVENTS: u64 = 500_000;
const EVENTS_QUICK: u64 = 20_000;
const BATCH: u64 = 1_000;
const CONNECTIONS: usize = 16;
const BATCH_HTTP: usize = 100;

/// The share of the traces that are sent; without it there is no telemetry.
const SIDES: [Option<f64>; 3] = [None, Some(0.01), Some(1.0)];
const WORKS: [&str; 4] = [
    "append in this process, 1,000 at once",
    "handle",
    "append by HTTP, one a request, 16 connections",
    "append by HTTP, 100 a request, 16 connections",
];

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    printing: Printing,
    /// One short round: says whether it works
    #[arg(long)]
    quick: bool,
    /// Where the logs are
    #[arg(long, default_value = "target/bench")]
    directory: PathBuf,
}

pub(crate) fn run(args: &Args) -> Outcome<()> {
    std::fs::create_dir_all(&args.directory)?;
    let directory = tempfile::tempdir_in(args.directory.canonicalize()?)?;
    let machine = Machine::look(directory.path(), &[]);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let (rounds, events) = if args.quick {
        (ROUNDS_QUICK, EVENTS_QUICK)
    } else {
        (ROUNDS, EVENTS)
    };
    let path = directory.path().to_owned();
    let measuring = async move {
        let mut all = Vec::new();
        for round in 0..rounds {
            all.push(one_round(&path.join(round.to_string()), events, round).await?);
        }
        Outcome::Ok(all)
    };
    // On the runtime's own threads, as servers are.
    let rounds = runtime.block_on(async { tokio::spawn(measuring).await })??;
    let report = Report::new(machine, &rounds);
    args.printing.print(&report, |style| report.render(style))
}

/// What one side gave: events a second of each work, and the share of the spans that were dropped.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    rates: [f64; WORKS.len()],
    dropped: f64,
}

/// All sides, each as the first in its turn.
async fn one_round(
    path: &std::path::Path,
    events: u64,
    round: usize,
) -> Outcome<[Side; SIDES.len()]> {
    let mut sides = [Side::default(); SIDES.len()];
    for turn in 0..SIDES.len() {
        let index = (round + turn) % SIDES.len();
        let url = format!("embedded:{}", path.join(index.to_string()).display());
        if let (Some(side), Some(share)) = (sides.get_mut(index), SIDES.get(index)) {
            *side = one_side(&url, events, *share).await?;
        }
    }
    Ok(sides)
}

async fn one_side(url: &str, events: u64, share: Option<f64>) -> Outcome<Side> {
    let sink = Sink::start().await?;
    let telemetry = match share {
        Some(share) => {
            let endpoint = format!("http://{}", sink.address);
            let settings = Settings::from_env("bench")?
                .endpoint(endpoint)
                .sample(share);
            Some(Telemetry::start(settings)?)
        }
        None => None,
    };
    let engine = Engine::open(url).await?;
    let rates = [
        append(&engine, events, telemetry.as_ref()).await?,
        handle(&engine, events, telemetry.as_ref()).await?,
        over_http(&engine, 1, telemetry.as_ref()).await?,
        over_http(&engine, BATCH_HTTP, telemetry.as_ref()).await?,
    ];
    engine.close().await?;
    let mut dropped = 0.0;
    if let Some(telemetry) = telemetry {
        telemetry.shutdown().await;
        dropped = dropped_share(&telemetry);
    }
    Ok(Side { rates, dropped })
}

async fn append(engine: &Engine, events: u64, telemetry: Option<&Telemetry>) -> Outcome<f64> {
    let mut publisher = engine.publisher("/telemetry");
    if let Some(telemetry) = telemetry {
        publisher = publisher.traced(telemetry.tracer());
    }
    let begun = Instant::now();
    for batch in 0..events / BATCH {
        let numbers = batch * BATCH..(batch + 1) * BATCH;
        publisher.publish_all(numbers.map(reading)).await?;
    }
    Ok(events as f64 / begun.elapsed().as_secs_f64())
}

async fn handle(engine: &Engine, events: u64, telemetry: Option<&Telemetry>) -> Outcome<f64> {
    let mut app = App::new(engine.clone()).on("readings", async |reading: ReadingTaken| {
        std::hint::black_box(reading.number);
    });
    if let Some(telemetry) = telemetry {
        app = app.layer(telemetry.handlers());
    }
    let begun = Instant::now();
    let running = app.start().await?;
    engine.settled(["readings"]).await?;
    let elapsed = begun.elapsed();
    running.stop().await?;
    Ok(events as f64 / elapsed.as_secs_f64())
}

async fn over_http(engine: &Engine, batch: usize, telemetry: Option<&Telemetry>) -> Outcome<f64> {
    let mut server = Server::new(engine.clone()).listen("127.0.0.1:0")?;
    if let Some(telemetry) = telemetry {
        server = server.telemetry(telemetry.clone());
    }
    let server = server.start().await?;
    // Ids that no other load of this log has.
    let numbers = Numbers::starting_at(EVENTS * batch as u64);
    let mut workers = Vec::new();
    for _ in 0..CONNECTIONS {
        workers.push(OverHttp::connect(server.address(), "/v1/events", &numbers, batch).await?);
    }
    let load = load::run(workers, std::time::Duration::from_secs(2)).await?;
    server.stop().await;
    Ok(load.rate)
}

/// What of all spans was dropped, as the metrics say.
fn dropped_share(telemetry: &Telemetry) -> f64 {
    let mut text = PrometheusText::default();
    telemetry.write_metrics(&mut text);
    let text = text.finish();
    let sum = |name: &str| {
        let samples = text.lines().filter(|line| line.starts_with(name));
        let traces = samples.filter(|line| line.contains("signal=\"traces\""));
        let values = traces.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum::<f64>()
    };
    let dropped = sum("ensue_telemetry_dropped_total");
    dropped / (dropped + sum("ensue_telemetry_exported_total")).max(1.0)
}

/// What takes telemetry, and forgets it.
struct Sink {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Sink {
    async fn start() -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let take = async |body: axum::body::Bytes| {
            std::hint::black_box(body.len());
            StatusCode::OK
        };
        let router = Router::new()
            .route("/v1/traces", post(take))
            .route("/v1/logs", post(take));
        let task = tokio::spawn(async move {
            // Ends with its task.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, task })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One work, over all rounds.
#[derive(Debug, Serialize)]
struct Row {
    work: &'static str,
    without: Summary,
    sampled: Summary,
    all: Summary,
    /// The median of each round's own ratio.
    share_sampled: Summary,
    share_all: Summary,
}

/// Everything a run found out.
#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    rows: Vec<Row>,
    /// Of the spans, when all traces are sent.
    dropped: Summary,
}

impl Report {
    fn new(machine: Machine, rounds: &[[Side; SIDES.len()]]) -> Self {
        let row = |(index, work): (usize, &&'static str)| {
            let rate = move |side: &Side| side.rates.get(index).copied().unwrap_or_default();
            let all = |figure: &dyn Fn(&[Side; SIDES.len()]) -> f64| {
                Summary::of(rounds.iter().map(figure))
            };
            Row {
                work,
                without: all(&|[without, ..]| rate(without)),
                sampled: all(&|[_, sampled, _]| rate(sampled)),
                all: all(&|[.., every]| rate(every)),
                share_sampled: all(&|[without, sampled, _]| rate(sampled) / rate(without)),
                share_all: all(&|[without, _, every]| rate(every) / rate(without)),
            }
        };
        Self {
            machine,
            rows: WORKS.iter().enumerate().map(row).collect(),
            dropped: Summary::of(rounds.iter().map(|[.., every]| every.dropped)),
        }
    }

    fn render(&self, style: Style) -> String {
        let heads = [
            "events/s", "without", "1 % sent", "of it", "all sent", "of it",
        ];
        let line = |row: &Row| {
            vec![
                row.work.to_owned(),
                summary(&row.without),
                figure(row.sampled.median),
                figure(row.share_sampled.median),
                figure(row.all.median),
                figure(row.share_all.median),
            ]
        };
        let rows = table(style, &heads, self.rows.iter().map(line).collect());
        let dropped = figure(self.dropped.median * 100.0);
        format!(
            "{}.\n\n{rows}\nWhen all are sent, {dropped} % of the spans find no room in the queue and are dropped.\n",
            self.machine
        )
    }
}

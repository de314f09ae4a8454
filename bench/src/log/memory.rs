//! Memory over a long backlog of small events, in a process of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ensue::prelude::*;
use serde::{Deserialize as De, Serialize as Ser};

use super::part;
use super::row::{Bench, Row, Sample};
use crate::Outcome;

const BATCH: u64 = 10_000;
const KEYS: u64 = 10_000;
/// The slowest machine still dispatches this many in a second.
const EVENTS_A_SECOND_MIN: u64 = 10_000;
const SAMPLE_EVERY: Duration = Duration::from_millis(20);

#[derive(Event, Serialize, Deserialize)]
#[event(type = "tick.counted", topic = "ticks", key = counter)]
struct TickCounted {
    counter: String,
    number: u64,
}

pub(crate) fn row() -> Row {
    let name = "memory over a backlog of small events, peak";
    Row::new("memory", name, "MiB", "before the first event", measure).rounds_max(1)
}

#[derive(Ser, De)]
pub(crate) struct Job {
    directory: PathBuf,
    events: u64,
}

impl part::Job for Job {
    const NAME: &'static str = "memory";
}

#[derive(Ser, De)]
pub(crate) struct Figures {
    before_mib: f64,
    filling: Range,
    dispatching: Range,
    fill_seconds: f64,
    dispatch_seconds: f64,
}

/// The least and the most memory in use, in MiB.
#[derive(Clone, Copy, Ser, De)]
struct Range {
    least: f64,
    most: f64,
}

impl Range {
    fn new() -> Outcome<Self> {
        let now = resident_mib()?;
        Ok(Self {
            least: now,
            most: now,
        })
    }

    fn look(&mut self) -> Outcome<()> {
        let now = resident_mib()?;
        self.least = self.least.min(now);
        self.most = self.most.max(now);
        Ok(())
    }
}

fn measure(bench: &Bench) -> Outcome<Sample> {
    let directory = bench.fresh()?;
    let events = bench.backlog_events;
    let job = Job {
        directory: directory.path().to_owned(),
        events,
    };
    let deadline = Duration::from_secs(60 + 2 * events / EVENTS_A_SECOND_MIN);
    let figures: Figures = part::run(&job, directory.path(), deadline)?;
    Ok(Sample {
        ours: figures.filling.most.max(figures.dispatching.most),
        limits: vec![figures.before_mib],
        details: vec![
            ("events", events as f64),
            ("filling, most MiB", figures.filling.most),
            ("dispatching, least MiB", figures.dispatching.least),
            ("dispatching, most MiB", figures.dispatching.most),
            ("seconds to fill", figures.fill_seconds),
            ("seconds to dispatch", figures.dispatch_seconds),
            (
                "dispatched events/s",
                events as f64 / figures.dispatch_seconds,
            ),
        ],
    })
}

/// The child's side: fills a log, dispatches it, watches its own memory.
pub(crate) fn serve(job: &Job) -> Outcome<Figures> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(fill_and_dispatch(job))
}

async fn fill_and_dispatch(job: &Job) -> Outcome<Figures> {
    // Whether filling syncs makes no difference to memory, only to how long it takes.
    let path = job.directory.join("log");
    let url = format!("embedded:{}?durability=os", path.display());
    let engine = ensue::connect(&url).await?;
    let before_mib = resident_mib()?;
    let begun = Instant::now();
    let publisher = Publisher::new(engine.clone(), "/bench");
    let mut filling = Range::new()?;
    let mut number = 0;
    while number < job.events {
        let until = (number + BATCH).min(job.events);
        let batch = (number..until).map(|number| {
            Outgoing::new(TickCounted {
                counter: (number % KEYS).to_string(),
                number,
            })
        });
        publisher.publish_all(batch).await?;
        number = until;
        filling.look()?;
    }
    let fill_seconds = begun.elapsed().as_secs_f64();

    let seen = Arc::new(Seen::new());
    let counting = Arc::clone(&seen);
    let app = App::new(engine.clone()).on("counting", move |tick: TickCounted| {
        counting.see(tick.number);
        std::future::ready(())
    });
    let begun = Instant::now();
    let running = app.start().await?;
    let mut dispatching = Range::new()?;
    while seen.events.load(Ordering::Relaxed) < job.events {
        tokio::time::sleep(SAMPLE_EVERY).await;
        dispatching.look()?;
    }
    running.stop().await?;
    let dispatch_seconds = begun.elapsed().as_secs_f64();
    engine.close().await?;
    seen.verify(job.events)?;
    Ok(Figures {
        before_mib,
        filling,
        dispatching,
        fill_seconds,
        dispatch_seconds,
    })
}

/// What the handler has seen: how many, their sum, and of each key the last.
struct Seen {
    events: AtomicU64,
    sum: AtomicU64,
    /// One after the last number of each key.
    next: Vec<AtomicU64>,
    is_out_of_order: AtomicBool,
}

impl Seen {
    fn new() -> Self {
        Self {
            events: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            next: (0..KEYS).map(|_| AtomicU64::new(0)).collect(),
            is_out_of_order: AtomicBool::new(false),
        }
    }

    fn see(&self, number: u64) {
        self.sum.fetch_add(number, Ordering::Relaxed);
        if let Some(next) = self.next.get((number % KEYS) as usize) {
            let expected = number / KEYS;
            if next.swap(expected + 1, Ordering::Relaxed) != expected {
                self.is_out_of_order.store(true, Ordering::Relaxed);
            }
        }
        self.events.fetch_add(1, Ordering::Relaxed);
    }

    fn verify(&self, events: u64) -> Outcome<()> {
        let sum = events * events.saturating_sub(1) / 2;
        if self.events.load(Ordering::Relaxed) != events || self.sum.load(Ordering::Relaxed) != sum
        {
            return Err("not every event was handled exactly once".into());
        }
        if self.is_out_of_order.load(Ordering::Relaxed) {
            Err("a key's events were not handled in order".into())
        } else {
            Ok(())
        }
    }
}

/// The memory of this process that is in use, as the kernel counts it.
pub(crate) fn resident_mib() -> Outcome<f64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages = text.split(' ').nth(1).ok_or("statm has no second field")?;
    let pages: f64 = pages.parse()?;
    Ok(pages * rustix::param::page_size() as f64 / 1024.0 / 1024.0)
}

//! From the append to the handler, at fixed rates: an event is sent when it is due, whether or not
//! those before it are done, and its time counts from when it was due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ensue::prelude::*;
use ensue_log::{Durability, Submitted};
use tokio::runtime::{Builder, Runtime};

use super::append::{batch, open, record_bytes, verify};
use super::row::{Bench, Row, Sample};
use super::statistics::Latencies;
use crate::Outcome;

/// Publishers that keep each other busy when the peak is measured.
const PUBLISHERS: u64 = 256;
const DEVICES: u64 = 1000;
const PADDING_BYTES: usize = 200;
const PADDING_POOL_BYTES: usize = 1024 * 1024;
/// How long the last events may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// This share of the events warms up.
const WARM_UP: f64 = 0.2;
/// Appends that are due and not yet waited for.
const WAITING_MAX: usize = 65_536;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "ping.sent", topic = "pings", key = device)]
struct PingSent {
    device: String,
    number: u64,
    padding: String,
}

pub(crate) fn rows() -> Vec<Row> {
    let row = |share: u32| {
        let name = format!("due to handler, p50, at {share} % of the peak rate");
        let limit = "pwrite + fdatasync of one event";
        let measure = move |bench: &Bench| at_share(bench, f64::from(share) / 100.0);
        Row::new("latency", name, "µs", limit, measure).rounds_max(3)
    };
    [25, 50, 75].map(row).into()
}

fn at_share(bench: &Bench, share: f64) -> Outcome<Sample> {
    let peak = match bench.peak.get() {
        Some(peak) => peak,
        None => {
            let peak = peak(bench)?;
            eprintln!("    the peak is {peak:.0} events/s");
            bench.peak.set(Some(peak));
            peak
        }
    };
    let rate = peak * share;
    let span = bench.span * 3;
    let bytes = 64 + record_bytes(PADDING_BYTES + 100)?;
    let mut raw = bench.raw.synced_writes(bytes, bench.span / 4)?;
    let mut append = append_at(bench, rate, span)?;
    let mut flow = through_app(bench, rate, span)?;
    let mut raw_after = bench.raw.synced_writes(bytes, bench.span / 4)?;
    let limits = vec![raw.microseconds(0.5), raw_after.microseconds(0.5)];
    raw.append(raw_after);
    Ok(Sample {
        ours: flow.handled.microseconds(0.5),
        limits,
        details: vec![
            ("p99 µs", flow.handled.microseconds(0.99)),
            ("p99.9 µs", flow.handled.microseconds(0.999)),
            ("events/s", rate),
            ("log append p50 µs", append.microseconds(0.5)),
            ("log append p99 µs", append.microseconds(0.99)),
            ("publish p50 µs", flow.durable.microseconds(0.5)),
            ("publish p99 µs", flow.durable.microseconds(0.99)),
            (
                "handler after durable p50 µs",
                flow.beyond.microseconds(0.5),
            ),
            (
                "handler after durable p99 µs",
                flow.beyond.microseconds(0.99),
            ),
            ("raw p99 µs", raw.microseconds(0.99)),
        ],
    })
}

/// Calls `send` with the number of each event when it is due; `n` is due `n / rate` after the
/// instant given back.
fn pace(
    rate: f64,
    events: u64,
    begun: Instant,
    mut send: impl FnMut(u64) -> Outcome<()>,
) -> Outcome<()> {
    // Without this a sleep ends 50 µs late.
    rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1))?;
    for number in 0..events {
        let wait = due(rate, number).saturating_sub(begun.elapsed());
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
        send(number)?;
    }
    Ok(())
}

fn due(rate: f64, number: u64) -> Duration {
    Duration::from_secs_f64(number as f64 / rate)
}

/// The log alone: one thread appends, another waits.
fn append_at(bench: &Bench, rate: f64, span: Duration) -> Outcome<Latencies> {
    let directory = bench.fresh()?;
    let log = open(directory.path(), Durability::Sync)?;
    let events = (rate * span.as_secs_f64()) as u64;
    let (send, receive) = std::sync::mpsc::sync_channel::<(u64, Submitted)>(WAITING_MAX);
    let begun = Instant::now();
    let latencies = std::thread::scope(|scope| -> Outcome<Latencies> {
        let waiting = scope.spawn(move || -> Outcome<Latencies> {
            let mut latencies = Latencies::default();
            for (number, submitted) in receive {
                submitted.wait()?;
                if number as f64 >= events as f64 * WARM_UP {
                    latencies.push(begun.elapsed().saturating_sub(due(rate, number)));
                }
            }
            Ok(latencies)
        });
        let mut body = vec![0; PADDING_BYTES + 100];
        let sent = pace(rate, events, begun, |number| {
            let one = batch(&bench.payloads, number, 1, &mut body)?;
            send.send((number, log.submit(one)?))
                .map_err(|_| "an append failed")?;
            Ok(())
        });
        drop(send);
        let latencies = waiting
            .join()
            .map_err(|_| "the waiting thread panicked")??;
        sent.map(|()| latencies)
    })?;
    drop(log);
    verify(directory.path(), &bench.payloads, events)?;
    Ok(latencies)
}

/// When each event was durable and when it was handled, in nanoseconds after the begin.
struct Times {
    begun: Instant,
    durable: Vec<AtomicU64>,
    handled: Vec<AtomicU64>,
    handled_count: AtomicU64,
    is_wrong: AtomicBool,
    padding: String,
}

impl Times {
    fn new(events: u64) -> Self {
        let times = || (0..events).map(|_| AtomicU64::new(0)).collect();
        let mut random = fastrand::Rng::with_seed(2);
        Self {
            begun: Instant::now(),
            durable: times(),
            handled: times(),
            handled_count: AtomicU64::new(0),
            is_wrong: AtomicBool::new(false),
            padding: (0..PADDING_POOL_BYTES)
                .map(|_| random.alphanumeric())
                .collect(),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn padding(&self, number: u64) -> &str {
        let room = (PADDING_POOL_BYTES - PADDING_BYTES) as u64;
        let at = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % room) as usize;
        self.padding.get(at..at + PADDING_BYTES).unwrap_or_default()
    }

    fn ping(&self, number: u64) -> PingSent {
        PingSent {
            device: format!("device-{}", number % DEVICES),
            number,
            padding: self.padding(number).to_owned(),
        }
    }

    fn is_durable(&self, number: u64) {
        if let Some(at) = self.durable.get(number as usize) {
            at.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Exactly once, and as it was sent.
    fn handle(&self, ping: &PingSent) {
        let now = self.now();
        let is_first = match self.handled.get(ping.number as usize) {
            Some(at) => at.swap(now, Ordering::Relaxed) == 0,
            None => true,
        };
        if !is_first || ping.padding != self.padding(ping.number) {
            self.is_wrong.store(true, Ordering::Relaxed);
        }
        self.handled_count.fetch_add(1, Ordering::Release);
    }

    async fn wait(&self, events: u64) -> Outcome<()> {
        let begun = Instant::now();
        while self.handled_count.load(Ordering::Acquire) < events {
            if begun.elapsed() > DEADLINE {
                return Err("not every event was handled".into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if self.is_wrong.load(Ordering::Relaxed)
            || self.handled_count.load(Ordering::Acquire) != events
        {
            Err("an event was altered or handled more than once".into())
        } else {
            Ok(())
        }
    }
}

fn runtime() -> Outcome<Runtime> {
    Ok(Builder::new_multi_thread().enable_all().build()?)
}

/// An app with one typed handler, on an embedded engine in `directory`.
async fn start(directory: &std::path::Path, times: &Arc<Times>) -> Outcome<ensue::Running> {
    let url = format!("embedded:{}", directory.join("log").display());
    let engine = ensue::connect(&url).await?;
    let times = Arc::clone(times);
    let app = App::new(engine).on("pinged", move |ping: PingSent| {
        times.handle(&ping);
        std::future::ready(())
    });
    Ok(app.start().await?)
}

async fn stop(running: ensue::Running) -> Outcome<()> {
    let engine = running.engine().clone();
    running.stop().await?;
    Ok(engine.close().await?)
}

/// Events a second from publisher to handler when publishers wait for nothing but their own last
/// event.
fn peak(bench: &Bench) -> Outcome<f64> {
    let directory = bench.fresh()?;
    let span = bench.span * 3;
    runtime()?.block_on(async {
        // Not one of them is timed.
        let times = Arc::new(Times::new(0));
        let running = start(directory.path(), &times).await?;
        let begun = Instant::now();
        let next = Arc::new(AtomicU64::new(0));
        let mut publishers = tokio::task::JoinSet::new();
        for _ in 0..PUBLISHERS {
            let publisher = running.publisher("/bench");
            let (next, times) = (Arc::clone(&next), Arc::clone(&times));
            publishers.spawn(async move {
                while begun.elapsed() < span {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    publisher.publish(times.ping(number)).await?;
                }
                Outcome::Ok(())
            });
        }
        while let Some(done) = publishers.join_next().await {
            done??;
        }
        let events = next.load(Ordering::Relaxed);
        times.wait(events).await?;
        let rate = events as f64 / begun.elapsed().as_secs_f64();
        stop(running).await?;
        Ok(rate)
    })
}

/// Times from when an event was due; and from durable to handled.
struct Flow {
    durable: Latencies,
    handled: Latencies,
    beyond: Latencies,
}

fn through_app(bench: &Bench, rate: f64, span: Duration) -> Outcome<Flow> {
    let directory = bench.fresh()?;
    let runtime = runtime()?;
    let events = (rate * span.as_secs_f64()) as u64;
    let times = Arc::new(Times::new(events));
    let running = runtime.block_on(start(directory.path(), &times))?;
    let publisher = running.publisher("/bench");
    let begun = Instant::now();
    let offset = begun.duration_since(times.begun);
    pace(rate, events, begun, |number| {
        let (publisher, times) = (publisher.clone(), Arc::clone(&times));
        runtime.spawn(async move {
            if publisher.publish(times.ping(number)).await.is_ok() {
                times.is_durable(number);
            }
        });
        Ok(())
    })?;
    runtime.block_on(times.wait(events))?;
    runtime.block_on(stop(running))?;
    let mut flow = Flow {
        durable: Latencies::default(),
        handled: Latencies::default(),
        beyond: Latencies::default(),
    };
    for (number, (durable, handled)) in times.durable.iter().zip(&times.handled).enumerate() {
        if (number as f64) < events as f64 * WARM_UP {
            continue;
        }
        let due = (offset + due(rate, number as u64)).as_nanos() as i64;
        let durable = durable.load(Ordering::Relaxed) as i64;
        let handled = handled.load(Ordering::Relaxed) as i64;
        if durable == 0 {
            return Err(format!("event {number} was not acknowledged").into());
        }
        flow.durable.push_nanoseconds(durable - due);
        flow.handled.push_nanoseconds(handled - due);
        flow.beyond.push_nanoseconds(handled - durable);
    }
    Ok(flow)
}

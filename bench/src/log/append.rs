//! Appends: some in flight, and in batches.

use std::collections::VecDeque;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use ensue_log::{
    Batch, Durability, Log, Options, Position, Query, Record, SubmitError, Submitted, storage,
};

use super::payload::Payloads;
use super::row::{Bench, Row, Sample};
use super::statistics::Latencies;
use crate::Outcome;

const BATCH_RECORDS: usize = 1000;
/// Batches that are on their way while the next is made.
const BATCHES_IN_FLIGHT: usize = 4;
/// A frame has a header before its records.
const FRAME_HEADER_BYTES: usize = 64;
const SIZES: [(usize, &str); 4] = [
    (100, "100 B"),
    (256, "256 B"),
    (1024, "1 KiB"),
    (16 * 1024, "16 KiB"),
];

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (bytes, size) in SIZES {
        for in_flight in [1, 16, 64, 256, 1024] {
            let name = format!("append, {in_flight} in flight, {size}");
            let limit = "one pwrite + fdatasync for all in flight";
            let measure = move |bench: &Bench| in_flight_sample(bench, in_flight, bytes);
            rows.push(Row::new("append", name, "events/s", limit, measure));
        }
    }
    for (bytes, size) in [(256, "256 B"), (1024, "1 KiB")] {
        let name = format!("batches of 1,000, {size}");
        let limit = "pwrite + fdatasync of 1 MiB pieces";
        let measure = move |bench: &Bench| batch_sample(bench, bytes, Durability::Sync);
        rows.push(Row::new("batch", name, "MB/s", limit, measure));
    }
    let limit = "pwrite of the same frames, no sync";
    rows.push(Row::new(
        "os",
        "page cache, 1,024 in flight, 256 B",
        "events/s",
        limit,
        |bench| page_cache_sample(bench, 1024, 256),
    ));
    rows.push(Row::new(
        "os",
        "page cache, batches of 1,000, 256 B",
        "MB/s",
        "pwrite of 1 MiB pieces, no sync",
        |bench| batch_sample(bench, 256, Durability::Os),
    ));
    rows
}

pub(crate) fn options(durability: Durability) -> Options {
    Options {
        durability,
        // Room for 1,024 events of 16 KiB; nothing else differs from the defaults.
        queue_bytes_max: 32 * 1024 * 1024,
        ..Options::default()
    }
}

pub(crate) fn open(directory: &Path, durability: Durability) -> Outcome<Log> {
    let storage = Arc::new(storage::File::new(directory.join("log")));
    Ok(Log::open(storage, options(durability))?)
}

/// The events from `first` on, as the framework writes them: each with an id and a key.
pub(crate) fn batch(
    payloads: &Payloads,
    first: u64,
    records: usize,
    body: &mut [u8],
) -> Outcome<Batch> {
    let mut batch = Batch::with_capacity(records * (body.len() + 64));
    for number in first..first + records as u64 {
        payloads.fill(number, body);
        batch.push(&Record {
            kind: 0,
            id: Some(u128::from(number) + 1),
            topic: "orders",
            key: &key(number),
            body,
        })?;
    }
    Ok(batch)
}

/// One of a million keys.
pub(crate) fn key(number: u64) -> [u8; 8] {
    (number % 1_000_000).to_be_bytes()
}

/// How many bytes a record of this body takes in the log.
pub(crate) fn record_bytes(body: usize) -> Outcome<usize> {
    Ok(batch(&Payloads::new(), 0, 1, &mut vec![0; body])?.bytes())
}

/// What a run of appends came to, its warm-up left out.
struct Run {
    events: u64,
    seconds: f64,
    latencies: Latencies,
    events_a_frame: f64,
    /// Events appended since the log was opened.
    total: u64,
}

fn in_flight_sample(bench: &Bench, in_flight: usize, bytes: usize) -> Outcome<Sample> {
    let directory = bench.fresh()?;
    let record = record_bytes(bytes)?;
    let together = in_flight.min(options(Durability::Sync).frame_bytes_max / record);
    let frame = FRAME_HEADER_BYTES + together * record;
    let before = bench.raw.synced_writes(frame, bench.span / 4)?;
    let log = open(directory.path(), Durability::Sync)?;
    let run = match in_flight {
        1 => one_by_one(bench, &log, bytes)?,
        _ => keep_in_flight(bench, &log, in_flight, bytes)?,
    };
    drop(log);
    let after = bench.raw.synced_writes(frame, bench.span / 4)?;
    verify(directory.path(), &bench.payloads, run.total)?;
    Ok(sample(run, together, before, after))
}

fn page_cache_sample(bench: &Bench, in_flight: usize, bytes: usize) -> Outcome<Sample> {
    let directory = bench.fresh()?;
    let frame = FRAME_HEADER_BYTES + in_flight * record_bytes(bytes)?;
    let before = bench.raw.cached_writes(frame, bench.span / 4)?;
    let log = open(directory.path(), Durability::Os)?;
    let run = keep_in_flight(bench, &log, in_flight, bytes)?;
    drop(log);
    let after = bench.raw.cached_writes(frame, bench.span / 4)?;
    verify(directory.path(), &bench.payloads, run.total)?;
    Ok(sample(run, in_flight, before, after))
}

/// Beside a run stand the same writes before and after it.
fn sample(mut run: Run, together: usize, before: Latencies, after: Latencies) -> Sample {
    let limits = [&before, &after].map(|raw| together as f64 / raw.mean());
    let mut raw = before;
    raw.append(after);
    Sample {
        ours: run.events as f64 / run.seconds,
        limits: limits.into(),
        details: vec![
            ("append p50 µs", run.latencies.microseconds(0.5)),
            ("append p99 µs", run.latencies.microseconds(0.99)),
            ("raw p50 µs", raw.microseconds(0.5)),
            ("raw p99 µs", raw.microseconds(0.99)),
            ("events a frame", run.events_a_frame),
        ],
    }
}

/// Follows a run: lets the log warm up, since its first segments are small ones, then counts.
struct Watch {
    begun: Instant,
    warm_up: Duration,
    span: Duration,
    counted_from: Option<(Instant, u64, u64)>,
    latencies: Latencies,
}

impl Watch {
    fn new(bench: &Bench) -> Self {
        Self {
            begun: Instant::now(),
            warm_up: bench.span / 4,
            span: bench.span,
            counted_from: None,
            latencies: Latencies::default(),
        }
    }

    /// Whether to go on, after `done` events.
    fn goes_on(&mut self, done: u64, log: &Log) -> bool {
        match self.counted_from {
            Some((begun, ..)) => begun.elapsed() < self.span,
            None => {
                if self.begun.elapsed() > self.warm_up && done > 0 {
                    self.latencies.clear();
                    self.counted_from = Some((Instant::now(), done, log.status().frames));
                }
                true
            }
        }
    }

    fn finish(self, done: u64, log: &Log) -> Outcome<Run> {
        let (begun, before, frames) = self.counted_from.ok_or("the run ended in its warm-up")?;
        let events = done - before;
        let frames = log.status().frames - frames;
        Ok(Run {
            events,
            seconds: begun.elapsed().as_secs_f64(),
            latencies: self.latencies,
            events_a_frame: events as f64 / frames.max(1) as f64,
            total: done,
        })
    }
}

/// A caller that waits for each append.
fn one_by_one(bench: &Bench, log: &Log, bytes: usize) -> Outcome<Run> {
    let mut body = vec![0; bytes];
    let mut watch = Watch::new(bench);
    let mut done = 0;
    while watch.goes_on(done, log) {
        let batch = batch(&bench.payloads, done, 1, &mut body)?;
        let start = Instant::now();
        log.append(batch)?;
        watch.latencies.push(start.elapsed());
        done += 1;
    }
    watch.finish(done, log)
}

/// Wakes a thread that waits for futures, as an executor would.
struct Unpark(std::thread::Thread, AtomicBool);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        if !self.1.swap(true, Ordering::AcqRel) {
            self.0.unpark();
        }
    }
}

/// One thread that keeps so many appends in flight.
fn keep_in_flight(bench: &Bench, log: &Log, in_flight: usize, bytes: usize) -> Outcome<Run> {
    let unpark = Arc::new(Unpark(std::thread::current(), AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&unpark));
    let mut context = Context::from_waker(&waker);
    let mut waiting: VecDeque<(Submitted, Instant)> = VecDeque::new();
    let mut body = vec![0; bytes];
    let (mut submitted, mut done) = (0, 0);
    let mut watch = Watch::new(bench);
    while watch.goes_on(done, log) {
        while waiting.len() < in_flight {
            let start = Instant::now();
            match log.submit(batch(&bench.payloads, submitted, 1, &mut body)?) {
                Ok(append) => waiting.push_back((append, start)),
                Err(SubmitError::Full(_)) => break,
                Err(error) => return Err(error.into()),
            }
            submitted += 1;
        }
        unpark.1.store(false, Ordering::Release);
        let before = done;
        // Frames become durable in order, so that the oldest is always the first to be done.
        while let Some((oldest, start)) = waiting.front_mut() {
            match Pin::new(oldest).poll(&mut context) {
                Poll::Ready(outcome) => outcome?,
                Poll::Pending => break,
            };
            watch.latencies.push(start.elapsed());
            waiting.pop_front();
            done += 1;
        }
        if done == before {
            while !unpark.1.load(Ordering::Acquire) {
                std::thread::park();
            }
        }
    }
    let mut run = watch.finish(done, log)?;
    for (append, _) in waiting {
        append.wait()?;
    }
    run.total = submitted;
    Ok(run)
}

/// Appends batches from `first` on until `goes_on` says no; gives the number after the last event.
pub(crate) fn append_batches(
    log: &Log,
    payloads: &Payloads,
    first: u64,
    bytes: usize,
    mut goes_on: impl FnMut(u64) -> bool,
) -> Outcome<u64> {
    let mut waiting = VecDeque::new();
    let mut body = vec![0; bytes];
    let mut number = first;
    while goes_on(number) {
        let mut next = batch(payloads, number, BATCH_RECORDS, &mut body)?;
        number += BATCH_RECORDS as u64;
        loop {
            match log.submit(next) {
                Ok(submitted) => break waiting.push_back(submitted),
                Err(SubmitError::Full(back)) => {
                    next = back;
                    log.room().wait();
                }
                Err(error) => return Err(error.into()),
            }
        }
        if waiting.len() >= BATCHES_IN_FLIGHT
            && let Some(oldest) = waiting.pop_front()
        {
            oldest.wait()?;
        }
    }
    for submitted in waiting {
        submitted.wait()?;
    }
    Ok(number)
}

fn batch_sample(bench: &Bench, bytes: usize, durability: Durability) -> Outcome<Sample> {
    let directory = bench.fresh()?;
    let limit = || match durability {
        Durability::Sync => bench.raw.sequential(bench.span / 2),
        Durability::Os => bench.raw.sequential_cached(bench.span / 4),
    };
    let limit_before = limit()?;
    let log = open(directory.path(), durability)?;
    let warm_up = Instant::now();
    let first = append_batches(&log, &bench.payloads, 0, bytes, |_| {
        warm_up.elapsed() < bench.span / 4
    })?;
    let before = log.status();
    let begun = Instant::now();
    let end = append_batches(&log, &bench.payloads, first, bytes, |_| {
        begun.elapsed() < bench.span
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let after = log.status();
    drop(log);
    let limits = vec![limit_before, limit()?];
    verify(directory.path(), &bench.payloads, end)?;
    let events = (end - first) as f64;
    Ok(Sample {
        ours: (after.bytes - before.bytes) as f64 / 1e6 / seconds,
        limits,
        details: vec![
            ("events/s", events / seconds),
            ("payload MB/s", events * bytes as f64 / 1e6 / seconds),
            (
                "events a frame",
                events / (after.frames - before.frames).max(1) as f64,
            ),
        ],
    })
}

/// Opens the log again and reads everything back: count, order and every byte.
pub(crate) fn verify(directory: &Path, payloads: &Payloads, events: u64) -> Outcome<()> {
    let log = open(directory, Durability::Sync)?;
    let mut number = 0;
    let mut scan = log.view().scan(Query::default());
    while let Some(chunk) = scan.next_chunk()? {
        for entry in &chunk {
            if entry.position != Position::new(number) {
                return Err(format!("event {number} is at position {}", entry.position).into());
            }
            payloads.verify(number, entry.body)?;
            number += 1;
        }
    }
    if number == events {
        Ok(())
    } else {
        Err(format!("{number} events were read back of {events}").into())
    }
}

//! Opening after `kill -9`.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ensue_log::{Durability, Log, Position};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::append::{append_batches, open};
use super::part;
use super::payload::Payloads;
use super::raw;
use super::read::read_back;
use super::row::{Bench, Row, Sample, files};
use crate::Outcome;

const BODY_BYTES: usize = 100;

pub(crate) fn rows(is_quick: bool) -> Vec<Row> {
    let sizes: &[(u64, &str)] = if is_quick {
        &[(1_000_000, "1M")]
    } else {
        &[(1_000_000, "1M"), (10_000_000, "10M")]
    };
    let row = |(events, size): &(u64, &str)| {
        let events = *events;
        let name = format!("open after kill -9 at {size} events");
        let limit = "read of the last segment and one fdatasync";
        let filled = std::cell::OnceCell::new();
        let measure = move |bench: &Bench| {
            let directory = match filled.get() {
                Some(directory) => directory,
                None => {
                    let directory = bench.fresh()?;
                    filled.get_or_init(|| directory)
                }
            };
            killed(bench, directory, events)
        };
        Row::new("open", name, "ms", limit, measure).rounds_max(3)
    };
    sizes.iter().map(row).collect()
}

/// What is appended by the process that will be killed.
#[derive(Serialize, Deserialize)]
pub(crate) struct Fill {
    directory: PathBuf,
    events: u64,
}

impl part::Job for Fill {
    const NAME: &'static str = "fill";
}

/// The child's side: fills the log, says how far it is, goes on until it is killed.
pub(crate) fn serve(fill: &Fill) -> Outcome<()> {
    let payloads = Payloads::new();
    let log = open(&fill.directory, Durability::Os)?;
    let first = log.durable().get();
    let end = append_batches(&log, &payloads, first, BODY_BYTES, |n| n < fill.events)?;
    println!("{end}");
    std::io::stdout().flush()?;
    let begun = Instant::now();
    append_batches(&log, &payloads, end, BODY_BYTES, |_| {
        // The wait ends, should the parent be gone.
        std::thread::sleep(Duration::from_micros(200));
        begun.elapsed() < Duration::from_secs(60)
    })?;
    Err("it was not killed".into())
}

fn killed(bench: &Bench, directory: &TempDir, events: u64) -> Outcome<Sample> {
    let fill = Fill {
        directory: directory.path().to_owned(),
        events,
    };
    let mut child = part::start(&fill, directory.path())?;
    let mut line = String::new();
    let said = match child.stdout.take() {
        Some(stdout) => BufReader::new(stdout).read_line(&mut line),
        None => Ok(0),
    };
    std::thread::sleep(Duration::from_millis(fastrand::u64(20..60)));
    child.kill()?;
    child.wait()?;
    said?;
    let acknowledged: u64 = line.trim().parse()?;

    let mut segments = files(&directory.path().join("log"))?;
    segments.retain(|path| path.extension().is_some_and(|it| it == "seg"));
    let last = segments.last().ok_or("there is no segment")?.clone();
    let last_bytes = std::fs::metadata(&last)?.len();
    raw::reads(std::slice::from_ref(&last))?;
    let read = last_bytes as f64 / raw::reads(&[last])?;
    let synced = bench.raw.synced_writes(64, bench.span / 4)?.mean();
    let begun = Instant::now();
    let log = open(directory.path(), Durability::Os)?;
    let opened = begun.elapsed();
    verify(bench, &log, acknowledged)?;
    Ok(Sample {
        ours: opened.as_secs_f64() * 1e3,
        limits: vec![(read + synced) * 1e3],
        details: vec![
            ("read ms", read * 1e3),
            ("fdatasync ms", synced * 1e3),
            ("events", log.durable().get() as f64),
            ("segments", log.status().segments as f64),
            (
                "MiB in the last segment's file",
                last_bytes as f64 / 1024.0 / 1024.0,
            ),
        ],
    })
}

/// Everything that was acknowledged is there, and whatever else is there is right.
fn verify(bench: &Bench, log: &Log, acknowledged: u64) -> Outcome<()> {
    if log.durable() < Position::new(acknowledged) {
        let found = log.durable();
        return Err(format!("{acknowledged} events were acknowledged, {found} are there").into());
    }
    let number = read_back(bench, log)?;
    if Position::new(number) == log.durable() {
        Ok(())
    } else {
        Err(format!("{number} events were read of {}", log.durable()).into())
    }
}

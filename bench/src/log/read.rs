//! Scans, single keys, and what an event takes on disk: all of one closed and reopened log.

use std::cell::OnceCell;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use ensue_log::{Durability, Log, Position, Query};
use tempfile::TempDir;

use super::append::{append_batches, key, open, record_bytes};
use super::raw;
use super::row::{Bench, Row, Sample, files};
use super::statistics::Latencies;
use crate::Outcome;

const EVENTS: u64 = 1_000_000;
const BODY_BYTES: usize = 256;
const KEYS_READ: usize = 2000;

/// A closed log of a million events, each with a key of its own.
struct Dataset {
    directory: TempDir,
    segments: Vec<PathBuf>,
    /// Of all frames.
    bytes: u64,
}

impl Dataset {
    fn make(bench: &Bench) -> Outcome<Self> {
        let directory = bench.fresh()?;
        let log = open(directory.path(), Durability::Os)?;
        append_batches(&log, &bench.payloads, 0, BODY_BYTES, |n| n < EVENTS)?;
        let bytes = log.status().bytes;
        log.close()?;
        drop(log);
        let mut segments = files(&directory.path().join("log"))?;
        segments.retain(|path| path.extension().is_some_and(|it| it == "seg"));
        // Nothing of it shall be written back while others are measured.
        raw::forget(&segments)?;
        Ok(Self {
            directory,
            segments,
            bytes,
        })
    }

    fn open(&self) -> Outcome<Log> {
        open(self.directory.path(), Durability::Os)
    }
}

pub(crate) fn rows() -> Vec<Row> {
    // Made when the first row needs it.
    let dataset = Rc::new(OnceCell::new());
    let on = |measure: fn(&Bench, &Dataset) -> Outcome<Sample>| {
        let dataset = Rc::clone(&dataset);
        move |bench: &Bench| {
            let made = match dataset.get() {
                Some(made) => made,
                None => {
                    let made = Dataset::make(bench)?;
                    dataset.get_or_init(|| made)
                }
            };
            measure(bench, made)
        }
    };
    let mut rows = vec![
        Row::new(
            "scan",
            "decode from disk, checksums verified, 256 B",
            "events/s",
            "sequential read of the same files",
            on(cold_scan),
        ),
        Row::new(
            "scan",
            "scan, files in the page cache, 256 B",
            "events/s",
            "memory copy of the same bytes",
            on(warm_scan),
        ),
        Row::new(
            "key",
            "one key among a million, p50",
            "µs",
            "one random read of a record's bytes",
            on(one_key),
        ),
    ];
    for (bytes, size) in [(100, "100 B"), (256, "256 B"), (1024, "1 KiB")] {
        let name = format!("bytes on disk for an event, {size}");
        let measure = move |bench: &Bench| disk_bytes(bench, bytes);
        rows.push(Row::new("disk", name, "bytes", "the payload", measure).rounds_max(1));
    }
    rows
}

fn cold_scan(bench: &Bench, dataset: &Dataset) -> Outcome<Sample> {
    raw::forget(&dataset.segments)?;
    let limit = raw::reads(&dataset.segments)?;
    let log = dataset.open()?;
    raw::forget(&dataset.segments)?;
    scan(bench, dataset, &log, limit, false)
}

fn warm_scan(bench: &Bench, dataset: &Dataset) -> Outcome<Sample> {
    raw::reads(&dataset.segments)?;
    let limit = raw::copies(dataset.bytes as usize);
    let log = dataset.open()?;
    scan(bench, dataset, &log, limit, true)
}

/// Times a scan that only looks at each entry; before or after it, another one verifies the bytes.
fn scan(
    bench: &Bench,
    dataset: &Dataset,
    log: &Log,
    limit_bytes: f64,
    is_warm: bool,
) -> Outcome<Sample> {
    if is_warm {
        verify_all(bench, log)?;
    }
    let begun = Instant::now();
    let (mut events, mut body_bytes, mut last) = (0_u64, 0_usize, None);
    let mut scan = log.view().scan(Query::default());
    while let Some(chunk) = scan.next_chunk()? {
        for entry in &chunk {
            events += 1;
            body_bytes += entry.body.len() + entry.key.len();
            last = Some(entry.position);
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    std::hint::black_box(body_bytes);
    if events != EVENTS || last != Some(Position::new(EVENTS - 1)) {
        return Err(format!("{events} events were read of {EVENTS}").into());
    }
    if !is_warm {
        verify_all(bench, log)?;
    }
    let an_event = dataset.bytes as f64 / EVENTS as f64;
    let rate = events as f64 / seconds;
    Ok(Sample {
        ours: rate,
        limits: vec![limit_bytes / an_event],
        details: vec![
            ("MB/s", rate * an_event / 1e6),
            ("limit MB/s", limit_bytes / 1e6),
            ("checksum alone MB/s", raw::checksums() / 1e6),
        ],
    })
}

/// Reads every event of a log and holds its body against what was appended; how many they are.
pub(crate) fn read_back(bench: &Bench, log: &Log) -> Outcome<u64> {
    let mut number = 0;
    let mut scan = log.view().scan(Query::default());
    while let Some(chunk) = scan.next_chunk()? {
        for entry in &chunk {
            bench.payloads.verify(number, entry.body)?;
            number += 1;
        }
    }
    Ok(number)
}

fn verify_all(bench: &Bench, log: &Log) -> Outcome<()> {
    match read_back(bench, log)? {
        EVENTS => Ok(()),
        number => Err(format!("{number} events were read back of {EVENTS}").into()),
    }
}

fn one_key(bench: &Bench, dataset: &Dataset) -> Outcome<Sample> {
    raw::reads(&dataset.segments)?;
    let record = record_bytes(BODY_BYTES)?;
    let mut limit = raw::random_reads(&dataset.segments, record, KEYS_READ)?;
    let log = dataset.open()?;
    let mut latencies = Latencies::default();
    for _ in 0..KEYS_READ {
        let number = fastrand::u64(..EVENTS);
        let query = Query {
            key: Some(("orders".to_owned(), key(number).to_vec())),
            ..Query::default()
        };
        let start = Instant::now();
        let mut scan = log.view().scan(query);
        let chunk = scan.next_chunk()?.ok_or("a key is missing")?;
        latencies.push(start.elapsed());
        let entry = chunk.iter().next().ok_or("a key is missing")?;
        bench.payloads.verify(number, entry.body)?;
    }
    Ok(Sample {
        ours: latencies.microseconds(0.5),
        limits: vec![limit.microseconds(0.5)],
        details: vec![
            ("p99 µs", latencies.microseconds(0.99)),
            ("raw p99 µs", limit.microseconds(0.99)),
        ],
    })
}

fn disk_bytes(bench: &Bench, body: usize) -> Outcome<Sample> {
    let events = if bench.is_quick { 500_000 } else { EVENTS };
    let directory = bench.fresh()?;
    let log = open(directory.path(), Durability::Os)?;
    append_batches(&log, &bench.payloads, 0, body, |n| n < events)?;
    let used = log.status().bytes;
    log.close()?;
    drop(log);
    super::append::verify(directory.path(), &bench.payloads, events)?;
    let of = |bytes: u64| bytes as f64 / events as f64;
    let mut indexes = files(&directory.path().join("log"))?;
    indexes.retain(|path| path.extension().is_some_and(|it| it == "idx"));
    let mut index_bytes = 0;
    for path in indexes {
        index_bytes += std::fs::metadata(path)?.len();
    }
    Ok(Sample {
        ours: of(used + index_bytes),
        limits: vec![body as f64],
        details: vec![
            ("of it index", of(index_bytes)),
            (
                "allocated, zeroes ahead included",
                of(allocated(directory.path())?),
            ),
        ],
    })
}

/// Bytes that the files of a directory take on disk.
fn allocated(directory: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for path in files(directory)? {
        bytes += std::fs::metadata(path)?.blocks() * 512;
    }
    Ok(bytes)
}

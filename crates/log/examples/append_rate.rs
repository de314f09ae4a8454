//! How fast this machine's disk is, and how close the log comes to it.
//!
//! ```text
//! cargo run --release -p ensue-log --example append_rate [directory]
//! ```

use std::future::Future;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use ensue_log::{Batch, Durability, Log, Options, Query, Record, SubmitError, Submitted, storage};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const BODY: [u8; 256] = [7; 256];

fn main() -> Outcome<()> {
    let directory = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "append-rate.tmp".to_owned());
    let directory = Path::new(&directory);
    std::fs::create_dir_all(directory)?;
    let mut out = std::io::stdout();
    for _ in 0..3 {
        let raw = raw_p50(directory, 352)?;
        let log = append_p50(directory)?;
        let ratio = log.as_secs_f64() / raw.as_secs_f64();
        writeln!(
            out,
            "one in flight, 256 B: raw p50 {raw:?}, append p50 {log:?}, ratio {ratio:.3}"
        )?;
    }
    for in_flight in [1, 16, 256, 1024] {
        for durability in [Durability::Sync, Durability::Os] {
            let (rate, batch) = in_flight_rate(directory, in_flight, durability)?;
            writeln!(
                out,
                "{in_flight} in flight, {durability:?}: {rate:.0} events/s, {batch:.0} a frame"
            )?;
        }
    }
    let raw = raw_rate(directory, 1024 * 1024)?;
    let rate = batch_rate(directory)?;
    writeln!(
        out,
        "1 KiB x 1000: {rate:.0} MB/s; raw 1 MiB writes: {raw:.0} MB/s; {:.2}",
        rate / raw
    )?;
    scans(directory, &mut out)?;
    std::fs::remove_dir_all(directory)?;
    Ok(())
}

fn open(directory: &Path, options: Options) -> Outcome<Log> {
    let _ = std::fs::remove_dir_all(directory.join("data"));
    Ok(Log::open(
        Arc::new(storage::File::new(directory.join("data"))),
        options,
    )?)
}

fn batch(records: usize, body: &[u8]) -> Outcome<Batch> {
    let mut batch = Batch::with_capacity(records * (body.len() + 64));
    for _ in 0..records {
        batch.push(&Record {
            kind: 0,
            id: Some(fastrand::u128(..)),
            topic: "orders",
            key: b"order-1",
            body,
        })?;
    }
    Ok(batch)
}

fn zeroed(directory: &Path, bytes: usize) -> Outcome<std::fs::File> {
    let file = std::fs::File::create(directory.join("raw"))?;
    let zeroes = vec![0; 1024 * 1024];
    for at in (0..bytes).step_by(zeroes.len()) {
        file.write_all_at(&zeroes, at as u64)?;
    }
    file.sync_all()?;
    Ok(file)
}

fn p50(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn raw_p50(directory: &Path, bytes: usize) -> Outcome<Duration> {
    let file = zeroed(directory, 64 * 1024 * 1024)?;
    let buffer = vec![7; bytes];
    let mut times = Vec::new();
    for n in 0..5000u64 {
        let start = Instant::now();
        file.write_all_at(&buffer, n * bytes as u64)?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    Ok(p50(times))
}

fn append_p50(directory: &Path) -> Outcome<Duration> {
    let log = open(directory, Options::default())?;
    let mut times = Vec::new();
    for n in 0..7000 {
        let batch = batch(1, &BODY)?;
        let start = Instant::now();
        log.append(batch)?;
        // The first segments are small ones.
        if n >= 2000 {
            times.push(start.elapsed());
        }
    }
    Ok(p50(times))
}

struct Unpark(std::thread::Thread, AtomicBool);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        if !self.1.swap(true, Ordering::AcqRel) {
            self.0.unpark();
        }
    }
}

/// One thread that keeps a number of submits in flight.
fn in_flight_rate(
    directory: &Path,
    in_flight: usize,
    durability: Durability,
) -> Outcome<(f64, f64)> {
    let log = open(
        directory,
        Options {
            durability,
            ..Options::default()
        },
    )?;
    let unpark = Arc::new(Unpark(std::thread::current(), AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&unpark));
    let mut context = Context::from_waker(&waker);
    let mut waiting: std::collections::VecDeque<Submitted> = std::collections::VecDeque::new();
    let start = Instant::now();
    let (mut done, seconds) = (0u64, 3.0);
    while start.elapsed().as_secs_f64() < seconds {
        while waiting.len() < in_flight {
            match log.submit(batch(1, &BODY)?) {
                Ok(submitted) => waiting.push_back(submitted),
                Err(SubmitError::Full(_)) => break,
                Err(error) => return Err(error.into()),
            }
        }
        unpark.1.store(false, Ordering::Release);
        let before = done;
        // Frames become durable in order, so that the oldest is always the first to be done.
        while let Some(oldest) = waiting.front_mut() {
            match Pin::new(oldest).poll(&mut context) {
                std::task::Poll::Ready(outcome) => outcome?,
                std::task::Poll::Pending => break,
            };
            waiting.pop_front();
            done += 1;
        }
        if done == before {
            while !unpark.1.load(Ordering::Acquire) {
                std::thread::park();
            }
        }
    }
    let rate = done as f64 / start.elapsed().as_secs_f64();
    let status = log.status();
    Ok((rate, status.records as f64 / status.frames.max(1) as f64))
}

fn raw_rate(directory: &Path, bytes: usize) -> Outcome<f64> {
    let total = 256 * 1024 * 1024;
    let file = zeroed(directory, total)?;
    let buffer = vec![7; bytes];
    let start = Instant::now();
    for at in (0..total).step_by(bytes) {
        file.write_all_at(&buffer, at as u64)?;
        file.sync_data()?;
    }
    Ok(total as f64 / 1e6 / start.elapsed().as_secs_f64())
}

fn batch_rate(directory: &Path) -> Outcome<f64> {
    let log = open(directory, Options::default())?;
    let start = Instant::now();
    let mut waiting = std::collections::VecDeque::new();
    for _ in 0..400 {
        let mut batch = batch(1000, &[7; 1024])?;
        loop {
            match log.submit(batch) {
                Ok(submitted) => break waiting.push_back(submitted),
                Err(SubmitError::Full(back)) => {
                    batch = back;
                    log.room().wait();
                }
                Err(error) => return Err(error.into()),
            }
        }
        if waiting.len() > 3
            && let Some(oldest) = waiting.pop_front()
        {
            oldest.wait()?;
        }
    }
    for submitted in waiting {
        submitted.wait()?;
    }
    Ok(log.status().bytes as f64 / 1e6 / start.elapsed().as_secs_f64())
}

fn scans(directory: &Path, out: &mut impl Write) -> Outcome<()> {
    let options = Options {
        durability: Durability::Os,
        ..Options::default()
    };
    let log = open(directory, options.clone())?;
    for _ in 0..2000 {
        log.append(batch(1000, &BODY)?)?;
    }
    drop(log);
    let start = Instant::now();
    let log = Log::open(
        Arc::new(storage::File::new(directory.join("data"))),
        options,
    )?;
    writeln!(
        out,
        "open after a crash at 2M events: {:?}",
        start.elapsed()
    )?;
    for _ in 0..2 {
        let start = Instant::now();
        let (mut count, mut bytes) = (0usize, 0usize);
        let mut scan = log.view().scan(Query::default());
        while let Some(chunk) = scan.next_chunk()? {
            for entry in &chunk {
                count += 1;
                bytes += entry.body.len();
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        writeln!(
            out,
            "scan: {:.0} events/s, {:.0} MB/s of bodies",
            count as f64 / seconds,
            bytes as f64 / 1e6 / seconds
        )?;
    }
    Ok(())
}

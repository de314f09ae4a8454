//! Many at once, each of whom does the next thing when the one before is done.

use std::future::Future;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Outcome;
use crate::log::statistics::Latencies;

/// What a load gave.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Load {
    /// Events, or answers, in a second.
    pub(crate) rate: f64,
    pub(crate) p50_microseconds: f64,
    pub(crate) p99_microseconds: f64,
}

/// What one of many does, over and over.
pub(crate) trait Worker: Send + 'static {
    /// Does it once; how much that was.
    fn step(&mut self) -> impl Future<Output = Outcome<usize>> + Send;
}

/// Lets all workers work for `time`.
pub(crate) async fn run<W: Worker>(workers: Vec<W>, time: Duration) -> Outcome<Load> {
    let begun = Instant::now();
    let until = begun + time;
    let tasks: Vec<_> = workers
        .into_iter()
        .map(|worker| tokio::spawn(work(worker, until)))
        .collect();
    let (mut count, mut all) = (0, Latencies::default());
    for task in tasks {
        let (some, latencies) = task.await??;
        count += some;
        all.append(latencies);
    }
    let elapsed = begun.elapsed();
    Ok(Load {
        rate: count as f64 / elapsed.as_secs_f64(),
        p50_microseconds: all.microseconds(0.5),
        p99_microseconds: all.microseconds(0.99),
    })
}

async fn work<W: Worker>(mut worker: W, until: Instant) -> Outcome<(usize, Latencies)> {
    let (mut count, mut latencies) = (0, Latencies::default());
    // The first one finds everything cold.
    worker.step().await?;
    loop {
        let begun = Instant::now();
        if begun >= until {
            return Ok((count, latencies));
        }
        count += worker.step().await?;
        latencies.push(begun.elapsed());
    }
}

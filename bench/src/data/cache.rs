//! The cache, where it has what it is asked for: beside what keeps its entries, asked without it.

use std::sync::Arc;
use std::time::Instant;

use ensue_blocks::cache::{Cache, Loaded, LocalStore, Position};

use super::sample::{Sample, in_turn};
use crate::Outcome;

const KEYS: usize = 1_000;
/// Room for all of them.
const CAPACITY: u64 = 10_000;
const THREADS: [usize; 2] = [1, 2];

type Value = [u8; 200];

fn keys() -> Vec<String> {
    (0..KEYS).map(|it| format!("customer-{it}")).collect()
}

pub(super) async fn measure(lookups: usize, is_turned: bool) -> Outcome<Vec<Sample>> {
    let ours = Cache::builder(LocalStore::new(CAPACITY))
        .build(async |_| Ok(Loaded::new(Position::new(1), Some([0_u8; 200]))));
    let moka = moka::sync::Cache::builder()
        .max_capacity(CAPACITY)
        .eviction_policy(moka::policy::EvictionPolicy::lru())
        .build();
    for key in keys() {
        ours.get(&key).await?;
        moka.insert(key, Arc::new([0_u8; 200]));
    }
    let mut samples = Vec::new();
    for threads in THREADS {
        let (ours, moka) = in_turn(
            is_turned,
            on_threads(threads, lookups, found(ours.clone())),
            on_threads(threads, lookups, found_by_moka(moka.clone())),
        )
        .await;
        let (ours, moka) = (ours?, moka?);
        samples.push(Sample {
            group: "Cache, found in this process",
            name: format!("{threads} threads"),
            unit: "look-ups/s",
            ours,
            details: vec![("ns", threads as f64 * 1e9 / ours)],
            beside: vec![("moka", moka)],
        });
    }
    let counts = ours.counts();
    if counts.loads != KEYS as u64 {
        return Err(format!("not all were found: {counts:?}").into());
    }
    Ok(samples)
}

/// Asks for every key in turn, so many times.
fn found(cache: Cache<Value>) -> impl Fn(usize) -> Outcome<()> + Clone + Send + 'static {
    move |lookups| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let keys = keys();
        runtime.block_on(async {
            for key in keys.iter().cycle().take(lookups) {
                if cache.get(key).await?.is_none() {
                    return Err("a key has no value".into());
                }
            }
            Ok(())
        })
    }
}

fn found_by_moka(
    cache: moka::sync::Cache<String, Arc<Value>>,
) -> impl Fn(usize) -> Outcome<()> + Clone + Send + 'static {
    move |lookups| {
        let keys = keys();
        for key in keys.iter().cycle().take(lookups) {
            if cache.get(key.as_str()).is_none() {
                return Err("a key has no value".into());
            }
        }
        Ok(())
    }
}

async fn on_threads(
    threads: usize,
    lookups: usize,
    work: impl Fn(usize) -> Outcome<()> + Clone + Send + 'static,
) -> Outcome<f64> {
    let begun = Instant::now();
    let all = (0..threads).map(|_| {
        let work = work.clone();
        std::thread::spawn(move || work(lookups))
    });
    let all: Vec<_> = all.collect();
    let joining = tokio::task::spawn_blocking(move || -> Outcome<()> {
        for thread in all {
            thread.join().map_err(|_| "a thread has panicked")??;
        }
        Ok(())
    });
    joining.await??;
    Ok((threads * lookups) as f64 / begun.elapsed().as_secs_f64())
}

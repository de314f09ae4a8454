//! Aggregates: decisions by many at the same time, beside the same events as bare conditional appends.
//!
//! Each worker has accounts of its own, so that no one is too late: what is measured is the way of a decision, not
//! a race.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ensue::engine::{Append, Expect};
use ensue::{Aggregates, Codec, Engine, Envelope};

use super::deposits::{ACCOUNTS, Account, Accounts, TOPIC, TYPE, deposit, payload};
use super::event_table::EventTable;
use super::sample::Sample;
use super::umadb::UmaDb;
use crate::Outcome;
use crate::load::{self, Load, Worker};

/// How many decide at the same time.
const WORKERS: [usize; 3] = [1, 16, 256];

/// Where the servers are that it is measured beside.
pub(super) struct Peers {
    pub(super) postgres: Option<String>,
    pub(super) umadb: Option<String>,
}

pub(super) async fn measure(place: &Path, peers: &Peers, time: Duration) -> Outcome<Vec<Sample>> {
    let mut samples = Vec::new();
    for workers in WORKERS {
        let ours = decide(&place.join(format!("decided-{workers}")), workers, time).await?;
        let bare = append(&place.join(format!("appended-{workers}")), workers, time).await?;
        let mut beside = vec![("bare conditional appends", bare.rate)];
        if let Some(url) = &peers.postgres {
            let table = EventTable::create(url, workers).await?;
            let load = load::run(table.workers(workers), time).await?;
            table.remove().await?;
            beside.push(("a table of events in PostgreSQL", load.rate));
        }
        if let Some(url) = &peers.umadb {
            let workers = UmaDb::workers(url, workers).await?;
            beside.push(("UmaDB", load::run(workers, time).await?.rate));
        }
        samples.push(Sample {
            group: "Aggregates",
            name: format!("{workers} deciding at the same time"),
            unit: "commands/s",
            ours: ours.rate,
            details: vec![
                ("p50 µs", ours.p50_microseconds),
                ("p99 µs", ours.p99_microseconds),
            ],
            beside,
        });
    }
    Ok(samples)
}

struct Deciding {
    aggregates: Aggregates<Account>,
    accounts: Accounts,
    decided: Arc<AtomicU64>,
}

impl Worker for Deciding {
    async fn step(&mut self) -> Outcome<usize> {
        let key = self.accounts.next();
        let deciding = self.aggregates.decide(&key, |it| it.deposit(deposit()));
        deciding.await?.map_err(str::to_owned)?;
        self.decided.fetch_add(1, Ordering::Relaxed);
        Ok(1)
    }
}

async fn decide(log: &Path, workers: usize, time: Duration) -> Outcome<Load> {
    let engine = Engine::open(&format!("embedded:{}", log.display())).await?;
    let aggregates = engine.aggregates::<Account>("/bench").remember(10_000);
    let decided = Arc::default();
    let deciding = |worker| Deciding {
        aggregates: aggregates.clone(),
        accounts: Accounts::of(worker),
        decided: Arc::clone(&decided),
    };
    let load = load::run((0..workers).map(deciding).collect(), time).await?;
    // Read anew: each command once.
    let read = engine.aggregates::<Account>("/bench").remember(0);
    let mut found = 0;
    for worker in 0..workers {
        let mut accounts = Accounts::of(worker);
        for _ in 0..ACCOUNTS {
            found += read.load(&accounts.next()).await?.state.cents;
        }
    }
    let decided = decided.load(Ordering::Relaxed);
    if found != decided {
        return Err(format!("{decided} commands were given, {found} are in the log").into());
    }
    engine.close().await?;
    std::fs::remove_dir_all(log)?;
    Ok(load)
}

/// Knows of each account where its last event is, and nothing else.
struct Appending {
    engine: Engine,
    accounts: Accounts,
    versions: HashMap<String, Expect>,
}

impl Worker for Appending {
    async fn step(&mut self) -> Outcome<usize> {
        let key = self.accounts.next();
        let envelope = Envelope::builder(TOPIC, TYPE)
            .key(&*key)
            .source("/bench")
            .payload(Codec::Json, payload()?)
            .build()?;
        let append = Append {
            expect: Some(self.versions.get(&key).copied().unwrap_or(Expect::Absent)),
            ..Append::from(envelope)
        };
        let appended = self.engine.append(vec![append]).await?;
        let last = appended.last().ok_or("nothing was appended")?;
        self.versions.insert(key, Expect::At(last.position));
        Ok(1)
    }
}

async fn append(log: &Path, workers: usize, time: Duration) -> Outcome<Load> {
    let engine = Engine::open(&format!("embedded:{}", log.display())).await?;
    let appending = |worker| Appending {
        engine: engine.clone(),
        accounts: Accounts::of(worker),
        versions: HashMap::new(),
    };
    let load = load::run((0..workers).map(appending).collect(), time).await?;
    engine.close().await?;
    std::fs::remove_dir_all(log)?;
    Ok(load)
}

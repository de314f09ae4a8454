//! Other embedded stores, doing what an append to the log does: one event durable when the call
//! returns, from one thread or from many, and a thousand at once.

mod ensue;
mod fjall;
mod okaywal;
mod redb;
mod sqlite;
mod walrus;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::append::record_bytes;
use super::part;
use super::payload::Payloads;
use super::row::{Bench, Comparison, Row, Sample};
use super::statistics::{Latencies, Summary};
use crate::Outcome;

const BODY_BYTES: usize = 256;
const BATCH_RECORDS: u64 = 1000;
/// What a number says besides which event of a thread it is.
const THREAD_SHIFT: u32 = 40;
/// Opening, verifying and closing take longer than what is measured.
const DEADLINE: Duration = Duration::from_secs(90);

/// A store of events. Every call may come from any thread.
trait Peer: Send + Sync {
    /// Returns when the event is durable.
    fn append(&self, body: &[u8]) -> Outcome<()>;
    /// Returns when all of them are.
    fn append_batch(&self, bodies: &[&[u8]]) -> Outcome<()>;
    /// Every event that is stored, in order.
    fn scan(&self, visit: &mut dyn FnMut(&[u8]) -> Outcome<()>) -> Outcome<()>;
}

/// What a returned append has survived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Class {
    /// A power cut.
    Sync,
    /// The end of the process.
    PageCache,
}

/// A store, and which classes it offers.
struct Entry {
    name: &'static str,
    open: fn(&Path, Class) -> Outcome<Box<dyn Peer>>,
    classes: &'static [Class],
    note: &'static str,
}

const BOTH: &[Class] = &[Class::Sync, Class::PageCache];

const ENTRIES: [Entry; 6] = [
    Entry {
        name: "ensue-log",
        open: ensue::open,
        classes: BOTH,
        note: "",
    },
    Entry {
        name: "okaywal",
        open: okaywal::open,
        classes: &[Class::Sync],
        note: "a write-ahead log, read at recovery; syncs for many threads at once",
    },
    Entry {
        name: "walrus-rust",
        open: walrus::open,
        classes: BOTH,
        note: "`SyncEach`",
    },
    Entry {
        name: "fjall",
        open: fjall::open,
        classes: BOTH,
        note: "`PersistMode::SyncData` after each append or batch",
    },
    Entry {
        name: "redb",
        open: redb::open,
        classes: &[Class::Sync],
        note: "`Durability::Immediate`, one transaction an append or batch",
    },
    Entry {
        name: "rusqlite",
        open: sqlite::open,
        classes: BOTH,
        note: "WAL; `synchronous` FULL, and NORMAL for the page cache",
    },
];

/// One run of one store, in a process of its own.
#[derive(Serialize, Deserialize)]
pub(crate) struct Job {
    name: String,
    comparison: Comparison,
    class: Class,
    directory: PathBuf,
    span: Duration,
}

impl part::Job for Job {
    const NAME: &'static str = "peer";
}

/// What a run came to.
#[derive(Serialize, Deserialize)]
pub(crate) struct Figures {
    events_a_second: f64,
    p50_microseconds: f64,
    p99_microseconds: f64,
    /// Filled in by the parent, which knows the limit.
    share_of_limit: f64,
}

/// A store with its figures, of all rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) note: &'static str,
    /// Events a second, durable when the call returns.
    pub(crate) sync: Option<Summary>,
    pub(crate) sync_share_of_limit: Option<Summary>,
    pub(crate) sync_p50_microseconds: Option<Summary>,
    /// Events a second, handed to the operating system.
    pub(crate) page_cache: Option<Summary>,
    /// Why a figure is missing that should be there.
    pub(crate) void: Option<String>,
}

pub(crate) fn names() -> Vec<&'static str> {
    let others = ENTRIES.iter().map(|entry| entry.name);
    others.filter(|name| *name != "ensue-log").collect()
}

pub(crate) fn rows() -> Vec<Row> {
    let cases = [
        ("1 thread", Comparison::Threads(1)),
        ("64 threads", Comparison::Threads(64)),
        ("batches of 1,000", Comparison::Batches),
    ];
    let row = |(name, comparison)| {
        let limit = "one pwrite + fdatasync for all in flight";
        let name = format!("embedded stores, {name}, 256 B");
        let measure = move |bench: &Bench| ours(bench, comparison);
        Row::new("peers", name, "events/s", limit, measure)
            .rounds_max(3)
            .compared(comparison)
    };
    cases.map(row).into()
}

fn ours(bench: &Bench, comparison: Comparison) -> Outcome<Sample> {
    let before = limit(bench, comparison)?;
    let figures = run(bench, "ensue-log", comparison, Class::Sync)?;
    let after = limit(bench, comparison)?;
    Ok(Sample {
        ours: figures.events_a_second,
        limits: vec![before, after],
        details: vec![
            ("append p50 µs", figures.p50_microseconds),
            ("append p99 µs", figures.p99_microseconds),
        ],
    })
}

/// Events a second when all that are in flight are one write and one sync, in the log's format.
fn limit(bench: &Bench, comparison: Comparison) -> Outcome<f64> {
    let together = match comparison {
        Comparison::Threads(threads) => threads,
        Comparison::Batches => BATCH_RECORDS as usize,
    };
    let bytes = 64 + together * record_bytes(BODY_BYTES)?;
    let raw = bench.raw.synced_writes(bytes, bench.span / 8)?;
    Ok(together as f64 / raw.mean())
}

fn run(bench: &Bench, name: &str, comparison: Comparison, class: Class) -> Outcome<Figures> {
    let directory = bench.fresh()?;
    let job = Job {
        name: name.to_owned(),
        comparison,
        class,
        directory: directory.path().to_owned(),
        span: bench.span,
    };
    part::run(&job, directory.path(), DEADLINE)
}

/// The figures of all stores over the rounds of a row.
#[derive(Default)]
pub(crate) struct Rounds {
    runs: Vec<(&'static str, Class, Outcome<Figures>)>,
    /// Before and after each synced run.
    limits: Vec<f64>,
    rounds: usize,
}

impl Rounds {
    pub(crate) fn measure(&mut self, bench: &Bench, comparison: Comparison) {
        // Another one is the first in every round.
        let turned = ENTRIES.iter().cycle().skip(2 * self.rounds);
        self.rounds += 1;
        for entry in turned.take(ENTRIES.len()) {
            for class in entry.classes {
                if entry.name == "ensue-log" && *class == Class::Sync {
                    continue; // the row itself
                }
                eprintln!("    {} {class:?}", entry.name);
                let figures = match class {
                    Class::Sync => self.beside_limit(bench, entry.name, comparison),
                    Class::PageCache => run(bench, entry.name, comparison, *class),
                };
                self.runs.push((entry.name, *class, figures));
            }
        }
    }

    fn beside_limit(
        &mut self,
        bench: &Bench,
        name: &str,
        comparison: Comparison,
    ) -> Outcome<Figures> {
        let before = limit(bench, comparison)?;
        let mut figures = run(bench, name, comparison, Class::Sync)?;
        let after = limit(bench, comparison)?;
        self.limits.extend([before, after]);
        figures.share_of_limit = figures.events_a_second / f64::midpoint(before, after);
        Ok(figures)
    }

    /// What the machine could do while the stores were measured.
    pub(crate) fn limits(&self) -> &[f64] {
        &self.limits
    }

    pub(crate) fn finish(self) -> Vec<Measured> {
        if self.runs.is_empty() {
            return Vec::new();
        }
        let measured = |entry: &Entry| {
            let all = |class, figure: fn(&Figures) -> f64| {
                let own = self.runs.iter();
                let own = own.filter(|(name, of, _)| *name == entry.name && *of == class);
                let good = own.filter_map(|(_, _, run)| run.as_ref().ok().map(figure));
                let values: Vec<f64> = good.collect();
                (!values.is_empty()).then(|| Summary::of(values))
            };
            let mut own = self.runs.iter().filter(|(name, ..)| *name == entry.name);
            let void = own.find_map(|(_, class, run)| {
                let error = run.as_ref().err()?;
                Some(format!("{class:?}: {error}"))
            });
            Measured {
                name: entry.name,
                note: entry.note,
                sync: all(Class::Sync, |it| it.events_a_second),
                sync_share_of_limit: all(Class::Sync, |it| it.share_of_limit),
                sync_p50_microseconds: all(Class::Sync, |it| it.p50_microseconds),
                page_cache: all(Class::PageCache, |it| it.events_a_second),
                void,
            }
        };
        ENTRIES.iter().map(measured).collect()
    }
}

/// The child's side: appends, then opens the store again and verifies what is in it.
pub(crate) fn serve(job: &Job) -> Outcome<Figures> {
    let entry = ENTRIES.iter().find(|entry| entry.name == job.name);
    let entry = entry.ok_or("no such store")?;
    let payloads = Payloads::new();
    let peer = (entry.open)(&job.directory, job.class)?;
    let (mut threads, seconds) = match job.comparison {
        Comparison::Threads(threads) => drive(job, threads, |thread, sequence| {
            let mut body = [0; BODY_BYTES];
            payloads.fill(number(thread, sequence), &mut body);
            peer.append(&body)?;
            Ok(1)
        })?,
        Comparison::Batches => {
            let bodies = Mutex::new(vec![[0; BODY_BYTES]; BATCH_RECORDS as usize]);
            drive(job, 1, |thread, sequence| {
                let mut bodies = bodies.lock().map_err(|_| "a thread panicked")?;
                for (number_in_batch, body) in bodies.iter_mut().enumerate() {
                    payloads.fill(number(thread, sequence + number_in_batch as u64), body);
                }
                let bodies: Vec<&[u8]> = bodies.iter().map(|body| &body[..]).collect();
                peer.append_batch(&bodies)?;
                Ok(BATCH_RECORDS)
            })?
        }
    };
    drop(peer);
    verify(job, entry, &payloads, &threads)?;
    let counted: u64 = threads.iter().map(|thread| thread.counted).sum();
    let mut latencies = Latencies::default();
    for thread in &mut threads {
        latencies.append(std::mem::take(&mut thread.latencies));
    }
    Ok(Figures {
        events_a_second: counted as f64 / seconds,
        p50_microseconds: latencies.microseconds(0.5),
        p99_microseconds: latencies.microseconds(0.99),
        share_of_limit: 0.0,
    })
}

fn number(thread: usize, sequence: u64) -> u64 {
    (thread as u64) << THREAD_SHIFT | sequence
}

/// What one thread did.
#[derive(Default)]
struct Thread {
    appended: u64,
    /// Without the warm-up.
    counted: u64,
    latencies: Latencies,
}

/// Runs `append` on so many threads until the time is up; gives the seconds that count.
fn drive(
    job: &Job,
    threads: usize,
    append: impl Fn(usize, u64) -> Outcome<u64> + Sync,
) -> Outcome<(Vec<Thread>, f64)> {
    let begun = Instant::now();
    let warm_up = job.span / 4;
    let run = |thread: usize| -> Outcome<Thread> {
        let mut done = Thread::default();
        while begun.elapsed() < warm_up + job.span || done.counted == 0 {
            let start = Instant::now();
            let events = append(thread, done.appended)?;
            done.appended += events;
            if start.duration_since(begun) >= warm_up {
                done.counted += events;
                done.latencies.push(start.elapsed());
            }
        }
        Ok(done)
    };
    let run = &run;
    let done: Outcome<Vec<Thread>> = std::thread::scope(|scope| {
        let spawn = |thread| scope.spawn(move || run(thread));
        let handles: Vec<_> = (0..threads).map(spawn).collect();
        let join = |handle: std::thread::ScopedJoinHandle<'_, Outcome<Thread>>| {
            handle.join().map_err(|_| "a thread panicked")?
        };
        handles.into_iter().map(join).collect()
    });
    Ok((done?, (begun.elapsed() - warm_up).as_secs_f64()))
}

/// Reads everything back: of each thread all events, in its order, with every byte right.
fn verify(job: &Job, entry: &Entry, payloads: &Payloads, threads: &[Thread]) -> Outcome<()> {
    let peer = (entry.open)(&job.directory, job.class)?;
    let mut next = vec![0_u64; threads.len()];
    peer.scan(&mut |body| {
        let found = payloads.number_of(body).ok_or("an event is altered")?;
        let thread = (found >> THREAD_SHIFT) as usize;
        let expected = next.get_mut(thread).ok_or("an event of no thread")?;
        payloads.verify(number(thread, *expected), body)?;
        *expected += 1;
        Ok(())
    })?;
    for (found, thread) in next.iter().zip(threads) {
        if *found != thread.appended {
            return Err(format!("{found} events were read back of {}", thread.appended).into());
        }
    }
    Ok(())
}

//! The commit queue under a scheduler that orders its threads at random: several appenders that
//! block, poll and give up, a close or a drop at any time. Everybody gets an answer, what was
//! acknowledged is there, and the order holds.
//!
//! Needs `--cfg shuttle`; `ENSUE_ATTACK_SCHEDULES` says how many orders are tried.
#![cfg(shuttle)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

use std::sync::Arc;

use ensue_log::storage::{Failure, Fault, Op};
use ensue_log::{Batch, Error, Log, Options, Position, Query, Record, SubmitError};
use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

const APPENDERS: u64 = 3;
const BATCHES: u64 = 3;

fn schedules() -> usize {
    let text = std::env::var("ENSUE_ATTACK_SCHEDULES");
    text.map_or(1_000, |text| {
        text.replace('_', "")
            .parse()
            .expect("ENSUE_ATTACK_SCHEDULES must be a number")
    })
}

fn options() -> Options {
    Options {
        segment_bytes: 64 * 1024,
        // Small, so that frames, and submits that are refused, are many.
        queue_bytes_max: 4096,
        frame_bytes_max: 4096,
        clock: Arc::new(|| 1_700_000_000_000_000),
        ..Options::default()
    }
}

fn random(below: u64) -> u64 {
    thread_rng().gen_range(0..below)
}

fn id(thread: u64, number: u64) -> u128 {
    u128::from(thread << 32 | number) + 1
}

fn batch(thread: u64, number: u64) -> Batch {
    let mut batch = Batch::new();
    batch
        .push(&Record {
            kind: thread as u8,
            id: Some(id(thread, number)),
            topic: "t",
            key: b"k",
            body: &vec![number as u8; 1800],
        })
        .unwrap();
    batch
}

/// Appends in every way there is; gives the position of each batch that was acknowledged.
fn append(log: &Log, thread: u64) -> Vec<(u64, u64)> {
    let mut acknowledged = Vec::new();
    for number in 0..BATCHES {
        let receipt = match random(3) {
            0 => log.append(batch(thread, number)),
            way => loop {
                match log.submit(batch(thread, number)) {
                    Ok(submitted) if way == 1 => break submitted.wait(),
                    Ok(submitted) => break block_on(submitted),
                    Err(SubmitError::Full(_)) if way == 1 => log.room().wait(),
                    Err(SubmitError::Full(_)) => block_on(log.room()),
                    Err(error) => break Err(error.into()),
                }
            },
        };
        match receipt {
            Ok(receipt) => acknowledged.push((number, receipt.first().get())),
            Err(error) => {
                assert!(is_stopped(&error), "{error}");
                break;
            }
        }
    }
    acknowledged
}

fn is_stopped(error: &Error) -> bool {
    matches!(
        error,
        Error::Closed | Error::Poisoned { .. } | Error::Indeterminate { .. }
    )
}

/// Follows the durable position until the log stops; sees no record twice and none out of order.
fn follow(log: &Log) {
    let mut seen = Position::ZERO;
    loop {
        let changed = log.changed(seen);
        let outcome = match random(2) {
            0 => changed.wait(),
            _ => block_on(changed),
        };
        match outcome {
            Ok(durable) => {
                assert!(durable > seen);
                let chunk = log.view().read(seen, 1 << 20).unwrap();
                assert!(!chunk.is_empty(), "durable and not readable");
                seen = chunk.next();
            }
            Err(error) => {
                assert!(is_stopped(&error), "{error}");
                return;
            }
        }
    }
}

/// What is on disk is what was acknowledged, in each thread's order, once.
fn check(disk: &Fault, acknowledged: &[Vec<(u64, u64)>]) {
    let log = Log::open(Arc::new(disk.clone()), options()).unwrap();
    let mut found = vec![Vec::new(); APPENDERS as usize];
    let mut scan = log.view().scan(Query::default());
    while let Some(chunk) = scan.next_chunk().unwrap() {
        for entry in &chunk {
            let thread = usize::from(entry.kind);
            let number = found[thread].len() as u64;
            assert_eq!(entry.id, Some(id(thread as u64, number)), "out of order");
            assert_eq!(entry.body, vec![number as u8; 1800]);
            found[thread].push((number, entry.position.get()));
        }
    }
    for (found, acknowledged) in found.iter().zip(acknowledged) {
        assert!(
            found.starts_with(acknowledged),
            "{found:?} {acknowledged:?}"
        );
    }
    log.close().unwrap();
}

/// One life of a log; `end` stops it while the appenders are at work, or after.
fn life(disk: &Fault, end: fn(&Log)) {
    let log = Arc::new(Log::open(Arc::new(disk.clone()), options()).unwrap());
    let appenders: Vec<_> = (0..APPENDERS)
        .map(|thread| {
            let log = Arc::clone(&log);
            thread::spawn(move || append(&log, thread))
        })
        .collect();
    let follower = {
        let log = Arc::clone(&log);
        thread::spawn(move || follow(&log))
    };
    if random(2) == 0 {
        end(&log);
    }
    let acknowledged: Vec<_> = appenders
        .into_iter()
        .map(|appender| appender.join().unwrap())
        .collect();
    let _ = log.close();
    follower.join().unwrap();
    drop(log);
    // What was acknowledged is on the disk itself, not only in the system's memory.
    disk.crash(1);
    check(disk, &acknowledged);
}

#[test]
fn everybody_gets_an_answer() {
    shuttle::check_random(|| life(&Fault::new(), |_| ()), schedules());
}

#[test]
fn a_close_at_any_time() {
    let close = |log: &Log| log.close().unwrap();
    shuttle::check_random(move || life(&Fault::new(), close), schedules());
}

#[test]
fn a_failing_sync_at_any_time() {
    let run = || {
        let disk = Fault::new();
        disk.fail(Op::SyncData, 4 + random(8), Failure::Eio);
        life(&disk, |_| ());
    };
    shuttle::check_random(run, schedules());
}

/// Batches whose handles are dropped are written all the same, also when the log is.
#[test]
fn a_drop_writes_what_was_submitted() {
    let run = || {
        let disk = Fault::new();
        let log = Arc::new(Log::open(Arc::new(disk.clone()), options()).unwrap());
        let submitters: Vec<_> = (0..APPENDERS)
            .map(|thread| {
                let log = Arc::clone(&log);
                thread::spawn(move || match log.submit(batch(thread, 0)) {
                    Ok(submitted) => vec![(0, submitted.receipt.first().get())],
                    Err(SubmitError::Full(_)) => Vec::new(),
                    Err(error) => panic!("{error}"),
                })
            })
            .collect();
        let submitted: Vec<_> = submitters
            .into_iter()
            .map(|submitter| submitter.join().unwrap())
            .collect();
        drop(log);
        disk.crash(1);
        check(&disk, &submitted);
    };
    shuttle::check_random(run, schedules());
}

/// Threads that block write the frames before their own, and hand over to each other: frames hold
/// two batches, and are waited for from the last to the first.
#[test]
fn threads_that_block_hand_over() {
    let run = || {
        let disk = Fault::new();
        let options = Options {
            queue_bytes_max: 64 * 1024,
            ..options()
        };
        let log = Arc::new(Log::open(Arc::new(disk.clone()), options).unwrap());
        let appenders: Vec<_> = (0..APPENDERS)
            .map(|thread| {
                let log = Arc::clone(&log);
                thread::spawn(move || {
                    let submit = |number| log.submit(batch(thread, number)).unwrap();
                    let submitted: Vec<_> = (0..BATCHES - 1).map(submit).collect();
                    let last = log.append(batch(thread, BATCHES - 1)).unwrap();
                    let mut places = vec![last.first().get()];
                    for submitted in submitted.into_iter().rev() {
                        places.push(submitted.wait().unwrap().first().get());
                    }
                    (0..BATCHES).zip(places.into_iter().rev()).collect()
                })
            })
            .collect();
        let acknowledged: Vec<_> = appenders
            .into_iter()
            .map(|appender| appender.join().unwrap())
            .collect();
        drop(log);
        disk.crash(1);
        check(&disk, &acknowledged);
    };
    shuttle::check_random(run, schedules());
    shuttle::check_pct(run, schedules(), 3);
}

/// Several priorities instead of a fair chance: finds what needs a thread to be slow.
#[test]
fn a_slow_thread() {
    shuttle::check_pct(|| life(&Fault::new(), |_| ()), schedules(), 3);
}

//! Many appenders share a sync; none is forgotten.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ensue_log::{Batch, Error, Log, Options, Position, Record, storage};
use support::block_on;

fn record(thread: usize, n: usize) -> Batch {
    let mut batch = Batch::new();
    let body = [thread as u8, n as u8];
    batch
        .push(&Record {
            kind: 0,
            id: None,
            topic: "t",
            key: &[thread as u8],
            body: &body,
        })
        .unwrap();
    batch
}

/// Threads that block, threads that await, threads that submit and forget; then everything is
/// there, in each thread's order.
#[test]
fn from_many_threads() {
    const THREADS: usize = 9;
    const EACH: usize = 200;
    let directory = tempfile::tempdir().unwrap();
    let log = Log::open(
        Arc::new(storage::File::new(directory.path())),
        Options::default(),
    )
    .unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let log = &log;
            scope.spawn(move || {
                let mut last = Position::ZERO;
                for n in 0..EACH {
                    let receipt = match thread % 3 {
                        0 => log.append(record(thread, n)).unwrap(),
                        1 => block_on(log.submit(record(thread, n)).unwrap()).unwrap(),
                        _ => log.submit(record(thread, n)).unwrap().receipt.clone(),
                    };
                    assert!(n == 0 || receipt.first() > last);
                    last = receipt.first();
                    if thread % 3 < 2 {
                        assert!(log.durable() > last);
                    }
                }
            });
        }
    });
    while log.durable() < Position::new((THREADS * EACH) as u64) {
        block_on(log.changed(log.durable())).unwrap();
    }
    let status = log.status();
    assert_eq!(status.records, (THREADS * EACH) as u64);
    assert_eq!(status.syncs, status.frames);
    let mut next = [0usize; THREADS];
    let mut from = Position::ZERO;
    while from < log.durable() {
        let chunk = log.view().read(from, 1 << 20).unwrap();
        for entry in &chunk {
            let thread = entry.key[0] as usize;
            assert_eq!(entry.body[1], next[thread] as u8);
            next[thread] += 1;
        }
        from = chunk.next();
    }
    assert_eq!(next, [EACH; THREADS]);
}

/// A submit without a waiter is written, without any timer.
#[test]
fn submit_and_forget() {
    let log = Log::open(Arc::new(storage::Memory::new()), Options::default()).unwrap();
    for n in 0..2000 {
        drop(log.submit(record(0, n)).unwrap());
        let start = Instant::now();
        while log.durable() <= Position::new(n as u64) {
            assert!(
                start.elapsed() < Duration::from_secs(300),
                "record {n} was forgotten"
            );
            std::thread::yield_now();
        }
    }
}

#[test]
fn changed_is_cancel_safe_and_ends_with_the_log() {
    let log = Log::open(Arc::new(storage::Memory::new()), Options::default()).unwrap();
    for _ in 0..10 {
        let mut changed = Box::pin(log.changed(Position::ZERO));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(changed.as_mut().poll(&mut context).is_pending());
    }
    std::thread::scope(|scope| {
        let blocked = scope.spawn(|| log.changed(Position::ZERO).wait());
        let awaited = scope.spawn(|| block_on(log.changed(Position::new(1))));
        std::thread::sleep(Duration::from_millis(20));
        log.append(record(0, 0)).unwrap();
        assert_eq!(blocked.join().unwrap().unwrap(), Position::new(1));
        log.close().unwrap();
        assert!(matches!(awaited.join().unwrap(), Err(Error::Closed)));
    });
    assert!(matches!(log.append(record(0, 0)), Err(Error::Closed)));
    // A closed log is still readable.
    assert_eq!(log.view().read(Position::ZERO, 1).unwrap().len(), 1);
}

use std::future::Future;

/// Dropped with work in its queue, the log finishes it.
#[test]
fn dropping_finishes_what_was_submitted() {
    let storage = storage::Memory::new();
    let log = Log::open(Arc::new(storage.clone()), Options::default()).unwrap();
    let submitted: Vec<_> = (0..100)
        .map(|n| log.submit(record(0, n)).unwrap())
        .collect();
    drop(log);
    for submitted in submitted {
        submitted.wait().unwrap();
    }
    let log = Log::open(Arc::new(storage), Options::default()).unwrap();
    assert_eq!(log.durable(), Position::new(100));
    assert!(!log.recovery().clean);
}

#[test]
fn what_is_submitted_during_a_hold_is_one_write() {
    let log = Log::open(Arc::new(storage::Memory::new()), Options::default()).unwrap();
    let before = log.status().frames;
    let hold = log.hold();
    let mut last = None;
    for n in 0..100 {
        last = Some(log.submit(record(0, n)).unwrap());
        // Time for the writer's thread, which is told of each.
        std::thread::yield_now();
    }
    assert_eq!(log.durable(), Position::ZERO);
    drop(hold);
    last.unwrap().wait().unwrap();
    assert_eq!(log.durable(), Position::new(100));
    assert_eq!(log.status().frames - before, 1);
}

/// A waiting appender is woken when a hold is over.
#[test]
fn an_append_waits_for_the_end_of_a_hold() {
    let log = Log::open(Arc::new(storage::Memory::new()), Options::default()).unwrap();
    std::thread::scope(|scope| {
        let hold = log.hold();
        let appending = scope.spawn(|| log.append(record(0, 0)).unwrap());
        while log.end() == Position::ZERO {
            std::thread::yield_now();
        }
        drop(hold);
        appending.join().unwrap();
    });
    assert_eq!(log.durable(), Position::new(1));
}

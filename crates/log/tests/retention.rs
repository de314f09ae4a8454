//! Retention by size and age: whole segments, never past the floor, the older checkpoint or the
//! last segment.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ensue_log::storage::Fault;
use ensue_log::{Error, Log, Options, Position, Retention};
use support::{batch, options, verify};

fn with(disk: &Fault, retention: Retention, clock: &Arc<AtomicI64>) -> Log {
    let clock = Arc::clone(clock);
    let clock: Arc<dyn Fn() -> i64 + Send + Sync> = Arc::new(move || clock.load(Ordering::Relaxed));
    Log::open(
        Arc::new(disk.clone()),
        Options {
            retention,
            clock,
            ..options()
        },
    )
    .unwrap()
}

fn fill(log: &Log, clock: &AtomicI64) {
    for _ in 0..30 {
        log.append(batch(log.end().get(), 20)).unwrap();
        clock.fetch_add(1_000_000, Ordering::Relaxed);
    }
}

#[test]
fn by_size() {
    let (disk, clock) = (Fault::new(), Arc::new(AtomicI64::new(0)));
    let log = with(
        &disk,
        Retention {
            bytes: Some(200_000),
            age: None,
        },
        &clock,
    );
    fill(&log, &clock);
    assert_eq!(log.trim(Position::ZERO).unwrap().segments, 0, "the floor");
    let before = log.status().disk_bytes;
    let trimmed = log.trim(Position::MAX).unwrap();
    assert!(trimmed.segments > 2);
    assert_eq!(before - trimmed.bytes, log.status().disk_bytes);
    assert!(log.status().disk_bytes <= 200_000);
    assert_eq!(log.first(), trimmed.first);
    assert_eq!(verify(&log.view()).unwrap(), 600);
    let error = log.view().read(Position::ZERO, 1).unwrap_err();
    assert!(
        matches!(error, Error::Trimmed { first, .. } if first == trimmed.first),
        "{error}"
    );
    assert_eq!(
        log.trim(Position::MAX).unwrap().segments,
        0,
        "nothing more to do"
    );
    // The next open agrees.
    log.close().unwrap();
    drop(log);
    let log = with(&disk, Retention::default(), &clock);
    assert_eq!(log.first(), trimmed.first);
    assert_eq!(verify(&log.view()).unwrap(), 600);
    assert_eq!(
        log.trim(Position::MAX).unwrap().segments,
        0,
        "keeps everything by default"
    );
}

#[test]
fn by_age() {
    let (disk, clock) = (Fault::new(), Arc::new(AtomicI64::new(0)));
    let log = with(
        &disk,
        Retention {
            age: Some(Duration::from_secs(10)),
            bytes: None,
        },
        &clock,
    );
    fill(&log, &clock);
    log.trim(Position::MAX).unwrap();
    // The oldest segment kept has records of the last 10 s; the ones before had none.
    let kept = log.view().position_at(20_000_000).unwrap();
    assert!(
        log.first() <= kept && kept.since(log.first()) < 100,
        "{} {kept}",
        log.first()
    );
    clock.fetch_add(3_600_000_000, Ordering::Relaxed);
    log.trim(Position::MAX).unwrap();
    assert_eq!(log.status().segments, 1, "never the last");
    log.append(batch(600, 1)).unwrap();
}

#[test]
fn never_past_the_older_checkpoint() {
    let (disk, clock) = (Fault::new(), Arc::new(AtomicI64::new(0)));
    let log = with(
        &disk,
        Retention {
            bytes: Some(0),
            age: None,
        },
        &clock,
    );
    fill(&log, &clock);
    log.checkpoint(Position::new(300), b"older").unwrap();
    log.checkpoint(Position::new(500), b"newer").unwrap();
    log.trim(Position::MAX).unwrap();
    assert!(log.first() <= Position::new(300) && log.first() > Position::ZERO);
    log.checkpoint(Position::new(600), b"newest").unwrap();
    log.trim(Position::MAX).unwrap();
    assert!(log.first() > Position::new(300) && log.first() <= Position::new(500));
}

#[test]
fn time_finds_positions() {
    let (disk, clock) = (Fault::new(), Arc::new(AtomicI64::new(1_000)));
    let log = with(&disk, Retention::default(), &clock);
    fill(&log, &clock);
    let view = log.view();
    assert_eq!(view.position_at(i64::MIN).unwrap(), Position::ZERO);
    assert_eq!(view.position_at(1_000).unwrap(), Position::ZERO);
    for second in 1..30 {
        let time = 1_000 + second * 1_000_000;
        assert_eq!(view.position_at(time).unwrap().get(), second as u64 * 20);
        assert_eq!(
            view.position_at(time - 1).unwrap().get(),
            second as u64 * 20
        );
    }
    assert_eq!(view.position_at(i64::MAX).unwrap(), log.durable());
    let query = ensue_log::Query {
        since: Some(5_000_000),
        until: Some(7_000_000),
        ..Default::default()
    };
    let mut scan = view.scan(query);
    let mut count = 0;
    while let Some(chunk) = scan.next_chunk().unwrap() {
        count += chunk.len();
    }
    assert_eq!(count, 40);
}

//! When something fails, everybody who waits is told, and a full disk or queue can be waited out.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

mod support;

use std::sync::Arc;

use ensue_log::storage::{Failure, Fault, Op};
use ensue_log::{Error, Log, Options, SubmitError};
use support::{batch, open, options, verify};

#[test]
fn everyone_behind_a_failed_write_is_told() {
    let disk = Fault::new();
    let log = open(&disk).unwrap();
    log.append(batch(0, 1)).unwrap();
    disk.fail(Op::Write, 1, Failure::Eio);
    let submitted: Vec<_> = (1..50)
        .filter_map(|at| log.submit(batch(at, 1)).ok())
        .collect();
    for submitted in submitted {
        let error = submitted.wait().unwrap_err();
        assert!(
            matches!(error, Error::Indeterminate { .. } | Error::Poisoned { .. }),
            "{error}"
        );
    }
}

#[test]
fn a_full_disk_loses_nothing_and_resumes() {
    let disk = Fault::new();
    let log = open(&disk).unwrap();
    let mut at = 0;
    let mut full = 0;
    while full < 3 {
        disk.set_capacity(Some(disk.used()));
        match log.append(batch(at, 7)) {
            Ok(receipt) => {
                assert_eq!(receipt.first().get(), at);
                at += 7;
            }
            Err(error) => {
                assert!(matches!(error, Error::DiskFull { .. }), "{error}");
                assert!(log.status().poisoned.is_none());
                assert!(log.append(batch(at, 7)).is_err(), "still full");
                assert_eq!(log.end().get(), at);
                full += 1;
                disk.set_capacity(None);
                log.append(batch(at, 7)).unwrap();
                at += 7;
            }
        }
        assert_eq!(verify(&log.view()).unwrap(), at);
    }
    // Nothing of the refused batches is remembered.
    assert_eq!(log.status().duplicates, 0);
    log.close().unwrap();
    drop(log);
    let log = open(&disk).unwrap();
    assert_eq!(verify(&log.view()).unwrap(), at);
}

#[test]
fn a_full_queue_gives_the_batch_back() {
    let disk = Fault::new();
    let options = Options {
        queue_bytes_max: 4096,
        ..options()
    };
    let log = Log::open(Arc::new(disk), options).unwrap();
    let mut at = 0;
    let mut refused = 0;
    let mut last = None;
    while refused < 20 {
        match log.submit(batch(at, 1)) {
            Ok(submitted) => {
                at += 1;
                last = Some(submitted);
            }
            Err(SubmitError::Full(back)) => {
                assert_eq!(back.len(), 1);
                refused += 1;
                if refused % 2 == 0 {
                    log.room().wait()
                } else {
                    support::block_on(log.room())
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
    last.unwrap().wait().unwrap();
    assert_eq!(verify(&log.view()).unwrap(), at);
    // One that is larger than the queue is taken when nothing waits.
    log.append(batch(at, 50)).unwrap();
}

/// A clock that panics takes its thread with it, but no thread that waits.
#[test]
fn a_panic_poisons_the_log() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let broken = Arc::new(AtomicBool::new(false));
    let clock = Arc::clone(&broken);
    let clock = Arc::new(move || {
        if clock.load(Ordering::Relaxed) {
            panic!("no time")
        } else {
            0
        }
    });
    let log = Log::open(Arc::new(Fault::new()), Options { clock, ..options() }).unwrap();
    log.append(batch(0, 1)).unwrap();
    broken.store(true, Ordering::Relaxed);
    let submitted = log.submit(batch(1, 1)).unwrap();
    let error = support::block_on(submitted).unwrap_err();
    assert!(matches!(error, Error::Indeterminate { .. }), "{error}");
    assert!(matches!(
        log.append(batch(1, 1)),
        Err(Error::Poisoned { .. })
    ));
    assert!(log.close().is_err());
}

/// What is left of a log whose segments were removed while it was closed.
fn without_segments(disk: &Fault) {
    let names = disk.names();
    for name in names.iter().filter(|name| name.ends_with(".seg")) {
        ensue_log::Storage::remove(disk, name).unwrap();
    }
}

#[test]
fn the_loss_of_the_only_segment_is_noticed_after_a_crash() {
    let disk = Fault::new();
    let log = open(&disk).unwrap();
    log.append(batch(0, 10)).unwrap();
    disk.kill();
    drop(log);
    disk.work_again();
    without_segments(&disk);
    let error = open(&disk).map(drop).unwrap_err();
    assert!(
        matches!(&error, Error::Corrupt { what, .. } if what.contains("missing")),
        "{error}"
    );
}

#[test]
fn the_loss_of_the_only_segment_is_noticed_by_a_reader() {
    let disk = Fault::new();
    let log = open(&disk).unwrap();
    log.append(batch(0, 10)).unwrap();
    log.close().unwrap();
    drop(log);
    without_segments(&disk);
    let error = ensue_log::Follower::open(Arc::new(disk))
        .map(drop)
        .unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

//! Calls that fail: a failed sync poisons, a full disk waits, interruptions do not show.
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
fn a_failed_sync_poisons_the_log() {
    // The k-th sync after the log has a segment is the k-th frame's.
    for k in 1..20 {
        let disk = Fault::new();
        let log = open(&disk).unwrap();
        log.append(batch(0, 1)).unwrap();
        disk.fail(Op::SyncData, k, Failure::Eio);
        let mut acknowledged = 1;
        let error = loop {
            match log.append(batch(acknowledged, 1)) {
                Ok(_) => acknowledged += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(acknowledged, k);
        assert!(matches!(error, Error::Indeterminate { .. }), "{error}");
        let syncs = disk.count(Op::SyncData);
        assert!(matches!(
            log.append(batch(k, 1)),
            Err(Error::Poisoned { .. })
        ));
        assert!(matches!(
            log.submit(batch(k, 1)),
            Err(SubmitError::Poisoned { .. })
        ));
        assert!(matches!(
            log.changed(log.durable()).wait(),
            Err(Error::Poisoned { .. })
        ));
        assert!(matches!(
            support::block_on(log.changed(log.durable())),
            Err(Error::Poisoned { .. })
        ));
        assert!(log.status().poisoned.is_some());
        // What was durable is still readable.
        assert_eq!(verify(&log.view()).unwrap(), k);
        assert!(matches!(log.close(), Err(Error::Poisoned { .. })));
        assert_eq!(
            disk.count(Op::SyncData),
            syncs,
            "a failed sync is never repeated"
        );
        drop(log);
        disk.crash(k);
        let log = open(&disk).unwrap();
        let end = verify(&log.view()).unwrap();
        assert!(end == k || end == k + 1, "{end}");
    }
}

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
fn interruptions_and_short_calls_do_not_show() {
    let run = |disk: &Fault| {
        for (from, to) in [(0, 20), (20, 60)] {
            let log = open(disk).unwrap();
            for at in (from..to).step_by(10) {
                log.append(batch(at, 10)).unwrap();
            }
            assert_eq!(verify(&log.view()).unwrap(), to);
            assert!(log.view().check(&mut |_| ()).unwrap().is_good());
            log.close().unwrap();
        }
    };
    let disk = Fault::new();
    run(&disk);
    let cases = [
        (Op::Write, Failure::Eintr),
        (Op::Write, Failure::Short),
        (Op::Read, Failure::Eintr),
        (Op::Read, Failure::Short),
        (Op::SyncData, Failure::Eintr),
        (Op::SyncDir, Failure::Eintr),
        (Op::Rename, Failure::Eintr),
        (Op::Create, Failure::Eintr),
    ];
    for (op, failure) in cases {
        let calls = disk.count(op);
        for nth in 1..=calls {
            let disk = Fault::new();
            disk.fail(op, nth, failure);
            run(&disk);
        }
        let disk = Fault::new();
        (1..=calls).for_each(|nth| disk.fail(op, nth * 2, failure));
        run(&disk);
    }
}

/// Whatever call fails in whatever way: no panic, nothing acknowledged is lost.
#[test]
fn every_call_fails_once() {
    let run = |disk: &Fault| {
        let mut acknowledged = 0;
        for _ in 0..2 {
            let Ok(log) = open(disk) else { continue };
            for _ in 0..8 {
                if let Ok(receipt) = log.append(batch(log.end().get(), 9)) {
                    acknowledged = receipt.end().get();
                }
            }
            let _ = log.checkpoint(log.durable(), b"state");
            let _ = log.trim(log.durable());
            let _ = log.close();
        }
        acknowledged
    };
    let reference = Fault::new();
    run(&reference);
    let ops = [
        Op::Open,
        Op::Create,
        Op::Rename,
        Op::List,
        Op::SyncDir,
        Op::Read,
        Op::Write,
        Op::SyncData,
        Op::Len,
        Op::Preallocate,
    ];
    for op in ops {
        for failure in [Failure::Eio, Failure::Enospc] {
            for nth in 1..=reference.count(op) {
                let disk = Fault::new();
                disk.fail(op, nth, failure);
                let acknowledged = run(&disk);
                disk.work_again();
                disk.crash(nth);
                let log =
                    open(&disk).unwrap_or_else(|error| panic!("{op:?} {nth} {failure:?}: {error}"));
                let end = verify(&log.view())
                    .unwrap_or_else(|error| panic!("{op:?} {nth} {failure:?}: {error}"));
                assert!(
                    end >= acknowledged,
                    "{op:?} {nth} {failure:?}: {end} < {acknowledged}"
                );
            }
        }
    }
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

/// A clock that panics takes the thread with it, but nobody who waits.
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

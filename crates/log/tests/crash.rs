//! The power fails after any call, and again during recovery: nothing acknowledged is lost,
//! nothing else appears, nothing is altered.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

mod support;

use std::sync::Arc;

use ensue_log::storage::Fault;
use ensue_log::{Log, Options, Position, Retention};
use support::{batch, options, verify};

/// What the outside knows.
#[derive(Default)]
struct Known {
    /// Records before this were acknowledged.
    acknowledged: u64,
    /// Records at this and after were never submitted.
    submitted: u64,
    /// The position of the newest checkpoint that was acknowledged.
    checkpoint: u64,
}

fn open(disk: &Fault) -> ensue_log::Result<Log> {
    let retention = Retention {
        bytes: Some(150_000),
        age: None,
    };
    Log::open(
        Arc::new(disk.clone()),
        Options {
            retention,
            ..options()
        },
    )
}

/// Appends, checkpoints, trims, closes, reopens, until something fails.
fn script(disk: &Fault, known: &mut Known) -> ensue_log::Result<()> {
    for close in [true, false, true] {
        let log = open(disk)?;
        for round in 0..5 {
            for count in [1, 14, 3] {
                let at = log.end().get();
                known.submitted = known.submitted.max(at + count);
                let receipt = log.append(batch(at, count))?;
                assert_eq!(receipt.first().get(), at);
                known.acknowledged = receipt.end().get();
            }
            if round % 2 == 1 {
                let at = log.durable();
                log.checkpoint(at, &at.get().to_le_bytes())?;
                known.checkpoint = at.get();
                log.trim(at)?;
            }
        }
        if close {
            log.close()?;
        }
    }
    Ok(())
}

fn check(disk: &Fault, known: &mut Known, context: &str) {
    let log = open(disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    let end = verify(&log.view()).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert!(
        end >= known.acknowledged,
        "{context}: {end} of {} are left",
        known.acknowledged
    );
    assert!(
        end <= known.submitted,
        "{context}: {end} of {} appeared",
        known.submitted
    );
    match log.view().checkpoint().unwrap() {
        Some((at, state)) => {
            assert!(at.get() >= known.checkpoint, "{context}");
            assert_eq!(state[..], at.get().to_le_bytes());
        }
        None => assert_eq!(known.checkpoint, 0, "{context}"),
    }
    assert!(log.first() <= Position::new(known.submitted), "{context}");
    // It goes on, and knows its ids.
    if end > log.first().get() {
        let receipt = log.append(batch(end - 1, 3)).unwrap();
        assert_eq!(
            (receipt.appended(), receipt.first().get()),
            (2, end - 1),
            "{context}"
        );
    } else {
        log.append(batch(end, 2)).unwrap();
    }
    assert!(
        log.view().check(&mut |_| ()).unwrap().is_good(),
        "{context}"
    );
    verify(&log.view()).unwrap();
}

#[test]
fn after_every_call() {
    let disk = Fault::new();
    script(&disk, &mut Known::default()).unwrap();
    let calls = disk.calls();
    assert!(calls > 300, "{calls}");
    for call in 0..calls {
        let disk = Fault::new();
        disk.power_off_after(call);
        let mut known = Known::default();
        script(&disk, &mut known).unwrap_err();
        // The process dies but the system lives.
        let alive = disk.duplicate();
        check(&alive, &mut known, &format!("killed after call {call}"));
        // The power fails.
        disk.crash(call);
        check(&disk, &mut known, &format!("power off after call {call}"));
    }
}

#[test]
fn power_cuts_with_seeds() {
    let disk = Fault::new();
    script(&disk, &mut Known::default()).unwrap();
    let calls = disk.calls();
    let mut random = fastrand::Rng::with_seed(42);
    for seed in 0..300 {
        let disk = Fault::new();
        let mut known = Known::default();
        disk.power_off_after(random.u64(0..calls));
        let _ = script(&disk, &mut known);
        disk.crash(seed);
        // Again during recovery.
        disk.power_off_after(random.u64(0..60));
        let _ = open(&disk).map(|log| verify(&log.view()));
        disk.crash(seed + 1000);
        check(&disk, &mut known, &format!("seed {seed}"));
    }
}

/// The same with the background thread and many appending threads.
#[test]
fn power_cuts_under_threads() {
    for seed in 0..60 {
        let disk = Fault::new();
        let options = Options {
            background: true,
            ..options()
        };
        let log = Log::open(Arc::new(disk.clone()), options.clone()).unwrap();
        disk.power_off_after(fastrand::Rng::with_seed(seed).u64(20..400));
        let acknowledged = std::thread::scope(|scope| {
            let append = |thread: u64| {
                let log = &log;
                move || {
                    let mut last = 0;
                    for n in 0..200u64 {
                        let mut batch = ensue_log::Batch::new();
                        let id = Some(u128::from(thread * 1000 + n));
                        let body = vec![thread as u8; 300];
                        batch
                            .push(&ensue_log::Record {
                                kind: 0,
                                id,
                                topic: "t",
                                key: b"k",
                                body: &body,
                            })
                            .unwrap();
                        match log.append(batch) {
                            Ok(receipt) => last = receipt.end().get(),
                            Err(_) => break,
                        }
                    }
                    last
                }
            };
            let threads: Vec<_> = (0..4).map(|thread| scope.spawn(append(thread))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .max()
                .unwrap()
        });
        drop(log);
        disk.crash(seed);
        let log = Log::open(Arc::new(disk), options).unwrap();
        assert!(log.durable().get() >= acknowledged, "seed {seed}");
        assert!(
            log.view().check(&mut |_| ()).unwrap().is_good(),
            "seed {seed}"
        );
    }
}

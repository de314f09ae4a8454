//! Calls that fail. A failed sync ends the log's life: nothing after it is acknowledged. A full
//! disk loses nothing and the log goes on. Interrupted and short calls do not show.

use std::sync::Arc;

use ensue_log::storage::{Failure, Fault, Op};
use ensue_log::{Error, Log, Options, SubmitError};

use super::appenders::{Appender, Appenders};
use super::effort::each;
use super::script::{Known, SHORT, check};
use crate::support::{batch, block_on, open, options, verify};

/// The k-th sync of the frames fails, for every k.
pub(crate) fn the_kth_sync(count: u64) {
    each(count, |number| {
        let k = number + 1;
        let disk = Fault::new();
        let log = open(&disk).unwrap();
        // After the first record the k-th sync is the k-th frame's, or that of a new segment.
        log.append(batch(0, 1)).unwrap();
        disk.trace();
        let before = disk.count(Op::SyncData);
        disk.fail(Op::SyncData, k, Failure::Eio);
        let mut acknowledged = 1;
        let error = loop {
            match log.append(batch(acknowledged, 1)) {
                Ok(_) => acknowledged += 1,
                Err(error) => break error,
            }
            if disk.count(Op::SyncData) >= before + k {
                // Indexes and the newest segment's name in the manifest can wait.
                let syncs = disk.trace().into_iter();
                let mut syncs = syncs.filter(|call| call.op == Op::SyncData);
                let name = syncs.nth(k as usize - 1).unwrap().name;
                assert!(
                    name.ends_with(".tmp") && !name.starts_with("log/"),
                    "{name}"
                );
                return;
            }
        };
        assert!(acknowledged <= k, "sync {k}: acknowledged after a failure");
        let is_told = matches!(error, Error::Indeterminate { .. });
        assert!(is_told, "sync {k}: {error}");
        is_poisoned(&log, &disk, acknowledged);
        drop(log);
        disk.crash(k);
        let log = open(&disk).unwrap_or_else(|error| panic!("sync {k}: {error}"));
        let end = verify(&log.view()).unwrap();
        let (least, most) = (acknowledged, acknowledged + 1);
        assert!((least..=most).contains(&end), "sync {k}: {end} records");
    });
}

/// Nothing is taken or synced any more, what was durable can be read.
fn is_poisoned(log: &Log, disk: &Fault, durable: u64) {
    let syncs = disk.count(Op::SyncData);
    let refused = log.append(batch(durable, 1));
    assert!(
        matches!(refused, Err(Error::Poisoned { .. })),
        "{refused:?}"
    );
    let refused = log.submit(batch(durable, 1));
    assert!(matches!(refused, Err(SubmitError::Poisoned { .. })));
    let stopped = log.changed(log.durable()).wait();
    assert!(matches!(stopped, Err(Error::Poisoned { .. })));
    let stopped = block_on(log.changed(log.durable()));
    assert!(matches!(stopped, Err(Error::Poisoned { .. })));
    assert!(log.status().poisoned.is_some());
    assert_eq!(verify(&log.view()).unwrap(), durable);
    assert!(matches!(log.close(), Err(Error::Poisoned { .. })));
    let repeated = disk.count(Op::SyncData) - syncs;
    assert_eq!(repeated, 0, "a failed sync was repeated");
}

/// The system forgets what it could not sync, and says so only once: the process that opens the
/// log next must not believe what it finds in memory.
pub(crate) fn then_the_process_dies(count: u64) {
    each(count, |number| {
        let disk = Fault::new();
        disk.fail(Op::SyncData, number + 1, Failure::Eio);
        let mut known = Known::default();
        let _ = SHORT.run(&disk, &mut known);
        disk.kill();
        check(&disk, &known, &|| format!("sync {}", number + 1));
    });
}

/// Several threads, some with batches in flight, when a sync or a write fails.
pub(crate) fn under_threads(seeds: u64) {
    each(seeds, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = Fault::new();
        let options = Options {
            background: random.bool(),
            frame_bytes_max: *random.choice(&[4096, 1 << 20]).unwrap(),
            ..options()
        };
        let log = Log::open(Arc::new(disk.clone()), options.clone()).unwrap();
        let mut appenders = Appenders::new(3);
        let op = *random
            .choice(&[Op::SyncData, Op::Write, Op::SyncDir])
            .unwrap();
        disk.fail(op, random.u64(1..40), Failure::Eio);
        appenders.run(&log, seed, 15);
        appenders.check(&log, &|| format!("seed {seed}, while open"));
        drop(log);
        // Both ways to go on: with what the system has in memory, and with what the disk has.
        if random.bool() {
            disk.kill()
        } else {
            disk.crash(seed)
        }
        for turn in 0..2 {
            let context = || format!("seed {seed}, turn {turn}: {op:?}");
            let log = Log::open(Arc::new(disk.clone()), options.clone())
                .unwrap_or_else(|error| panic!("{}: {error}", context()));
            appenders.check(&log, &context);
            appenders.each(Appender::retry, &log);
            appenders.check(&log, &context);
            drop(log);
            disk.crash(seed);
        }
    });
}

const OPS: [Op; 10] = [
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

/// Every call of every kind fails once, in each way: no panic, and nothing acknowledged is lost.
pub(crate) fn every_call_fails(step: u64) {
    let run = |disk: &Fault, known: &mut Known| {
        for _ in 0..2 {
            // Whatever failed: the next life goes on.
            let _ = SHORT.run(disk, known);
            disk.kill();
        }
    };
    let reference = Fault::new();
    run(&reference, &mut Known::default());
    for op in OPS {
        for failure in [
            Failure::Eio,
            Failure::Enospc,
            Failure::Eintr,
            Failure::Short,
        ] {
            each(reference.count(op).div_ceil(step), |number| {
                let nth = number * step + 1;
                let disk = Fault::new();
                disk.fail(op, nth, failure);
                let mut known = Known::default();
                run(&disk, &mut known);
                let context = || format!("{failure:?} at {op:?} call {nth}");
                check(&disk.duplicate(), &known, &context);
                disk.crash(nth);
                check(&disk, &known, &context);
            });
        }
    }
}

/// Interruptions and short calls, one at each call and at every second call.
pub(crate) fn interruptions_do_not_show(step: u64) {
    let cases = [
        (Op::Write, Failure::Eintr),
        (Op::Write, Failure::Short),
        (Op::Read, Failure::Eintr),
        (Op::Read, Failure::Short),
        (Op::SyncData, Failure::Eintr),
        (Op::SyncDir, Failure::Eintr),
        (Op::Rename, Failure::Eintr),
        (Op::Create, Failure::Eintr),
        (Op::Preallocate, Failure::Eintr),
    ];
    let reference = Fault::new();
    SHORT.run(&reference, &mut Known::default()).unwrap();
    for (op, failure) in cases {
        let calls = reference.count(op);
        each(calls.div_ceil(step) + 1, |number| {
            let disk = Fault::new();
            match number {
                0 => (1..=calls).for_each(|nth| disk.fail(op, nth * 2, failure)),
                _ => disk.fail(op, (number - 1) * step + 1, failure),
            }
            let mut known = Known::default();
            let context = || format!("{failure:?} at {op:?}, {number}");
            SHORT
                .run(&disk, &mut known)
                .unwrap_or_else(|error| panic!("{}: {error}", context()));
            check(&disk, &known, &context);
        });
    }
}

/// The disk fills up at each number of bytes: appends fail until there is room, then go on; what
/// was refused is not remembered, what was acknowledged stays.
pub(crate) fn a_full_disk(seeds: u64) {
    each(seeds, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = Fault::new();
        let log = open(&disk).unwrap();
        let (mut at, mut full) = (0, 0);
        while full < 3 {
            let count = random.u64(1..20);
            if random.u8(0..8) == 0 {
                disk.set_capacity(Some(disk.used() + random.u64(0..80_000)));
            }
            match log.append(batch(at, count)) {
                Ok(receipt) => {
                    assert_eq!(
                        (receipt.first().get(), receipt.appended()),
                        (at, count as usize)
                    );
                    at += count;
                }
                Err(error) => {
                    let is_full = matches!(error, Error::DiskFull { .. });
                    assert!(is_full, "seed {seed}: {error}");
                    assert!(log.status().poisoned.is_none(), "seed {seed}");
                    assert_eq!(log.end().get(), at, "seed {seed}");
                    assert_eq!(verify(&log.view()).unwrap(), at, "seed {seed}");
                    full += 1;
                    disk.set_capacity(None);
                }
            }
        }
        assert_eq!(log.status().duplicates, 0, "seed {seed}");
        drop(log);
        disk.crash(seed);
        let log = open(&disk).unwrap();
        assert_eq!(verify(&log.view()).unwrap(), at, "seed {seed}");
    });
}

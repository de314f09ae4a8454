//! One flipped bit anywhere: reported when the log is opened, read or checked, or without effect.
//! Never served altered, never cut off in silence.

use std::sync::Arc;

use ensue_log::storage::Fault;
use ensue_log::{Error, Log, Options, Position};

use super::effort::each;
use crate::support::{batch, open, options, verify};

/// One segment with two frames, and a checkpoint.
pub(crate) fn small() -> Fault {
    let disk = Fault::new();
    let log = open(&disk).unwrap();
    log.append(batch(0, 2)).unwrap();
    log.append(batch(2, 1)).unwrap();
    log.checkpoint(Position::new(2), b"state").unwrap();
    log.close().unwrap();
    disk
}

/// Two segments, so that one has an index file, and two checkpoints.
pub(crate) fn several_files() -> Fault {
    let disk = Fault::new();
    let log = open(&disk).unwrap();
    let mut at = 0;
    for count in [3, 1, 60, 30, 2] {
        log.append(batch(at, count)).unwrap();
        at += count;
    }
    log.checkpoint(Position::new(2), b"older").unwrap();
    log.checkpoint(Position::new(4), b"newer").unwrap();
    log.close().unwrap();
    let names = disk.names();
    for (extension, count) in [(".seg", 2), (".idx", 1), (".cp", 2)] {
        let found = names.iter().filter(|name| name.ends_with(extension));
        assert_eq!(found.count(), count, "{names:?}");
    }
    disk
}

/// A copy of a disk on which a bit of a file has changed, of which `whole` is the content.
fn with_a_bit_flipped(disk: &Fault, name: &str, whole: &[u8], byte: usize, bit: usize) -> Fault {
    let mut damaged = whole.to_vec();
    damaged[byte] ^= 1 << bit;
    let copy = disk.duplicate();
    copy.overwrite(name, &damaged);
    copy
}

/// Every `step`-th used byte of every file of a closed log.
pub(crate) fn every_byte(disk: &Fault, step: usize) {
    for name in disk.names() {
        let whole = disk.contents(&name).unwrap();
        let end = whole.len() - whole.iter().rev().take_while(|byte| **byte == 0).count();
        each(end.div_ceil(step) as u64, |number| {
            let byte = number as usize * step;
            let copy = with_a_bit_flipped(disk, &name, &whole, byte, byte % 8);
            assert!(is_noticed(&copy), "{name} byte {byte} of {end}");
        });
    }
}

fn is_noticed(disk: &Fault) -> bool {
    let log = match open(disk) {
        Ok(log) => log,
        Err(error) => {
            assert!(is_damage(&error), "{error}");
            return true;
        }
    };
    // The check first: reading rebuilds an index that is damaged.
    let report = log.view().check(&mut |_| ()).unwrap();
    // Whatever is served is right; `verify` panics when it is not.
    let served = verify(&log.view());
    if report.is_good() {
        assert!(served.is_ok(), "a read failed, the check did not");
    }
    !report.is_good()
}

fn is_damage(error: &Error) -> bool {
    matches!(error, Error::Corrupt { .. } | Error::Version { .. })
}

/// The zeroes behind the end hold nothing: a bit there changes nothing that is read, now or after
/// the log has gone on, and is gone after a crash.
pub(crate) fn behind_the_end(closed: bool, flips: u64) {
    let disk = Fault::new();
    let log = open(&disk).unwrap();
    log.append(batch(0, 5)).unwrap();
    let end = log.status().bytes as usize + 4096;
    if closed {
        log.close().unwrap();
    }
    drop(log);
    let name = crate::support::last_segment(&disk);
    let whole = disk.contents(&name).unwrap();
    each(flips, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let byte = random.usize(end..whole.len());
        let copy = disk.duplicate();
        let mut damaged = whole.clone();
        damaged[byte] ^= 1 << random.u8(0..8);
        copy.overwrite(&name, &damaged);
        let mut at = 5;
        for _ in 0..3 {
            let log = open(&copy).unwrap_or_else(|error| panic!("byte {byte}: {error}"));
            assert_eq!(verify(&log.view()).unwrap(), at, "byte {byte}");
            log.append(batch(at, 2)).unwrap();
            at += 2;
            drop(log);
            copy.crash(seed);
        }
        let log = open(&copy).unwrap();
        assert_eq!(verify(&log.view()).unwrap(), at, "byte {byte}");
        assert_eq!(log.recovery().torn_file, None, "byte {byte}");
    });
}

/// In a log that was not closed the last frame cannot be told from a torn one. Then it is cut off,
/// as a whole, and said. Whatever lies before it is damage.
pub(crate) fn of_a_log_that_crashed(step: usize) {
    let disk = Fault::new();
    let log = open(&disk).unwrap();
    log.append(batch(0, 2)).unwrap();
    log.append(batch(2, 1)).unwrap();
    let last = log.status().bytes as usize + 4096;
    log.append(batch(3, 2)).unwrap();
    let end = log.status().bytes as usize + 4096;
    drop(log);
    let name = crate::support::last_segment(&disk);
    let whole = disk.contents(&name).unwrap();
    each(end.div_ceil(step) as u64, |number| {
        let byte = number as usize * step;
        let copy = with_a_bit_flipped(&disk, &name, &whole, byte, byte % 8);
        match open(&copy) {
            Err(error) => assert!(byte < last && is_damage(&error), "byte {byte}: {error}"),
            Ok(log) => {
                assert!(byte >= last, "byte {byte} was not noticed");
                assert_eq!(verify(&log.view()).unwrap(), 3, "byte {byte}");
                let recovery = log.recovery();
                assert!(recovery.torn_file.is_some(), "byte {byte}: cut in silence");
                assert_eq!(recovery.torn_offset, last as u64, "byte {byte}");
            }
        }
    });
}

/// A closed log of more than `bytes` in segments of 1 MiB.
fn large(bytes: u64) -> Fault {
    let disk = Fault::new();
    let log = Log::open(Arc::new(disk.clone()), large_options()).unwrap();
    while log.status().bytes < bytes {
        log.append(batch(log.end().get(), 40)).unwrap();
    }
    log.checkpoint(Position::new(40), &[7; 5000]).unwrap();
    log.close().unwrap();
    disk
}

fn large_options() -> Options {
    Options {
        segment_bytes: 1024 * 1024,
        ..options()
    }
}

/// Bits at random places of a large log: reading the log through, or checking it, reports them.
pub(crate) fn of_a_large_log(flips: u64, bytes: u64) {
    let disk = large(bytes);
    let files: Vec<(String, Vec<u8>)> = disk
        .names()
        .into_iter()
        .map(|name| (name.clone(), disk.contents(&name).unwrap()))
        .collect();
    let ends: Vec<usize> = files
        .iter()
        .map(|(_, bytes)| bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count())
        .collect();
    let total: usize = ends.iter().sum();
    assert!(total as u64 > bytes);
    each(flips, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut at = random.usize(0..total);
        let file = ends.iter().position(|end| {
            if at < *end {
                true
            } else {
                at -= end;
                false
            }
        });
        let (name, whole) = &files[file.unwrap()];
        let copy = with_a_bit_flipped(&disk, name, whole, at, random.usize(0..8));
        let context = || format!("seed {seed}: {name} byte {at}");
        let log = match Log::open(Arc::new(copy.clone()), large_options()) {
            Ok(log) => log,
            Err(error) => {
                assert!(is_damage(&error), "{}: {error}", context());
                return;
            }
        };
        let report = log.view().check(&mut |_| ()).unwrap();
        assert!(!report.is_good(), "{}", context());
        assert!(report.damage.iter().all(is_damage), "{}", context());
        // Comparing every record is the dearest part: for some it is enough.
        if seed % 16 == 0
            && let Err(error) = verify(&log.view())
        {
            assert!(is_damage(&error), "{}: {error}", context());
        }
    });
}

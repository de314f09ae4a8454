//! One flipped bit anywhere in a closed log is noticed: at open, or by a check; and never served.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

mod support;

use ensue_log::storage::Fault;
use ensue_log::{Error, Position};
use support::{batch, open, verify};

/// One frame of few records: every byte.
#[test]
fn every_byte_of_a_small_log() {
    let disk = Fault::new();
    let log = open(&disk).unwrap();
    log.append(batch(0, 2)).unwrap();
    log.append(batch(2, 1)).unwrap();
    log.checkpoint(Position::new(2), b"state").unwrap();
    log.close().unwrap();
    drop(log);
    assert!(flip_all(&disk, 1) > 4500);
}

/// Two segments, so that one has an index file, and two checkpoints: a prime stride.
#[test]
fn some_bytes_of_every_file() {
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
    drop(log);
    let names = disk.names();
    assert_eq!(
        names.iter().filter(|name| name.ends_with(".seg")).count(),
        2,
        "{names:?}"
    );
    assert_eq!(
        names.iter().filter(|name| name.ends_with(".idx")).count(),
        1
    );

    assert!(flip_all(&disk, 37) > 1000);
}

/// Flips one bit in each `stride`-th used byte of each file; says how many.
fn flip_all(disk: &Fault, stride: usize) -> usize {
    let mut flipped = 0;
    for name in disk.names() {
        let whole = disk.contents(&name).unwrap();
        let end = whole.len() - whole.iter().rev().take_while(|byte| **byte == 0).count();
        let stride = if end > 4096 { stride } else { 1 };
        for byte in (0..end).step_by(stride) {
            let copy = disk.duplicate();
            let mut damaged = whole.clone();
            damaged[byte] ^= 1 << (byte % 8);
            copy.overwrite(&name, &damaged);
            assert!(is_noticed(&copy), "{name} byte {byte} of {end}");
            flipped += 1;
        }
    }
    flipped
}

fn is_noticed(disk: &Fault) -> bool {
    let log = match open(disk) {
        Ok(log) => log,
        Err(error) => {
            assert!(
                matches!(error, Error::Corrupt { .. } | Error::Version { .. }),
                "{error}"
            );
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

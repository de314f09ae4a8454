//! A record whose id was appended before is not appended again, also after a restart.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

use std::sync::Arc;

use ensue_log::storage::Fault;
use ensue_log::{Batch, Error, Log, Options, Position, Record, Retention, storage};

fn batch(ids: &[u128]) -> Batch {
    let mut batch = Batch::new();
    for id in ids {
        batch
            .push(&Record {
                kind: 0,
                id: Some(*id),
                topic: "t",
                key: b"k",
                body: &[7; 700],
            })
            .unwrap();
    }
    batch
}

#[test]
fn duplicates_give_the_first_position() {
    let storage = Arc::new(storage::Memory::new());
    let log = Log::open(storage, Options::default()).unwrap();
    log.append(batch(&[1, 2])).unwrap();
    let receipt = log.append(batch(&[3, 2, 4, 3])).unwrap();
    let positions: Vec<u64> = (0..4).map(|i| receipt.position(i).unwrap().get()).collect();
    assert_eq!(positions, [2, 1, 3, 2]);
    let duplicates: Vec<bool> = (0..4).map(|i| receipt.is_duplicate(i)).collect();
    assert_eq!(duplicates, [false, true, false, true]);
    assert_eq!((receipt.appended(), receipt.end()), (2, Position::new(4)));
    assert_eq!(log.durable(), Position::new(4));
    assert_eq!(log.append(batch(&[1])).unwrap().first(), Position::ZERO);
}

#[test]
fn the_window_survives_restarts_and_is_bounded() {
    let storage = storage::Memory::new();
    let options = Options {
        segment_bytes: 64 * 1024,
        dedup_window: 500,
        ..Options::default()
    };
    for restart in 0..3 {
        let log = Log::open(Arc::new(storage.clone()), options.clone()).unwrap();
        if restart == 0 {
            for id in 0..1000 {
                log.append(batch(&[id])).unwrap();
            }
        }
        // The newest 500 are known, wherever their segments are.
        for id in [999, 750, 500] {
            let receipt = log.append(batch(&[id])).unwrap();
            assert_eq!((receipt.appended(), receipt.first().get()), (0, id as u64));
        }
        if restart == 1 {
            log.close().unwrap();
        }
    }
    let log = Log::open(Arc::new(storage), options).unwrap();
    assert_eq!(
        log.append(batch(&[499])).unwrap().appended(),
        1,
        "older than the window"
    );
    assert_eq!(log.append(batch(&[499])).unwrap().appended(), 0);
    assert_eq!(
        log.append(batch(&[500])).unwrap().appended(),
        1,
        "pushed out of the window"
    );
}

fn trimming(window: u32) -> Options {
    Options {
        segment_bytes: 64 * 1024,
        dedup_window: window,
        retention: Retention {
            bytes: Some(200_000),
            age: None,
        },
        background: false,
        ..Options::default()
    }
}

/// Appends ids up to `end` one by one and trims now and then.
fn fill(log: &Log, end: u128) {
    for id in u128::from(log.end().get())..end {
        log.append(batch(&[id])).unwrap();
        if id % 97 == 0 {
            log.trim(Position::MAX).unwrap();
        }
    }
    log.trim(Position::MAX).unwrap();
}

/// Every id from `first` on is known, at its position, and the one before is not.
fn knows_from(log: &Log, first: u128, end: u128) {
    for id in first..end {
        let receipt = log.append(batch(&[id])).unwrap();
        assert_eq!(
            (receipt.appended(), receipt.first().get()),
            (0, id as u64),
            "id {id}"
        );
    }
}

#[test]
fn retention_does_not_narrow_the_window() {
    const WINDOW: u32 = 1000;
    let disk = Fault::new();
    let mut end = 0;
    for restart in 0..4 {
        let log = Log::open(Arc::new(disk.clone()), trimming(WINDOW)).unwrap();
        let known = u128::from(WINDOW).min(end);
        knows_from(&log, end - known, end);
        end += 900;
        fill(&log, end);
        assert!(log.first().get() > 300, "nothing was trimmed");
        knows_from(&log, end - u128::from(WINDOW).min(end), end);
        match restart % 2 {
            0 => log.close().unwrap(),
            _ => disk.crash(restart),
        }
    }
    let log = Log::open(Arc::new(disk.clone()), trimming(WINDOW)).unwrap();
    knows_from(&log, end - u128::from(WINDOW), end);
    let forgotten = end - u128::from(WINDOW) - 1;
    assert_eq!(log.append(batch(&[forgotten])).unwrap().appended(), 1);
    // What the window has passed is removed.
    let bytes: usize = disk
        .names()
        .iter()
        .filter(|name| name.ends_with(".ids"))
        .map(|name| disk.contents(name).unwrap().len())
        .sum();
    assert!(bytes < 2 * 20 * WINDOW as usize, "{bytes} bytes of ids");
}

#[test]
fn damaged_ids_of_trimmed_segments_are_named() {
    let disk = Fault::new();
    let log = Log::open(Arc::new(disk.clone()), trimming(1000)).unwrap();
    fill(&log, 900);
    drop(log);
    let names = disk.names();
    let name = names.iter().find(|name| name.ends_with(".ids")).unwrap();
    let mut bytes = disk.contents(name).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    disk.overwrite(name, &bytes);
    let log = Log::open(Arc::new(disk.clone()), trimming(1000)).unwrap();
    let error = log.append(batch(&[5000])).unwrap_err();
    assert!(
        matches!(&error, Error::Corrupt { file, .. } if file.contains(".ids")),
        "{error}"
    );
    let report = log.view().check(&mut |_| {}).unwrap();
    assert_eq!(report.damage.len(), 1, "{:?}", report.damage);
}

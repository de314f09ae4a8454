//! A record whose id was appended before is not appended again, also after a restart.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

use std::sync::Arc;

use ensue_log::{Batch, Log, Options, Position, Record, storage};

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

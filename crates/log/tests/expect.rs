//! Conditional appends.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

use std::sync::Arc;

use ensue_log::{Batch, Error, Expect, Log, Options, Position, Record, storage};

fn batch(key: &[u8], id: Option<u128>, expect: Expect) -> Batch {
    let mut batch = Batch::new();
    batch
        .push(&Record {
            kind: 0,
            id,
            topic: "t",
            key,
            body: &[0; 500],
        })
        .unwrap();
    batch.expect("t", key, expect);
    batch
}

#[test]
fn holds_or_conflicts() {
    let storage = storage::Memory::new();
    let options = Options {
        segment_bytes: 64 * 1024,
        ..Options::default()
    };
    let log = Log::open(Arc::new(storage.clone()), options.clone()).unwrap();
    assert_eq!(
        log.append(batch(b"a", None, Expect::Absent))
            .unwrap()
            .first(),
        Position::ZERO
    );
    let error = log.append(batch(b"a", None, Expect::Absent)).unwrap_err();
    let Error::Conflict(conflict) = error else {
        panic!("{error}")
    };
    assert_eq!(
        (conflict.found, conflict.expected),
        (Some(Position::ZERO), Expect::Absent)
    );
    assert!(
        conflict
            .to_string()
            .contains("expected to be absent, it is at 0"),
        "{conflict}"
    );
    assert!(
        log.append(batch(b"b", None, Expect::At(Position::ZERO)))
            .is_err()
    );
    log.append(batch(b"a", Some(1), Expect::At(Position::ZERO)))
        .unwrap();
    // A retry of what succeeded is a duplicate, not a conflict.
    assert_eq!(
        log.append(batch(b"a", Some(1), Expect::At(Position::ZERO)))
            .unwrap()
            .appended(),
        0
    );

    // Push key a out of the active segment, then out of memory.
    for n in 0..500u32 {
        log.append(batch(&n.to_le_bytes(), None, Expect::Absent))
            .unwrap();
    }
    assert!(log.append(batch(b"a", None, Expect::Absent)).is_err());
    assert_eq!(
        log.view().last_of_key("t", b"a").unwrap(),
        Some(Position::new(1))
    );
    drop(log);
    let log = Log::open(Arc::new(storage), options).unwrap();
    assert!(
        log.append(batch(&7u32.to_le_bytes(), None, Expect::Absent))
            .is_err()
    );
    log.append(batch(b"a", None, Expect::At(Position::new(1))))
        .unwrap();
}

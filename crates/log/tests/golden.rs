//! Logs written by released formats open forever, with exactly what was written.
//!
//! `tests/golden/v1` was written once, by the ignored test below, and never changes. A new format
//! gets a new directory.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ensue_log::{Follower, Log, Options, Position, Query, Topic, storage};
use support::verify;

const TIME: i64 = 1_700_000_000_000_000;
/// Records in four frames; the last starts a segment.
const FRAMES: [u64; 4] = [3, 1, 60, 16];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

fn options() -> Options {
    Options {
        clock: Arc::new(|| TIME),
        ..support::options()
    }
}

/// Opening changes files: tests work on a copy.
fn copy_of_golden() -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for directory in ["", "log", "idx", "checkpoint"] {
        std::fs::create_dir_all(copy.path().join(directory)).unwrap();
        for entry in std::fs::read_dir(golden().join(directory)).unwrap() {
            let from = entry.unwrap().path();
            if from.is_file() {
                std::fs::copy(
                    &from,
                    copy.path().join(directory).join(from.file_name().unwrap()),
                )
                .unwrap();
            }
        }
    }
    copy
}

/// Until a process has opened the log, and made it again.
#[test]
fn an_index_file_of_an_earlier_version_is_no_damage() {
    let copy = copy_of_golden();
    let mut patched = 0;
    for entry in std::fs::read_dir(copy.path().join("idx")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let version = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
        bytes[8..12].copy_from_slice(&(version - 1).to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        patched += 1;
    }
    assert!(patched > 0);
    let follower = Follower::open(Arc::new(storage::File::new(copy.path()))).unwrap();
    let report = follower.view().check(&mut |_| ()).unwrap();
    assert!(report.is_good(), "{:?}", report.damage);
    assert_eq!(verify(&follower.view()).unwrap(), 80);
}

#[test]
fn version_1() {
    let copy = copy_of_golden();
    let log = Log::open(Arc::new(storage::File::new(copy.path())), options()).unwrap();
    assert!(log.recovery().clean);
    let view = log.view();
    assert!(view.check(&mut |_| ()).unwrap().is_good());
    assert_eq!(
        (log.first(), log.durable()),
        (Position::ZERO, Position::new(80))
    );
    assert_eq!(log.status().segments, 2);
    assert_eq!(verify(&view).unwrap(), 80);
    let mut scan = view.scan(Query::default());
    while let Some(chunk) = scan.next_chunk().unwrap() {
        assert!(
            chunk
                .iter()
                .all(|entry| entry.time == TIME && entry.kind == 1)
        );
    }
    let (at, state) = view.checkpoint().unwrap().unwrap();
    assert_eq!(
        (at, &state[..]),
        (Position::new(64), &b"state of version 1"[..])
    );
    let orders = Topic {
        kind: 1,
        name: "orders".to_owned(),
        records: 27,
        first: Position::ZERO,
        last: Position::new(78),
    };
    assert_eq!(view.topics().unwrap()[1], orders);
    // Keys are found by their hashes in the index file, ids by the ids in it.
    assert_eq!(
        view.last_of_key("orders", b"key-0").unwrap(),
        Some(Position::new(75))
    );
    assert_eq!(
        view.last_of_key("payments", b"key-1").unwrap(),
        Some(Position::new(76))
    );
    assert_eq!(log.append(support::batch(0, 80)).unwrap().appended(), 0);
    assert_eq!(
        log.append(support::batch(80, 1)).unwrap().first(),
        Position::new(80)
    );
}

#[test]
#[ignore = "writes the golden files: only ever for a new format"]
fn write() {
    let _ = std::fs::remove_dir_all(golden());
    let log = Log::open(Arc::new(storage::File::new(golden())), options()).unwrap();
    let mut at = 0;
    for count in FRAMES {
        log.append(support::batch(at, count)).unwrap();
        at += count;
        if at == 64 {
            log.checkpoint(Position::new(at), b"state of version 1")
                .unwrap();
        }
    }
    log.close().unwrap();
    std::fs::remove_file(golden().join("LOCK")).unwrap();
    // The zeroes ahead are not worth keeping.
    for entry in std::fs::read_dir(golden().join("log")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).unwrap() / 8 * 8 + 8);
        std::fs::write(&path, bytes).unwrap();
    }
}

//! What a small log takes: on the disk, and in memory.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use ensue_log::{Batch, Durability, Log, Options, Record, storage};

fn event(number: u64) -> Batch {
    let mut batch = Batch::new();
    let key = format!("key-{}", number % 100);
    let record = Record {
        kind: 0,
        id: Some(u128::from(number)),
        topic: "orders",
        key: key.as_bytes(),
        body: &[b'x'; 150],
    };
    batch.push(&record).unwrap();
    batch
}

/// The bytes that the files below take from the disk.
fn disk_bytes(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap();
    let bytes = entries.map(|entry| {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            disk_bytes(&entry.path())
        } else {
            entry.metadata().unwrap().blocks() * 512
        }
    });
    bytes.sum()
}

#[test]
fn thirteen_thousand_small_events_take_little_room() {
    // 3 MB of them. Segments of 256 KiB, 512 KiB, 1 MiB and 2 MiB, and where the machine is fast
    // the next one.
    const BYTES_MAX: u64 = 9_000_000;
    let directory = tempfile::tempdir().unwrap();
    let storage = Arc::new(storage::File::new(directory.path()));
    let log = Log::open(storage, Options::default()).unwrap();
    let mut last = None;
    for number in 0..13_000 {
        last = Some(log.submit(event(number)).unwrap());
        if number % 64 == 0 {
            last.take().unwrap().wait().unwrap();
        }
    }
    drop(last);
    log.close().unwrap();
    let bytes = disk_bytes(directory.path());
    assert!(bytes < BYTES_MAX, "{bytes} bytes on disk");
}

/// The memory of this process, as the system counts it.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// One at a time, so that each has a frame of its own.
#[test]
fn a_hundred_thousand_small_events_take_no_more_memory_than_their_limit() {
    const TAIL_BYTES: usize = 8 * 1024 * 1024;
    // The index of the segment and the window of ids are small beside what each frame once took.
    const REST_BYTES: u64 = 64 * 1024 * 1024;
    let directory = tempfile::tempdir().unwrap();
    let storage = Arc::new(storage::File::new(directory.path()));
    let options = Options {
        durability: Durability::Os,
        tail_bytes_max: TAIL_BYTES,
        dedup_window: 1024,
        ..Options::default()
    };
    let log = Log::open(storage, options).unwrap();
    let before = resident_bytes();
    for number in 0..100_000 {
        log.append(event(number)).unwrap();
    }
    let grown = resident_bytes() - before;
    let bytes_max = TAIL_BYTES as u64 + REST_BYTES;
    assert!(grown < bytes_max, "{grown} bytes of memory");
}

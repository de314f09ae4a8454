//! Reading what is in memory, where nothing may wait for the disk.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

mod support;

use std::sync::Arc;

use ensue_log::storage::{Fault, Memory};
use ensue_log::{AtHand, Batch, Log, Options, Query, Record, Scan, Storage};

const RECORDS: u64 = 400;

/// A log of several segments, whose newest frames are not kept in memory.
fn filled(storage: impl Storage + 'static) -> Log {
    let options = Options {
        tail_bytes_max: 0,
        ..support::options()
    };
    let log = Log::open(Arc::new(storage), options).unwrap();
    for first in (0..RECORDS).step_by(10) {
        log.append(support::batch(first, 10)).unwrap();
    }
    log
}

fn orders() -> Query {
    Query {
        topics: Some(Arc::new(|topic: &str| topic == "orders")),
        ..Query::default()
    }
}

/// The positions of what a scan gives, up to where the disk has to be asked.
fn at_hand(scan: &mut Scan) -> (Vec<u64>, bool) {
    let mut found = Vec::new();
    loop {
        match scan.next_at_hand().unwrap() {
            AtHand::Chunk(chunk) => found.extend(chunk.iter().map(|it| it.position.get())),
            AtHand::End => return (found, true),
            AtHand::OnDisk => return (found, false),
        }
    }
}

fn from_disk(scan: &mut Scan) -> Vec<u64> {
    let mut found = Vec::new();
    while let Some(chunk) = scan.next_chunk().unwrap() {
        found.extend(chunk.iter().map(|it| it.position.get()));
    }
    found
}

#[test]
fn what_is_in_memory_is_the_same_as_what_is_on_disk() {
    let log = filled(Memory::new());
    for query in [Query::default(), orders()] {
        let all = from_disk(&mut log.view().scan(query.clone()));
        assert!(all.len() as u64 >= RECORDS / 3);
        // Files and indexes are open by now.
        assert_eq!(at_hand(&mut log.view().scan(query)), (all, true));
    }
}

#[test]
fn a_scan_goes_on_from_the_disk_where_memory_does_not_have_it() {
    // This one cannot tell what is in memory.
    let log = filled(Fault::new());
    for query in [Query::default(), orders()] {
        let all = from_disk(&mut log.view().scan(query.clone()));
        let mut scan = log.view().scan(query);
        assert_eq!(at_hand(&mut scan), (Vec::new(), false));
        assert_eq!(from_disk(&mut scan), all, "nothing was passed over");
    }
}

#[test]
fn an_index_that_is_not_open_is_not_read_where_nothing_may_wait() {
    let storage = Memory::new();
    drop(filled(storage.clone()));
    let log = support::open(&storage).unwrap();
    let (found, is_end) = at_hand(&mut log.view().scan(orders()));
    assert!(found.is_empty() && !is_end, "{found:?}");
}

#[test]
fn what_is_looked_for_by_key_or_time_is_on_disk() {
    let log = filled(Memory::new());
    let key = Query {
        key: Some(("orders".to_owned(), support::key(0))),
        ..Query::default()
    };
    let since = Query {
        since: Some(0),
        ..Query::default()
    };
    let until = Query {
        until: Some(i64::MAX),
        ..Query::default()
    };
    for query in [key, since, until] {
        let mut scan = log.view().scan(query);
        assert!(matches!(scan.next_at_hand().unwrap(), AtHand::OnDisk));
    }
}

#[test]
fn a_large_frame_is_not_copied_where_nothing_may_wait() {
    let log = filled(Memory::new());
    let mut batch = Batch::new();
    let large = Record {
        kind: 1,
        id: None,
        topic: "large",
        key: b"",
        body: &vec![7; 300 * 1024],
    };
    batch.push(&large).unwrap();
    log.append(batch).unwrap();
    let all = from_disk(&mut log.view().scan(Query::default()));
    let mut scan = log.view().scan(Query::default());
    let (found, is_end) = at_hand(&mut scan);
    assert_eq!((found.len() as u64, is_end), (RECORDS, false));
    let rest = from_disk(&mut scan);
    assert_eq!([found, rest].concat(), all);
}

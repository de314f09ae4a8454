//! The indexes spare reads, and are rebuilt when they are gone.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

mod support;

use std::sync::Arc;

use ensue_log::storage::{Fault, Op};
use ensue_log::{Batch, Log, Position, Query, Record, Storage};
use support::{batch, open, verify};

/// Many segments; one key and one topic appear in the second only.
fn disk() -> (Fault, u64) {
    let disk = Fault::new();
    let log = open(&disk).unwrap();
    let append = |topic: &str, key: &[u8]| {
        let mut batch = Batch::new();
        batch
            .push(&Record {
                kind: 2,
                id: None,
                topic,
                key,
                body: &[1; 1000],
            })
            .unwrap();
        log.append(batch).unwrap().first().get()
    };
    let mut rare = 0;
    for n in 0..600u32 {
        append("common", &n.to_le_bytes());
        if n == 100 {
            rare = append("rare", b"one");
        }
    }
    assert!(log.status().segments > 9);
    log.close().unwrap();
    (disk, rare)
}

fn positions(log: &Log, query: Query) -> Vec<u64> {
    let mut scan = log.view().scan(query);
    let mut positions = Vec::new();
    while let Some(chunk) = scan.next_chunk().unwrap() {
        positions.extend(chunk.iter().map(|entry| entry.position.get()));
    }
    positions
}

/// The names of the segments read, and the bytes.
fn reads(disk: &Fault) -> (usize, u64) {
    let calls = disk.trace();
    let reads: Vec<_> = calls
        .iter()
        .filter(|call| call.op == Op::Read && call.bytes != 4096 && call.offset >= 4096)
        .collect();
    let bytes = reads.iter().map(|call| call.bytes).sum();
    (reads.len(), bytes)
}

#[test]
fn a_rare_topic_or_key_reads_little() {
    let (disk, rare) = disk();
    let log = open(&disk).unwrap();
    let topics = || Query {
        topics: Some(Arc::new(|topic| topic == "rare")),
        ..Query::default()
    };
    let key = || Query {
        key: Some(("rare".to_owned(), b"one".to_vec())),
        ..Query::default()
    };
    disk.trace();
    assert_eq!(positions(&log, topics()), [rare]);
    let (count, bytes) = reads(&disk);
    // One piece of one segment; the rest are small reads of indexes.
    assert!(bytes < 120_000, "{count} reads, {bytes} bytes");
    disk.trace();
    assert_eq!(positions(&log, key()), [rare]);
    assert_eq!(
        log.view().last_of_key("rare", b"one").unwrap(),
        Some(Position::new(rare))
    );
    let (count, bytes) = reads(&disk);
    assert!(bytes < 120_000, "{count} reads, {bytes} bytes");
    assert_eq!(
        positions(
            &log,
            Query {
                kinds: Some(vec![9]),
                ..Query::default()
            }
        ),
        [0u64; 0]
    );
    assert_eq!(log.view().last_of_key("rare", b"two").unwrap(), None);
}

#[test]
fn a_damaged_record_keeps_none_but_itself_from_being_read() {
    let (disk, _) = disk();
    // The index lists few of the frames: those between are found from the one before.
    let name = disk.names().into_iter().find(|it| it.ends_with(".seg"));
    let name = name.unwrap();
    let mut bytes = disk.contents(&name).unwrap();
    let third = 4096 + 2 * (64 + 1040);
    bytes[third + 500] ^= 1;
    disk.overwrite(&name, &bytes);
    let log = open(&disk).unwrap();
    let read = |at: u64| {
        let chunk = log.view().read(Position::new(at), 1)?;
        let first = chunk.iter().next().map(|entry| entry.position.get());
        Ok::<_, ensue_log::Error>(first)
    };
    let damaged: Vec<u64> = (0..60).filter(|at| read(*at).is_err()).collect();
    assert_eq!(damaged.len(), 1, "{damaged:?}");
    assert!(damaged[0] < 10, "{damaged:?}");
    for at in (0..60).filter(|at| *at != damaged[0]) {
        assert_eq!(read(at).unwrap(), Some(at));
    }
}

#[test]
fn missing_or_damaged_index_files_are_rebuilt() {
    let (disk, rare) = disk();
    let names: Vec<String> = disk
        .names()
        .into_iter()
        .filter(|name| name.ends_with(".idx"))
        .collect();
    assert!(names.len() > 8);
    let originals: Vec<_> = names
        .iter()
        .map(|name| disk.contents(name).unwrap())
        .collect();
    for (number, name) in names.iter().enumerate() {
        match number % 3 {
            0 => disk.remove(name).unwrap(),
            1 => disk.overwrite(name, b"EnsueIdx, but nothing else"),
            _ => {
                // Somewhere among the keys.
                let mut bytes = disk.contents(name).unwrap();
                let at = bytes.len() / 2;
                bytes[at] ^= 1;
                disk.overwrite(name, &bytes);
            }
        }
    }
    let log = open(&disk).unwrap();
    for n in 0..600u32 {
        assert!(
            log.view()
                .last_of_key("common", &n.to_le_bytes())
                .unwrap()
                .is_some(),
            "{n}"
        );
    }
    assert_eq!(
        log.view().last_of_key("rare", b"one").unwrap(),
        Some(Position::new(rare))
    );
    let topics = log.view().topics().unwrap();
    assert_eq!(
        topics.iter().map(|topic| topic.records).collect::<Vec<_>>(),
        [600, 1]
    );
    for (name, original) in names.iter().zip(originals) {
        assert_eq!(disk.contents(name), Some(original), "{name}");
    }
    assert!(log.view().check(&mut |_| ()).unwrap().is_good());
}

/// A copy of an index file whose first topic has a record less; every checksum is right.
fn without_a_record(bytes: &[u8]) -> Vec<u8> {
    const TABLE: usize = 56 + 24;
    let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let (start, length) = (u64_at(TABLE) as usize, u64_at(TABLE + 8) as usize);
    let name = bytes[start + 1] as usize;
    let word = start + 6 + name + 4;
    let records = u64_at(word);
    assert!(records.count_ones() > 1);
    let mut bytes = bytes.to_vec();
    bytes[word..word + 8].copy_from_slice(&(records & (records - 1)).to_le_bytes());
    let crc = crc32c::crc32c(&bytes[start..start + length]);
    bytes[TABLE + 16..TABLE + 20].copy_from_slice(&crc.to_le_bytes());
    // The version counts, too.
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[8..12]), &bytes[16..256]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes
}

#[test]
fn an_index_that_says_other_than_its_segment_is_damage() {
    let (disk, _) = disk();
    let mut names = disk.names().into_iter();
    let name = names.find(|it| it.ends_with(".idx")).unwrap();
    disk.overwrite(&name, &without_a_record(&disk.contents(&name).unwrap()));
    let damage = |disk: &Fault| {
        let report = open(disk).unwrap().view().check(&mut |_| ()).unwrap();
        let damage = report.damage.iter().map(ToString::to_string);
        damage.collect::<Vec<_>>()
    };
    let found = damage(&disk);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("not those of its segment"), "{found:?}");
    // As it says.
    disk.remove(&name).unwrap();
    assert_eq!(damage(&disk), [""; 0]);
}

#[test]
fn topics_count_by_kind_and_only_what_is_kept() {
    let disk = Fault::new();
    let log = open(&disk).unwrap();
    log.append(batch(0, 300)).unwrap();
    log.append(batch(300, 3)).unwrap();
    verify(&log.view()).unwrap();
    let topics = log.view().topics().unwrap();
    let names: Vec<_> = topics
        .iter()
        .map(|topic| (topic.name.as_str(), topic.kind, topic.records))
        .collect();
    assert_eq!(
        names,
        [("mail", 1, 101), ("orders", 1, 101), ("payments", 1, 101)]
    );
    assert_eq!(
        (topics[1].first, topics[1].last),
        (Position::ZERO, Position::new(300))
    );
}

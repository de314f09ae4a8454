//! Counting what lies in a range: exactly what a scan finds, from the indexes alone.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

mod support;

use std::sync::Arc;

use ensue_log::storage::{Failure, Fault, Op};
use ensue_log::{Batch, Log, Options, Position, Query, Record, Retention, View};
use proptest::prelude::*;

const TOPICS: [&str; 4] = ["orders", "mail", "rare", "sensors.hall"];

/// What happens to a log.
#[derive(Clone, Debug)]
enum Step {
    /// A frame of records of one kind and topic.
    Append {
        kind: u8,
        topic: usize,
        records: u32,
    },
    /// Closed and opened again: the indexes of sealed segments are files from here on.
    Reopen,
    /// Retention removes what it may.
    Trim,
}

fn step() -> impl Strategy<Value = Step> {
    let append = (0..3u8, 0..TOPICS.len(), 1..90u32);
    let append = append.prop_map(|(kind, topic, records)| Step::Append {
        kind,
        topic,
        records,
    });
    prop_oneof![20 => append, 1 => Just(Step::Reopen), 1 => Just(Step::Trim)]
}

/// A range in 1/1000 of what there is and a bit beyond it, a kind, and the topics by their bits.
#[derive(Clone, Debug)]
struct Asked {
    from: u64,
    to: u64,
    kind: u8,
    topics: u8,
}

fn asked() -> impl Strategy<Value = Asked> {
    (0..1100u64, 0..1100u64, 0..4u8, 0..16u8).prop_map(|(from, to, kind, topics)| Asked {
        from,
        to,
        kind,
        topics,
    })
}

fn open(disk: &Fault) -> Log {
    let options = Options {
        retention: Retention {
            bytes: Some(400_000),
            age: None,
        },
        ..support::options()
    };
    Log::open(Arc::new(disk.clone()), options).unwrap()
}

fn append(log: &Log, kind: u8, topic: &str, records: u32) {
    let mut batch = Batch::new();
    for number in 0..records {
        let record = Record {
            kind,
            id: None,
            topic,
            key: &number.to_le_bytes(),
            body: &[7; 150],
        };
        batch.push(&record).unwrap();
    }
    log.append(batch).unwrap();
}

fn run(disk: &Fault, steps: &[Step]) -> Log {
    let mut log = open(disk);
    for step in steps {
        match step {
            Step::Append {
                kind,
                topic,
                records,
            } => append(&log, *kind, TOPICS[*topic], *records),
            Step::Reopen => {
                log.close().unwrap();
                log = open(disk);
            }
            Step::Trim => drop(log.trim(Position::MAX).unwrap()),
        }
    }
    log
}

/// Every record: its position, kind and topic, read one by one.
fn all(view: &View) -> Vec<(u64, u8, String)> {
    let mut scan = view.scan(Query {
        from: view.first(),
        ..Query::default()
    });
    let mut all = Vec::new();
    while let Some(chunk) = scan.next_chunk().unwrap() {
        let found = chunk.iter();
        all.extend(found.map(|it| (it.position.get(), it.kind, it.topic.to_owned())));
    }
    all
}

fn check(view: &View, all: &[(u64, u8, String)], asked: &Asked) -> Result<(), TestCaseError> {
    let end = view.durable().get();
    let range = asked.from * end / 1000..asked.to * end / 1000;
    let wants = {
        let topics = asked.topics;
        move |topic: &str| {
            let number = TOPICS.iter().position(|it| *it == topic);
            number.is_some_and(|number| topics & (1 << number) != 0)
        }
    };
    let expected: Vec<u64> = all
        .iter()
        .filter(|(at, kind, topic)| range.contains(at) && *kind == asked.kind && wants(topic))
        .map(|(at, ..)| *at)
        .collect();
    let (from, to) = (Position::new(range.start), Position::new(range.end));
    let count = view.count(from, to, asked.kind, &wants).unwrap();
    prop_assert_eq!(count, expected.len() as u64, "{:?}", asked);

    let mut scan = view.scan(Query {
        from: from.max(view.first()),
        to: Some(to),
        kinds: Some(vec![asked.kind]),
        topics: Some(Arc::new(wants)),
        ..Query::default()
    });
    let mut found = Vec::new();
    while let Some(chunk) = scan.next_chunk().unwrap() {
        found.extend(chunk.iter().map(|it| it.position.get()));
    }
    prop_assert_eq!(found, expected, "{:?}", asked);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_count_is_what_a_scan_finds(
        steps in prop::collection::vec(step(), 1..60),
        asked in prop::collection::vec(asked(), 20),
    ) {
        let log = run(&Fault::new(), &steps);
        let view = log.view();
        let all = all(&view);
        for asked in asked {
            check(&view, &all, &asked)?;
        }
    }
}

#[test]
fn what_is_submitted_and_not_durable_does_not_count() {
    let disk = Fault::new();
    let log = open(&disk);
    append(&log, 1, "orders", 70);
    disk.fail(Op::SyncData, 1, Failure::Eio);
    let mut batch = Batch::new();
    let record = Record {
        kind: 1,
        id: None,
        topic: "orders",
        key: b"",
        body: b"",
    };
    batch.push(&record).unwrap();
    assert!(log.append(batch).is_err());
    let count = log
        .view()
        .count(Position::ZERO, Position::MAX, 1, &|_| true);
    assert_eq!(count.unwrap(), 70);
}

#[test]
fn a_count_reads_no_record() {
    let disk = Fault::new();
    let log = open(&disk);
    for number in 0..40 {
        append(&log, 1, TOPICS[number % 2], 37);
    }
    log.close().unwrap();
    let log = open(&disk);
    assert!(log.status().segments > 3);
    let view = log.view();
    // Every index file is open from here on.
    view.topics().unwrap();
    disk.trace();
    let end = view.durable().get();
    let mut counted = 0;
    for (from, to) in [(0, end), (1, end - 1), (100, 900), (end - 10, end)] {
        let (from, to) = (Position::new(from), Position::new(to));
        counted += view.count(from, to, 1, &|topic| topic == "mail").unwrap();
    }
    assert!(counted > 1000, "{counted}");
    let reads = disk.trace().into_iter().filter(|call| call.op == Op::Read);
    let reads: Vec<_> = reads
        .map(|call| (call.name, call.offset, call.bytes))
        .collect();
    assert_eq!(reads, []);
}

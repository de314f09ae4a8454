//! What is appended is read back, in order, also after a reopen and from other segments.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

use std::sync::Arc;

use ensue_log::{Batch, Log, Options, Position, Query, Record, storage};
use proptest::prelude::*;

#[derive(Clone, Debug, PartialEq)]
struct Owned {
    kind: u8,
    id: Option<u128>,
    topic: String,
    key: Vec<u8>,
    body: Vec<u8>,
}

fn records() -> impl Strategy<Value = Vec<Vec<Owned>>> {
    let bytes = |max| prop::collection::vec(any::<u8>(), 0..max);
    let record = (
        any::<u8>(),
        any::<bool>(),
        any::<u128>(),
        "[a-c.]{0,6}",
        bytes(4),
        bytes(3000),
    );
    let record = record.prop_map(|(kind, has_id, id, topic, key, body)| Owned {
        kind,
        id: has_id.then_some(id),
        topic,
        key,
        body,
    });
    prop::collection::vec(prop::collection::vec(record, 1..20), 1..30)
}

fn options() -> Options {
    Options {
        segment_bytes: 64 * 1024,
        frame_bytes_max: 16 * 1024,
        ..Options::default()
    }
}

fn append(log: &Log, records: &[Owned]) {
    let mut batch = Batch::new();
    for Owned {
        kind,
        id,
        topic,
        key,
        body,
    } in records
    {
        batch
            .push(&Record {
                kind: *kind,
                id: *id,
                topic,
                key,
                body,
            })
            .unwrap();
    }
    let receipt = log.append(batch).unwrap();
    assert_eq!(receipt.appended(), records.len());
}

fn read_all(log: &Log, query: Query) -> Vec<Owned> {
    let mut scan = log.view().scan(query);
    let mut all = Vec::new();
    while let Some(chunk) = scan.next_chunk().unwrap() {
        for entry in &chunk {
            let topic = entry.topic.to_owned();
            let (key, body) = (entry.key.to_vec(), entry.body.to_vec());
            let content = entry.content();
            assert_eq!(&content[..entry.topic_len()], topic.as_bytes());
            assert_eq!(&content[entry.topic_len()..][..entry.key_len()], key);
            all.push(Owned {
                kind: entry.kind,
                id: entry.id,
                topic,
                key,
                body,
            });
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn round_trip(batches in records(), tail_bytes_max in prop::sample::select(vec![0, 20_000, 1 << 25])) {
        let storage = storage::Memory::new();
        let options = Options { tail_bytes_max, ..options() };
        let log = Log::open(Arc::new(storage.clone()), options.clone()).unwrap();
        for batch in &batches {
            append(&log, batch);
        }
        let all: Vec<Owned> = batches.concat();
        prop_assert_eq!(&read_all(&log, Query::default()), &all);

        // By read, from any position.
        let from = all.len() / 2;
        let (mut next, mut at) = (Position::new(from as u64), from);
        while next < log.durable() {
            let chunk = log.view().read(next, 20_000).unwrap();
            for entry in &chunk {
                prop_assert_eq!(entry.position.get(), at as u64);
                prop_assert_eq!(entry.body, &all[at].body[..]);
                at += 1;
            }
            next = chunk.next();
        }
        prop_assert_eq!(at, all.len());

        // Closed and opened again; once more without closing.
        log.close().unwrap();
        drop(log);
        for _ in 0..2 {
            let log = Log::open(Arc::new(storage.clone()), options.clone()).unwrap();
            prop_assert_eq!(&read_all(&log, Query::default()), &all);
            let (topic, key) = (all[0].topic.clone(), all[0].key.clone());
            let of_key = read_all(&log, Query { key: Some((topic.clone(), key.clone())), ..Query::default() });
            let expected: Vec<Owned> = all.iter().filter(|r| r.topic == topic && r.key == key).cloned().collect();
            prop_assert_eq!(of_key, expected);
            let wanted = topic.clone();
            let of_topic = read_all(&log, Query { topics: Some(Arc::new(move |t| t == wanted)), ..Query::default() });
            let expected: Vec<Owned> = all.iter().filter(|r| r.topic == topic).cloned().collect();
            prop_assert_eq!(&of_topic, &expected);
            // Little at a time, at first.
            let wanted = topic.clone();
            let topics = Some(Arc::new(move |t: &str| t == wanted) as Arc<_>);
            let slowly = read_all(&log, Query { topics, ahead_bytes: 1, ..Query::default() });
            prop_assert_eq!(slowly, expected);
            let counted: u64 = log.view().topics().unwrap().iter().map(|t| t.records).sum();
            prop_assert_eq!(counted, all.len() as u64);
            prop_assert!(log.view().check(&mut |_| ()).unwrap().is_good());
        }
    }
}

//! Histories of everything a log can be asked, against a model in memory that does the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensue_log::storage::Fault;
use ensue_log::{Batch, Error, Expect, Log, Options, Position, Query, Record, Retention};

use super::effort::each;
use crate::support::options;

const TOPICS: [&str; 3] = ["orders", "payments", "mail"];
const KEYS: u64 = 6;
/// How many ids the log remembers: fewer than a history has.
const WINDOW: u32 = 24;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    kind: u8,
    id: Option<u128>,
    topic: &'static str,
    key: Vec<u8>,
    body: Vec<u8>,
}

/// What the log must hold.
#[derive(Clone, Debug, Default)]
struct Model {
    /// All records ever, trimmed ones too.
    entries: Vec<Entry>,
    first: u64,
    checkpoints: BTreeMap<u64, Vec<u8>>,
}

impl Model {
    fn end(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The last ids and their positions, as many as the window holds, also of what was trimmed.
    fn window(&self) -> Vec<(u128, u64)> {
        let with_id = |(at, entry): (usize, &Entry)| entry.id.map(|id| (id, at as u64));
        let ids = self.entries.iter().enumerate().rev().filter_map(with_id);
        ids.take(WINDOW as usize).collect()
    }

    fn last_of_key(&self, topic: &str, key: &[u8]) -> Option<u64> {
        let same = |entry: &Entry| entry.topic == topic && entry.key == key;
        let at = self.entries.iter().rposition(same)? as u64;
        (at >= self.first).then_some(at)
    }

    /// Appends what is not known, and says where each record is and how many are new.
    fn append(&mut self, batch: &[Entry]) -> (Vec<u64>, usize) {
        let mut new = 0;
        let positions = batch.iter().map(|entry| {
            let known = self
                .window()
                .into_iter()
                .find(|(id, _)| Some(*id) == entry.id);
            if let Some((_, at)) = known {
                return at;
            }
            self.entries.push(entry.clone());
            new += 1;
            self.end() - 1
        });
        (positions.collect(), new)
    }
}

struct History {
    random: fastrand::Rng,
    disk: Fault,
    options: Options,
    log: Option<Log>,
    model: Model,
    ids: u128,
    steps: Vec<&'static str>,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let options = Options {
            dedup_window: WINDOW,
            retention: Retention {
                bytes: Some(100_000),
                age: None,
            },
            tail_bytes_max: *random.choice(&[0, 4096, 1 << 20]).unwrap(),
            background: random.u8(0..4) == 0,
            ..options()
        };
        let mut history = Self {
            random,
            disk: Fault::new(),
            options,
            log: None,
            model: Model::default(),
            ids: 0,
            steps: Vec::new(),
        };
        history.open();
        history
    }

    fn open(&mut self) {
        let log = Log::open(Arc::new(self.disk.clone()), self.options.clone());
        self.log = Some(log.unwrap_or_else(|error| panic!("{error}")));
    }

    fn log(&self) -> &Log {
        self.log.as_ref().unwrap()
    }

    fn entry(&mut self) -> Entry {
        let random = &mut self.random;
        let id = match random.u8(0..4) {
            0 => None,
            // One of the last, which may be forgotten or known.
            1 => Some(self.ids.saturating_sub(random.u128(0..40)).max(1)),
            _ => {
                self.ids += 1;
                Some(self.ids)
            }
        };
        let length = match random.u8(0..10) {
            0 => random.usize(0..20_000),
            _ => random.usize(0..600),
        };
        Entry {
            kind: random.u8(0..3),
            id,
            topic: TOPICS[random.usize(0..TOPICS.len())],
            key: vec![random.u64(0..KEYS) as u8; random.usize(0..3)],
            body: std::iter::repeat_with(|| random.u8(..))
                .take(length)
                .collect(),
        }
    }

    fn batch(entries: &[Entry]) -> Batch {
        let mut batch = Batch::new();
        for entry in entries {
            batch
                .push(&Record {
                    kind: entry.kind,
                    id: entry.id,
                    topic: entry.topic,
                    key: &entry.key,
                    body: &entry.body,
                })
                .unwrap();
        }
        batch
    }

    fn append(&mut self) {
        let count = self.random.usize(1..8);
        let entries: Vec<Entry> = (0..count).map(|_| self.entry()).collect();
        let mut batch = Self::batch(&entries);
        // An expectation that holds, or one that was true some time ago.
        let (topic, key) = (entries[0].topic, entries[0].key.clone());
        let last = self.model.last_of_key(topic, &key);
        let mut holds = true;
        if self.random.u8(0..3) == 0 {
            let expected = match self.random.u8(0..3) {
                0 => None,
                1 => last.map(|last| last.saturating_sub(1)),
                _ => last,
            };
            // Once anything was trimmed, a key of which nothing is left may have had something.
            holds = expected == last && (last.is_some() || self.model.first == 0);
            let expect = expected.map_or(Expect::Absent, |at| Expect::At(Position::new(at)));
            batch.expect(topic, &key, expect);
        }
        let window = self.model.window();
        let is_known = |entry: &Entry| window.iter().any(|(id, _)| Some(*id) == entry.id);
        let is_retry = entries.iter().all(is_known);
        let outcome = self.log().append(batch);
        if !holds && !is_retry {
            let Err(Error::Conflict(conflict)) = outcome else {
                panic!("no conflict: {outcome:?}, expected {last:?}")
            };
            assert_eq!(conflict.found, last.map(Position::new));
            return;
        }
        let receipt = outcome.unwrap();
        let (positions, new) = self.model.append(&entries);
        assert_eq!(receipt.appended(), new);
        for (index, at) in positions.iter().enumerate() {
            assert_eq!(receipt.position(index), Some(Position::new(*at)), "{index}");
        }
    }

    /// Reads from anywhere, in pieces.
    fn read(&mut self) {
        let (first, end) = (self.model.first, self.model.end());
        let mut at = self.random.u64(first..=end);
        let view = self.log().view();
        loop {
            let chunk = view.read(Position::new(at), 5_000).unwrap();
            if chunk.is_empty() {
                break;
            }
            for entry in &chunk {
                assert_eq!(entry.position.get(), at);
                self.is_same(&entry);
                at += 1;
            }
        }
        assert_eq!(at, end);
    }

    fn is_same(&self, entry: &ensue_log::Entry<'_>) {
        let expected = &self.model.entries[entry.position.get() as usize];
        let found = (entry.kind, entry.id, entry.topic, entry.key, entry.body);
        let Entry {
            kind,
            id,
            topic,
            key,
            body,
        } = expected;
        assert_eq!(found, (*kind, *id, *topic, &key[..], &body[..]));
    }

    /// Reads what a query asks for, and nothing else.
    fn query(&mut self) {
        let from = self.random.u64(self.model.first..=self.model.end());
        let topic = TOPICS[self.random.usize(0..TOPICS.len())];
        let key = vec![self.random.u64(0..KEYS) as u8; self.random.usize(0..3)];
        let kind = self.random.u8(0..3);
        let mut query = Query {
            from: Position::new(from),
            ahead_bytes: self.random.usize(0..3) * self.random.usize(0..20_000),
            ..Query::default()
        };
        let by = self.random.u8(0..3);
        match by {
            0 => query.topics = Some(Arc::new(move |name| name == topic)),
            1 => query.key = Some((topic.to_owned(), key.clone())),
            _ => query.kinds = Some(vec![kind]),
        }
        let matches = |entry: &Entry| match by {
            0 => entry.topic == topic,
            1 => entry.topic == topic && entry.key == key,
            _ => entry.kind == kind,
        };
        let all = self.model.entries.iter().enumerate().skip(from as usize);
        let expected = all.filter(|(_, entry)| matches(entry));
        let expected: Vec<u64> = expected.map(|(at, _)| at as u64).collect();
        let mut scan = self.log().view().scan(query);
        let mut found = Vec::new();
        while let Some(chunk) = scan.next_chunk().unwrap() {
            for entry in &chunk {
                self.is_same(&entry);
                found.push(entry.position.get());
            }
        }
        assert_eq!(
            found, expected,
            "from {from}, by {by}: {topic} {key:?} {kind}"
        );
        let last = self.log().view().last_of_key(topic, &key).unwrap();
        let expected = self.model.last_of_key(topic, &key);
        assert_eq!(last.map(Position::get), expected);
    }

    fn checkpoint(&mut self) {
        let at = self.model.end();
        let state: Vec<u8> = (0..self.random.u8(..)).collect();
        self.log().checkpoint(Position::new(at), &state).unwrap();
        self.model.checkpoints.insert(at, state);
        while self.model.checkpoints.len() > 2 {
            self.model.checkpoints.pop_first();
        }
    }

    fn trim(&mut self) {
        let floor = self.random.u64(self.model.first..=self.model.end());
        let trimmed = self.log().trim(Position::new(floor)).unwrap();
        let oldest = self.model.checkpoints.keys().next();
        let limit = floor.min(oldest.copied().unwrap_or(u64::MAX));
        let first = trimmed.first.get();
        assert!(first >= self.model.first && (first <= limit || trimmed.segments == 0));
        self.model.first = first;
    }

    /// Ends this life of the log in one of the ways there are, and starts the next.
    fn reopen(&mut self) {
        let log = self.log.take().unwrap();
        match self.random.u8(0..4) {
            0 => log.close().unwrap(),
            1 => drop(log),
            2 => {
                self.disk.kill();
                drop(log);
            }
            _ => {
                self.disk.crash(self.random.u64(..));
                drop(log);
            }
        }
        self.open();
        if self.random.bool() {
            self.log().warm().unwrap();
        }
    }

    fn step(&mut self) {
        let (name, act): (&str, fn(&mut Self)) = match self.random.u8(0..20) {
            0..=8 => ("append", Self::append),
            9..=10 => ("read", Self::read),
            11..=14 => ("query", Self::query),
            15 => ("checkpoint", Self::checkpoint),
            16 => ("trim", Self::trim),
            _ => ("reopen", Self::reopen),
        };
        self.steps.push(name);
        act(self);
    }

    fn is_whole(&self) {
        let log = self.log();
        assert_eq!(log.first().get(), self.model.first);
        assert_eq!(log.end().get(), self.model.end());
        assert_eq!(log.durable(), log.end());
        let found = log.view().checkpoint().unwrap();
        let newest = self.model.checkpoints.last_key_value();
        let found = found.map(|(at, state)| (at.get(), state.to_vec()));
        assert_eq!(found, newest.map(|(at, state)| (*at, state.clone())));
        let report = log.view().check(&mut |_| ()).unwrap();
        assert!(report.is_good(), "{:?}", report.damage);
    }
}

pub(crate) fn histories(count: u64) {
    each(count, |seed| {
        let mut history = History::new(seed);
        let steps = history.random.usize(20..120);
        for _ in 0..steps {
            let context = format!("seed {seed}, step {}", history.steps.len());
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                history.step();
            }));
            if let Err(panic) = outcome {
                eprintln!("{context}: {:?}", history.steps);
                std::panic::resume_unwind(panic);
            }
        }
        history.read();
        history.is_whole();
    });
}

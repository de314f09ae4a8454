//! Threads that append at the same time, each with its own numbered records, and what each of
//! them was told.

use std::collections::{BTreeMap, VecDeque};

use ensue_log::{Batch, Log, Query, Receipt, Record, SubmitError, Submitted};

/// All threads of one log, over several of its lives.
#[derive(Debug)]
pub(crate) struct Appenders {
    appenders: Vec<Appender>,
}

/// One thread: its records are numbered from 0 and appended in this order.
#[derive(Debug)]
pub(crate) struct Appender {
    thread: u64,
    /// The number of its next record.
    next: u64,
    /// Batches without an answer, oldest first: the first number and the count.
    open: VecDeque<(u64, u64)>,
    /// The position of each acknowledged record.
    acknowledged: BTreeMap<u64, u64>,
}

fn id(thread: u64, number: u64) -> u128 {
    u128::from(thread) << 64 | u128::from(number)
}

fn body(thread: u64, number: u64) -> Vec<u8> {
    let length = 10 + (number * 131 + thread * 17) % 900;
    (0..length)
        .map(|at| (number * 13 + thread * 101 + at * 7) as u8 | 1)
        .collect()
}

fn batch(thread: u64, first: u64, count: u64) -> Batch {
    let mut batch = Batch::new();
    for number in first..first + count {
        batch
            .push(&Record {
                kind: thread as u8,
                id: Some(id(thread, number)),
                topic: "threads",
                key: &thread.to_le_bytes(),
                body: &body(thread, number),
            })
            .unwrap();
    }
    batch
}

impl Appender {
    /// Appends until something fails, at most `batches`; blocking, or with some in flight.
    fn run(&mut self, log: &Log, seed: u64, batches: u64) {
        let mut random = fastrand::Rng::with_seed(seed ^ self.thread);
        // What a life before left open first, so that the order holds.
        self.retry(log);
        let mut flying: VecDeque<Submitted> = VecDeque::new();
        for _ in 0..batches {
            if self.open.len() > flying.len() {
                break; // something failed
            }
            let count = random.u64(1..=6);
            let (first, thread) = (self.next, self.thread);
            match log.submit(batch(thread, first, count)) {
                Ok(submitted) => {
                    self.next += count;
                    self.open.push_back((first, count));
                    flying.push_back(submitted);
                }
                Err(SubmitError::Full(_)) => log.room().wait(),
                Err(_) => break,
            }
            if flying.len() > random.usize(0..3)
                && let Some(oldest) = flying.pop_front()
                && !self.answer(oldest.wait())
            {
                break;
            }
        }
        for submitted in flying {
            if !self.answer(submitted.wait()) {
                break;
            }
        }
    }

    /// Takes the answer of the oldest open batch.
    fn answer(&mut self, answer: ensue_log::Result<Receipt>) -> bool {
        let Ok(receipt) = answer else { return false };
        let (first, count) = self.open.pop_front().expect("an answer without a question");
        for index in 0..count {
            let position = receipt.position(index as usize).unwrap();
            let known = self.acknowledged.insert(first + index, position.get());
            assert!(known.is_none(), "answered twice");
        }
        true
    }

    /// Appends again what got no answer.
    pub(crate) fn retry(&mut self, log: &Log) {
        for (first, count) in self.open.clone() {
            if !self.answer(log.append(batch(self.thread, first, count))) {
                return;
            }
        }
    }
}

impl Appenders {
    pub(crate) fn new(threads: u64) -> Self {
        let new = |thread| Appender {
            thread,
            next: 0,
            open: VecDeque::new(),
            acknowledged: BTreeMap::new(),
        };
        Self {
            appenders: (0..threads).map(new).collect(),
        }
    }

    /// Lets all threads append until something fails, at most `batches` each.
    pub(crate) fn run(&mut self, log: &Log, seed: u64, batches: u64) {
        std::thread::scope(|scope| {
            for appender in &mut self.appenders {
                scope.spawn(move || appender.run(log, seed, batches));
            }
        });
    }

    pub(crate) fn each(&mut self, act: fn(&mut Appender, &Log), log: &Log) {
        for appender in &mut self.appenders {
            act(appender, log);
        }
    }

    /// The log has what was acknowledged, where it was acknowledged; each thread's records once,
    /// in order, unaltered; and nothing that was not submitted.
    pub(crate) fn check(&self, log: &Log, context: &dyn Fn() -> String) {
        let mut next = vec![0; self.appenders.len()];
        let mut scan = log.view().scan(Query::default());
        let mut expected = 0;
        loop {
            let chunk = scan
                .next_chunk()
                .unwrap_or_else(|error| panic!("{}: {error}", context()));
            let Some(chunk) = chunk else { break };
            for entry in &chunk {
                let position = entry.position.get();
                assert_eq!(position, expected, "{}: a gap", context());
                expected += 1;
                let thread = u64::from(entry.kind);
                let appender = &self.appenders[thread as usize];
                let number = next[thread as usize];
                let place = || format!("{}: position {position}", context());
                assert_eq!(entry.id, Some(id(thread, number)), "{}", place());
                assert_eq!(entry.key, thread.to_le_bytes(), "{}", place());
                assert_eq!(entry.body, body(thread, number), "{}", place());
                assert!(number < appender.next, "{}: never submitted", place());
                if let Some(known) = appender.acknowledged.get(&number) {
                    assert_eq!(*known, position, "{}: moved", place());
                }
                next[thread as usize] += 1;
            }
        }
        for (appender, next) in self.appenders.iter().zip(next) {
            let acknowledged = appender
                .acknowledged
                .keys()
                .max()
                .map_or(0, |last| last + 1);
            assert!(
                next >= acknowledged,
                "{}: {next} of {acknowledged} acknowledged records of thread {} are left",
                context(),
                appender.thread
            );
        }
        assert_eq!(log.durable().get(), expected, "{}", context());
    }
}

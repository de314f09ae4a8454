//! What several tests use: records that can be told apart by their position, and a minimal
//! executor.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test
#![allow(dead_code, reason = "each test uses some of it")]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use ensue_log::storage::{Fault, Memory};
use ensue_log::{Batch, Log, Options, Position, Query, Record, Result, Storage, View};

pub(crate) fn memory() -> Memory {
    Memory::new()
}

/// Small segments, everything on the calling thread: calls come in the same order every time.
pub(crate) fn options() -> Options {
    Options {
        segment_bytes: 64 * 1024,
        background: false,
        ..Options::default()
    }
}

pub(crate) fn open(storage: &(impl Storage + Clone + 'static)) -> Result<Log> {
    Log::open(Arc::new(storage.clone()), options())
}

/// The body of the record at a position: long enough to cross sectors, different everywhere.
pub(crate) fn body(position: u64) -> Vec<u8> {
    let length = 20 + (position * 37 % 1500) as usize;
    (0..length)
        .map(|at| (position as usize * 31 + at * 7) as u8 | 1)
        .collect()
}

pub(crate) fn key(position: u64) -> Vec<u8> {
    format!("key-{}", position % 5).into_bytes()
}

pub(crate) fn topic(position: u64) -> &'static str {
    ["orders", "payments", "mail"][position as usize % 3]
}

/// A batch of the records from `first` on.
pub(crate) fn batch(first: u64, count: u64) -> Batch {
    let mut batch = Batch::new();
    for position in first..first + count {
        let (key, body) = (key(position), body(position));
        let id = Some(1_000_000 + u128::from(position));
        batch
            .push(&Record {
                kind: 1,
                id,
                topic: topic(position),
                key: &key,
                body: &body,
            })
            .unwrap();
    }
    batch
}

/// Checks every record of `view` against its position; gives the end.
pub(crate) fn verify(view: &View) -> Result<u64> {
    let mut at = view.first().get();
    let mut scan = view.scan(Query {
        from: view.first(),
        ..Query::default()
    });
    while let Some(chunk) = scan.next_chunk()? {
        for entry in &chunk {
            assert_eq!(entry.position.get(), at);
            assert_eq!(entry.id, Some(1_000_000 + u128::from(at)), "at {at}");
            assert_eq!(
                (entry.topic, entry.key),
                (topic(at), &key(at)[..]),
                "at {at}"
            );
            assert_eq!(entry.body, &body(at)[..], "at {at}");
            at += 1;
        }
    }
    assert_eq!(Position::new(at), view.durable());
    Ok(at)
}

/// The name of the newest segment.
pub(crate) fn last_segment(disk: &Fault) -> String {
    disk.names()
        .into_iter()
        .filter(|name| name.ends_with(".seg"))
        .max()
        .unwrap()
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park_timeout(std::time::Duration::from_secs(10)),
        }
    }
}

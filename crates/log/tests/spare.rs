//! Spare segments are made in the background while others are taken into use: no record may end up
//! in a file that has lost its name.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ensue_log::storage::{Handle, Locking, Memory};
use ensue_log::{Batch, Log, Options, Record, Storage};

/// Storage on which whatever concerns names takes a moment, each time another one.
#[derive(Debug)]
struct Slow {
    storage: Memory,
    random: Mutex<fastrand::Rng>,
}

impl Slow {
    fn pause(&self) {
        let micros = self.random.lock().unwrap().u64(..600);
        std::thread::sleep(Duration::from_micros(micros));
    }
}

impl Storage for Slow {
    fn lock(&self) -> io::Result<Locking> {
        self.storage.lock()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Handle>> {
        self.pause();
        let opened = self.storage.open(name);
        self.pause();
        opened
    }

    fn open_read(&self, name: &str) -> io::Result<Arc<dyn Handle>> {
        self.storage.open_read(name)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Handle>> {
        self.pause();
        self.storage.create(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.pause();
        self.storage.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.storage.remove(name)
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        self.storage.list(directory)
    }

    fn sync_dir(&self, directory: &str) -> io::Result<()> {
        self.storage.sync_dir(directory)
    }

    fn describe(&self, name: &str) -> String {
        self.storage.describe(name)
    }
}

#[test]
fn segments_that_follow_each_other_at_once_keep_their_records() {
    const RECORDS: u64 = 800;
    let storage = Memory::new();
    let slow = Slow {
        storage: storage.clone(),
        random: Mutex::new(fastrand::Rng::with_seed(3)),
    };
    let options = Options {
        segment_bytes: 64 * 1024,
        ..Options::default()
    };
    let log = Log::open(Arc::new(slow), options.clone()).unwrap();
    // Nearly every second record starts a segment.
    let body = vec![7; 30_000];
    for _ in 0..RECORDS {
        let mut batch = Batch::new();
        let record = Record {
            kind: 0,
            id: None,
            topic: "t",
            key: b"k",
            body: &body,
        };
        batch.push(&record).unwrap();
        log.append(batch).unwrap();
    }
    drop(log);
    let log = Log::open(Arc::new(storage), options).unwrap();
    let report = log.view().check(&mut |_| {}).unwrap();
    assert!(report.is_good(), "{:?}", report.damage);
    assert_eq!((report.records, log.durable().get()), (RECORDS, RECORDS));
}

//! What the disk refuses in the background is written when it takes it again.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ensue_log::storage::{Fault, Handle, Locking};
use ensue_log::{Log, Options, Storage};
use support::{batch, last_segment, open, options};

/// What takes so long never happens, however slow the machine is.
const HANG: Duration = Duration::from_secs(60);

/// Storage that takes no small files while it refuses.
#[derive(Clone, Debug)]
struct Refusing {
    disk: Fault,
    refuses: Arc<AtomicBool>,
}

impl Storage for Refusing {
    fn lock(&self) -> io::Result<Locking> {
        self.disk.lock()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Handle>> {
        self.disk.open(name)
    }

    fn open_read(&self, name: &str) -> io::Result<Arc<dyn Handle>> {
        self.disk.open_read(name)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Handle>> {
        let is_small = name.contains("MANIFEST") || name.starts_with("idx/");
        if is_small && self.refuses.load(Ordering::Acquire) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.disk.create(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        self.disk.list(directory)
    }

    fn sync_dir(&self, directory: &str) -> io::Result<()> {
        self.disk.sync_dir(directory)
    }

    fn describe(&self, name: &str) -> String {
        self.disk.describe(name)
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < HANG, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_index_and_the_name_of_the_newest_segment_that_were_refused_are_written_without_a_further_append()
 {
    let disk = Fault::new();
    let storage = Refusing {
        disk: disk.clone(),
        refuses: Arc::default(),
    };
    let options = Options {
        background: true,
        ..options()
    };
    let log = Log::open(Arc::new(storage.clone()), options).unwrap();
    log.append(batch(0, 1)).unwrap();
    storage.refuses.store(true, Ordering::Release);
    while log.status().segments < 4 {
        log.append(batch(log.end().get(), 20)).unwrap();
    }
    let indexes = || {
        disk.names()
            .iter()
            .filter(|name| name.ends_with(".idx"))
            .count()
    };
    let is_loss_noticed = || {
        let copy = disk.duplicate();
        copy.remove(&last_segment(&copy)).unwrap();
        open(&copy).is_err()
    };
    assert_eq!(indexes(), 0);
    assert!(!is_loss_noticed());

    storage.refuses.store(false, Ordering::Release);
    until("no index is written", || indexes() >= 3);
    until("the newest segment is not noted", is_loss_noticed);
}

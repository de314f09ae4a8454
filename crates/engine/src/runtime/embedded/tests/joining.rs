//! Joining a group whose last member has just gone, on a disk that takes its time.

use std::io::{self, IoSlice};
use std::sync::{Condvar, Mutex};

use super::*;

/// A disk whose syncs wait until they are let through.
#[derive(Clone, Debug)]
struct Slow {
    disk: log::storage::Memory,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    syncs: Mutex<usize>,
    opened: Condvar,
}

impl Gate {
    fn let_through(&self, syncs: usize) {
        *self.syncs.lock().unwrap() = syncs;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let syncs = self.syncs.lock().unwrap();
        let mut syncs = self.opened.wait_while(syncs, |left| *left == 0).unwrap();
        *syncs = syncs.saturating_sub(1);
    }
}

#[derive(Debug)]
struct SlowHandle(Arc<dyn log::storage::Handle>, Arc<Gate>);

impl Slow {
    fn slow(&self, handle: Arc<dyn log::storage::Handle>) -> Arc<dyn log::storage::Handle> {
        Arc::new(SlowHandle(handle, self.gate.clone()))
    }
}

impl log::Storage for Slow {
    fn lock(&self) -> io::Result<log::storage::Locking> {
        self.disk.lock()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn log::storage::Handle>> {
        Ok(self.slow(self.disk.open(name)?))
    }

    fn open_read(&self, name: &str) -> io::Result<Arc<dyn log::storage::Handle>> {
        self.disk.open_read(name)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn log::storage::Handle>> {
        Ok(self.slow(self.disk.create(name)?))
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

impl log::storage::Handle for SlowHandle {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.0.write_at(slices, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.1.pass();
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        self.0.preallocate(bytes)
    }
}

#[tokio::test]
async fn who_joins_waits_for_the_last_commit_of_those_that_are_gone() {
    let gate = Arc::new(Gate::default());
    gate.let_through(usize::MAX);
    let disk = Slow {
        disk: log::storage::Memory::new(),
        gate: gate.clone(),
    };
    let settings = Settings::default();
    let engine = Embedded::open(Arc::new(disk), settings).await.unwrap();
    publish(&engine, &["a:1", "b:2"]).await;
    let first = join(&engine).await;
    let taken = take_all(&*first, 2).await;

    // The second member's record is on its way before the commit, and durable before it.
    gate.let_through(0);
    let joining = engine.join(subscription("g"));
    tokio::pin!(joining);
    let moment = Duration::from_millis(30);
    assert!(
        tokio::time::timeout(moment, &mut joining).await.is_err(),
        "joined without a record"
    );
    let last = tokio::time::timeout(moment, first.commit(settle(&taken))).await;
    assert!(last.is_err(), "the commit was durable at once");
    drop(first);
    gate.let_through(1);
    let early = tokio::time::timeout(moment, &mut joining).await;
    gate.let_through(usize::MAX);
    let second = match early {
        Ok(joined) => joined.unwrap(),
        Err(_) => joining.await.unwrap(),
    };
    let again = poll(&*second).await;
    assert!(again.is_empty(), "{:?} were settled before", ids(&again));
}

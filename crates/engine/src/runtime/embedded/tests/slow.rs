//! A disk that takes its time.

use std::io::{self, IoSlice};
use std::sync::{Condvar, Mutex};

use super::*;

/// A disk whose syncs wait until they are let through.
#[derive(Clone, Debug)]
pub(super) struct Slow {
    pub(super) disk: log::storage::Memory,
    pub(super) gate: Arc<Gate>,
}

#[derive(Debug, Default)]
pub(super) struct Gate {
    door: Mutex<Door>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Door {
    /// How many syncs may pass.
    open_for: usize,
    /// How many wait.
    waiting: usize,
}

impl Gate {
    pub(super) fn let_through(&self, syncs: usize) {
        self.door.lock().unwrap().open_for = syncs;
        self.changed.notify_all();
    }

    /// Waits until a sync waits.
    pub(super) fn until_waiting(&self) {
        let door = self.door.lock().unwrap();
        let waited = self
            .changed
            .wait_timeout_while(door, HANG, |door| door.waiting == 0);
        assert!(!waited.unwrap().1.timed_out(), "nothing is synced");
    }

    fn pass(&self) {
        let mut door = self.door.lock().unwrap();
        door.waiting += 1;
        self.changed.notify_all();
        let mut door = self
            .changed
            .wait_while(door, |door| door.open_for == 0)
            .unwrap();
        door.waiting -= 1;
        door.open_for = door.open_for.saturating_sub(1);
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

//! A disk in memory that fails and loses power on request. Deterministic: everything random comes
//! from the seed of the crash.

mod calls;
mod files;

use std::io::{self, IoSlice};
use std::sync::Arc;

use self::calls::Calls;
use self::files::{Files, Inode};
use super::{Handle, Lock, Locking, Storage};
use crate::codec::lock;
use crate::sync::Mutex;

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// `Storage::lock`
    Lock,
    /// `Storage::open` and `open_read`
    Open,
    /// `Storage::create`
    Create,
    /// `Storage::rename`
    Rename,
    /// `Storage::remove`
    Remove,
    /// `Storage::list`
    List,
    /// `Storage::sync_dir`
    SyncDir,
    /// `Handle::read_at`
    Read,
    /// `Handle::write_at`
    Write,
    /// `Handle::sync_data`
    SyncData,
    /// `Handle::len`
    Len,
    /// `Handle::preallocate`
    Preallocate,
}

/// One call made, for traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its kind.
    pub op: Op,
    /// The file or directory.
    pub name: String,
    /// Where in the file.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Input/output error.
    Eio,
    /// No space left on device.
    Enospc,
    /// Interrupted.
    Eintr,
    /// A write or read of half the bytes, at least one.
    Short,
}

/// A disk that fails on request. Clones share it.
#[derive(Clone, Default)]
pub struct Fault {
    disk: Arc<Mutex<Disk>>,
}

impl std::fmt::Debug for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fault")
            .field("names", &self.names())
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Disk {
    files: Files,
    calls: Calls,
    /// Handles and locks of earlier generations are dead.
    generation: u64,
    locked: bool,
}

impl Fault {
    /// An empty disk that works.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the `nth` call (from 1, counted from now) of a kind fail.
    pub fn fail(&self, op: Op, nth: u64, failure: Failure) {
        lock(&self.disk).calls.fail(op, nth, failure);
    }

    /// Forgets all failures that have not happened yet.
    pub fn work_again(&self) {
        let mut disk = lock(&self.disk);
        disk.calls.work_again();
        disk.files.set_capacity(None);
    }

    /// After `calls` more calls, every call fails without effect, until [`crash`](Self::crash).
    pub fn power_off_after(&self, calls: u64) {
        lock(&self.disk).calls.power_off_after(calls);
    }

    /// How many bytes all files together may have.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        lock(&self.disk).files.set_capacity(bytes);
    }

    /// The bytes of all files.
    #[must_use]
    pub fn used(&self) -> u64 {
        lock(&self.disk).files.used()
    }

    /// How many calls were made.
    #[must_use]
    pub fn calls(&self) -> u64 {
        lock(&self.disk).calls.made()
    }

    /// How many calls of a kind were made.
    #[must_use]
    pub fn count(&self, op: Op) -> u64 {
        lock(&self.disk).calls.count(op)
    }

    /// Starts a new trace and gives the old one.
    pub fn trace(&self) -> Vec<Call> {
        lock(&self.disk).calls.trace()
    }

    /// The process dies: handles and locks are gone, everything written stays.
    pub fn kill(&self) {
        let mut disk = lock(&self.disk);
        disk.generation += 1;
        disk.locked = false;
        disk.calls.work_again();
    }

    /// The power fails: of what was not synced, sectors and changes of names survive in a subset
    /// that depends on the seed. The disk works again afterwards.
    pub fn crash(&self, seed: u64) {
        self.kill();
        let mut random = fastrand::Rng::with_seed(seed);
        lock(&self.disk).files.crash(&mut random);
    }

    /// The bytes of a file, as a reader would see them now.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let disk = lock(&self.disk);
        let inode = disk.files.find(name).ok()?;
        disk.files.inode(inode).map(|inode| inode.bytes().to_vec())
    }

    /// Replaces the bytes of a file, durably.
    pub fn overwrite(&self, name: &str, bytes: &[u8]) {
        let mut disk = lock(&self.disk);
        if let Ok(inode) = disk.files.find(name)
            && let Ok(inode) = disk.files.inode_mut(inode)
        {
            inode.overwrite(bytes);
        }
    }

    /// All file names, with their directories.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        lock(&self.disk).files.names().cloned().collect()
    }

    /// A disk with the same durable and current files and no failures.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let copied = Disk {
            files: lock(&self.disk).files.duplicate(),
            ..Disk::default()
        };
        Self {
            disk: Arc::new(Mutex::new(copied)),
        }
    }

    fn call(&self, op: Op, name: &str, offset: u64, bytes: u64) -> io::Result<Option<Failure>> {
        lock(&self.disk).calls.make(op, name, offset, bytes)
    }

    fn handle(&self, inode: usize, generation: u64) -> Arc<dyn Handle> {
        Arc::new(Open {
            fault: self.clone(),
            inode,
            generation,
        })
    }

    fn open_any(&self, name: &str) -> io::Result<Arc<dyn Handle>> {
        let mut disk = lock(&self.disk);
        disk.calls.make(Op::Open, name, 0, 0)?;
        let inode = disk.files.find(name)?;
        let generation = disk.generation;
        drop(disk);
        Ok(self.handle(inode, generation))
    }
}

impl Disk {
    fn inode(&mut self, inode: usize, generation: u64) -> io::Result<&mut Inode> {
        if generation != self.generation {
            return Err(io::Error::other("the process of this handle is gone"));
        }
        self.files.inode_mut(inode)
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl Storage for Fault {
    fn lock(&self) -> io::Result<Locking> {
        let mut disk = lock(&self.disk);
        if disk.calls.make(Op::Lock, "", 0, 0)?.is_some() {
            return Err(eio());
        }
        if std::mem::replace(&mut disk.locked, true) {
            return Ok(Locking::Held {
                pid: Some(std::process::id()),
            });
        }
        let guard = Unlock {
            disk: Arc::clone(&self.disk),
            generation: disk.generation,
        };
        Ok(Locking::Acquired(Lock::new(guard)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Handle>> {
        self.open_any(name)
    }

    fn open_read(&self, name: &str) -> io::Result<Arc<dyn Handle>> {
        self.open_any(name)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Handle>> {
        let mut disk = lock(&self.disk);
        if disk.calls.make(Op::Create, name, 0, 0)?.is_some() {
            return Err(eio());
        }
        let inode = disk.files.create(name);
        let generation = disk.generation;
        drop(disk);
        Ok(self.handle(inode, generation))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        if disk.calls.make(Op::Rename, to, 0, 0)?.is_some() {
            return Err(eio());
        }
        disk.files.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        if disk.calls.make(Op::Remove, name, 0, 0)?.is_some() {
            return Err(eio());
        }
        disk.files.remove(name)
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let mut disk = lock(&self.disk);
        if disk.calls.make(Op::List, directory, 0, 0)?.is_some() {
            return Err(eio());
        }
        Ok(disk.files.in_directory(directory))
    }

    fn sync_dir(&self, directory: &str) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        if disk.calls.make(Op::SyncDir, directory, 0, 0)?.is_some() {
            return Err(eio());
        }
        disk.files.sync_dir(directory);
        Ok(())
    }

    fn describe(&self, name: &str) -> String {
        format!("fault:{name}")
    }
}

struct Unlock {
    disk: Arc<Mutex<Disk>>,
    generation: u64,
}

impl Drop for Unlock {
    fn drop(&mut self) {
        let mut disk = lock(&self.disk);
        if disk.generation == self.generation {
            disk.locked = false;
        }
    }
}

#[derive(Debug)]
struct Open {
    fault: Fault,
    inode: usize,
    generation: u64,
}

impl Open {
    fn name(&self) -> String {
        let disk = lock(&self.fault.disk);
        let inode = disk.files.inode(self.inode);
        inode.map_or_else(String::new, |inode| inode.name().to_owned())
    }
}

impl Handle for Open {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let name = self.name();
        let failure = self
            .fault
            .call(Op::Read, &name, offset, buffer.len() as u64)?;
        let mut disk = lock(&self.fault.disk);
        let inode = disk.inode(self.inode, self.generation)?;
        let rest = inode.bytes().get(offset as usize..).unwrap_or_default();
        let mut bytes = rest.len().min(buffer.len());
        match failure {
            None => {}
            Some(Failure::Short) => bytes = bytes.div_ceil(2),
            Some(_) => return Err(eio()),
        }
        if let (Some(target), Some(source)) = (buffer.get_mut(..bytes), rest.get(..bytes)) {
            target.copy_from_slice(source);
        }
        Ok(bytes)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let name = self.name();
        let mut bytes: Vec<u8> = slices
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect();
        let failure = self
            .fault
            .call(Op::Write, &name, offset, bytes.len() as u64)?;
        let mut disk = lock(&self.fault.disk);
        disk.files
            .has_room(self.inode, offset as usize + bytes.len())?;
        let inode = disk.inode(self.inode, self.generation)?;
        if failure.is_some() {
            bytes.truncate(bytes.len().div_ceil(2));
        }
        // A failed write may have written something, too.
        inode.write(&bytes, offset as usize);
        if failure == Some(Failure::Eio) {
            Err(eio())
        } else {
            Ok(bytes.len())
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let name = self.name();
        let failure = self.fault.call(Op::SyncData, &name, 0, 0)?;
        let mut disk = lock(&self.fault.disk);
        let inode = disk.inode(self.inode, self.generation)?;
        if failure.is_some() {
            inode.fail_sync();
            return Err(eio());
        }
        inode.sync();
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let name = self.name();
        if self.fault.call(Op::Len, &name, 0, 0)?.is_some() {
            return Err(eio());
        }
        let mut disk = lock(&self.fault.disk);
        Ok(disk.inode(self.inode, self.generation)?.bytes().len() as u64)
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        let name = self.name();
        if self.fault.call(Op::Preallocate, &name, 0, bytes)?.is_some() {
            return Err(eio());
        }
        let mut disk = lock(&self.fault.disk);
        disk.files.has_room(self.inode, bytes as usize)?;
        disk.inode(self.inode, self.generation)?
            .write(&vec![0; bytes as usize], 0);
        Ok(())
    }
}

//! A disk in memory that fails and loses power on request. Deterministic: everything random comes
//! from the seed of the crash.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::sync::Arc;

use super::memory::names_in;
use super::{Handle, Lock, Locking, Storage};
use crate::codec::lock;
use crate::sync::Mutex;

/// What a power cut keeps or loses as one piece.
const SECTOR_BYTES: usize = 512;

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
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes of names that are not durable yet.
    changes: Vec<Change>,
    calls: u64,
    counts: BTreeMap<Op, u64>,
    trace: Option<Vec<Call>>,
    rules: Vec<(Op, u64, Failure)>,
    power_off_after: Option<u64>,
    capacity: Option<u64>,
    /// Handles and locks of earlier generations are dead.
    generation: u64,
    locked: bool,
}

#[derive(Default)]
struct Inode {
    name: String,
    /// Shared between duplicates until one of them writes: copying a disk costs next to nothing.
    current: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    /// Sectors written since the last sync.
    dirty: BTreeSet<usize>,
    /// Sectors whose sync failed: no later sync makes them durable.
    doomed: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
enum Change {
    Create(String, usize),
    Rename(String, String, usize),
    Remove(String),
}

impl Change {
    fn directory(&self) -> &str {
        let (Self::Create(name, _) | Self::Rename(_, name, _) | Self::Remove(name)) = self;
        name.rsplit_once('/').map_or("", |(directory, _)| directory)
    }

    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Create(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Rename(from, to, inode) => {
                // After a power cut the old name may stand for another file.
                if names.get(from) == Some(inode) {
                    names.remove(from);
                }
                names.insert(to.clone(), *inode);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl Fault {
    /// An empty disk that works.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the `nth` call (from 1, counted from now) of a kind fail.
    pub fn fail(&self, op: Op, nth: u64, failure: Failure) {
        let mut disk = lock(&self.disk);
        let at = disk.counts.get(&op).copied().unwrap_or_default() + nth;
        disk.rules.push((op, at, failure));
    }

    /// Forgets all failures that have not happened yet.
    pub fn work_again(&self) {
        let mut disk = lock(&self.disk);
        disk.rules.clear();
        disk.power_off_after = None;
        disk.capacity = None;
    }

    /// After `calls` more calls, every call fails without effect, until [`crash`](Self::crash).
    pub fn power_off_after(&self, calls: u64) {
        let mut disk = lock(&self.disk);
        disk.power_off_after = Some(disk.calls + calls);
    }

    /// How many bytes all files together may have.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        lock(&self.disk).capacity = bytes;
    }

    /// The bytes of all files.
    #[must_use]
    pub fn used(&self) -> u64 {
        lock(&self.disk).used()
    }

    /// How many calls were made.
    #[must_use]
    pub fn calls(&self) -> u64 {
        lock(&self.disk).calls
    }

    /// How many calls of a kind were made.
    #[must_use]
    pub fn count(&self, op: Op) -> u64 {
        lock(&self.disk)
            .counts
            .get(&op)
            .copied()
            .unwrap_or_default()
    }

    /// Starts a new trace and gives the old one.
    pub fn trace(&self) -> Vec<Call> {
        lock(&self.disk)
            .trace
            .replace(Vec::new())
            .unwrap_or_default()
    }

    /// The process dies: handles and locks are gone, everything written stays.
    pub fn kill(&self) {
        let mut disk = lock(&self.disk);
        disk.generation += 1;
        disk.locked = false;
        disk.power_off_after = None;
        disk.rules.clear();
    }

    /// The power fails: of what was not synced, sectors and changes of names survive in a subset
    /// that depends on the seed. The disk works again afterwards.
    pub fn crash(&self, seed: u64) {
        self.kill();
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = &mut *lock(&self.disk);
        // From nothing survives to everything does.
        let odds = *random.choice(&[0, 1, 4, 7, 8]).unwrap_or(&4);
        for inode in &mut disk.inodes {
            inode.crash(&mut random, odds);
        }
        // A journal keeps changes in order, so mostly a prefix survives; but not by any promise.
        let in_order = random.bool();
        let kept = random.usize(0..=disk.changes.len());
        for (index, change) in std::mem::take(&mut disk.changes).into_iter().enumerate() {
            let survives = if in_order {
                index < kept
            } else {
                random.u8(0..8) < odds
            };
            if survives {
                change.apply(&mut disk.durable_names);
            }
        }
        disk.names = disk.durable_names.clone();
    }

    /// The bytes of a file, as a reader would see them now.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let disk = lock(&self.disk);
        let inode = disk.names.get(name)?;
        disk.inodes.get(*inode).map(|inode| inode.current.to_vec())
    }

    /// Replaces the bytes of a file, durably.
    pub fn overwrite(&self, name: &str, bytes: &[u8]) {
        let mut disk = lock(&self.disk);
        let Some(inode) = disk.names.get(name).copied() else {
            return;
        };
        if let Some(inode) = disk.inodes.get_mut(inode) {
            inode.current = Arc::new(bytes.to_vec());
            inode.durable = Arc::clone(&inode.current);
            inode.dirty.clear();
            inode.doomed.clear();
        }
    }

    /// All file names, with their directories.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        lock(&self.disk).names.keys().cloned().collect()
    }

    /// A disk with the same durable and current files and no failures.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let disk = lock(&self.disk);
        let copy = |inode: &Inode| Inode {
            name: inode.name.clone(),
            current: Arc::clone(&inode.current),
            durable: Arc::clone(&inode.durable),
            dirty: inode.dirty.clone(),
            doomed: inode.doomed.clone(),
        };
        let copied = Disk {
            inodes: disk.inodes.iter().map(copy).collect(),
            names: disk.names.clone(),
            durable_names: disk.durable_names.clone(),
            changes: disk.changes.clone(),
            ..Disk::default()
        };
        Self {
            disk: Arc::new(Mutex::new(copied)),
        }
    }

    fn call(&self, op: Op, name: &str, offset: u64, bytes: u64) -> io::Result<Option<Failure>> {
        lock(&self.disk).call(op, name, offset, bytes)
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
        disk.call(Op::Open, name, 0, 0)?;
        let inode = disk
            .names
            .get(name)
            .copied()
            .ok_or(io::ErrorKind::NotFound)?;
        let generation = disk.generation;
        drop(disk);
        Ok(self.handle(inode, generation))
    }
}

impl Disk {
    /// Counts the call; says whether and how it fails.
    fn call(&mut self, op: Op, name: &str, offset: u64, bytes: u64) -> io::Result<Option<Failure>> {
        if self
            .power_off_after
            .is_some_and(|after| self.calls >= after)
        {
            return Err(io::Error::other("the power is off"));
        }
        self.calls += 1;
        if let Some(trace) = &mut self.trace {
            trace.push(Call {
                op,
                name: name.to_owned(),
                offset,
                bytes,
            });
        }
        let count = self.counts.entry(op).or_default();
        *count += 1;
        let count = *count;
        let rule = self
            .rules
            .iter()
            .position(|(on, at, _)| *on == op && *at == count);
        match rule.map(|rule| self.rules.remove(rule).2) {
            None => Ok(None),
            Some(Failure::Eintr) => Err(io::ErrorKind::Interrupted.into()),
            Some(Failure::Enospc) => Err(io::ErrorKind::StorageFull.into()),
            Some(failure) if failure == Failure::Short && matches!(op, Op::Write | Op::Read) => {
                Ok(Some(failure))
            }
            Some(_) => Ok(Some(Failure::Eio)),
        }
    }

    fn used(&self) -> u64 {
        let inodes: BTreeSet<usize> = self.names.values().copied().collect();
        inodes
            .iter()
            .filter_map(|inode| self.inodes.get(*inode))
            .map(|inode| inode.current.len() as u64)
            .sum()
    }

    fn inode(&mut self, inode: usize, generation: u64) -> io::Result<&mut Inode> {
        if generation != self.generation {
            return Err(io::Error::other("the process of this handle is gone"));
        }
        self.inodes
            .get_mut(inode)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn has_room(&self, inode: usize, end: usize) -> io::Result<()> {
        let grows = end.saturating_sub(
            self.inodes
                .get(inode)
                .map_or(0, |inode| inode.current.len()),
        );
        match self.capacity {
            Some(capacity) if grows > 0 && self.used() + grows as u64 > capacity => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }
}

impl Inode {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        let current = Arc::make_mut(&mut self.current);
        if current.len() < end {
            current.resize(end, 0);
        }
        if let Some(target) = current.get_mut(offset..end) {
            target.copy_from_slice(bytes);
        }
        for sector in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            self.doomed.remove(&sector);
            self.dirty.insert(sector);
        }
    }

    fn sync(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        let durable = Arc::make_mut(&mut self.durable);
        durable.resize(self.current.len(), 0);
        for sector in dirty.difference(&self.doomed) {
            persist(&self.current, durable, *sector);
        }
    }

    fn crash(&mut self, random: &mut fastrand::Rng, odds: u8) {
        let dirty = std::mem::take(&mut self.dirty);
        let doomed = std::mem::take(&mut self.doomed);
        for sector in dirty.union(&doomed) {
            if random.u8(0..8) < odds {
                persist(&self.current, Arc::make_mut(&mut self.durable), *sector);
            }
        }
        self.current = Arc::clone(&self.durable);
    }
}

/// Copies one sector, lengthening the target as far as it must.
fn persist(from: &[u8], to: &mut Vec<u8>, sector: usize) {
    let range = sector * SECTOR_BYTES..((sector + 1) * SECTOR_BYTES).min(from.len());
    if to.len() < range.end {
        to.resize(range.end, 0);
    }
    if let (Some(target), Some(source)) = (to.get_mut(range.clone()), from.get(range)) {
        target.copy_from_slice(source);
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl Storage for Fault {
    fn lock(&self) -> io::Result<Locking> {
        let mut disk = lock(&self.disk);
        if disk.call(Op::Lock, "", 0, 0)?.is_some() {
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
        if disk.call(Op::Create, name, 0, 0)?.is_some() {
            return Err(eio());
        }
        // Truncation is not modelled: a fresh file takes the name.
        let inode = disk.inodes.len();
        disk.inodes.push(Inode {
            name: name.to_owned(),
            ..Inode::default()
        });
        disk.change(Change::Create(name.to_owned(), inode));
        let generation = disk.generation;
        drop(disk);
        Ok(self.handle(inode, generation))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        if disk.call(Op::Rename, to, 0, 0)?.is_some() {
            return Err(eio());
        }
        let inode = disk
            .names
            .get(from)
            .copied()
            .ok_or(io::ErrorKind::NotFound)?;
        disk.change(Change::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        if disk.call(Op::Remove, name, 0, 0)?.is_some() {
            return Err(eio());
        }
        if !disk.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        disk.change(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let mut disk = lock(&self.disk);
        if disk.call(Op::List, directory, 0, 0)?.is_some() {
            return Err(eio());
        }
        Ok(names_in(disk.names.keys(), directory))
    }

    fn sync_dir(&self, directory: &str) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        if disk.call(Op::SyncDir, directory, 0, 0)?.is_some() {
            return Err(eio());
        }
        for change in std::mem::take(&mut disk.changes) {
            if change.directory() == directory {
                change.apply(&mut disk.durable_names);
            } else {
                disk.changes.push(change);
            }
        }
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
        disk.inodes
            .get(self.inode)
            .map(|inode| inode.name.clone())
            .unwrap_or_default()
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
        let rest = inode.current.get(offset as usize..).unwrap_or_default();
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
        disk.has_room(self.inode, offset as usize + bytes.len())?;
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
            let dirty = std::mem::take(&mut inode.dirty);
            inode.doomed.extend(dirty);
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
        Ok(disk.inode(self.inode, self.generation)?.current.len() as u64)
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        let name = self.name();
        if self.fault.call(Op::Preallocate, &name, 0, bytes)?.is_some() {
            return Err(eio());
        }
        let mut disk = lock(&self.fault.disk);
        disk.has_room(self.inode, bytes as usize)?;
        disk.inode(self.inode, self.generation)?
            .write(&vec![0; bytes as usize], 0);
        Ok(())
    }
}

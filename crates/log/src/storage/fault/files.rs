//! What a simulated disk remembers: files and names as they are read now, and as a power cut leaves them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::super::memory::names_in;

/// What a power cut keeps or loses as one piece.
const SECTOR_BYTES: usize = 512;

#[derive(Clone, Default)]
pub(super) struct Files {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes of names that are not durable yet.
    changes: Vec<Change>,
    capacity: Option<u64>,
}

#[derive(Clone, Default)]
pub(super) struct Inode {
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

impl Files {
    pub(super) fn set_capacity(&mut self, bytes: Option<u64>) {
        self.capacity = bytes;
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.names.keys()
    }

    pub(super) fn in_directory(&self, directory: &str) -> Vec<String> {
        names_in(self.names.keys(), directory)
    }

    /// The file of a name.
    pub(super) fn find(&self, name: &str) -> io::Result<usize> {
        let found = self.names.get(name).copied();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn inode(&self, inode: usize) -> Option<&Inode> {
        self.inodes.get(inode)
    }

    pub(super) fn inode_mut(&mut self, inode: usize) -> io::Result<&mut Inode> {
        let found = self.inodes.get_mut(inode);
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Truncation is not modelled: a fresh file takes the name.
    pub(super) fn create(&mut self, name: &str) -> usize {
        let inode = self.inodes.len();
        self.inodes.push(Inode {
            name: name.to_owned(),
            ..Inode::default()
        });
        self.change(Change::Create(name.to_owned(), inode));
        inode
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let inode = self.find(from)?;
        self.change(Change::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        self.find(name)?;
        self.change(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    /// Makes the names of a directory durable.
    pub(super) fn sync_dir(&mut self, directory: &str) {
        for change in std::mem::take(&mut self.changes) {
            if change.directory() == directory {
                change.apply(&mut self.durable_names);
            } else {
                self.changes.push(change);
            }
        }
    }

    pub(super) fn used(&self) -> u64 {
        let inodes: BTreeSet<usize> = self.names.values().copied().collect();
        inodes
            .iter()
            .filter_map(|inode| self.inodes.get(*inode))
            .map(|inode| inode.current.len() as u64)
            .sum()
    }

    /// Checks that a file may grow to `end`.
    pub(super) fn has_room(&self, inode: usize, end: usize) -> io::Result<()> {
        let bytes = self.inodes.get(inode).map_or(0, |it| it.current.len());
        let grows = end.saturating_sub(bytes);
        match self.capacity {
            Some(capacity) if grows > 0 && self.used() + grows as u64 > capacity => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    /// The power fails: of what was not synced, a random subset survives.
    pub(super) fn crash(&mut self, random: &mut fastrand::Rng) {
        // From nothing survives to everything does.
        let odds = *random.choice(&[0, 1, 4, 7, 8]).unwrap_or(&4);
        for inode in &mut self.inodes {
            inode.crash(random, odds);
        }
        // A journal keeps changes in order, so mostly a prefix survives; but not by any promise.
        let in_order = random.bool();
        let kept = random.usize(0..=self.changes.len());
        for (index, change) in std::mem::take(&mut self.changes).into_iter().enumerate() {
            let survives = if in_order {
                index < kept
            } else {
                random.u8(0..8) < odds
            };
            if survives {
                change.apply(&mut self.durable_names);
            }
        }
        self.names = self.durable_names.clone();
    }

    /// The same files, on a disk without a limit.
    pub(super) fn duplicate(&self) -> Self {
        Self {
            capacity: None,
            ..self.clone()
        }
    }
}

impl Inode {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// As a reader sees it now.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.current
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: usize) {
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

    /// Replaces all bytes, durably.
    pub(super) fn overwrite(&mut self, bytes: &[u8]) {
        self.current = Arc::new(bytes.to_vec());
        self.durable = Arc::clone(&self.current);
        self.dirty.clear();
        self.doomed.clear();
    }

    pub(super) fn sync(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        let durable = Arc::make_mut(&mut self.durable);
        durable.resize(self.current.len(), 0);
        for sector in dirty.difference(&self.doomed) {
            persist(&self.current, durable, *sector);
        }
    }

    /// A sync that fails: what it should have made durable never becomes so.
    pub(super) fn fail_sync(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        self.doomed.extend(dirty);
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

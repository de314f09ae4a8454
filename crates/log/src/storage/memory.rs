use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::{Arc, PoisonError};

use super::{Handle, Lock, Locking, Storage};
use crate::codec::lock;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, RwLock};

/// Files grow by pieces of this size, so that growing never copies what is there.
const PAGE_BYTES: usize = 64 * 1024;

/// Files in memory. Clones share them, so that a test can drop a log and open it again.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    files: Mutex<BTreeMap<String, Arc<Open>>>,
    locked: AtomicBool,
}

impl Memory {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy of all files as they are now, without an owner: what the next process would find if
    /// this one were killed in this moment.
    #[must_use]
    pub fn fork(&self) -> Self {
        let files = lock(&self.shared.files);
        let copies = files
            .iter()
            .map(|(name, file)| (name.clone(), Arc::new(file.copy())));
        let shared = Shared {
            files: Mutex::new(copies.collect()),
            ..Shared::default()
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    fn find(&self, name: &str) -> io::Result<Arc<Open>> {
        lock(&self.shared.files)
            .get(name)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Storage for Memory {
    fn lock(&self) -> io::Result<Locking> {
        if self.shared.locked.swap(true, Ordering::AcqRel) {
            return Ok(Locking::Held {
                pid: Some(std::process::id()),
            });
        }
        Ok(Locking::Acquired(Lock::new(Unlock(Arc::clone(
            &self.shared,
        )))))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Handle>> {
        Ok(self.find(name)?)
    }

    fn open_read(&self, name: &str) -> io::Result<Arc<dyn Handle>> {
        Ok(self.find(name)?)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Handle>> {
        let file = Arc::<Open>::default();
        lock(&self.shared.files).insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = lock(&self.shared.files);
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let file = lock(&self.shared.files).remove(name);
        file.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        Ok(names_in(lock(&self.shared.files).keys(), directory))
    }

    fn sync_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn describe(&self, name: &str) -> String {
        format!("memory:{name}")
    }
}

/// The names directly in `directory`, without it.
pub(super) fn names_in<'a>(
    names: impl Iterator<Item = &'a String>,
    directory: &str,
) -> Vec<String> {
    names
        .filter_map(|name| match name.rsplit_once('/') {
            Some((parent, name)) => (parent == directory).then(|| name.to_owned()),
            None => directory.is_empty().then(|| name.clone()),
        })
        .collect()
}

struct Unlock(Arc<Shared>);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.locked.store(false, Ordering::Release);
    }
}

#[derive(Debug, Default)]
struct Open {
    contents: RwLock<Contents>,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    pages: Vec<Box<[u8]>>,
    length: usize,
}

impl Open {
    fn copy(&self) -> Self {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        Self {
            contents: RwLock::new(contents.clone()),
        }
    }
}

impl Contents {
    fn write(&mut self, mut bytes: &[u8], mut offset: usize) {
        self.length = self.length.max(offset + bytes.len());
        while self.pages.len() * PAGE_BYTES < self.length {
            self.pages.push(vec![0; PAGE_BYTES].into());
        }
        while !bytes.is_empty() {
            let within = offset % PAGE_BYTES;
            let (some, rest) = bytes.split_at(bytes.len().min(PAGE_BYTES - within));
            let page = self.pages.get_mut(offset / PAGE_BYTES);
            if let Some(target) = page.and_then(|page| page.get_mut(within..within + some.len())) {
                target.copy_from_slice(some);
            }
            offset += some.len();
            bytes = rest;
        }
    }
}

impl Handle for Open {
    fn read_at_hand(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_at(buffer, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let Some(offset) = usize::try_from(offset)
            .ok()
            .filter(|offset| *offset < contents.length)
        else {
            return Ok(0);
        };
        let within = offset % PAGE_BYTES;
        let bytes = buffer
            .len()
            .min(PAGE_BYTES - within)
            .min(contents.length - offset);
        let page = contents.pages.get(offset / PAGE_BYTES);
        let source = page
            .and_then(|page| page.get(within..within + bytes))
            .unwrap_or_default();
        if let Some(target) = buffer.get_mut(..source.len()) {
            target.copy_from_slice(source);
        }
        Ok(source.len())
    }

    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut contents = self
            .contents
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut at = start;
        for slice in slices {
            contents.write(slice, at);
            at += slice.len();
        }
        Ok(at - start)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self
            .contents
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .length as u64)
    }

    fn preallocate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

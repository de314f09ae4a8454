use std::fs::{self, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation, flock};

use super::{Handle, Lock, Locking, Storage};

/// Zeroes are written in pieces of this size.
const ZEROES_BYTES: usize = 1024 * 1024;

/// A directory of the file system.
#[derive(Clone, Debug)]
pub struct File {
    directory: PathBuf,
}

impl File {
    /// Files in `directory`, which is created when a log is opened in it.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() {
            self.directory.clone()
        } else {
            self.directory.join(name)
        }
    }

    /// Creates the directories; the parent learns of them durably.
    fn create_directories(&self) -> io::Result<()> {
        if !self.directory.is_dir() {
            fs::create_dir_all(&self.directory)?;
            if let Some(parent) = self
                .directory
                .parent()
                .filter(|path| !path.as_os_str().is_empty())
            {
                fs::File::open(parent)?.sync_all()?;
            }
        }
        let mut created = false;
        for name in ["log", "idx", "checkpoint"] {
            match fs::create_dir(self.path(name)) {
                Ok(()) => created = true,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        if created {
            fs::File::open(&self.directory)?.sync_all()
        } else {
            Ok(())
        }
    }
}

/// The lock file, locked.
struct Locked(fs::File);

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing it is not enough: a child process that another thread is just starting shares
        // the lock until it has become its own program.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl Storage for File {
    fn lock(&self) -> io::Result<Locking> {
        self.create_directories()?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.path("LOCK"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // The pid is only for the message: one that cannot be read is left out.
                let _ = (&mut file).take(32).read_to_string(&mut text);
                return Ok(Locking::Held {
                    pid: text.trim().parse().ok(),
                });
            }
            Err(error) => return Err(error.into()),
        }
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Locking::Acquired(Lock::new(Locked(file))))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Handle>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path(name))?;
        Ok(Arc::new(Open(file)))
    }

    fn open_read(&self, name: &str) -> io::Result<Arc<dyn Handle>> {
        Ok(Arc::new(Open(fs::File::open(self.path(name))?)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Handle>> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(true);
        Ok(Arc::new(Open(options.open(self.path(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(directory)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            // Files of the log have ASCII names; others are not ours to judge.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn sync_dir(&self, directory: &str) -> io::Result<()> {
        fs::File::open(self.path(directory))?.sync_all()
    }

    fn describe(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

#[derive(Debug)]
struct Open(fs::File);

impl Handle for Open {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        match slices {
            [one] => self.0.write_at(one, offset),
            many => Ok(rustix::io::pwritev(&self.0, many, offset)?),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    /// Writes real zeroes: overwriting written blocks in place is what makes a later sync cheap,
    /// blocks that are only reserved still cost the file system a journal commit each.
    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        let zeroes = vec![0; ZEROES_BYTES.min(usize::try_from(bytes).unwrap_or(ZEROES_BYTES))];
        let mut offset = 0;
        while offset < bytes {
            let some = (bytes - offset).min(zeroes.len() as u64) as usize;
            let slice = IoSlice::new(zeroes.get(..some).unwrap_or_default());
            super::write_all(self, &mut [slice], offset)?;
            // Piece by piece: a sync of another file must not wait for all of it.
            super::sync(self)?;
            offset += some as u64;
        }
        Ok(())
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, bytes) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => self.preallocate(bytes),
            outcome => Ok(outcome?),
        }
    }
}

use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Dir, FallocateFlags, FlockOperation, Mode, OFlags, flock};
use rustix::io::{Errno, ReadWriteFlags};

use super::{Handle, Lock, Locking, Lost, Reach, Storage};
use crate::codec::lock;
use crate::sync::Mutex;

/// Zeroes are written in pieces of this size.
const ZEROES_BYTES: usize = 1024 * 1024;
/// A directory that is replaced this often while it is being locked is not locked.
const LOCK_ATTEMPTS_MAX: usize = 16;
/// How long those who only look who owns a directory may be in the way of one who locks it.
const LOOKING_MAX: Duration = Duration::from_secs(1);
const LOCK: &str = "LOCK";
/// What is in a log may be personal: its owner alone reads it, whatever the process's umask is.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// A directory of the file system.
///
/// Only the user of the process may read the files and directories that it makes (modes 0600 and 0700). What is
/// there already keeps the mode that it has.
///
/// While it is locked, through this or a clone of it, everything happens in the very directory
/// that was locked, whatever its name stands for by then; and nothing is created, renamed or
/// removed once its name stands for something else.
#[derive(Clone, Debug)]
pub struct File {
    directory: PathBuf,
    owned: Arc<Mutex<Option<Arc<Owned>>>>,
}

/// Who owns a directory; see [`File::owner`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// No process does.
    Free,
    /// A process does.
    Owned {
        /// Which one, when it could be read.
        pid: Option<u32>,
    },
}

/// The directory that was locked.
#[derive(Debug)]
struct Owned {
    root: fs::File,
    lock: fs::File,
    /// The lock file by its absolute name: the process may change its working directory.
    lock_path: PathBuf,
    /// Device and number of the lock file.
    identity: (u64, u64),
}

impl Owned {
    /// Locks the directory `path`; `None` when another process has.
    fn lock(path: &Path) -> io::Result<Option<Self>> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let root = fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
        // The directory as well as the file: without the file there would still be one owner only.
        // Where a file system cannot lock a directory, the file has to do.
        if flock(&root, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            return Ok(None);
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(FILE_MODE);
        let file = fs::File::from(rustix::fs::openat(&root, LOCK, flags, mode)?);
        if let Err(error) = lock_file(&file) {
            let _ = flock(&root, FlockOperation::Unlock);
            return match error {
                Errno::WOULDBLOCK => Ok(None),
                error => Err(error.into()),
            };
        }
        let stat = rustix::fs::fstat(&file)?;
        Ok(Some(Self {
            root,
            lock: file,
            lock_path: std::path::absolute(path)?.join(LOCK),
            identity: (stat.st_dev, stat.st_ino),
        }))
    }

    fn write_pid(&self) -> io::Result<()> {
        self.lock.set_len(0)?;
        writeln!(&self.lock, "{}", std::process::id())
    }

    /// Whether the name still stands for the directory that was locked.
    fn confirm(&self) -> io::Result<()> {
        let what = match rustix::fs::stat(&self.lock_path) {
            Ok(stat) if (stat.st_dev, stat.st_ino) == self.identity => return Ok(()),
            Ok(_) => "another directory or lock file has taken its place".to_owned(),
            Err(Errno::NOENT | Errno::NOTDIR) => {
                "its lock file, or the whole directory, was removed or renamed".to_owned()
            }
            Err(error) => format!("its lock file cannot be looked at: {error}"),
        };
        let directory = self.lock_path.parent().unwrap_or(&self.lock_path);
        let directory = directory.display().to_string();
        Err(Lost { directory, what }.into())
    }
}

/// Creates a directory unless it is there, and says whether it was not.
fn create_directory(path: &Path) -> io::Result<bool> {
    match fs::DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Locks the lock file. Who only looks shares its lock, for a moment: that is waited for.
fn lock_file(file: &fs::File) -> rustix::io::Result<()> {
    let begun = Instant::now();
    loop {
        let locked = flock(file, FlockOperation::NonBlockingLockExclusive);
        if locked != Err(Errno::WOULDBLOCK)
            || flock(file, FlockOperation::NonBlockingLockShared).is_err()
            || begun.elapsed() > LOOKING_MAX
        {
            return locked;
        }
        flock(file, FlockOperation::Unlock)?;
        std::thread::yield_now();
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // Closing them is not enough: a child process that another thread is just starting shares
        // the locks until it has become its own program.
        let _ = flock(&self.lock, FlockOperation::Unlock);
        let _ = flock(&self.root, FlockOperation::Unlock);
    }
}

/// Gives the directory up.
struct Unlock(Arc<Mutex<Option<Arc<Owned>>>>);

impl Drop for Unlock {
    fn drop(&mut self) {
        *lock(&self.0) = None;
    }
}

impl File {
    /// Files in `directory`, which is created when a log is opened in it.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            owned: Arc::default(),
        }
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Who owns the directory. Changes nothing, creates nothing, and is not in the way of one who
    /// locks it.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says.
    pub fn owner(&self) -> io::Result<Ownership> {
        let file = match fs::File::open(self.path(LOCK)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ownership::Free),
            file => file?,
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {
                flock(&file, FlockOperation::Unlock)?;
                Ok(Ownership::Free)
            }
            Err(Errno::WOULDBLOCK) => Ok(Ownership::Owned { pid: self.pid() }),
            Err(error) => Err(error.into()),
        }
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
            if self.directory.exists() {
                // Creating it would only say that there is something already.
                return Err(io::ErrorKind::NotADirectory.into());
            }
            let parent = self.directory.parent();
            let parent = parent.filter(|path| !path.as_os_str().is_empty());
            if let Some(parent) = parent {
                fs::create_dir_all(parent)?;
            }
            create_directory(&self.directory)?;
            if let Some(parent) = parent {
                fs::File::open(parent)?.sync_all()?;
            }
        }
        let mut created = false;
        for name in ["log", "idx", "checkpoint"] {
            created |= create_directory(&self.path(name))?;
        }
        if created {
            fs::File::open(&self.directory)?.sync_all()
        } else {
            Ok(())
        }
    }
}

impl File {
    /// Runs `call` with the directory that names are relative to, and the name in it.
    fn at<T>(
        &self,
        name: &str,
        call: impl FnOnce(BorrowedFd<'_>, &Path) -> rustix::io::Result<T>,
    ) -> io::Result<T> {
        let owned = lock(&self.owned).clone();
        Ok(match owned {
            Some(owned) if name.is_empty() => call(owned.root.as_fd(), Path::new("."))?,
            Some(owned) => call(owned.root.as_fd(), Path::new(name))?,
            None => call(CWD, &self.path(name))?,
        })
    }

    fn open_at(&self, name: &str, flags: OFlags) -> io::Result<fs::File> {
        let mode = Mode::from_raw_mode(FILE_MODE);
        self.at(name, |directory, name| {
            rustix::fs::openat(directory, name, flags | OFlags::CLOEXEC, mode)
        })
        .map(fs::File::from)
    }

    /// The owner's pid, for the message: one that cannot be read is left out.
    fn pid(&self) -> Option<u32> {
        let mut text = String::new();
        let file = fs::File::open(self.path(LOCK)).ok()?;
        file.take(32).read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }
}

impl Storage for File {
    fn outlives_process(&self) -> bool {
        true
    }

    fn lock(&self) -> io::Result<Locking> {
        for _ in 0..LOCK_ATTEMPTS_MAX {
            self.create_directories()?;
            let Some(owned) = Owned::lock(&self.directory)? else {
                return Ok(Locking::Held { pid: self.pid() });
            };
            // It may have been removed or replaced before it was locked.
            if owned.confirm().is_ok() {
                owned.write_pid()?;
                *lock(&self.owned) = Some(Arc::new(owned));
                return Ok(Locking::Acquired(Lock::new(Unlock(Arc::clone(
                    &self.owned,
                )))));
            }
        }
        let directory = self.directory.display().to_string();
        let what = "it is replaced again and again while it is being locked".to_owned();
        Err(Lost { directory, what }.into())
    }

    fn confirm(&self) -> io::Result<()> {
        let owned = lock(&self.owned).clone();
        owned.map_or(Ok(()), |owned| owned.confirm())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Handle>> {
        self.confirm()?;
        Ok(Arc::new(Open(self.open_at(name, OFlags::RDWR)?)))
    }

    fn open_read(&self, name: &str) -> io::Result<Arc<dyn Handle>> {
        Ok(Arc::new(Open(self.open_at(name, OFlags::RDONLY)?)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Handle>> {
        self.confirm()?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC;
        Ok(Arc::new(Open(self.open_at(name, flags)?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.confirm()?;
        let owned = lock(&self.owned).clone();
        let renamed = match owned {
            Some(owned) => rustix::fs::renameat(&owned.root, from, &owned.root, to),
            None => rustix::fs::renameat(CWD, self.path(from), CWD, self.path(to)),
        };
        Ok(renamed?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.confirm()?;
        self.at(name, |directory, name| {
            rustix::fs::unlinkat(directory, name, AtFlags::empty())
        })
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let opened = match self.open_at(directory, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in Dir::read_from(&opened)? {
            // Files of the log have ASCII names; others are not ours to judge.
            if let Ok(name) = entry?.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn sync_dir(&self, directory: &str) -> io::Result<()> {
        self.open_at(directory, OFlags::RDONLY | OFlags::DIRECTORY)?
            .sync_all()
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

    fn read_at_hand(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut slices = [IoSliceMut::new(buffer)];
        match rustix::io::preadv2(&self.0, &mut slices, offset, ReadWriteFlags::NOWAIT) {
            // File systems and kernels that do not know it.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Err(Reach::would_block()),
            outcome => Ok(outcome?),
        }
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

    fn harm(&self, bytes: u64) -> io::Result<Option<&'static str>> {
        let stat = rustix::fs::fstat(&self.0)?;
        Ok(match u64::try_from(stat.st_size) {
            _ if stat.st_nlink == 0 => Some("was removed"),
            Ok(found) if found < bytes => Some("was cut off"),
            _ => None,
        })
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

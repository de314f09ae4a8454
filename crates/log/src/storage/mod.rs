//! The only way to the disk: a directory of named files.
//!
//! [`File`] is a directory, [`Memory`] lives as long as its last clone, [`Fault`] is a disk that
//! fails and loses power on request, for tests.

use std::any::Any;
use std::fmt;
use std::io::{self, IoSlice};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::sabotage::Safeguard;

mod fault;
mod file;
mod memory;

#[doc(hidden)]
pub use fault::{Call, Failure, Fault, Op};
pub use file::{File, Ownership};
pub use memory::Memory;

pub use crate::lost::Lost;

/// A directory of named files. Names are relative, with `/`; the subdirectories used are `log`,
/// `idx` and `checkpoint`.
///
/// Implementations do one system call each and neither retry nor interpret: interrupted calls,
/// short writes and failures are handled above.
pub trait Storage: Send + Sync + fmt::Debug {
    /// Makes this handle the owner of the directory until the returned value is dropped, and
    /// creates the directories that are missing.
    ///
    /// # Errors
    ///
    /// What the operating system reports; that another process owns it is not an error.
    fn lock(&self) -> io::Result<Locking>;
    /// Whether the directory that was locked is still the one that its name stands for: it may
    /// have been removed, renamed or replaced meanwhile. Asked before anything is acknowledged.
    ///
    /// # Errors
    ///
    /// [`Lost`], in an [`io::Error`], when it is not.
    fn confirm(&self) -> io::Result<()> {
        Ok(())
    }
    /// Whether what is stored is there after the process that stored it has ended. Says no more
    /// than it knows: storage of another kind overrides it.
    fn outlives_process(&self) -> bool {
        false
    }
    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    ///
    /// `NotFound`, or whatever the operating system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn Handle>>;
    /// Opens an existing file for reading only.
    ///
    /// # Errors
    ///
    /// `NotFound`, or whatever the operating system says.
    fn open_read(&self, name: &str) -> io::Result<Arc<dyn Handle>>;
    /// Creates an empty file, emptying one that exists.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn Handle>>;
    /// Gives a file another name, replacing a file of that name in one step.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file; open handles go on working.
    ///
    /// # Errors
    ///
    /// `NotFound`, or whatever the operating system says.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// The names of the files in a subdirectory (`""` is the directory itself), in any order. A
    /// subdirectory that does not exist is empty.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;
    /// Makes the creations, renames and removals in a subdirectory durable.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says.
    fn sync_dir(&self, directory: &str) -> io::Result<()>;
    /// The name to show in messages.
    fn describe(&self, name: &str) -> String;
}

/// One open file of a [`Storage`].
pub trait Handle: Send + Sync + fmt::Debug {
    /// Reads at most `buffer.len()` bytes at `offset`; 0 at the end of the file.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// The same of bytes that are in memory already, the operating system's included: never waits for the disk.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the first of them may not be in memory, or the storage cannot tell.
    fn read_at_hand(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let _ = (buffer, offset);
        Err(Reach::would_block())
    }
    /// Writes some of `slices` at `offset`, the first bytes first, and says how many.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says.
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// Makes everything written so far durable, and the length.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says. What was written before is then in doubt for good.
    fn sync_data(&self) -> io::Result<()>;
    /// The length in bytes.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// What others did to the file while it was open, if anything: it was removed, or has fewer than
    /// `bytes` bytes. `None` for storage that no other process can reach.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says.
    fn harm(&self, bytes: u64) -> io::Result<Option<&'static str>> {
        let _ = bytes;
        Ok(None)
    }
    /// Gives a new, empty file `bytes` zero bytes that later writes overwrite in place. Storage
    /// that gains nothing from it may do nothing: the file then grows by writing.
    ///
    /// # Errors
    ///
    /// `StorageFull`, or whatever the operating system says.
    fn preallocate(&self, bytes: u64) -> io::Result<()>;
    /// Gives a new, empty file `bytes` zero bytes without writing them, where the storage can: a
    /// sync of what is written over them then costs more than after
    /// [`preallocate`](Handle::preallocate), which is what this does elsewhere.
    ///
    /// # Errors
    ///
    /// `StorageFull`, or whatever the operating system says.
    fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.preallocate(bytes)
    }
}

/// The answer of [`Storage::lock`].
#[derive(Debug)]
pub enum Locking {
    /// The caller owns the directory until it drops this.
    Acquired(Lock),
    /// Another process does.
    Held {
        /// The owner, when it could be read.
        pid: Option<u32>,
    },
}

/// Ownership of a directory; ends when dropped.
pub struct Lock(#[allow(dead_code, reason = "held for its Drop")] Box<dyn Any + Send + Sync>);

impl Lock {
    /// Keeps `guard`, whose `Drop` ends the ownership.
    pub fn new(guard: impl Any + Send + Sync) -> Self {
        Self(Box::new(guard))
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lock")
    }
}

/// Runs `call` again while it is interrupted.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// How far a read goes for what it is to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To the disk.
    Disk,
    /// To what is in memory: there is an error of the kind `WouldBlock` where that is not enough.
    Memory,
}

impl Reach {
    /// The error of a read that would have to wait for the disk.
    pub(crate) fn would_block() -> io::Error {
        io::ErrorKind::WouldBlock.into()
    }
}

/// Fills `buffer` from `offset` on as far as the file goes; says how far.
pub(crate) fn read_full(file: &dyn Handle, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    read_within(Reach::Disk, file, buffer, offset)
}

/// The same, as far as a read goes.
pub(crate) fn read_within(
    reach: Reach,
    file: &dyn Handle,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = offset + done as u64;
        let read = || match reach {
            Reach::Disk => file.read_at(rest, at),
            Reach::Memory => file.read_at_hand(rest, at),
        };
        match uninterrupted(read)? {
            0 => break,
            bytes => done += bytes,
        }
    }
    Ok(done)
}

/// Writes all of `slices` at `offset`, going on after short writes.
pub(crate) fn write_all(
    file: &dyn Handle,
    mut slices: &mut [IoSlice<'_>],
    mut offset: u64,
) -> io::Result<()> {
    // Linux takes at most 1,024 slices a call.
    const SLICES_MAX: usize = 1024;
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        let some = slices
            .get(..slices.len().min(SLICES_MAX))
            .unwrap_or_default();
        let bytes = uninterrupted(|| file.write_at(some, offset))?;
        if bytes == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        offset += bytes as u64;
        IoSlice::advance_slices(&mut slices, bytes);
    }
    Ok(())
}

/// Syncs a file. Never repeated after a failure: the pages may have been marked clean.
pub(crate) fn sync(file: &dyn Handle) -> io::Result<()> {
    uninterrupted(|| file.sync_data())
}

/// Replaces file `name` by `bytes`, durably and in one step.
pub(crate) fn replace(
    storage: &dyn Storage,
    directory: &str,
    name: &str,
    bytes: &[u8],
) -> Result<()> {
    let temporary = format!("{name}.tmp");
    let at = |name: &str| storage.describe(name);
    let file = uninterrupted(|| storage.create(&temporary))
        .map_err(Error::io("create", at(&temporary)))?;
    write_all(&*file, &mut [IoSlice::new(bytes)], 0).map_err(Error::io("write", at(&temporary)))?;
    if !Safeguard::FileSync.is_off() {
        sync(&*file).map_err(Error::io("sync", at(&temporary)))?;
    }
    uninterrupted(|| storage.rename(&temporary, name))
        .map_err(Error::io("rename", at(&temporary)))?;
    sync_dir(storage, directory)
}

/// All bytes of file `name`, at most `bytes_max`; `None` when there is no such file.
pub(crate) fn read_file(
    storage: &dyn Storage,
    name: &str,
    bytes_max: usize,
) -> Result<Option<Vec<u8>>> {
    let file = match uninterrupted(|| storage.open_read(name)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", storage.describe(name))(error)),
    };
    let failed = |error| Error::io("read", storage.describe(name))(error);
    let length = file.len().map_err(failed)?;
    if length > bytes_max as u64 {
        return Err(Error::corrupt(
            storage.describe(name),
            0,
            format!("it has {length} bytes, at most {bytes_max} were expected"),
        ));
    }
    let mut bytes = vec![0; length as usize];
    let read = read_full(&*file, &mut bytes, 0).map_err(failed)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Makes changes of names in a subdirectory durable.
pub(crate) fn sync_dir(storage: &dyn Storage, directory: &str) -> Result<()> {
    if Safeguard::DirectorySync.is_off() {
        return Ok(());
    }
    uninterrupted(|| storage.sync_dir(directory)).map_err(Error::io(
        "sync the directory of",
        storage.describe(directory),
    ))
}

/// Whether the directory is still the caller's.
pub(crate) fn confirm(storage: &dyn Storage) -> Result<()> {
    uninterrupted(|| storage.confirm())
        .map_err(|error| Error::io("look at", storage.describe(""))(error))
}

/// Removes a file; one that is gone already is fine.
pub(crate) fn remove(storage: &dyn Storage, name: &str) -> Result<()> {
    match uninterrupted(|| storage.remove(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", storage.describe(name))(error))
        }
        _ => Ok(()),
    }
}

/// Whether an error means that there is no room.
pub(crate) fn is_full(error: &Error) -> bool {
    matches!(error, Error::Io { reason, .. } if matches!(
        reason.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    ))
}

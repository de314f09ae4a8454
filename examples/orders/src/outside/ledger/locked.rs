//! A file of lines that several processes append to, one at a time.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// The file, and how far it was read here.
#[derive(Debug)]
pub(super) struct LockedFile {
    file: File,
    /// Bytes, all of whole lines.
    read: u64,
}

/// The right to write, until it is dropped.
pub(super) struct Lock<'a>(&'a mut LockedFile);

impl LockedFile {
    /// Opens the file, which is made if it is not there, with the directory that it is in.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(path)?;
        Ok(Self { file, read: 0 })
    }

    /// Waits until no other process writes. Blocks: others hold the lock for one line's time.
    pub(super) fn lock(&mut self) -> io::Result<Lock<'_>> {
        flock(&self.file, FlockOperation::LockExclusive)?;
        Ok(Lock(self))
    }
}

impl Lock<'_> {
    /// The whole lines that were written since the last time. A line without its end is removed:
    /// its writer is dead, or would hold the lock, and never reported it.
    pub(super) fn read_new(&mut self) -> io::Result<String> {
        let LockedFile { file, read } = &mut *self.0;
        file.seek(SeekFrom::Start(*read))?;
        let mut lines = String::new();
        file.read_to_string(&mut lines)?;
        let whole = lines.rfind('\n').map_or(0, |end| end + 1);
        if whole < lines.len() {
            lines.truncate(whole);
            file.set_len(*read + whole as u64)?;
        }
        *read += whole as u64;
        Ok(lines)
    }

    /// Appends a line, with its end. After [`Lock::read_new`], or what is between is never read.
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        self.0.file.write_all(line)?;
        self.0.read += line.len() as u64;
        Ok(())
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // Closing the file would give it back as well, and nothing else can fail here.
        let _ = flock(&self.0.file, FlockOperation::Unlock);
    }
}

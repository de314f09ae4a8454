//! Keys in a directory: a file for each subject.
//!
//! ```text
//! KEYS/lock             what is changed is changed by one process at a time
//! KEYS/SHA-256.keys     of one subject, whose name is hashed; readable by the owner alone
//! ```
//!
//! A file is text: `ensue keys 1`, then a line `NUMBER HEX` for each key, or `forgotten` in place of all. A
//! change is a new file that takes the place of the old one. Whatever a file with keys is replaced by, and before keys
//! are forgotten, they are overwritten where they are, too, which reaches the bytes on the disks that write in place.
//! A file of zeros was left by a process that was killed while it forgot.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _};
use ring::digest;
use zeroize::{Zeroize as _, Zeroizing};

use super::keys::{KEY_BYTES, KeyLookup, KeyStore, SubjectKey, failed};
use crate::error::PersonalError;

const HEADER: &str = "ensue keys 1";
const FORGOTTEN: &str = "forgotten";
const EXTENSION: &str = "keys";
const LOCK: &str = "lock";
/// What keys are overwritten with.
const ERASED: u8 = b'0';

/// Keys in a directory of its own, that several processes of a machine may use. It is not within that of a log, and
/// is backed up apart from it, if at all: who has both can read everything, and a person whose keys come back
/// from a backup was not forgotten.
#[derive(Clone, Debug)]
pub struct FileKeys(Arc<Directory>);

#[derive(Debug)]
struct Directory {
    path: PathBuf,
}

/// What a file says.
enum Kept {
    Keys(Vec<SubjectKey>),
    Forgotten,
}

impl FileKeys {
    /// The keys in this directory, which is made if it is not there; the owner alone may look into it.
    ///
    /// # Errors
    /// [`PersonalError::Keys`] when it cannot be made or used.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, PersonalError> {
        let path = directory.into();
        let opened = || -> io::Result<bool> {
            if !path.is_dir() {
                fs::create_dir_all(&path)?;
                restrict(&path, 0o700)?;
            }
            let is_empty = fs::read_dir(&path)?.next().is_none();
            let is_of_keys = is_empty || path.join(LOCK).is_file();
            if is_of_keys {
                lock_file(&path)?;
            }
            Ok(is_of_keys)
        };
        if opened().map_err(|error| unusable(&path, error))? {
            return Ok(Self(Arc::new(Directory { path })));
        }
        let shown = path.display();
        Err(failed(
            format!("`{shown}` has something else in it; give them a directory of their own"),
            None,
        ))
    }

    /// Does `work` where it may block.
    fn run<'a, T: Send + 'static>(
        &'a self,
        subject: &'a str,
        work: impl FnOnce(&Directory, &str) -> Result<T, PersonalError> + Send + 'static,
    ) -> BoxFuture<'a, Result<T, PersonalError>> {
        let (directory, subject) = (self.0.clone(), subject.to_owned());
        async move {
            let done = tokio::task::spawn_blocking(move || work(&directory, &subject)).await;
            done.map_err(|error| failed("their reader ended", Some(Box::new(error))))?
        }
        .boxed()
    }
}

impl KeyStore for FileKeys {
    fn newest<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<KeyLookup, PersonalError>> {
        self.run(subject, |directory, subject| {
            let newest = |kept: &Kept| match kept {
                Kept::Forgotten => Some(KeyLookup::Forgotten),
                Kept::Keys(keys) => keys.last().cloned().map(KeyLookup::Key),
            };
            match newest(&directory.read(subject)?) {
                Some(found) => Ok(found),
                None => directory.make(subject, |kept| newest(kept).is_none()),
            }
        })
    }

    fn key<'a>(
        &'a self,
        subject: &'a str,
        number: u32,
    ) -> BoxFuture<'a, Result<KeyLookup, PersonalError>> {
        self.run(subject, move |directory, subject| {
            Ok(match directory.read(subject)? {
                Kept::Forgotten => KeyLookup::Forgotten,
                Kept::Keys(keys) => {
                    let mut keys = keys.into_iter();
                    let key = keys.find(|key| key.number() == number);
                    key.map_or(KeyLookup::Unknown, KeyLookup::Key)
                }
            })
        })
    }

    fn rotate<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<KeyLookup, PersonalError>> {
        self.run(subject, |directory, subject| {
            directory.make(subject, |_| true)
        })
    }

    fn forget<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<u32, PersonalError>> {
        self.run(subject, Directory::forget)
    }

    fn directory(&self) -> Option<&Path> {
        Some(&self.0.path)
    }
}

impl Directory {
    /// Where the keys of a subject are.
    fn file(&self, subject: &str) -> PathBuf {
        let mut name = String::new();
        for byte in digest::digest(&digest::SHA256, subject.as_bytes()).as_ref() {
            let _ = write!(name, "{byte:02x}");
        }
        self.path.join(name).with_extension(EXTENSION)
    }

    /// What is kept of a subject.
    fn read(&self, subject: &str) -> Result<Kept, PersonalError> {
        let lock = lock_file(&self.path).map_err(|error| unusable(&self.path, error))?;
        lock.lock_shared()
            .map_err(|error| unusable(&self.path, error))?;
        self.read_locked(subject)
    }

    fn read_locked(&self, subject: &str) -> Result<Kept, PersonalError> {
        let path = self.file(subject);
        let text = match fs::read_to_string(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Kept::Keys(Vec::new()));
            }
            Err(error) => return Err(unusable(&path, error)),
        };
        parse(&text).ok_or_else(|| {
            let shown = path.display();
            failed(
                format!("`{shown}` is not a file of keys, or is damaged; restore it"),
                None,
            )
        })
    }

    /// Makes another key, if what is kept is as `wanted` says once no one else changes it. Gives the newest.
    fn make(
        &self,
        subject: &str,
        wanted: impl FnOnce(&Kept) -> bool,
    ) -> Result<KeyLookup, PersonalError> {
        let lock = lock_file(&self.path).map_err(|error| unusable(&self.path, error))?;
        lock.lock().map_err(|error| unusable(&self.path, error))?;
        let mut kept = self.read_locked(subject)?;
        let is_wanted = wanted(&kept);
        let Kept::Keys(keys) = &mut kept else {
            return Ok(KeyLookup::Forgotten);
        };
        if is_wanted {
            let number = keys.last().map_or(0, SubjectKey::number) + 1;
            keys.push(SubjectKey::generate(number)?);
            let mut text = Zeroizing::new(format!("{HEADER}\n"));
            for key in keys.iter() {
                let _ = write!(text, "{} ", key.number());
                for byte in key.bytes() {
                    let _ = write!(text, "{byte:02x}");
                }
                text.push('\n');
            }
            self.replace(&self.file(subject), &text)?;
        }
        Ok(keys
            .last()
            .cloned()
            .map_or(KeyLookup::Unknown, KeyLookup::Key))
    }

    fn forget(&self, subject: &str) -> Result<u32, PersonalError> {
        let lock = lock_file(&self.path).map_err(|error| unusable(&self.path, error))?;
        lock.lock().map_err(|error| unusable(&self.path, error))?;
        let path = self.file(subject);
        // What cannot be read is destroyed all the same.
        let count = match self.read_locked(subject) {
            Ok(Kept::Keys(keys)) => keys.len(),
            Ok(Kept::Forgotten) => return Ok(0),
            Err(_) => 1,
        };
        let erase = || existing(&path)?.map_or(Ok(()), overwrite);
        erase().map_err(|error| unusable(&path, error))?;
        self.replace(&path, &format!("{HEADER}\n{FORGOTTEN}\n"))?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Puts a new file in the place of `path`: durable when it returns.
    fn replace(&self, path: &Path, text: &str) -> Result<(), PersonalError> {
        let new = path.with_extension("new");
        let write = || -> io::Result<()> {
            // One that a process left that was killed.
            existing(&new)?.map_or(Ok(()), overwrite)?;
            // It has keys, too, and no name any more once the new one has it.
            let old = existing(path)?;
            let mut file = OpenOptions::new();
            file.write(true).create(true).truncate(true);
            let mut file = private(&mut file).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, path)?;
            File::open(&self.path)?.sync_all()?;
            old.map_or(Ok(()), overwrite)
        };
        write().map_err(|error| unusable(path, error))
    }
}

/// What the text of a file says; `None` if it is none.
fn parse(text: &str) -> Option<Kept> {
    if !text.is_empty() && text.bytes().all(|byte| byte == ERASED) {
        return Some(Kept::Forgotten);
    }
    let mut lines = text.strip_suffix('\n')?.lines();
    if lines.next()? != HEADER {
        return None;
    }
    let mut keys = Vec::new();
    for line in lines {
        if line == FORGOTTEN {
            return keys.is_empty().then_some(Kept::Forgotten);
        }
        let (number, hex) = line.split_once(' ')?;
        let mut bytes = [0; KEY_BYTES];
        if hex.len() != 2 * KEY_BYTES || !hex.is_ascii() {
            return None;
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        keys.push(SubjectKey::new(number.parse().ok()?, bytes));
        bytes.zeroize();
    }
    (!keys.is_empty()).then_some(Kept::Keys(keys))
}

/// A file, if it is there, to be overwritten where it is.
fn existing(path: &Path) -> io::Result<Option<File>> {
    match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some),
    }
}

/// Overwrites a file where it is.
fn overwrite(mut file: File) -> io::Result<()> {
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&vec![ERASED; length])?;
    file.sync_all()
}

/// The file whose lock is held around changes and reads.
fn lock_file(directory: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new();
    file.read(true).write(true).create(true).truncate(false);
    private(&mut file).open(directory.join(LOCK))
}

/// Only the owner reads what is made.
#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600)
}

#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

#[cfg(unix)]
fn restrict(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn restrict(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}

fn unusable(path: &Path, error: io::Error) -> PersonalError {
    let problem = format!("`{}` cannot be read or written", path.display());
    failed(problem, Some(Box::new(error)))
}

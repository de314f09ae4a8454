//! How a process proves that the one before it in its directory has ended.
//!
//! Before a process opens the shared log it writes a *secret*, a random number, into the directory
//! of its copy; the record that it opens with has the secret's *seal*, a hash of it. The directory
//! is locked for as long as the process lives. So the next one that gets the lock knows that its
//! predecessor has ended, and shows the secret in its own first record: each process that folds that record
//! compares it to the seal, takes the predecessor for gone, and needs no clock for it. Without
//! this, a process that is started again waits for the lease of the one that was killed.
//!
//! A copied directory holds the secret, too, while its owner may live. So the secret is shown only
//! where it was written: under the same lock file (by its device and number, which a copy does not
//! keep) and since the same start of the machine (the lock of another machine says nothing here).
//! When that is not known, the lease decides, as for all others.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::ids::{Seal, Secret};
use crate::model::processes::seal_of;

/// The file with the secrets, in the directory of a copy.
pub(super) const FILE: &str = "PROCESS";
const FILE_NEW: &str = "PROCESS.new";
const LOCK: &str = "LOCK";
/// What names one start of a machine.
const MACHINE: &str = "/proc/sys/kernel/random/boot_id";
/// How many secrets are kept of processes that ended before it was known that they had opened.
const SECRETS_MAX: usize = 16;
const VERSION: &str = "ensue process 1";

/// A process's secret, and those of the processes before it that may not be known to be gone.
#[derive(Debug)]
pub(super) struct Succession {
    directory: PathBuf,
    /// Where secrets may be shown; `None` where that cannot be told.
    place: Option<String>,
    own: Secret,
    before: Vec<Secret>,
    /// Whether the file has the secret: otherwise its seal is not published.
    is_kept: bool,
}

impl Succession {
    /// Reads what the processes before left in `directory`, which the caller has locked, and adds a
    /// secret of this one. Blocks.
    pub(super) fn begin(directory: &Path) -> Self {
        let place = place(directory);
        let before = match &place {
            Some(place) => secrets(directory, place),
            None => Vec::new(),
        };
        let mut succession = Self {
            directory: directory.to_owned(),
            place,
            own: secret(),
            before,
            is_kept: false,
        };
        succession.keep();
        succession
    }

    /// This process opens once more, under another name. Blocks.
    pub(super) fn renew(&mut self) {
        if self.is_kept {
            self.before.push(self.own);
        }
        self.own = secret();
        self.keep();
    }

    /// The record that this process opened with is in the log: those before it are gone. Blocks.
    pub(super) fn opened(&mut self) {
        self.before.clear();
        self.keep();
    }

    /// What the process opens with.
    pub(super) fn seal(&self) -> Option<Seal> {
        self.is_kept.then(|| seal_of(self.own))
    }

    /// The secrets of those who were in the directory before.
    pub(super) fn follows(&self) -> Vec<Secret> {
        self.before.clone()
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    fn keep(&mut self) {
        self.is_kept = match self.write() {
            Ok(is_written) => is_written,
            Err(error) => {
                tracing::warn!(
                    directory = %self.directory.display(),
                    %error,
                    "could not write who works in the directory of the copy: if this process is \
                     killed, the next one waits for its lease"
                );
                false
            }
        };
    }

    /// Whether there was a reason to.
    fn write(&mut self) -> io::Result<bool> {
        let Some(place) = &self.place else {
            return Ok(false);
        };
        let surplus = self.before.len().saturating_sub(SECRETS_MAX);
        self.before.drain(..surplus);
        let mut text = format!("{VERSION}\n{place}\n");
        for secret in self.before.iter().chain([&self.own]) {
            let (high, low) = secret.halves();
            // Writing to a string does not fail.
            let _ = writeln!(text, "{high:016x}{low:016x}");
        }
        // Nothing is synced: after a power cut the machine was restarted, and no secret counts.
        let new = self.directory.join(FILE_NEW);
        let mut file = OpenOptions::new();
        file.write(true).create(true).truncate(true).mode(0o600);
        file.open(&new)?.write_all(text.as_bytes())?;
        fs::rename(new, self.directory.join(FILE))?;
        Ok(true)
    }
}

fn secret() -> Secret {
    Secret::new(fastrand::u64(..), fastrand::u64(..))
}

/// The secrets in the directory, if they were written in this very place.
fn secrets(directory: &Path, place: &str) -> Vec<Secret> {
    let Ok(text) = fs::read_to_string(directory.join(FILE)) else {
        return Vec::new();
    };
    let mut lines = text.lines();
    if lines.next() != Some(VERSION) || lines.next() != Some(place) {
        return Vec::new();
    }
    let read = |line: &str| {
        let (high, low) = line.split_at_checked(16)?;
        let number = |digits| u64::from_str_radix(digits, 16).ok();
        Some(Secret::new(number(high)?, number(low)?))
    };
    lines.take(SECRETS_MAX + 1).filter_map(read).collect()
}

/// What names the lock of `directory`, on this machine since it was started.
#[cfg(unix)]
fn place(directory: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;

    let machine = fs::read_to_string(MACHINE).ok()?;
    let lock = fs::metadata(directory.join(LOCK)).ok()?;
    Some(format!("{} {} {}", machine.trim(), lock.dev(), lock.ino()))
}

#[cfg(not(unix))]
fn place(_: &Path) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(LOCK), "").unwrap();
        directory
    }

    #[test]
    fn the_next_one_in_a_directory_knows_the_secret_of_the_one_before() {
        let place = directory();
        let first = Succession::begin(place.path());
        assert!(first.follows().is_empty());
        let mut next = Succession::begin(place.path());
        let shown: Vec<_> = next.follows().into_iter().map(seal_of).collect();
        assert_eq!(shown, [first.seal().unwrap()]);
        assert_ne!(next.seal(), first.seal());
        // Until it has opened, both may be in the log.
        assert_eq!(Succession::begin(place.path()).follows().len(), 2);
        next.opened();
        let after = Succession::begin(place.path()).follows();
        assert_eq!(after.into_iter().map(seal_of).next(), next.seal());
    }

    #[test]
    fn a_secret_is_read_by_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;

        let place = directory();
        Succession::begin(place.path());
        let file = fs::metadata(place.path().join(FILE)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_copied_directory_tells_nothing() {
        let (original, copy) = (directory(), directory());
        let first = Succession::begin(original.path());
        assert!(first.seal().is_some());
        fs::copy(original.path().join(FILE), copy.path().join(FILE)).unwrap();
        assert!(Succession::begin(copy.path()).follows().is_empty());
    }

    #[test]
    fn no_more_secrets_are_kept_than_there_may_be() {
        let place = directory();
        for _ in 0..3 * SECRETS_MAX {
            Succession::begin(place.path());
        }
        let next = Succession::begin(place.path());
        assert!(next.follows().len() <= SECRETS_MAX + 1);
    }

    #[test]
    fn what_cannot_be_read_is_as_good_as_nothing() {
        let place = directory();
        fs::write(place.path().join(FILE), "something else").unwrap();
        let next = Succession::begin(place.path());
        assert!(next.follows().is_empty() && next.seal().is_some());
    }
}

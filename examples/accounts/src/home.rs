//! The directory of a service: what is its own and not in the log.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Where a service keeps what is not in its log.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

impl Home {
    /// This directory.
    pub fn new(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// Makes the directory, for its owner alone, unless it is there.
    ///
    /// # Errors
    /// What the system reports.
    pub fn make(&self) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.0)
    }

    /// The log, where it is on this machine.
    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// The database of the view, where it is on this machine.
    pub fn database(&self) -> PathBuf {
        self.0.join("profiles.db")
    }

    /// The keys of users, where they are on this machine: never in a backup of the log.
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// The service's key.
    pub fn key(&self) -> PathBuf {
        self.0.join("secret.key")
    }

    /// The certificate that it makes for itself.
    pub fn tls(&self) -> PathBuf {
        self.0.join("tls")
    }

    /// The mails to users.
    pub fn mail(&self) -> PathBuf {
        self.0.join("mail.jsonl")
    }
}

//! The directory of a service: what is its own and not in the log.

use std::path::{Path, PathBuf};

/// Where a service keeps what is not in its log.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

impl Home {
    /// This directory, which is made when something is put there.
    pub fn new(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// The log, where it is on this machine.
    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// The database of the view, where it is on this machine.
    pub fn database(&self) -> PathBuf {
        self.0.join("profiles.db")
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

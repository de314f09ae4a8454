//! Where a run keeps what is not on servers.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::Error;

/// A directory with the log and the database; a temporary one goes with this.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    _temporary: Option<TempDir>,
}

impl Home {
    /// This directory, which is made.
    ///
    /// # Errors
    /// [`Error::Home`].
    pub fn at(path: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(path).map_err(|source| Error::Home {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            _temporary: None,
        })
    }

    /// One that is removed in the end.
    ///
    /// # Errors
    /// [`Error::Home`].
    pub fn temporary() -> Result<Self, Error> {
        let made = TempDir::with_prefix("ensue-sensors-").map_err(|source| Error::Home {
            path: std::env::temp_dir(),
            source,
        })?;
        Ok(Self {
            path: made.path().to_owned(),
            _temporary: Some(made),
        })
    }

    /// The log, unless it is on a server.
    pub fn engine(&self) -> String {
        format!("embedded:{}", self.path.join("log").display())
    }

    /// The database, unless it is on a server.
    pub fn database(&self) -> String {
        format!("sqlite:{}", self.path.join("readings.db").display())
    }
}

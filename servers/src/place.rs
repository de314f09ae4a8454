//! Where servers and their programs are.

use std::path::{Path, PathBuf};

/// Where everything is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The servers that were started, one directory each.
    pub(crate) services: PathBuf,
    /// What was built or fetched for them; outlives them.
    pub(crate) programs: PathBuf,
    /// Whether what is missing may be installed, built or fetched: only when asked for.
    pub(crate) may_install: bool,
}

impl Place {
    pub(crate) fn state(&self) -> PathBuf {
        self.services.join("state.json")
    }
}

pub(crate) fn remove_directory(directory: &Path) -> Result<(), String> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", directory.display()))
        }
        _ => Ok(()),
    }
}

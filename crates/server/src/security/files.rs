//! The files that say who may call: read whole, and remembered to see when they change.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};

use crate::config::ConfigError;
use crate::private;

/// The largest of these files, in bytes.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Files on their way through one reading of all of them.
pub(super) struct Files {
    paths: Vec<PathBuf>,
    seen: Context,
}

/// Which files were read, and what they held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    paths: Vec<PathBuf>,
    hash: Vec<u8>,
}

impl Files {
    pub(super) fn new() -> Self {
        Self {
            paths: Vec::new(),
            seen: Context::new(&SHA256),
        }
    }

    /// What the file holds that a setting names.
    pub(super) fn read(
        &mut self,
        setting: &'static str,
        path: &Path,
    ) -> Result<Vec<u8>, ConfigError> {
        let found = self.look(path);
        let (_, bytes) = found.map_err(|error| refused(setting, path, &error.to_string()))?;
        Ok(bytes)
    }

    /// The same for one with secrets, which other users may neither read nor change.
    pub(super) fn read_private(
        &mut self,
        setting: &'static str,
        path: &Path,
    ) -> Result<Vec<u8>, ConfigError> {
        let found = self.look(path);
        let (file, bytes) = found.map_err(|error| refused(setting, path, &error.to_string()))?;
        private::check(&file)
            .map_err(|problem| refused(setting, path, &format!("it {problem}")))?;
        Ok(bytes)
    }

    /// The same for one that need not be there yet.
    pub(super) fn read_private_if_there(
        &mut self,
        setting: &'static str,
        path: &Path,
    ) -> Result<Option<Vec<u8>>, ConfigError> {
        if path.exists() {
            return self.read_private(setting, path).map(Some);
        }
        // That it is not there is seen to change, too.
        let _ = self.look(path);
        Ok(None)
    }

    fn look(&mut self, path: &Path) -> io::Result<(File, Vec<u8>)> {
        self.paths.push(path.to_owned());
        let found = File::open(path).and_then(|file| {
            let bytes = read(&file)?;
            Ok((file, bytes))
        });
        match &found {
            Ok((file, bytes)) => {
                self.seen.update(&bytes.len().to_le_bytes());
                self.seen.update(bytes);
                // To make a file private is to change it.
                self.seen.update(&[private::check(file).is_ok().into()]);
            }
            Err(error) => self.seen.update(error.kind().to_string().as_bytes()),
        }
        found
    }

    pub(super) fn fingerprint(self) -> Fingerprint {
        Fingerprint {
            paths: self.paths,
            hash: self.seen.finish().as_ref().to_vec(),
        }
    }
}

impl Fingerprint {
    /// Whether the same files hold something else now.
    pub(super) fn has_changed(&self) -> bool {
        let mut files = Files::new();
        for path in &self.paths {
            // What cannot be read is a part of the fingerprint.
            let _ = files.look(path);
        }
        files.fingerprint() != *self
    }
}

fn read(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        let problem = format!("it is larger than {BYTES_MAX} bytes");
        return Err(io::Error::other(problem));
    }
    Ok(bytes)
}

fn refused(setting: &'static str, path: &Path, problem: &str) -> ConfigError {
    ConfigError::Invalid {
        name: setting.to_owned(),
        problem: format!("names the file `{}`: {problem}", path.display()),
    }
}

//! The last good configuration, in a file.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::document::Format;
use super::error::ConfigError;
use super::file::contents;
use super::source::Document;

/// Where it is. Only its owner can read it: it has what the sources have, secrets included.
#[derive(Clone, Debug)]
pub(super) struct LastGood(pub(super) PathBuf);

impl LastGood {
    pub(super) async fn read(&self) -> Result<Document, ConfigError> {
        let from = self.0.display().to_string();
        let bytes = contents(&self.0).await;
        let bytes = bytes.map_err(|reason| ConfigError::Away {
            from: from.clone(),
            reason,
        })?;
        Format::Json.parse(&bytes, &from)
    }

    /// Keeps it: the old file or the new one is there whatever happens meanwhile.
    pub(super) async fn write(&self, tree: &Value) -> std::io::Result<()> {
        let text = serde_json::to_vec_pretty(tree)?;
        let path = self.0.clone();
        let written = tokio::task::spawn_blocking(move || replace(&path, &text)).await;
        written.map_err(std::io::Error::other)?
    }
}

fn replace(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = directory.join(name);
    // Left by one that was killed, maybe with other permissions.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    std::fs::File::open(directory)?.sync_all()
}

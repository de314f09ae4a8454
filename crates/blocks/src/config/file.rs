//! Configuration from a file.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::document::{Format, TEXT_BYTES_MAX};
use super::error::ConfigError;
use super::source::{ConfigSource, Document};

/// How often a file is looked at. Nothing says on every file system that it has changed, or that a link leads
/// elsewhere, as Kubernetes does it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file in TOML (`.toml`) or JSON (`.json`), of up to 1 MiB. It is looked at every second.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    format: Format,
    look_every: Duration,
    /// What was read last; nothing when it could not be read.
    last: Mutex<Option<Vec<u8>>>,
}

impl FileSource {
    /// The file at `path`, which need not be there yet.
    ///
    /// # Errors
    /// [`ConfigError::Source`] for other endings than `.toml` and `.json`.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self, ConfigError> {
        let path = path.into();
        let format = match path.extension().and_then(|it| it.to_str()) {
            Some("toml") => Format::Toml,
            Some("json") => Format::Json,
            _ => {
                return Err(ConfigError::Source {
                    what: path.display().to_string(),
                    reason: "its name ends neither with `.toml` nor with `.json`".to_owned(),
                });
            }
        };
        Ok(Self {
            path,
            format,
            look_every: LOOK_EVERY,
            last: Mutex::new(None),
        })
    }

    /// How often it is looked at. Default: 1 s.
    #[must_use]
    pub fn look_every(mut self, time: Duration) -> Self {
        self.look_every = time;
        self
    }

    fn note(&self, read: Option<Vec<u8>>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = read;
    }

    fn is_last(&self, read: Option<&[u8]>) -> bool {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_deref() == read
    }
}

/// Reads a file that is not too large, away from the tasks of the runtime.
pub(super) async fn contents(path: &Path) -> Result<Vec<u8>, String> {
    let path = path.to_owned();
    let read = move || {
        use std::io::Read as _;
        let file = std::fs::File::open(&path)?;
        let mut bytes = Vec::new();
        // One more, so that it is seen that there are too many.
        file.take(TEXT_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    let read = tokio::task::spawn_blocking(read).await;
    let read = read.map_err(|error| error.to_string())?;
    read.map_err(|error| error.to_string())
}

impl ConfigSource for FileSource {
    fn read(&self) -> BoxFuture<'_, Result<Document, ConfigError>> {
        async {
            let from = self.path.display().to_string();
            match contents(&self.path).await {
                Ok(bytes) => {
                    let document = self.format.parse(&bytes, &from);
                    self.note(Some(bytes));
                    document
                }
                Err(reason) => {
                    self.note(None);
                    Err(ConfigError::Away { from, reason })
                }
            }
        }
        .boxed()
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        async {
            loop {
                tokio::time::sleep(self.look_every).await;
                let read = contents(&self.path).await;
                if !self.is_last(read.as_deref().ok()) {
                    return;
                }
            }
        }
        .boxed()
    }
}

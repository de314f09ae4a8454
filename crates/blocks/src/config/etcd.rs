//! Configuration from a key in etcd.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::document::Format;
use super::error::ConfigError;
use super::source::{ConfigSource, Document};
use crate::etcd::Etcd;

/// A watch that has become silent is not trusted for longer than this: the server may be gone without a word.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// A key in etcd, which is watched, and read every 15 s whatever the watch says.
pub struct EtcdSource {
    etcd: Etcd,
    key: String,
    format: Format,
    /// At which revision it was read last.
    revision: AtomicI64,
}

impl EtcdSource {
    /// The key `key` on the servers of the URL, `etcd://host:port,host:port?tls=true`, whose value is written in
    /// `format`.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(url: &str, key: &str, format: Format) -> Result<Self, ConfigError> {
        let etcd = Etcd::new(url).map_err(|error| ConfigError::Source {
            what: key.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            etcd,
            key: key.to_owned(),
            format,
            revision: AtomicI64::new(0),
        })
    }

    async fn document(&self) -> Result<Document, ConfigError> {
        let from = format!("the key `{}` at {}", self.key, self.etcd.shown());
        let away = |reason: String| ConfigError::Away {
            from: from.clone(),
            reason,
        };
        let found = self.etcd.get(&self.key).await;
        let (found, revision) = found.map_err(|error| away(error.to_string()))?;
        self.revision.store(revision, Ordering::Release);
        match found {
            Some(found) => self.format.parse(&found.value, &from),
            None => Err(away("there is no such key".to_owned())),
        }
    }
}

impl ConfigSource for EtcdSource {
    fn read(&self) -> BoxFuture<'_, Result<Document, ConfigError>> {
        self.document().boxed()
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        async {
            let after = self.revision.load(Ordering::Acquire) + 1;
            let watching = self.etcd.changed(&self.key, after);
            if let Ok(Err(error)) = tokio::time::timeout(LOOK_EVERY, watching).await {
                tracing::debug!(key = self.key, %error, "a configuration cannot be watched");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        .boxed()
    }
}

impl fmt::Debug for EtcdSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdSource")
            .field("server", &self.etcd.shown())
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

//! Configuration from Nacos.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::document::Format;
use super::error::ConfigError;
use super::source::{ConfigSource, Document};
use crate::nacos::{DataId, Nacos, is_name};

/// How long the server keeps a listener waiting; then it is read whatever was said.
const LISTEN: Duration = Duration::from_secs(15);
/// How long a server is left alone that cannot be listened to.
const AGAIN: Duration = Duration::from_secs(1);
/// The group of those who name none.
pub const NACOS_DEFAULT_GROUP: &str = "DEFAULT_GROUP";

/// A configuration in Nacos, which is listened to (a long poll), and read every 15 s whatever was said.
pub struct NacosSource {
    nacos: Nacos,
    id: DataId,
    format: Format,
    /// What the server called the text that was read last; empty for none.
    md5: Mutex<String>,
}

impl NacosSource {
    /// The configuration `data_id` of `group` ([`NACOS_DEFAULT_GROUP`], often) on the servers of the URL,
    /// `nacos://user:password@host:port,host:port/namespace?tls=true`, written in `format`. User and namespace (its
    /// id) may be left out.
    ///
    /// # Errors
    /// What is wrong with the URL, or with the names: letters, digits, `.`, `:`, `-` and `_`.
    pub fn new(url: &str, group: &str, data_id: &str, format: Format) -> Result<Self, ConfigError> {
        let cannot = |reason: String| ConfigError::Source {
            what: data_id.to_owned(),
            reason,
        };
        for (what, name) in [("group", group), ("data id", data_id)] {
            if name.is_empty() || !is_name(name) {
                let reason = format!(
                    "`{name}` is no {what} of Nacos: it has letters, digits, `.`, `:`, `-` and `_`"
                );
                return Err(cannot(reason));
            }
        }
        Ok(Self {
            nacos: Nacos::new(url).map_err(|error| cannot(error.to_string()))?,
            id: DataId {
                group: group.to_owned(),
                name: data_id.to_owned(),
            },
            format,
            md5: Mutex::default(),
        })
    }

    async fn document(&self) -> Result<Document, ConfigError> {
        let DataId { group, name } = &self.id;
        let from = format!("`{name}` of the group `{group}` at {}", self.nacos.shown());
        let away = |reason: String| ConfigError::Away {
            from: from.clone(),
            reason,
        };
        let found = self.nacos.get(&self.id).await;
        let found = found.map_err(|error| away(error.to_string()))?;
        let md5 = found.as_ref().map(|it| it.md5.clone()).unwrap_or_default();
        *self.known() = md5;
        match found {
            Some(found) => self.format.parse(&found.text, &from),
            None => Err(away("there is no such configuration".to_owned())),
        }
    }

    fn known(&self) -> MutexGuard<'_, String> {
        self.md5.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn listen(&self) {
        let md5 = self.known().clone();
        if let Err(error) = self.nacos.changed(&self.id, &md5, LISTEN).await {
            tracing::debug!(data_id = self.id.name, %error, "a configuration cannot be listened to");
            tokio::time::sleep(AGAIN).await;
        }
    }
}

impl ConfigSource for NacosSource {
    fn read(&self) -> BoxFuture<'_, Result<Document, ConfigError>> {
        self.document().boxed()
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        self.listen().boxed()
    }
}

impl fmt::Debug for NacosSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NacosSource")
            .field("server", &self.nacos.shown())
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

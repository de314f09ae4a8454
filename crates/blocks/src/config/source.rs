//! Where configuration comes from.

use std::fmt;

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::error::ConfigError;

/// Something that has configuration: one implementation for each kind.
pub trait ConfigSource: fmt::Debug + Send + Sync + 'static {
    /// What it has now.
    ///
    /// # Errors
    /// [`ConfigError::Away`] when it cannot be asked, [`ConfigError::Malformed`] when it is no configuration.
    fn read(&self) -> BoxFuture<'_, Result<Document, ConfigError>>;

    /// Completes when it is worth reading again: it has changed since the last [`Self::read`], or may have.
    /// Never, if it does not change. Cancel-safe.
    fn changed(&self) -> BoxFuture<'_, ()>;
}

/// What a source has: a tree of settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// An object, whose values may be objects.
    pub settings: Value,
    /// Settings that were written as texts without saying of which type they are, by the names on the way to
    /// them. They are in `settings` as what they look like, and are taken as texts where a text is wanted.
    pub texts: Vec<(Vec<String>, String)>,
}

//! The URL of the engine that is served, which may hold a password.

use std::fmt;

use ensue_core::engine::Url;
use serde::{Deserialize, Serialize, Serializer};

/// The URL of an engine. What is shown of it, what `Debug` has and what is serialised, is without passwords
/// and options.
///
/// ```
/// use ensue_server::EngineUrl;
///
/// let url = EngineUrl::from("nats://me:secret@nats.example/shop?lease=5s");
/// assert_eq!(url.to_string(), "nats://me:***@nats.example/shop");
/// assert_eq!(url.reveal(), "nats://me:secret@nats.example/shop?lease=5s");
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct EngineUrl(String);

impl EngineUrl {
    /// The whole of it, which may hold secrets.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for EngineUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl From<&str> for EngineUrl {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl fmt::Display for EngineUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Url::parse(&self.0) {
            Ok(url) => write!(f, "{url}"),
            // Where the password is in it, if there is one, is not known.
            Err(_) => f.write_str("…"),
        }
    }
}

impl fmt::Debug for EngineUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for EngineUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

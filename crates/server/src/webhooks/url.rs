//! The URL of a receiver, whose path and query may be a secret: with some receivers they are all that
//! tells a sender from others.

use std::fmt;

use axum::http::Uri;
use axum::http::uri::Scheme;
use serde::{Deserialize, Serialize};

/// The URL of a receiver. What is shown of it, and what `Debug` has, is where it is and no more.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReceiverUrl(String);

impl ReceiverUrl {
    /// The whole of it, which may be a secret.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What requests are sent to. Says why there is none, without the path.
    pub(super) fn uri(&self) -> Result<Uri, String> {
        let uri: Uri = self.0.parse().map_err(|error| format!("`url`: {error}"))?;
        let scheme = uri.scheme();
        let is_http = scheme.is_some_and(|it| *it == Scheme::HTTPS || *it == Scheme::HTTP);
        let authority = uri.authority();
        if !is_http || authority.is_none_or(|it| it.host().is_empty()) {
            return Err("`url` is not one; expected `https://host/path`".to_owned());
        }
        if authority.is_some_and(|it| it.as_str().contains('@')) {
            let problem = "`url` has a user or a password in it; deliveries are signed instead";
            return Err(problem.to_owned());
        }
        Ok(uri)
    }
}

impl From<String> for ReceiverUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl From<&str> for ReceiverUrl {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl fmt::Display for ReceiverUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(uri) = self.uri() else {
            return f.write_str("…");
        };
        let (scheme, authority) = (uri.scheme_str(), uri.authority());
        let authority = authority.map_or("", |it| it.as_str());
        write!(f, "{}://{authority}/", scheme.unwrap_or_default())?;
        if uri.path_and_query().is_some_and(|it| it.as_str() != "/") {
            f.write_str("…")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ReceiverUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_has_neither_path_nor_query() {
        for (url, shown) in [
            (
                "https://hooks.example/services/T0/secret",
                "https://hooks.example/…",
            ),
            (
                "https://hooks.example:8443/?token=secret",
                "https://hooks.example:8443/…",
            ),
            ("http://10.1.2.3/", "http://10.1.2.3/"),
            ("https://hooks.example", "https://hooks.example/"),
            ("https://me:secret@hooks.example/", "…"),
            ("secret", "…"),
        ] {
            let url = ReceiverUrl::from(url);
            assert_eq!(
                (url.to_string().as_str(), format!("{url:?}").as_str()),
                (shown, shown)
            );
        }
    }
}

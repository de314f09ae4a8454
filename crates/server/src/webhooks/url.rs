//! The URL of a receiver, whose path and query may be a secret: with some receivers they are all that
//! tells a sender from others.

use std::fmt;
use std::net::IpAddr;

use axum::http::Uri;
use axum::http::uri::Scheme;
use serde::{Deserialize, Serialize, Serializer};

use crate::outgoing::{Network, Reach, reach};

/// The URL of a receiver. What is shown of it, what `Debug` has and what is serialised, is where it is and no
/// more.
#[derive(Clone, PartialEq, Eq, Deserialize)]
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

    /// Says why nothing could ever be delivered there, as far as that is known without asking what addresses a
    /// name has. These networks inside may be called.
    pub(super) fn check_reach(&self, allowed: &[Network]) -> Result<(), String> {
        let uri = self.uri()?;
        let is_plain = uri.scheme() == Some(&Scheme::HTTP);
        let host = uri.host().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse();
        let expected = "nothing would ever be delivered";
        match address.map(|address: IpAddr| reach(allowed, address)) {
            Ok(Reach::Refused) => Err(format!(
                "`url` is an address inside, `{host}`, that may not be called: {expected}; add its network to \
                 `allow` in `[webhooks]`"
            )),
            Ok(Reach::Public) if is_plain => Err(format!(
                "`url` is on the public internet and begins with `http://`: {expected}; use `https://`"
            )),
            Err(_) if is_plain && allowed.is_empty() => Err(format!(
                "`url` begins with `http://`, which only networks in `allow` of `[webhooks]` are called with, and \
                 there is none: {expected}; use `https://`, or add the network of `{host}`"
            )),
            Ok(_) | Err(_) => Ok(()),
        }
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

impl Serialize for ReceiverUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_nothing_can_be_delivered_to_is_refused() {
        let allowed: Vec<Network> = vec!["10.1.0.0/16".parse().unwrap()];
        for (url, none, some) in [
            ("https://shop.example/", None, None),
            ("https://10.1.2.3/", Some("inside"), None),
            ("https://10.2.2.3/", Some("inside"), Some("inside")),
            ("https://[::1]:8443/", Some("inside"), Some("inside")),
            ("http://10.1.2.3/", Some("inside"), None),
            ("http://8.8.8.8/", Some("public"), Some("public")),
            ("http://shop.internal/", Some("there is none"), None),
        ] {
            for (allowed, expected) in [(&[][..], none), (&allowed[..], some)] {
                let found = ReceiverUrl::from(url).check_reach(allowed).err();
                let is_as_expected = match (&found, expected) {
                    (Some(found), Some(part)) => found.contains(part),
                    (found, expected) => found.is_none() && expected.is_none(),
                };
                assert!(is_as_expected, "{url} {allowed:?}: {found:?}");
            }
        }
    }

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

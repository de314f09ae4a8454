//! A URL of a server, taken apart.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ensue_core::engine::Url;
use ensue_core::error::{Error, OpenError, Result};

use crate::tls::Tls;
use crate::token::Token;

/// Where a server listens that is not told otherwise.
const PORT: u16 = 3678;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const LEASE: Duration = Duration::from_secs(10);
const LEASE_MIN: Duration = Duration::from_millis(100);
const LEASE_MAX: Duration = Duration::from_secs(600);

/// What a URL takes.
pub const OPTIONS: &[(&str, &str)] = &[
    (
        "connect_timeout",
        "how long a call tries a server that is away; default 30s",
    ),
    (
        "lease",
        "how long a member outlives a connection that was cut, and keeps what it holds; default 10s",
    ),
    (
        "token_file",
        "the file with the token that the server knows us by, read again when the server refuses it; \
         default: the variable ENSUE_TOKEN",
    ),
    ("tls", "`true`: the connection is encrypted"),
    (
        "ca",
        "file with the certificates that sign the server's; default: the system's",
    ),
    (
        "cert",
        "file with the certificate that the server knows us by",
    ),
    ("key", "file with its private key"),
];

/// A server, and how patient to be with it.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The URL without options.
    pub(crate) shown: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) connect_timeout: Duration,
    pub(crate) lease: Duration,
    /// How the connection is encrypted, if it is.
    pub(crate) tls: Option<Tls>,
    /// What the server knows us by.
    pub(crate) token: Arc<Token>,
}

impl Options {
    pub(crate) fn of(url: &Url) -> Result<Self> {
        let names_no_server = || {
            url.invalid(format!(
                "it names no server; write `{}://host:{PORT}`",
                url.scheme
            ))
        };
        let place = url.rest.strip_prefix("//").ok_or_else(names_no_server)?;
        let (place, path) = place.split_once('/').unwrap_or((place, ""));
        if !path.is_empty() {
            return Err(url.invalid(format!("a server serves one engine: drop `/{path}`")));
        }
        if place.contains('@') {
            return Err(
                url.invalid("a login does not belong in a URL: drop what is before `@`".to_owned())
            );
        }
        // An IPv6 address stands in brackets.
        let (host, rest) = match place.strip_prefix('[').and_then(|it| it.split_once(']')) {
            Some((host, rest)) => (host, rest),
            None => place.split_at(place.find(':').unwrap_or(place.len())),
        };
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => Some(PORT),
            None => None,
            Some(port) => port.parse().ok(),
        };
        let Some(port) = port.filter(|_| !host.is_empty()) else {
            return Err(url.invalid(format!("`{place}` is no host with a port")));
        };
        let lease = url.duration("lease")?.unwrap_or(LEASE);
        if !(LEASE_MIN..=LEASE_MAX).contains(&lease) {
            return Err(Error::Open(OpenError::Option {
                name: "lease (milliseconds)",
                value: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
                min: LEASE_MIN.as_millis() as u64,
                max: LEASE_MAX.as_millis() as u64,
            }));
        }
        Ok(Self {
            shown: url.to_string(),
            host: host.to_owned(),
            port,
            connect_timeout: url.duration("connect_timeout")?.unwrap_or(CONNECT_TIMEOUT),
            lease,
            tls: tls_of(url)?,
            token: Arc::new(Token::of(url)?),
        })
    }

    /// As the server is called by: `host:port`.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

fn tls_of(url: &Url) -> Result<Option<Tls>> {
    let is_on = match url.option("tls") {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => {
            return Err(url.invalid(format!("`tls` is `{other}`, it must be `true` or `false`")));
        }
    };
    let client = match (url.option("cert"), url.option("key")) {
        (Some(cert), Some(key)) => Some((cert.into(), key.into())),
        (None, None) => None,
        _ => return Err(url.invalid("`cert` and `key` need each other".to_owned())),
    };
    let ca = url.option("ca").map(PathBuf::from);
    if !is_on && (ca.is_some() || client.is_some()) {
        return Err(url.invalid("`ca`, `cert` and `key` need `tls=true`".to_owned()));
    }
    Ok(is_on.then_some(Tls { ca, client }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Result<Options> {
        Options::of(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_url_is_taken_apart() {
        for (url, authority) in [
            ("ensue://localhost", "localhost:3678"),
            ("ensue://localhost:1/", "localhost:1"),
            ("ensue://[::1]:2?lease=3s", "[::1]:2"),
            ("ensue://[::1]", "[::1]:3678"),
        ] {
            assert_eq!(of(url).unwrap().authority(), authority, "{url}");
        }
        let options = of("ensue://h?lease=3s&connect_timeout=1m").unwrap();
        assert_eq!(options.lease, Duration::from_secs(3));
        assert_eq!(options.connect_timeout, Duration::from_secs(60));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (url, part) in [
            ("ensue:host", "names no server"),
            ("ensue://", "no host"),
            ("ensue://h:port", "no host with a port"),
            ("ensue://h:1/orders", "drop `/orders`"),
            ("ensue://bob@h", "drop what is before `@`"),
            ("ensue://h?lease=5", "`lease`"),
            ("ensue://h?tls=maybe", "`true` or `false`"),
            ("ensue://h?ca=/x", "need `tls=true`"),
            ("ensue://h?tls=true&cert=/x", "need each other"),
            (
                "ensue://h?token_file=/not/there",
                "could not read the token",
            ),
            ("ensue://h?lease=1ms", "between 100 and 600000"),
        ] {
            let error = of(url).unwrap_err().to_string();
            assert!(error.contains(part), "{url}: {error}");
        }
    }
}

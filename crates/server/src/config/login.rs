//! The settings of the login of people, at an OpenID provider.

use std::path::PathBuf;
use std::time::Duration;

use axum::http::Uri;
use serde::{Deserialize, Serialize};

use super::error::{ConfigError, invalid};
use crate::duration;
use crate::outgoing::trusted_url;
use crate::range::within_times;

/// What the name of a caller begins with who has logged in; no other caller's does.
pub(crate) const LOGIN_PREFIX: &str = "login:";

const HOUR: Duration = Duration::from_secs(3600);

/// How people log in: with a browser, at an OpenID provider. They are known by its claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Login {
    /// The provider, which says itself where it has what (`/.well-known/openid-configuration`).
    pub issuer: String,
    /// What the provider calls this server.
    pub client_id: String,
    /// A file with the secret that the provider gave this server, if it did.
    pub client_secret: Option<PathBuf>,
    /// How browsers reach this server: `https://HOST`. The provider sends people back to
    /// `/v1/login/callback` there.
    pub url: String,
    /// What the provider is asked for, `openid` besides.
    pub scopes: Vec<String>,
    /// The claim that has the names of roles: an array, or a text with spaces between them.
    pub roles_claim: String,
    /// How long a session lasts that is not used.
    #[serde(with = "duration")]
    pub session_idle: Duration,
    /// How long a session lasts.
    #[serde(with = "duration")]
    pub session_max: Duration,
    /// The authorities that the provider is trusted by: a PEM file, those of the system by default.
    pub ca_file: Option<PathBuf>,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            client_id: String::new(),
            client_secret: None,
            url: String::new(),
            scopes: Vec::new(),
            roles_claim: "roles".to_owned(),
            session_idle: HOUR / 2,
            session_max: 12 * HOUR,
            ca_file: None,
        }
    }
}

impl Login {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.client_id.is_empty() {
            let problem = "is missing; it is what the provider calls this server".to_owned();
            return Err(invalid("auth.login.client_id", problem));
        }
        let trusted = |name, url| trusted_url(url).map_err(|problem| invalid(name, problem));
        trusted("auth.login.issuer", &self.issuer)?;
        must_be_origin(&self.url, &trusted("auth.login.url", &self.url)?)
            .map_err(|problem| invalid("auth.login.url", problem))?;
        let is_word = |scope: &String| {
            let mut bytes = scope.bytes();
            !scope.is_empty() && bytes.all(|it| it.is_ascii_graphic() && it != b'"' && it != b'\\')
        };
        if self.scopes.len() > 32 || !self.scopes.iter().all(is_word) {
            let problem = "has something that is not a scope, or more than 32".to_owned();
            return Err(invalid("auth.login.scopes", problem));
        }
        let (idle, max) = (self.session_idle, self.session_max);
        within_times("auth.login.session_max", max, HOUR / 60, 30 * 24 * HOUR)?;
        within_times("auth.login.session_idle", idle, HOUR / 60, max)?;
        Ok(())
    }
}

/// Refuses what browsers do not send as `Origin`: a request with a session is compared with it.
fn must_be_origin(url: &str, uri: &Uri) -> Result<(), String> {
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(format!(
            "is `{url}`; expected a URL without a path and a query, such as `https://ensue.example`"
        ));
    }
    let default = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    if uri.port_u16() == Some(default) {
        return Err(format!(
            "is `{url}`; browsers leave out the port {default}, so leave out `:{default}`"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_one_that_browsers_send_as_origin() {
        let of = |url: &str| {
            let login = Login {
                issuer: "https://id.example/realms/a".to_owned(),
                client_id: "ensue".to_owned(),
                url: url.to_owned(),
                ..Login::default()
            };
            login.check().map_err(|error| error.to_string())
        };
        for url in [
            "https://ensue.example",
            "https://ensue.example/",
            "https://ensue.example:8443",
            "https://ensue.example:80",
            "http://localhost:3678",
            "http://[::1]:443",
        ] {
            assert_eq!(of(url), Ok(()), "{url}");
        }
        for (url, part) in [
            ("https://ensue.example:443", "leave out `:443`"),
            ("https://ensue.example:443/", "leave out `:443`"),
            ("http://localhost:80", "leave out `:80`"),
            ("https://ensue.example?a=b", "a query"),
            ("https://ensue.example/?", "a query"),
            ("https://ensue.example/shop", "without a path"),
            ("http://ensue.example", "TLS"),
        ] {
            let problem = of(url).unwrap_err();
            assert!(
                problem.contains("`auth.login.url`") && problem.contains(part),
                "{problem}"
            );
        }
    }
}

//! The settings of the login of people, at an OpenID provider.

use std::path::PathBuf;
use std::time::Duration;

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
        for (name, url) in [
            ("auth.login.issuer", &self.issuer),
            ("auth.login.url", &self.url),
        ] {
            let uri = trusted_url(url).map_err(|problem| invalid(name, problem))?;
            if name == "auth.login.url" && !matches!(uri.path(), "" | "/") {
                let problem = format!("is `{url}`; expected a URL without a path");
                return Err(invalid(name, problem));
            }
        }
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

//! The settings of authentication: who may call, and what they may do.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ensue::TopicPattern;
use serde::{Deserialize, Serialize};

use super::error::{ConfigError, invalid};
use super::login::Login;
use crate::outgoing::trusted_url;

/// What the name of a caller begins with who has a token of an issuer; no other caller's does.
pub(crate) const JWT_PREFIX: &str = "jwt:";

/// How callers prove who they are. With this section, everyone has to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Auth {
    /// The file of tokens, which `ensue token` writes; other users may not read it.
    pub tokens: Option<PathBuf>,
    /// An issuer whose JSON Web Tokens are taken.
    pub jwt: Option<Jwt>,
    /// An OpenID provider at which people log in.
    pub login: Option<Login>,
    /// The roles of clients by a name in their certificate: a DNS name or a URI.
    pub certificates: BTreeMap<String, Vec<String>>,
}

/// What callers with this role may do: nothing that is not said.
///
/// Topics that Ensue keeps for itself (`_audit`) are matched only by a pattern that spells them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Role {
    /// The topics that events may be appended to.
    pub publish: Vec<TopicPattern>,
    /// What the source of such an event is or begins with, before a `/`; any source when it is empty.
    pub sources: Vec<String>,
    /// The topics whose events may be seen.
    pub read: Vec<TopicPattern>,
    /// The topics that groups may be joined for.
    pub consume: Vec<TopicPattern>,
    /// The topics whose groups, dead letters and schedules may be changed.
    pub operate: Vec<TopicPattern>,
    /// Whether the fields of the events of these topics are seen that are personal.
    pub personal: bool,
    /// Whether the server as a whole may be seen: its metrics, and every topic and group by name.
    pub admin: bool,
}

/// An issuer of JSON Web Tokens: who has one of its tokens is known by its claims `sub` and `roles`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Jwt {
    /// What the claim `iss` is.
    pub issuer: String,
    /// What the claim `aud` has.
    pub audience: String,
    /// A file with the issuer's public keys, as a JSON Web Key Set.
    pub keys: Option<PathBuf>,
    /// Where the issuer's public keys are fetched from. Without it and without a file, the issuer says
    /// so itself (`/.well-known/openid-configuration`).
    pub keys_url: Option<String>,
    /// The authorities that the issuer is trusted by: a PEM file, those of the system by default.
    pub ca_file: Option<PathBuf>,
    /// The claim that has the names of roles: an array, or a text with spaces between them.
    pub roles_claim: String,
}

impl Default for Jwt {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audience: String::new(),
            keys: None,
            keys_url: None,
            ca_file: None,
            roles_claim: "roles".to_owned(),
        }
    }
}

impl Jwt {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let texts = [
            ("auth.jwt.issuer", &self.issuer, "what the claim `iss` is"),
            (
                "auth.jwt.audience",
                &self.audience,
                "what the claim `aud` has",
            ),
        ];
        if let Some((name, _, what)) = texts.iter().find(|(_, text, _)| text.is_empty()) {
            return Err(invalid(name, format!("is missing; it is {what}")));
        }
        match (&self.keys, &self.keys_url) {
            (Some(_), None) => match self.ca_file {
                Some(_) => {
                    let problem = "is for keys that are fetched, and `auth.jwt.keys` names a file";
                    Err(invalid("auth.jwt.ca_file", problem.to_owned()))
                }
                None => Ok(()),
            },
            (Some(_), Some(_)) => {
                let problem = "contradicts `auth.jwt.keys`; keys are in a file or at a URL";
                Err(invalid("auth.jwt.keys_url", problem.to_owned()))
            }
            (None, Some(url)) => {
                let checked = trusted_url(url).map(|_| ());
                checked.map_err(|problem| invalid("auth.jwt.keys_url", problem))
            }
            (None, None) => trusted_url(&self.issuer).map(|_| ()).map_err(|problem| {
                let problem = format!(
                    "is missing (a file, or `keys_url`), and the issuer cannot be asked for its keys: {problem}"
                );
                invalid("auth.jwt.keys", problem)
            }),
        }
    }
}

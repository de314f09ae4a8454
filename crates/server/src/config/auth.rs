//! The settings of authentication: who may call, and what they may do.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ensue::TopicPattern;
use serde::{Deserialize, Serialize};

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
    /// The topics whose events may be seen.
    pub read: Vec<TopicPattern>,
    /// The topics that groups may be joined for.
    pub consume: Vec<TopicPattern>,
    /// The topics whose groups, dead letters and schedules may be changed.
    pub operate: Vec<TopicPattern>,
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
    pub keys: PathBuf,
    /// The claim that has the names of roles: an array, or a text with spaces between them.
    pub roles_claim: String,
}

impl Default for Jwt {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audience: String::new(),
            keys: PathBuf::new(),
            roles_claim: "roles".to_owned(),
        }
    }
}

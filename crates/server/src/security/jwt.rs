//! JSON Web Tokens of an issuer whose keys are in a file: who has one is known by its claims.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ensue::Timestamp;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::files::Files;
use super::jwk::{KeyHash, Keys};
use crate::config::{ConfigError, Jwt};

/// The largest token, in bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// How far the clock of the issuer may be ahead of this one, in seconds.
const LEEWAY_S: i64 = 60;
/// How many tokens are remembered that were verified already.
const REMEMBERED_MAX: usize = 10_000;
/// The longest name of a caller, in bytes, and the most roles.
const NAME_BYTES_MAX: usize = 200;
const ROLES_MAX: usize = 64;

/// An issuer of tokens, and what they are verified with.
pub(super) struct Issuer {
    config: Jwt,
    keys: Keys,
    /// By the hash of a token: to verify a signature takes a hundred times as long as everything else.
    remembered: Mutex<HashMap<[u8; 32], Arc<Claims>>>,
}

/// What a token says of who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) subject: String,
    pub(super) roles: Vec<String>,
    /// In seconds since 1970.
    expires: i64,
    /// Which key of the issuer signed it.
    key: KeyHash,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// What a reader has to understand; nothing of it is understood here.
    crit: Option<Value>,
}

impl Issuer {
    pub(super) fn read(config: &Jwt, files: &mut Files) -> Result<Self, ConfigError> {
        let json = files.read("auth.jwt.keys", &config.keys)?;
        let keys = Keys::parse(&json).map_err(|problem| ConfigError::Invalid {
            name: "auth.jwt.keys".to_owned(),
            problem: format!("names a file that is not a set of keys (JWKS): {problem}"),
        })?;
        Ok(Self {
            config: config.clone(),
            keys,
            remembered: Mutex::default(),
        })
    }

    /// Whether a text is written as a token of this kind.
    pub(super) fn is_one(token: &str) -> bool {
        token.split('.').count() == 3
    }

    /// What the token says, or why it is refused.
    pub(super) fn claims(&self, token: &str, now: Timestamp) -> Result<Arc<Claims>, &'static str> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err("the token is larger than a JWT may be");
        }
        let now = now.as_micros().div_euclid(1_000_000);
        let expired = "the token has expired; ask its issuer for another";
        let hash: [u8; 32] = digest(&SHA256, token.as_bytes())
            .as_ref()
            .try_into()
            .map_err(|_| "the token cannot be read")?;
        let remembered = || {
            self.remembered
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let known = remembered().get(&hash).cloned();
        let claims = match known {
            Some(claims) => claims,
            None => Arc::new(self.verify(token, now)?),
        };
        if claims.expires <= now {
            return Err(expired);
        }
        let mut remembered = remembered();
        if !remembered.contains_key(&hash) {
            if remembered.len() >= REMEMBERED_MAX {
                remembered.retain(|_, claims| claims.expires > now);
            }
            if remembered.len() >= REMEMBERED_MAX {
                remembered.clear();
            }
            remembered.insert(hash, claims.clone());
        }
        Ok(claims)
    }

    fn verify(&self, token: &str, now: i64) -> Result<Claims, &'static str> {
        let malformed = "the token is not a JWT that can be read";
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed);
        let (signed, signature) = token.rsplit_once('.').ok_or(malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(malformed)?;
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| malformed)?;
        if header.crit.is_some() {
            return Err("the token has a critical header, which is not understood");
        }
        let (algorithm, id) = (header.alg.as_str(), header.kid.as_deref());
        let signature = decode(signature)?;
        let key = self
            .keys
            .verify(algorithm, id, signed.as_bytes(), &signature);
        let key =
            key.ok_or("the token is not signed by a key of its issuer (ES256, RS256, EdDSA)")?;
        let claims: Map<String, Value> =
            serde_json::from_slice(&decode(payload)?).map_err(|_| malformed)?;
        self.check(&claims, now, key)
    }

    /// What the claims say, once it is known who wrote them.
    fn check(
        &self,
        claims: &Map<String, Value>,
        now: i64,
        key: KeyHash,
    ) -> Result<Claims, &'static str> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(self.config.issuer.as_str()) {
            return Err("the token is of another issuer than `auth.jwt.issuer`");
        }
        let is_for = |it: &Value| it.as_str() == Some(self.config.audience.as_str());
        let is_for_us = claims.get("aud").is_some_and(|audience| match audience {
            Value::Array(several) => several.iter().any(is_for),
            one => is_for(one),
        });
        if !is_for_us {
            return Err("the token is for another audience than `auth.jwt.audience`");
        }
        let seconds = |name: &str| match claims.get(name) {
            None => Ok(None),
            // A fraction of a second does not matter.
            Some(time) => match time.as_f64() {
                Some(time) if time.is_finite() => Ok(Some(time as i64)),
                _ => Err("a time of the token is not a number"),
            },
        };
        let expires = seconds("exp")?.ok_or("the token does not say when it expires (`exp`)")?;
        if seconds("nbf")?.is_some_and(|from| from > now + LEEWAY_S) {
            return Err("the token is not valid yet (`nbf`)");
        }
        let subject = text("sub").filter(|name| {
            let is_plain = |it: char| !it.is_control();
            (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(is_plain)
        });
        let subject = subject.ok_or("the token has no `sub`, or one that is not a name")?;
        let mut roles: Vec<String> = match claims.get(&self.config.roles_claim) {
            Some(Value::Array(roles)) => {
                let roles = roles.iter().filter_map(Value::as_str);
                roles.map(str::to_owned).collect()
            }
            Some(Value::String(roles)) => roles.split_whitespace().map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        roles.truncate(ROLES_MAX);
        Ok(Claims {
            subject: subject.to_owned(),
            roles,
            expires,
            key,
        })
    }

    /// Whether a token that was verified by the other would be by this one.
    pub(super) fn is_as(&self, other: &JwtProof) -> bool {
        let is_same = other.issuer == self.config.issuer && other.audience == self.config.audience;
        is_same && self.keys.has(&other.claims.key)
    }

    /// What a caller with these claims has proved.
    pub(super) fn proof(&self, claims: &Arc<Claims>) -> JwtProof {
        JwtProof {
            issuer: self.config.issuer.clone(),
            audience: self.config.audience.clone(),
            claims: claims.clone(),
        }
    }
}

/// What a caller proved with a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JwtProof {
    issuer: String,
    audience: String,
    pub(super) claims: Arc<Claims>,
}

impl Claims {
    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires <= now.as_micros().div_euclid(1_000_000)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

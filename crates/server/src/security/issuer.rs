//! An issuer of JSON Web Tokens that callers show: who has one is known by its claims.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ensue::Timestamp;

use super::files::Files;
use super::jwk::{KeyHash, Keys};
use super::jwt::{self, Fault};
use super::provider::{Provider, ProviderSettings, Providers};
use super::secrets::sha256;
use crate::config::{ConfigError, Jwt};
use crate::problem::{Code, Problem};

/// How many tokens are remembered that were verified already.
const REMEMBERED_MAX: usize = 10_000;

/// An issuer of tokens, and what they are verified with.
pub(super) struct Issuer {
    config: Jwt,
    keys: Source,
    /// By the hash of a token: to verify a signature takes a hundred times as long as everything else.
    remembered: Mutex<HashMap<[u8; 32], Arc<Claims>>>,
}

/// Where the keys are from.
enum Source {
    File(Arc<Keys>),
    Provider(Arc<Provider>),
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

impl Issuer {
    pub(super) fn read(
        config: &Jwt,
        files: &mut Files,
        providers: &Providers,
    ) -> Result<Self, ConfigError> {
        let keys = match &config.keys {
            Some(path) => {
                let json = files.read("auth.jwt.keys", path)?;
                let keys = Keys::parse(&json).map_err(|problem| ConfigError::Invalid {
                    name: "auth.jwt.keys".to_owned(),
                    problem: format!("names a file that is not a set of keys (JWKS): {problem}"),
                })?;
                Source::File(Arc::new(keys))
            }
            None => {
                let settings = ProviderSettings::read(
                    "auth.jwt",
                    &config.issuer,
                    config.keys_url.as_deref(),
                    config.ca_file.as_deref(),
                    files,
                )?;
                Source::Provider(providers.of(settings)?)
            }
        };
        Ok(Self {
            config: config.clone(),
            keys,
            remembered: Mutex::default(),
        })
    }

    fn keys(&self) -> Option<Arc<Keys>> {
        match &self.keys {
            Source::File(keys) => Some(keys.clone()),
            Source::Provider(provider) => provider.keys(),
        }
    }

    /// Whether something that it signs can be verified.
    pub(super) fn has_keys(&self) -> bool {
        self.keys().is_some()
    }

    /// What the token says, or why it is refused. A token with a key that is not known waits for the keys
    /// of its issuer once, unless those were just asked for.
    pub(super) async fn claims(&self, token: &str, now: Timestamp) -> Result<Arc<Claims>, Problem> {
        let found = self.known(token, now);
        let (Err(Fault::UnknownKey), Source::Provider(provider)) = (&found, &self.keys) else {
            return found.map_err(|fault| refused(fault.reason()));
        };
        let found = if provider.renewed().await {
            self.known(token, now)
        } else {
            found
        };
        found.map_err(|fault| {
            if provider.keys().is_none() {
                return provider.unavailable();
            }
            refused(fault.reason())
        })
    }

    /// What the token says by the keys that are known.
    fn known(&self, token: &str, now: Timestamp) -> Result<Arc<Claims>, Fault> {
        let Some(keys) = self.keys() else {
            return Err(Fault::UnknownKey);
        };
        let now = now.as_micros().div_euclid(1_000_000);
        let hash = sha256(token.as_bytes());
        let known = self.remembered().get(&hash).cloned();
        // A key that is gone is seen here, too.
        if let Some(claims) = known.filter(|claims| claims.expires > now && keys.has(&claims.key)) {
            return Ok(claims);
        }
        let verified = jwt::verify(token, &keys)?;
        let expires = verified.check(&self.config.issuer, &self.config.audience, now)?;
        let claims = Arc::new(Claims {
            subject: verified.subject()?.to_owned(),
            roles: verified.roles(&self.config.roles_claim),
            expires,
            key: verified.key,
        });
        let mut remembered = self.remembered();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.retain(|_, claims| claims.expires > now);
        }
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(hash, claims.clone());
        Ok(claims)
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<[u8; 32], Arc<Claims>>> {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a token that was verified by the other would be by this one.
    pub(super) fn is_as(&self, other: &JwtProof) -> bool {
        let is_same = other.issuer == self.config.issuer && other.audience == self.config.audience;
        is_same && self.keys().is_some_and(|keys| keys.has(&other.claims.key))
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

fn refused(reason: &'static str) -> Problem {
    Problem::new(Code::Unauthenticated, reason)
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

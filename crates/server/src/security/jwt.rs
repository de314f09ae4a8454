//! JSON Web Tokens (RFC 7519): who signed one, and what is asked of every one's claims.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::jwk::{KeyHash, Keys};

/// The largest token, in bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// How far the clock of the issuer may be ahead of this one, in seconds.
const LEEWAY_S: i64 = 60;
/// The longest name of a caller, in bytes, and the most roles.
const NAME_BYTES_MAX: usize = 200;
const ROLES_MAX: usize = 64;

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It may be signed by a key of its issuer that is not known yet.
    UnknownKey,
    Refused(&'static str),
}

impl From<&'static str> for Fault {
    fn from(reason: &'static str) -> Self {
        Self::Refused(reason)
    }
}

impl Fault {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::UnknownKey => {
                "the token is not signed by a key of its issuer (ES256, RS256, EdDSA)"
            }
            Self::Refused(reason) => reason,
        }
    }
}

/// The claims of a token, once it is known who wrote them.
#[derive(Debug)]
pub(super) struct Verified {
    claims: Map<String, Value>,
    pub(super) key: KeyHash,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// What a reader has to understand; nothing of it is understood here.
    crit: Option<Value>,
}

/// Whether a text is written as a token of this kind.
pub(super) fn is_one(token: &str) -> bool {
    token.split('.').count() == 3
}

/// Verifies that one of `keys` has signed the token.
pub(super) fn verify(token: &str, keys: &Keys) -> Result<Verified, Fault> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err("the token is larger than a JWT may be".into());
    }
    let malformed = Fault::Refused("the token is not a JWT that can be read");
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed);
    let (signed, signature) = token.rsplit_once('.').ok_or(malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(malformed)?;
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| malformed)?;
    if header.crit.is_some() {
        return Err("the token has a critical header, which is not understood".into());
    }
    let (algorithm, id) = (header.alg.as_str(), header.kid.as_deref());
    let signature = decode(signature)?;
    let key = keys.verify(algorithm, id, signed.as_bytes(), &signature);
    let key = key.ok_or(Fault::UnknownKey)?;
    let claims = serde_json::from_slice(&decode(payload)?).map_err(|_| malformed)?;
    Ok(Verified { claims, key })
}

impl Verified {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }

    pub(super) fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }

    /// Checks that the token is of this issuer, for this audience, and in its time, which is over at the
    /// second that this gives.
    pub(super) fn check(
        &self,
        issuer: &str,
        audience: &str,
        now: i64,
    ) -> Result<i64, &'static str> {
        if self.text("iss") != Some(issuer) {
            return Err("the token is of another issuer than the configuration names");
        }
        let is_for = |it: &Value| it.as_str() == Some(audience);
        let is_for_us = self.claim("aud").is_some_and(|audience| match audience {
            Value::Array(several) => several.iter().any(is_for),
            one => is_for(one),
        });
        if !is_for_us {
            return Err("the token is for another audience than the configuration names");
        }
        let expires = self.seconds("exp")?;
        let expires = expires.ok_or("the token does not say when it expires (`exp`)")?;
        if self
            .seconds("nbf")?
            .is_some_and(|from| from > now + LEEWAY_S)
        {
            return Err("the token is not valid yet (`nbf`)");
        }
        if expires <= now {
            return Err("the token has expired; ask its issuer for another");
        }
        Ok(expires)
    }

    fn seconds(&self, name: &str) -> Result<Option<i64>, &'static str> {
        match self.claim(name) {
            None => Ok(None),
            // A fraction of a second does not matter.
            Some(time) => match time.as_f64() {
                Some(time) if time.is_finite() => Ok(Some(time as i64)),
                _ => Err("a time of the token is not a number"),
            },
        }
    }

    /// Whom it is about.
    pub(super) fn subject(&self) -> Result<&str, &'static str> {
        let subject = self.text("sub").filter(|name| {
            let is_plain = |it: char| !it.is_control();
            (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(is_plain)
        });
        subject.ok_or("the token has no `sub`, or one that is not a name")
    }

    /// The names of roles in a claim: an array, or a text with spaces between them.
    pub(super) fn roles(&self, claim: &str) -> Vec<String> {
        let mut roles: Vec<String> = match self.claim(claim) {
            Some(Value::Array(roles)) => {
                let roles = roles.iter().filter_map(Value::as_str);
                roles.map(str::to_owned).collect()
            }
            Some(Value::String(roles)) => roles.split_whitespace().map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        roles.truncate(ROLES_MAX);
        roles
    }
}

//! A login that has begun: what the browser keeps until it comes back, sealed. So strangers who begin
//! logins take no memory.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ensue::Timestamp;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};

use crate::security::secrets::{random, random_text, sha256};

/// How long a person may take to log in.
pub(super) const LASTS: Duration = Duration::from_secs(600);
/// How many logins may lead to a session in that time.
const USED_MAX: usize = 10_000;
/// What else is sealed with the key is not an attempt.
const PURPOSE: &[u8] = b"ensue login attempt 1";

/// A login that has begun. It has no `Debug`: all of it is secret.
#[derive(Serialize, Deserialize)]
pub(super) struct Attempt {
    /// What the provider gives back, to tell that the same browser comes back.
    pub(super) state: String,
    /// What the token has to hold.
    pub(super) nonce: String,
    /// What only this server can say who exchanges the code (PKCE).
    pub(super) verifier: String,
    /// Where to go then.
    pub(super) return_to: String,
    ends_us: i64,
}

/// What seals attempts, and which of them have led to a session.
pub(super) struct Attempts {
    key: LessSafeKey,
    used: Mutex<HashMap<[u8; 32], Timestamp>>,
}

/// Why an attempt cannot come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAttempt {
    /// It is not one of this process, or too old, or has led to a session.
    Invalid,
    /// Too many have.
    TooMany,
}

impl Attempt {
    pub(super) fn new(return_to: &str, now: Timestamp) -> Result<Self, &'static str> {
        Ok(Self {
            state: random_text()?,
            nonce: random_text()?,
            verifier: random_text()?,
            return_to: return_to.to_owned(),
            ends_us: now.plus(LASTS).as_micros(),
        })
    }

    fn hash(&self) -> [u8; 32] {
        sha256(self.state.as_bytes())
    }

    /// What the provider is shown of the verifier.
    pub(super) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(sha256(self.verifier.as_bytes()))
    }
}

impl Attempts {
    pub(super) fn new() -> Result<Self, &'static str> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &random::<32>()?);
        Ok(Self {
            key: LessSafeKey::new(key.map_err(|_| "the key cannot be made")?),
            used: Mutex::default(),
        })
    }

    /// The value of the browser's cookie.
    pub(super) fn seal(&self, attempt: &Attempt) -> Result<String, &'static str> {
        let failed = "the attempt cannot be sealed";
        let nonce = random::<NONCE_LEN>()?;
        let mut sealed = serde_json::to_vec(attempt).map_err(|_| failed)?;
        let (nonce, bytes) = (Nonce::assume_unique_for_key(nonce), nonce);
        self.key
            .seal_in_place_append_tag(nonce, Aad::from(PURPOSE), &mut sealed)
            .map_err(|_| failed)?;
        Ok(URL_SAFE_NO_PAD.encode([&bytes[..], &sealed].concat()))
    }

    fn open(&self, cookie: &str, now: Timestamp) -> Option<Attempt> {
        let bytes = URL_SAFE_NO_PAD.decode(cookie).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let opened = self
            .key
            .open_in_place(nonce, Aad::from(PURPOSE), &mut sealed);
        let attempt: Attempt = serde_json::from_slice(opened.ok()?).ok()?;
        (attempt.ends_us > now.as_micros()).then_some(attempt)
    }

    /// The attempt that comes back, unless it has led to a session.
    pub(super) fn find(
        &self,
        cookie: &str,
        is_it: impl Fn(&Attempt) -> bool,
        now: Timestamp,
    ) -> Result<Attempt, NoAttempt> {
        let attempt = self.open(cookie, now).filter(is_it);
        let attempt = attempt.ok_or(NoAttempt::Invalid)?;
        if self.used().contains_key(&attempt.hash()) {
            return Err(NoAttempt::Invalid);
        }
        Ok(attempt)
    }

    /// It leads to a session, once. Strangers, to whom the provider gives nothing, take no room here.
    pub(super) fn spend(&self, attempt: &Attempt, now: Timestamp) -> Result<(), NoAttempt> {
        let mut used = self.used();
        if used.len() >= USED_MAX {
            used.retain(|_, ends| *ends > now);
        }
        if used.len() >= USED_MAX {
            return Err(NoAttempt::TooMany);
        }
        match used.insert(attempt.hash(), now.plus(LASTS)) {
            None => Ok(()),
            Some(_) => Err(NoAttempt::Invalid),
        }
    }

    fn used(&self) -> MutexGuard<'_, HashMap<[u8; 32], Timestamp>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn an_attempt_comes_back_once_in_time_to_the_process_that_sealed_it() {
        let attempts = Attempts::new().unwrap();
        let attempt = Attempt::new("/v1/session", at(0)).unwrap();
        let cookie = attempts.seal(&attempt).unwrap();
        assert!(!cookie.contains(&attempt.state));
        let take = |of: &Attempts, cookie: &str, seconds| -> Result<String, NoAttempt> {
            let found = of.find(cookie, |it| it.state == attempt.state, at(seconds))?;
            of.spend(&found, at(seconds))?;
            Ok(found.return_to)
        };
        assert_eq!(take(&attempts, &cookie, 600), Err(NoAttempt::Invalid));
        let other = Attempts::new().unwrap();
        assert_eq!(take(&other, &cookie, 1), Err(NoAttempt::Invalid));
        for made_up in ["", "AAAA", &cookie[1..], &*format!("{cookie}A")] {
            assert_eq!(take(&attempts, made_up, 1), Err(NoAttempt::Invalid));
        }
        // With another state it is not used up, nor by coming back alone.
        assert!(attempts.find(&cookie, |_| true, at(1)).is_ok());
        let other = attempts.find(&cookie, |_| false, at(1)).err();
        assert_eq!(other, Some(NoAttempt::Invalid));
        assert_eq!(take(&attempts, &cookie, 599), Ok("/v1/session".to_owned()));
        assert_eq!(take(&attempts, &cookie, 599), Err(NoAttempt::Invalid));
    }

    #[test]
    fn attempts_that_lead_to_a_session_are_of_limited_number() {
        let attempts = Attempts::new().unwrap();
        let back = |seconds| {
            let attempt = Attempt::new("/", at(seconds)).unwrap();
            let cookie = attempts.seal(&attempt).unwrap();
            let found = attempts.find(&cookie, |_| true, at(seconds));
            found.and_then(|it| attempts.spend(&it, at(seconds))).err()
        };
        assert!((0..USED_MAX).all(|_| back(0).is_none()));
        assert_eq!(back(1), Some(NoAttempt::TooMany));
        assert_eq!(back(LASTS.as_secs()), None);
    }
}

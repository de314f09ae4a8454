//! Passwords and their hashes.

use std::fmt;
use std::sync::Arc;

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

/// How many characters a password has at the least.
pub const PASSWORD_CHARACTERS_MIN: usize = 10;
/// How many bytes it has at the most: hashing more would only cost time.
pub const PASSWORD_BYTES_MAX: usize = 256;
/// How many hashes may wait for a processor; more are refused, so that a flood ends early.
const WAITING_MAX: usize = 256;
/// The memory that a hash takes, in KiB, and how often it is gone over: what OWASP recommends for
/// argon2id with one lane.
const MEMORY_KIB: u32 = 19 * 1_024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// A password as somebody typed it.
pub struct Password(String);

/// What is left of a password in the log: argon2id in the form of PHC strings, which has its
/// parameters and its salt.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

/// Why a password is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordProblem {
    /// It can be guessed.
    #[error("a password has at least {PASSWORD_CHARACTERS_MIN} characters")]
    TooShort,
    /// It is longer than is hashed.
    #[error("a password has at most {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
}

/// Hashes passwords, a bounded number at a time, on threads of their own: each takes some 20 ms of
/// a processor.
#[derive(Clone, Debug)]
pub struct Hashing {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// That of no password: what a user who does not exist is compared with.
    nobodys: Arc<PasswordHash>,
}

/// Why no hash was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashingError {
    /// `WAITING_MAX` others wait.
    #[error("too many passwords wait to be checked; try again in a moment")]
    Busy,
    /// The library or the operating system refused.
    #[error("the password cannot be hashed")]
    Failed,
}

impl Password {
    /// A password that may be chosen.
    ///
    /// # Errors
    /// See [`PasswordProblem`].
    pub fn chosen(text: String) -> Result<Self, PasswordProblem> {
        if text.chars().count() < PASSWORD_CHARACTERS_MIN {
            Err(PasswordProblem::TooShort)
        } else {
            Self::tried(text)
        }
    }

    /// A password that is tried: short ones are wrong, no more.
    ///
    /// # Errors
    /// [`PasswordProblem::TooLong`].
    pub fn tried(text: String) -> Result<Self, PasswordProblem> {
        if text.len() > PASSWORD_BYTES_MAX {
            Err(PasswordProblem::TooLong)
        } else {
            Ok(Self(text))
        }
    }
}

impl Hashing {
    /// Hashes on as many threads as there are processors.
    ///
    /// # Errors
    /// [`HashingError::Failed`].
    pub fn new() -> Result<Self, HashingError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            running: Arc::new(Semaphore::new(threads)),
            waiting: Arc::new(Semaphore::new(threads + WAITING_MAX)),
            nobodys: Arc::new(hash(b"nobody's")?),
        })
    }

    /// The hash of a password, with a salt of its own.
    ///
    /// # Errors
    /// See [`HashingError`].
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, HashingError> {
        self.work(move || hash(password.0.as_bytes())).await
    }

    /// Whether it is the password of this hash. Without one it takes as long, and is not.
    ///
    /// # Errors
    /// See [`HashingError`].
    pub async fn is_of(
        &self,
        password: Password,
        hash: Option<PasswordHash>,
    ) -> Result<bool, HashingError> {
        let nobodys = self.nobodys.clone();
        self.work(move || {
            let compared = hash.as_ref().unwrap_or(&nobodys);
            let is_equal = argon2()?.verify_password(password.0.as_bytes(), &*compared.0);
            Ok(is_equal.is_ok() && hash.is_some())
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HashingError> + Send + 'static,
    ) -> Result<T, HashingError> {
        let waiting = self.waiting.clone().try_acquire_owned();
        let waiting = waiting.map_err(|_| HashingError::Busy)?;
        let running = self.running.clone().acquire_owned().await;
        let running = running.map_err(|_| HashingError::Failed)?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            // Also when nobody waits for it any more, it takes its thread until here.
            drop((running, waiting));
            done
        });
        done.await.unwrap_or(Err(HashingError::Failed))
    }
}

fn argon2() -> Result<Argon2<'static>, HashingError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| HashingError::Failed)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &[u8]) -> Result<PasswordHash, HashingError> {
    let hash = argon2()?.hash_password(password);
    Ok(PasswordHash(
        hash.map_err(|_| HashingError::Failed)?.to_string(),
    ))
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::tried(text.to_owned()).unwrap()
    }

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_and_by_no_other() {
        let hashing = Hashing::new().unwrap();
        let hash = hashing.hash(password("correct horse")).await.unwrap();
        assert!(
            hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{}",
            hash.0
        );
        assert_ne!(
            hash,
            hashing.hash(password("correct horse")).await.unwrap(),
            "the salt"
        );
        assert_eq!(
            hashing
                .is_of(password("correct horse"), Some(hash.clone()))
                .await,
            Ok(true)
        );
        assert_eq!(
            hashing
                .is_of(password("Correct horse"), Some(hash.clone()))
                .await,
            Ok(false)
        );
        assert_eq!(hashing.is_of(password("nobody's"), None).await, Ok(false));
        assert!(!format!("{hash:?}{:?}", password("correct horse")).contains("horse"));
        assert!(!format!("{hash:?}").contains("argon2"));
    }

    #[tokio::test]
    async fn no_more_than_so_many_wait() {
        let hashing = Hashing::new().unwrap();
        let _all = hashing
            .running
            .clone()
            .acquire_many_owned(hashing.running.available_permits() as u32);
        let _all = _all.await.unwrap();
        let _waiting = hashing
            .waiting
            .clone()
            .try_acquire_many_owned(hashing.waiting.available_permits() as u32);
        assert_eq!(
            hashing.is_of(password("x"), None).await,
            Err(HashingError::Busy)
        );
    }

    #[test]
    fn what_is_too_short_or_too_long_is_not_chosen() {
        assert!(matches!(
            Password::chosen("123456789".into()),
            Err(PasswordProblem::TooShort)
        ));
        assert!(matches!(
            Password::chosen("x".repeat(257)),
            Err(PasswordProblem::TooLong)
        ));
        assert!(Password::chosen("öööööööööö".into()).is_ok());
    }
}

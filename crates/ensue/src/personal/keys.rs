//! Where the keys of subjects are kept: outside the log and its backups.

use std::fmt;
use std::path::Path;

use futures_util::future::BoxFuture;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::error::PersonalError;

/// The bytes of a key: AES-256.
pub(super) const KEY_BYTES: usize = 32;

/// Keeps the keys of subjects: several of one subject, the newest of which seals. There is one in a directory
/// ([`FileKeys`](super::FileKeys)) and one in memory ([`MemoryKeys`](super::MemoryKeys)); others keep them in a
/// database, or wrapped by a key management service. Where keys never leave such a service, write a
/// [`Vault`](crate::Vault) instead.
///
/// What a store has to keep: a key is never changed; two that are asked for the first key of a subject at the same
/// time are given the same; once [`forget`](Self::forget) has returned, no copy of the keys is left, and the subject
/// stays forgotten; and a backup of the log is no backup of it.
pub trait KeyStore: fmt::Debug + Send + Sync + 'static {
    /// The newest key of the subject; the first one is made if there is none.
    ///
    /// # Errors
    /// [`PersonalError::Keys`] when the store cannot be reached.
    fn newest<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<KeyLookup, PersonalError>>;

    /// The key of the subject with this number.
    ///
    /// # Errors
    /// As for [`KeyStore::newest`].
    fn key<'a>(
        &'a self,
        subject: &'a str,
        number: u32,
    ) -> BoxFuture<'a, Result<KeyLookup, PersonalError>>;

    /// Makes another key, the newest from now on.
    ///
    /// # Errors
    /// As for [`KeyStore::newest`].
    fn rotate<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<KeyLookup, PersonalError>>;

    /// Destroys all keys of the subject, for good, and remembers that it did. Returns how many there were.
    ///
    /// # Errors
    /// As for [`KeyStore::newest`]: some may be left.
    fn forget<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<u32, PersonalError>>;

    /// The directory that it keeps them in, if it is one: it must not be within that of a log, nor the other way
    /// round, or a backup of the log would have the keys.
    fn directory(&self) -> Option<&Path> {
        None
    }
}

/// What a store has of a subject.
#[derive(Clone, Debug)]
pub enum KeyLookup {
    /// This key.
    Key(SubjectKey),
    /// The subject was forgotten.
    Forgotten,
    /// It has no such key.
    Unknown,
}

/// A key of a subject. Its bytes are overwritten when it is dropped.
#[derive(Clone)]
pub struct SubjectKey {
    number: u32,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

impl SubjectKey {
    /// The key with this number, from 1.
    pub fn new(number: u32, bytes: [u8; KEY_BYTES]) -> Self {
        Self {
            number,
            bytes: Zeroizing::new(bytes),
        }
    }

    /// A new key, from the randomness of the operating system.
    ///
    /// # Errors
    /// [`PersonalError::Keys`] when there is none.
    pub fn generate(number: u32) -> Result<Self, PersonalError> {
        let mut key = Self::new(number, [0; KEY_BYTES]);
        random(&mut *key.bytes)?;
        Ok(key)
    }

    /// Its number within the subject, from 1.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubjectKey({})", self.number)
    }
}

/// A failure of a store.
pub(super) fn failed(
    problem: impl Into<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
) -> PersonalError {
    PersonalError::Keys {
        problem: problem.into(),
        source,
    }
}

/// Fills `bytes` with randomness of the operating system.
pub(super) fn random(bytes: &mut [u8]) -> Result<(), PersonalError> {
    let filled = SystemRandom::new().fill(bytes);
    filled.map_err(|_| failed("the operating system has no randomness", None))
}

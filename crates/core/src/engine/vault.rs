//! What seals and opens: the keys of subjects, wherever they are kept.

use std::fmt;

use futures_util::future::BoxFuture;

use crate::error::PersonalError;
use crate::event::{Opened, Sealed};

/// Seals what is personal and opens it, with a key for each subject. Programs use one of `ensue`
/// (`Engine::with_keys`), and write their own for keys that never leave a hardware module or a service.
pub trait Vault: fmt::Debug + Send + Sync + 'static {
    /// Seals `plain` with the newest key of `subject`, which is made if there is none.
    ///
    /// # Errors
    /// [`PersonalError::Forgotten`] if the subject was forgotten, [`PersonalError::Subject`] if it cannot be one, and
    /// [`PersonalError::Keys`] when the keys cannot be reached.
    fn seal<'a>(
        &'a self,
        subject: &'a str,
        plain: Vec<u8>,
    ) -> BoxFuture<'a, Result<Sealed, PersonalError>>;

    /// Opens what was sealed.
    ///
    /// # Errors
    /// [`PersonalError::Damaged`] when the key is there and the ciphertext is not one of its making, and
    /// [`PersonalError::Keys`].
    fn open<'a>(&'a self, sealed: &'a Sealed) -> BoxFuture<'a, Result<Opened, PersonalError>>;

    /// Makes a further key for `subject`, with which is sealed from now on; what was sealed with earlier ones is
    /// opened with those. Returns its number.
    ///
    /// # Errors
    /// As for [`Vault::seal`].
    fn rotate<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<u32, PersonalError>>;

    /// Destroys all keys of `subject`, for good: it never gets another. Returns how many there were; 0 if it was
    /// forgotten before.
    ///
    /// # Errors
    /// [`PersonalError::Keys`]: the keys may be there still.
    fn forget<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<u32, PersonalError>>;
}

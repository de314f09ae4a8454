//! What is personal: sealed before it is appended, opened for handlers.

#[cfg(feature = "personal")]
mod cipher;
#[cfg(feature = "personal")]
mod file_keys;
#[cfg(feature = "personal")]
mod keyed;
#[cfg(feature = "personal")]
mod keys;
#[cfg(feature = "personal")]
mod memory_keys;
mod sealing;
mod unsealed;

use std::time::Duration;

#[cfg(feature = "personal")]
pub use self::file_keys::FileKeys;
#[cfg(feature = "personal")]
pub(crate) use self::keyed::keyed;
#[cfg(feature = "personal")]
pub use self::keys::{KeyLookup, KeyStore, SubjectKey};
#[cfg(feature = "personal")]
pub use self::memory_keys::MemoryKeys;
pub(crate) use self::sealing::{OnForgotten, open_all, open_event, seal, vault_of};
pub(crate) use self::unsealed::Unsealed;

/// Longest that a process uses a key that was destroyed by another one: it looks for it again then.
pub(crate) const KEY_CACHED: Duration = Duration::from_secs(60);

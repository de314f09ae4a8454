//! The service's own key, from which links in mails and the keys of reservations are made.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use super::token::{NoRandomness, random};
use crate::email::Email;
use crate::ids::{OriginId, UserId};

const KEY_BYTES: usize = 32;
const ORIGIN_CHARACTERS: usize = 22;

/// The key of a service. It is not in the log: whoever has the log and not the key can neither
/// confirm an address, nor reset a password, nor ask whether an address is registered.
#[derive(Clone)]
pub struct Keys(Arc<hmac::Key>);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be read or made.
    #[error("the key {}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// It is no key.
    #[error("{} has {length} bytes, and a key has {KEY_BYTES}", path.display())]
    Length {
        /// Which file.
        path: PathBuf,
        /// How many it has.
        length: usize,
    },
    /// Others can read it.
    #[error("{} may be read by others; its mode has to be 600", path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
    },
    /// None can be made.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

impl Keys {
    /// A key that is gone with the process.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn random() -> Result<Self, NoRandomness> {
        Ok(Self::new(&random::<KEY_BYTES>()?))
    }

    /// The key in this file, which is made if it is not there. Processes that make it at the same
    /// time get the same one.
    ///
    /// # Errors
    /// See [`KeysError`].
    pub fn open(path: &Path) -> Result<Self, KeysError> {
        let failed = |source| KeysError::File {
            path: path.to_owned(),
            source,
        };
        if !path.exists() {
            make(path, &random::<KEY_BYTES>()?).map_err(failed)?;
        }
        let mut file = std::fs::File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
            return Err(KeysError::Exposed {
                path: path.to_owned(),
            });
        }
        let mut key = Vec::new();
        let limit = KEY_BYTES as u64 + 1;
        Read::by_ref(&mut file)
            .take(limit)
            .read_to_end(&mut key)
            .map_err(failed)?;
        if key.len() != KEY_BYTES {
            return Err(KeysError::Length {
                path: path.to_owned(),
                length: key.len(),
            });
        }
        Ok(Self::new(&key))
    }

    fn new(key: &[u8]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }

    /// What an e-mail address is called in the log where it is a key.
    pub fn email_key(&self, email: &Email) -> String {
        self.tag(&["email", email.as_str()])
    }

    /// What a place is called among those of a user: not the same as among those of another.
    pub fn origin(&self, user: &UserId, address: &str) -> OriginId {
        let mut tag = self.tag(&["origin", user.as_str(), address]);
        // As much of it as tells a few places apart.
        tag.truncate(ORIGIN_CHARACTERS);
        OriginId::from_hash(tag)
    }

    /// The secret of the link that confirms a user's address.
    pub fn confirmation(&self, user: &UserId) -> String {
        self.tag(&["confirm", user.as_str()])
    }

    /// The secret of the link by which a password is reset.
    pub fn reset(&self, user: &UserId, reset: &str) -> String {
        self.tag(&["reset", user.as_str(), reset])
    }

    /// Compares in constant time.
    pub fn is_confirmation(&self, user: &UserId, secret: &str) -> bool {
        self.is_tag(&["confirm", user.as_str()], secret)
    }

    /// Compares in constant time.
    pub fn is_reset(&self, user: &UserId, reset: &str, secret: &str) -> bool {
        self.is_tag(&["reset", user.as_str(), reset], secret)
    }

    fn tag(&self, parts: &[&str]) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, parts.join("\0").as_bytes()))
    }

    fn is_tag(&self, parts: &[&str], secret: &str) -> bool {
        let Ok(tag) = URL_SAFE_NO_PAD.decode(secret) else {
            return false;
        };
        hmac::verify(&self.0, parts.join("\0").as_bytes(), &tag).is_ok()
    }
}

/// Makes the file in one step: a reader never sees half of it.
fn make(path: &Path, key: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let draft = path.with_extension(format!("draft-{}", uuid::Uuid::now_v7()));
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(key)?;
    file.sync_all()?;
    // Unlike a renaming, a link does not replace the file of another process that was faster.
    let linked = match std::fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    };
    std::fs::remove_file(&draft)?;
    linked
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_of_its_user_its_purpose_and_its_key_alone() {
        let keys = Keys::random().unwrap();
        let [ada, bob] = ["ada", "bob"].map(UserId::of_request);
        let secret = keys.confirmation(&ada);
        assert!(keys.is_confirmation(&ada, &secret));
        assert!(!keys.is_confirmation(&bob, &secret));
        assert!(!keys.is_reset(&ada, "", &secret));
        assert!(!Keys::random().unwrap().is_confirmation(&ada, &secret));
        assert!(!keys.is_confirmation(&ada, "") && !keys.is_confirmation(&ada, "!"));
        assert!(keys.is_reset(&ada, "r-1", &keys.reset(&ada, "r-1")));
        assert!(!keys.is_reset(&ada, "r-2", &keys.reset(&ada, "r-1")));
    }

    #[test]
    fn a_key_is_made_once_and_others_may_not_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/key");
        let ada = UserId::of_request("ada");
        let secrets: Vec<_> = std::thread::scope(|scope| {
            let open = || Keys::open(&path).unwrap().confirmation(&ada);
            let opening: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
            opening.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert!(secrets.iter().all(|secret| *secret == secrets[0]));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Keys::open(&path), Err(KeysError::Exposed { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "short").unwrap();
        assert!(matches!(
            Keys::open(&path),
            Err(KeysError::Length { length: 5, .. })
        ));
    }
}

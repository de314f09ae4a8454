//! Session tokens: random, and known to the log by their hash alone.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::ids::{SessionId, UserId};

/// How many random bytes a token has.
const TOKEN_BYTES: usize = 32;

/// What a client shows to say who it is: `USER.SECRET`.
#[derive(Clone)]
pub struct SessionToken {
    user: UserId,
    secret: String,
}

/// The operating system gives no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random numbers")]
pub struct NoRandomness;

impl SessionToken {
    /// A new token of this user.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn random(user: UserId) -> Result<Self, NoRandomness> {
        let secret = URL_SAFE_NO_PAD.encode(random::<TOKEN_BYTES>()?);
        Ok(Self { user, secret })
    }

    /// Reads what a client shows; `None` if it is no token at all.
    pub fn parse(text: &str) -> Option<Self> {
        let (user, secret) = text.split_once('.')?;
        let user = user.parse().ok()?;
        let bytes = URL_SAFE_NO_PAD.decode(secret).ok()?;
        (bytes.len() == TOKEN_BYTES).then(|| Self {
            user,
            secret: secret.to_owned(),
        })
    }

    /// Whose it says it is.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// The session that it is the token of. Its secret has 256 random bits: how long a comparison
    /// of hashes takes tells nothing that helps to find another.
    pub fn session(&self) -> SessionId {
        let hash = digest(&SHA256, self.secret.as_bytes());
        SessionId::from_hash(URL_SAFE_NO_PAD.encode(hash))
    }

    /// As the client gets it, once.
    pub fn reveal(&self) -> String {
        format!("{}.{}", self.user, self.secret)
    }
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| NoRandomness)?;
    Ok(bytes)
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionToken({}, …)", self.user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_names_its_session() {
        let token = SessionToken::random(UserId::of_request("r-1")).unwrap();
        let read = SessionToken::parse(&token.reveal()).unwrap();
        assert_eq!(
            (read.user(), read.session()),
            (token.user(), token.session())
        );
        let other = SessionToken::random(UserId::of_request("r-1")).unwrap();
        assert_ne!(other.session(), token.session());
        assert!(!format!("{token:?}").contains(&token.secret));
        for text in [
            "",
            ".",
            "u-1.x",
            &token.reveal()[..50],
            &format!("{}x", token.reveal()),
        ] {
            assert!(SessionToken::parse(text).is_none(), "{text}");
        }
    }
}

//! What users and sessions are called.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A user. It says nothing about who that is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(String);

/// A session, by the hash of its token: who reads the log cannot use it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(String);

/// Where attempts to log in as a user come from: a keyed hash, which names the same place only for this user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OriginId(String);

/// It is no user's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a user's name is `u-` and a UUID")]
pub struct NotAUserId;

impl UserId {
    /// The user whom the request with this id registers: the same each time it is handled.
    pub fn of_request(request: &str) -> Self {
        let name = format!("accounts/{request}");
        Self(format!(
            "u-{}",
            Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes())
        ))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserId {
    type Err = NotAUserId;

    fn from_str(text: &str) -> Result<Self, NotAUserId> {
        let uuid = text.strip_prefix("u-").ok_or(NotAUserId)?;
        let uuid = Uuid::try_parse(uuid).map_err(|_| NotAUserId)?;
        // One user has one name, however the UUID is written.
        Ok(Self(format!("u-{uuid}")))
    }
}

impl SessionId {
    pub(crate) fn from_hash(hash: String) -> Self {
        Self(hash)
    }
}

impl OriginId {
    pub(crate) fn from_hash(hash: String) -> Self {
        Self(hash)
    }
}

impl AsRef<str> for UserId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_makes_one_user_and_a_name_is_read_in_one_form() {
        let user = UserId::of_request("r-1");
        assert_eq!(user, UserId::of_request("r-1"));
        assert_ne!(user, UserId::of_request("r-2"));
        assert_eq!(user.as_str().parse(), Ok(user.clone()));
        assert_eq!(
            format!("u-{}", user.as_str()[2..].to_uppercase()).parse(),
            Ok(user)
        );
        for text in ["", "u-", "u-x", "7f9c24e8-3b12-4fef-91e0-56a2d5a0c5f1"] {
            assert_eq!(text.parse::<UserId>(), Err(NotAUserId), "{text}");
        }
    }
}

//! Who may do what.

use std::fmt;
use std::str::FromStr;

use ensue::prelude::*;

use crate::ids::UserId;

/// What a user may do beyond what every user may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Takes down profiles.
    Moderator,
    /// That, and grants and revokes roles.
    Administrator,
}

/// Somebody wants a user to have a role, or to have it no more: a command, decided by the service
/// that keeps all roles.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "role.grant", topic = "role-commands", key = realm)]
pub struct GrantRole {
    /// Whose roles these are: rules over all users need all of them in one place.
    pub realm: String,
    /// Who is to have it.
    pub user: UserId,
    /// Which role.
    pub role: Role,
    /// Whether to have it, or not.
    pub is_granted: bool,
    /// Who wants that; nobody is the operator, who may appoint the first administrator.
    pub by: Option<UserId>,
}

/// A user has left, and can have no role: a command to the same service.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "role.holder_left", topic = "role-commands", key = realm)]
pub struct HolderLeft {
    /// Whose roles these are.
    pub realm: String,
    /// Who has left.
    pub user: UserId,
}

/// A user has a role.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "role.granted", topic = "roles")]
pub struct RoleGranted {
    /// Who.
    pub user: UserId,
    /// Which role.
    pub role: Role,
    /// Who has granted it.
    pub by: Option<UserId>,
}

/// A user has a role no more.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "role.revoked", topic = "roles")]
pub struct RoleRevoked {
    /// Who.
    pub user: UserId,
    /// Which role.
    pub role: Role,
    /// Who has revoked it.
    pub by: Option<UserId>,
}

/// It is no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is `moderator` or `administrator`")]
pub struct NotARole;

impl FromStr for Role {
    type Err = NotARole;

    fn from_str(text: &str) -> std::result::Result<Self, NotARole> {
        match text {
            "moderator" => Ok(Self::Moderator),
            "administrator" => Ok(Self::Administrator),
            _ => Err(NotARole),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Moderator => "moderator",
            Self::Administrator => "administrator",
        })
    }
}

//! Attempts to log in, and what follows from too many.
//!
//! They go by the address that they come from, so that all of one address are in order and those
//! of different addresses are watched side by side. The name that was tried is no part of them:
//! people type their password there.

use ensue::Timestamp;
use ensue::prelude::*;

/// A password was wrong, or its user unknown.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "login.failed", topic = "logins", key = address)]
pub struct LoginFailed {
    /// Where the attempt came from.
    pub address: String,
    /// How many attempts this stands for, at least 1.
    pub times: u64,
}

/// Somebody is logged in.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "login.accepted", topic = "logins", key = address)]
pub struct LoginAccepted {
    /// Where the attempt came from.
    pub address: String,
    /// How many attempts this stands for, at least 1.
    pub times: u64,
}

/// A user was named who does not exist. Whether a password was tried is said by [`LoginFailed`].
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "login.invalid_user", topic = "logins", key = address)]
pub struct LoginOfInvalidUser {
    /// Where the attempt came from.
    pub address: String,
    /// How many attempts this stands for, at least 1.
    pub times: u64,
}

/// Too many passwords of one address were wrong in too short a time.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "address.blocked", topic = "security", key = address)]
pub struct AddressBlocked {
    /// Which address.
    pub address: String,
    /// When the first of these attempts was made.
    pub since: Timestamp,
    /// Until when nothing from there is to be listened to.
    pub until: Timestamp,
}

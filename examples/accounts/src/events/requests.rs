//! What strangers ask for, before anybody knows whether they are users. To write it down takes as
//! long for one who is as for one who is not.

use ensue::prelude::*;

use crate::email::Email;
use crate::secrets::PasswordHash;

/// Somebody wants to become a user.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "registration.requested", topic = "requests", key = email_key)]
pub struct RegistrationRequested {
    /// What the address is called where it is a key.
    pub email_key: String,
    /// The address.
    pub email: Email,
    /// The password that was chosen.
    pub password: PasswordHash,
}

/// Somebody has forgotten a password.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "reset.requested", topic = "requests", key = email_key)]
pub struct ResetRequested {
    /// What the address is called where it is a key.
    pub email_key: String,
}

//! What strangers ask for, before anybody knows whether they are users. To write it down takes as
//! long for one who is as for one who is not.

use ensue::Personal;
use ensue::prelude::*;

use crate::email::Email;
use crate::ids::UserId;
use crate::secrets::PasswordHash;

/// Somebody wants to become a user.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "registration.requested", topic = "requests", key = email_key)]
pub struct RegistrationRequested {
    /// What the address is called where it is a key.
    pub email_key: String,
    /// Who that will be, if the address is free; otherwise it is forgotten.
    pub user: UserId,
    /// The address.
    #[event(personal = user)]
    pub email: Personal<Email>,
    /// The password that was chosen.
    #[event(personal = user)]
    pub password: Personal<PasswordHash>,
}

/// Somebody has forgotten a password.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "reset.requested", topic = "requests", key = email_key)]
pub struct ResetRequested {
    /// What the address is called where it is a key.
    pub email_key: String,
}

//! What happens to a user.
//!
//! What is personal is sealed for the user before it is written; the user's name says nothing.
//!
//! All of it is in the topic `users` under the user's name, which keeps it in order. It is the
//! aggregate [`User`](crate::domain::User) that decides what may happen.

use ensue::prelude::*;
use ensue::{Personal, Position, Timestamp};

use crate::email::Email;
use crate::ids::{OriginId, SessionId, UserId};
use crate::secrets::PasswordHash;

/// Somebody is a user, once the address is confirmed.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "user.registered", topic = "users", key = user)]
pub struct UserRegistered {
    /// Who.
    pub user: UserId,
    /// What the address is called where it is a key.
    pub email_key: String,
    /// The address.
    #[event(personal = user)]
    pub email: Personal<Email>,
    /// The password that was chosen.
    #[event(personal = user)]
    pub password: Personal<PasswordHash>,
    /// Until when the address can be confirmed.
    pub confirm_until: Timestamp,
}

/// Somebody wants to become a user with the address of one.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "user.registered_again", topic = "users", key = user)]
pub struct UserRegisteredAgain {
    /// Who.
    pub user: UserId,
    /// Until when the user hears nothing more of that: anybody can ask for it.
    pub quiet_until: Timestamp,
}

/// The user has not confirmed the address for a while, perhaps: scheduled with the welcome.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "onboarding.reminder_due", topic = "onboarding", key = user)]
pub struct ReminderDue {
    /// Who.
    pub user: UserId,
}

/// The time to confirm the address is over: scheduled with the registration. It means nothing for one who has.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "user.confirmation_expired", topic = "users", key = user)]
pub struct ConfirmationExpired {
    /// Who.
    pub user: UserId,
}

/// The address is the user's.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "user.confirmed", topic = "users", key = user)]
pub struct UserConfirmed {
    /// Who.
    pub user: UserId,
    /// The password from now on, chosen by who reads the mail: anybody may have registered the address.
    #[event(personal = user)]
    pub password: Personal<PasswordHash>,
    /// From where, which is known from now on.
    pub origin: OriginId,
}

/// A session has begun.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "user.logged_in", topic = "users", key = user)]
pub struct UserLoggedIn {
    /// Who.
    pub user: UserId,
    /// Which session.
    pub session: SessionId,
    /// Where from.
    #[event(personal = user)]
    pub address: Personal<String>,
    /// The same, as it is told apart.
    pub origin: OriginId,
    /// When it ends by itself.
    pub until: Timestamp,
}

/// A wrong password was tried.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "user.login_failed", topic = "users", key = user)]
pub struct UserLoginFailed {
    /// Who.
    pub user: UserId,
    /// Where from.
    #[event(personal = user)]
    pub address: Personal<String>,
    /// The same, as it is told apart.
    pub origin: OriginId,
    /// Until when no password from there is listened to, if it was one too many.
    pub locked_until: Option<Timestamp>,
    /// When strangers will have all their attempts again, if it is one of theirs.
    pub strangers_until: Option<Timestamp>,
}

/// A session has ended.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "user.logged_out", topic = "users", key = user)]
pub struct UserLoggedOut {
    /// Who.
    pub user: UserId,
    /// Which session.
    pub session: SessionId,
}

/// Whoever reads the user's mail may set a new password.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "user.reset_offered", topic = "users", key = user)]
pub struct ResetOffered {
    /// Who.
    pub user: UserId,
    /// What the offer is called.
    pub reset: String,
    /// When it ends.
    pub until: Timestamp,
}

/// The password is another: all sessions and offers have ended, and no place is locked.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "user.password_changed", topic = "users", key = user)]
pub struct PasswordChanged {
    /// Who.
    pub user: UserId,
    /// The new one.
    #[event(personal = user)]
    pub password: Personal<PasswordHash>,
    /// From where, which is known from now on.
    pub origin: OriginId,
    /// The offer that was taken; none if the old password was known.
    pub reset: Option<String>,
}

/// Everybody may see this of the user.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "user.profile_published", topic = "users", key = user)]
pub struct ProfilePublished {
    /// Who.
    pub user: UserId,
    /// What the user is called.
    #[event(personal = user)]
    pub name: Personal<String>,
    /// What the user says of that.
    #[event(personal = user)]
    pub about: Personal<String>,
}

/// Nobody may see it any more.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "user.profile_unpublished", topic = "users", key = user)]
pub struct ProfileUnpublished {
    /// Who.
    pub user: UserId,
    /// Who has taken it down.
    pub by: UserId,
}

/// The user has got all that is known of the user.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "user.exported", topic = "users", key = user)]
pub struct UserExported {
    /// Who.
    pub user: UserId,
}

/// The user has left, and is a user no more.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "user.forgotten", topic = "users", key = user)]
pub struct UserForgotten {
    /// Who.
    pub user: UserId,
    /// What the address was called where it is a key: somebody else may have it.
    pub email_key: String,
}

/// The keys of a user who has left are destroyed: the receipt.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "user.erased", topic = "erasures", key = user)]
pub struct UserErased {
    /// Who.
    pub user: UserId,
    /// How many keys were destroyed: none, if that was done before.
    pub keys_destroyed: u32,
    /// When they were.
    pub destroyed: Timestamp,
    /// The groups that hold copies, and were told to remove them.
    pub told: Vec<String>,
    /// Where in the log: `Engine::wait_until_handled` says whether a group has.
    pub told_at: Position,
}

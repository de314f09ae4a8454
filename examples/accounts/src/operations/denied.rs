//! Why an operation is not done.

use crate::domain::{LoginRefusal, Refusal, RoleRefusal};
use crate::secrets::{HashingError, NoRandomness};

/// What the rules say against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The same whether the user is unknown, the password wrong, or nothing from there listened to for a while.
    #[error(
        "the e-mail address or the password is wrong, or too many wrong ones were tried from here: wait a \
         quarter of an hour, or set a new password"
    )]
    WrongCredentials,
    /// Said only to who knows the password.
    #[error("the address is not confirmed: follow the link in the mail first")]
    NotConfirmed,
    /// There is no session.
    #[error("there is no session with this token: log in")]
    NoSession,
    /// The password that was to prove who asks is wrong.
    #[error("the password is wrong")]
    WrongPassword,
    /// It was something else by the time it was decided.
    #[error("the password was changed meanwhile: log in again")]
    PasswordChanged,
    /// The link in a mail is not valid.
    #[error("the link is not valid, or not any more: ask for another")]
    LinkOver,
    /// There is no such profile.
    #[error("there is no such profile")]
    NoProfile,
    /// It takes a role.
    #[error("this takes the role of a moderator")]
    NotModerator,
    /// About roles.
    #[error(transparent)]
    Role(RoleRefusal),
}

/// Why an operation is not done, or nobody knows.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// What the rules say against it: to ask again does not help.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// No hash was made.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// No token can be made.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] ensue::Error),
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoUser | Refusal::NoSession => Self::NoSession,
            // Nobody is told how many mails there were.
            Refusal::LinkOver | Refusal::Enough => Self::LinkOver,
            Refusal::PasswordChanged => Self::PasswordChanged,
            Refusal::NoProfile => Self::NoProfile,
        }
    }
}

impl From<LoginRefusal> for Denied {
    fn from(refusal: LoginRefusal) -> Self {
        match refusal {
            LoginRefusal::NotConfirmed => Self::NotConfirmed,
            LoginRefusal::NotNow | LoginRefusal::PasswordChanged => Self::WrongCredentials,
        }
    }
}

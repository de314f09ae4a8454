//! A user: what has happened, and what may.

use std::collections::BTreeMap;
use std::time::Duration;

use ensue::Timestamp;
use ensue::prelude::*;

use super::profile::Profile;
use crate::email::Email;
use crate::events::{
    ConfirmationExpired, PasswordChanged, ProfilePublished, ProfileUnpublished, ResetOffered,
    UserConfirmed, UserExported, UserForgotten, UserLoggedIn, UserLoggedOut, UserLoginFailed,
    UserRegistered, UserRegisteredAgain,
};
use crate::ids::{SessionId, UserId};
use crate::secrets::PasswordHash;

/// How long an address can be confirmed.
pub const CONFIRM_WITHIN: Duration = Duration::from_secs(24 * 3_600);
/// How long a session lasts.
pub const SESSION_LASTS: Duration = Duration::from_secs(12 * 3_600);
/// How long an offer to set a new password stands.
pub const RESET_WITHIN: Duration = Duration::from_secs(30 * 60);
/// How many sessions a user has at a time; one more ends the one that would end first.
pub const SESSIONS_MAX: usize = 16;
/// How many wrong passwords in a row are too many.
pub const LOCK_AFTER: u32 = 5;
/// How long no password is listened to then.
pub const LOCKED_FOR: Duration = Duration::from_secs(15 * 60);

/// A user, as the events have it.
#[derive(Clone, Default, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    status: Status,
    email: Option<Email>,
    email_key: String,
    credentials: Option<Credentials>,
    failures: u32,
    locked_until: Option<Timestamp>,
    /// When each ends by itself.
    sessions: BTreeMap<SessionId, Timestamp>,
    reset: Option<(String, Timestamp)>,
    profile: Option<Profile>,
}

/// How far a user is.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// There is none.
    #[default]
    Unknown,
    /// Until then the address can be confirmed.
    Pending(Timestamp),
    /// The address was not confirmed in time.
    Expired,
    /// All is well.
    Active,
    /// The user has left.
    Forgotten,
}

/// A password's hash, and which of the user's it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Credentials {
    /// What the password is compared with.
    pub password: PasswordHash,
    /// Grows with each password: one that was compared with an older hash proves nothing.
    pub number: u64,
}

/// Why something may not happen to a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no user like that who could.
    #[error("there is no such user")]
    NoUser,
    /// The time for it is over, or it has happened.
    #[error("the link is not valid any more")]
    LinkOver,
    /// The session has ended.
    #[error("the session has ended")]
    NoSession,
    /// Another password was set meanwhile.
    #[error("the password was changed meanwhile")]
    PasswordChanged,
    /// There is nothing to unpublish.
    #[error("there is no profile")]
    NoProfile,
}

/// Why nobody is logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefusal {
    /// There is no user like that, or none that can log in, or nothing is listened to for a while.
    #[error("no password is listened to")]
    NotNow,
    /// The password is right, and the address is not confirmed.
    #[error("the address is not confirmed")]
    NotConfirmed,
    /// The password was compared with a hash that is none any more.
    #[error("the password was changed meanwhile")]
    PasswordChanged,
}

#[aggregate(ignore = [UserRegisteredAgain, UserExported])]
impl User {
    #[apply]
    fn registered(&mut self, event: UserRegistered) {
        self.status = Status::Pending(event.confirm_until);
        self.email = Some(event.email);
        self.email_key = event.email_key;
        self.set_password(event.password);
    }

    #[apply]
    fn confirmed(&mut self, event: UserConfirmed) {
        self.status = Status::Active;
        self.set_password(event.password);
        self.failures = 0;
        self.locked_until = None;
    }

    #[apply]
    fn confirmation_expired(&mut self, _: ConfirmationExpired) {
        if matches!(self.status, Status::Pending(_)) {
            self.leave(Status::Expired);
        }
    }

    #[apply]
    fn logged_in(&mut self, event: UserLoggedIn) {
        self.failures = 0;
        self.locked_until = None;
        self.sessions.insert(event.session, event.until);
        while self.sessions.len() > SESSIONS_MAX {
            let first = self.sessions.iter().min_by_key(|(_, until)| **until);
            let Some(first) = first.map(|(session, _)| session.clone()) else {
                break;
            };
            self.sessions.remove(&first);
        }
    }

    #[apply]
    fn login_failed(&mut self, event: UserLoginFailed) {
        self.failures += 1;
        if event.locked_until.is_some() {
            self.failures = 0;
            self.locked_until = event.locked_until;
        }
    }

    #[apply]
    fn logged_out(&mut self, event: UserLoggedOut) {
        self.sessions.remove(&event.session);
    }

    #[apply]
    fn reset_offered(&mut self, event: ResetOffered) {
        self.reset = Some((event.reset, event.until));
    }

    #[apply]
    fn password_changed(&mut self, event: PasswordChanged) {
        self.set_password(event.password);
        self.sessions.clear();
        self.failures = 0;
        self.locked_until = None;
        self.reset = None;
    }

    #[apply]
    fn profile_published(&mut self, event: ProfilePublished) {
        let ProfilePublished { name, about, .. } = event;
        self.profile = Some(Profile { name, about });
    }

    #[apply]
    fn profile_unpublished(&mut self, _: ProfileUnpublished) {
        self.profile = None;
    }

    #[apply]
    fn forgotten(&mut self, _: UserForgotten) {
        self.leave(Status::Forgotten);
    }

    fn set_password(&mut self, password: PasswordHash) {
        let number = self.credentials.as_ref().map_or(0, |it| it.number) + 1;
        self.credentials = Some(Credentials { password, number });
    }

    /// Nothing is kept of a user who is none.
    fn leave(&mut self, status: Status) {
        *self = Self {
            status,
            ..Self::default()
        };
    }

    /// How far the user is.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The address; none of a user who is none any more.
    pub fn email(&self) -> Option<&Email> {
        self.email.as_ref()
    }

    /// What everybody may see.
    pub fn profile(&self) -> Option<&Profile> {
        self.profile.as_ref()
    }

    /// What a password is compared with: that of a user who may log in, or could with a confirmed
    /// address.
    pub fn credentials(&self, now: Timestamp) -> Option<&Credentials> {
        let is_locked = self.locked_until.is_some_and(|until| now < until);
        self.credentials.as_ref().filter(|_| !is_locked)
    }

    /// Whether this session of the user goes on.
    pub fn has_session(&self, session: &SessionId, now: Timestamp) -> bool {
        self.sessions.get(session).is_some_and(|until| now < *until)
    }

    /// The offer with which a password may be set.
    pub fn reset(&self, now: Timestamp) -> Option<&str> {
        let (reset, _) = self.reset.as_ref().filter(|(_, until)| now < *until)?;
        Some(reset)
    }

    /// Becomes a user; the end of the time to confirm that is scheduled in the same append.
    ///
    /// # Errors
    /// [`Refusal::NoUser`] if the name is taken.
    pub fn register(&self, event: UserRegistered) -> Result<(UserRegistered, Outgoing), Refusal> {
        if self.status != Status::Unknown {
            return Err(Refusal::NoUser);
        }
        let user = event.user.clone();
        let expired = Outgoing::new(ConfirmationExpired { user }).at(event.confirm_until);
        Ok((event, expired))
    }

    /// Confirms the address, and sets the password of who reads the mail there. Again, it changes
    /// nothing.
    ///
    /// # Errors
    /// [`Refusal::LinkOver`].
    pub fn confirm(
        &self,
        event: UserConfirmed,
        now: Timestamp,
    ) -> Result<Option<UserConfirmed>, Refusal> {
        match self.status {
            Status::Pending(until) if now < until => Ok(Some(event)),
            Status::Active => Ok(None),
            _ => Err(Refusal::LinkOver),
        }
    }

    /// Begins a session, with a password that was compared with that of this number.
    ///
    /// # Errors
    /// See [`LoginRefusal`].
    pub fn log_in(
        &self,
        event: UserLoggedIn,
        number: u64,
        now: Timestamp,
    ) -> Result<UserLoggedIn, LoginRefusal> {
        self.check(number, now)?;
        match self.status {
            Status::Active => Ok(event),
            _ => Err(LoginRefusal::NotConfirmed),
        }
    }

    /// Notes a wrong password; one too many locks the user for a while.
    ///
    /// # Errors
    /// See [`LoginRefusal`].
    pub fn fail(
        &self,
        user: &UserId,
        address: &str,
        number: u64,
        now: Timestamp,
    ) -> Result<UserLoginFailed, LoginRefusal> {
        self.check(number, now)?;
        let is_too_many = self.failures + 1 >= LOCK_AFTER;
        Ok(UserLoginFailed {
            user: user.clone(),
            address: address.to_owned(),
            locked_until: is_too_many.then(|| now.plus(LOCKED_FOR)),
        })
    }

    fn check(&self, number: u64, now: Timestamp) -> Result<(), LoginRefusal> {
        match self.credentials(now) {
            None => Err(LoginRefusal::NotNow),
            Some(credentials) if credentials.number != number => Err(LoginRefusal::PasswordChanged),
            Some(_) => Ok(()),
        }
    }

    /// Ends a session. Again, it changes nothing.
    pub fn log_out(&self, user: &UserId, session: &SessionId) -> Option<UserLoggedOut> {
        self.sessions.contains_key(session).then(|| UserLoggedOut {
            user: user.clone(),
            session: session.clone(),
        })
    }

    /// Offers to set a new password, to whoever reads the user's mail.
    ///
    /// # Errors
    /// [`Refusal::NoUser`] if nobody could log in with it.
    pub fn offer_reset(&self, event: ResetOffered) -> Result<ResetOffered, Refusal> {
        match self.status {
            Status::Active => Ok(event),
            _ => Err(Refusal::NoUser),
        }
    }

    /// Sets a new password by an offer.
    ///
    /// # Errors
    /// [`Refusal::LinkOver`].
    pub fn reset_password(
        &self,
        event: PasswordChanged,
        now: Timestamp,
    ) -> Result<PasswordChanged, Refusal> {
        if self.reset(now).is_some() && self.reset(now) == event.reset.as_deref() {
            Ok(event)
        } else {
            Err(Refusal::LinkOver)
        }
    }

    /// Sets a new password in a session, by the old one that was compared with that of this number.
    ///
    /// # Errors
    /// [`Refusal::PasswordChanged`].
    pub fn change_password(
        &self,
        event: PasswordChanged,
        number: u64,
    ) -> Result<PasswordChanged, Refusal> {
        match &self.credentials {
            Some(credentials) if credentials.number == number => Ok(event),
            _ => Err(Refusal::PasswordChanged),
        }
    }

    /// Publishes a profile in place of that before. The same again changes nothing.
    ///
    /// # Errors
    /// [`Refusal::NoUser`].
    pub fn publish(
        &self,
        user: &UserId,
        profile: Profile,
    ) -> Result<Option<ProfilePublished>, Refusal> {
        match self.status {
            Status::Active if self.profile.as_ref() == Some(&profile) => Ok(None),
            Status::Active => Ok(Some(ProfilePublished {
                user: user.clone(),
                name: profile.name,
                about: profile.about,
            })),
            _ => Err(Refusal::NoUser),
        }
    }

    /// Takes the profile down.
    ///
    /// # Errors
    /// [`Refusal::NoProfile`].
    pub fn unpublish(&self, user: &UserId, by: &UserId) -> Result<ProfileUnpublished, Refusal> {
        match &self.profile {
            None => Err(Refusal::NoProfile),
            Some(_) => Ok(ProfileUnpublished {
                user: user.clone(),
                by: by.clone(),
            }),
        }
    }

    /// Leaves.
    ///
    /// # Errors
    /// [`Refusal::NoUser`], [`Refusal::PasswordChanged`].
    pub fn forget(&self, user: &UserId, number: u64) -> Result<UserForgotten, Refusal> {
        match (&self.status, &self.credentials) {
            (Status::Active, Some(credentials)) if credentials.number == number => {
                Ok(UserForgotten {
                    user: user.clone(),
                    email_key: self.email_key.clone(),
                })
            }
            (Status::Active, _) => Err(Refusal::PasswordChanged),
            _ => Err(Refusal::NoUser),
        }
    }
}

#[cfg(test)]
mod tests;

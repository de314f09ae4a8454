//! A user: what has happened, and what may.

use std::collections::BTreeMap;
use std::time::Duration;

use ensue::prelude::*;
use ensue::{Personal, Timestamp};

use super::attempts::{Attempts, Failed};
use super::profile::Profile;
use crate::email::Email;
use crate::events::{
    ConfirmationExpired, PasswordChanged, ProfilePublished, ProfileUnpublished, ResetOffered,
    UserConfirmed, UserExported, UserForgotten, UserLoggedIn, UserLoggedOut, UserLoginFailed,
    UserRegistered, UserRegisteredAgain,
};
use crate::ids::{OriginId, SessionId, UserId};
use crate::secrets::PasswordHash;

/// How long an address can be confirmed.
pub const CONFIRM_WITHIN: Duration = Duration::from_secs(24 * 3_600);
/// How long a session lasts.
pub const SESSION_LASTS: Duration = Duration::from_secs(12 * 3_600);
/// How long an offer to set a new password stands: no later one ends it.
pub const RESET_WITHIN: Duration = Duration::from_secs(30 * 60);
/// How many offers stand at a time; while they do, there is no further one.
pub const RESETS_MAX: usize = 3;
/// How long it takes at the least until there is another.
pub const RESET_EVERY: Duration = Duration::from_secs(60);
/// How long a user hears no more of registrations with the same address, after one.
pub const QUIET_FOR: Duration = Duration::from_secs(3_600);
/// How many sessions a user has at a time; one more ends the one that would end first.
pub const SESSIONS_MAX: usize = 16;

/// A user, as the events have it. What is personal is sealed.
#[derive(Clone, Default, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    status: Status,
    email: Option<Personal<Email>>,
    email_key: String,
    credentials: Option<Credentials>,
    attempts: Attempts,
    /// When each ends by itself.
    sessions: BTreeMap<SessionId, Timestamp>,
    /// What offers are called, and when each ends; the newest last.
    resets: Vec<(String, Timestamp)>,
    quiet_until: Option<Timestamp>,
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
    pub password: Personal<PasswordHash>,
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
    /// There were enough mails for now.
    #[error("there were enough mails for now")]
    Enough,
    /// There is nothing to unpublish.
    #[error("there is no profile")]
    NoProfile,
}

/// Why nobody is logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefusal {
    /// There is no user like that, or none that can log in, or nothing from there is listened to for a while.
    #[error("no password is listened to")]
    NotNow,
    /// The password is right, and the address is not confirmed.
    #[error("the address is not confirmed")]
    NotConfirmed,
    /// The password was compared with a hash that is none any more.
    #[error("the password was changed meanwhile")]
    PasswordChanged,
}

#[aggregate(ignore = [UserExported])]
impl User {
    #[apply]
    fn registered(&mut self, event: UserRegistered) {
        self.status = Status::Pending(event.confirm_until);
        self.email = Some(event.email);
        self.email_key = event.email_key;
        self.set_password(event.password);
    }

    #[apply]
    fn registered_again(&mut self, event: UserRegisteredAgain) {
        self.quiet_until = Some(event.quiet_until);
    }

    #[apply]
    fn confirmed(&mut self, event: UserConfirmed) {
        self.status = Status::Active;
        self.set_password(event.password);
        self.attempts.unlock();
        self.attempts.came_from(event.origin);
    }

    #[apply]
    fn confirmation_expired(&mut self, _: ConfirmationExpired) {
        if matches!(self.status, Status::Pending(_)) {
            self.leave(Status::Expired);
        }
    }

    #[apply]
    fn logged_in(&mut self, event: UserLoggedIn) {
        self.attempts.came_from(event.origin);
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
        let UserLoginFailed {
            locked_until,
            strangers_until,
            ..
        } = event;
        let failed = Failed {
            locked_until,
            strangers_until,
        };
        self.attempts.failed(event.origin, &failed);
    }

    #[apply]
    fn logged_out(&mut self, event: UserLoggedOut) {
        self.sessions.remove(&event.session);
    }

    #[apply]
    fn reset_offered(&mut self, event: ResetOffered) {
        if self.resets.len() == RESETS_MAX {
            // One that stands no more: while all do, none is offered.
            self.resets.remove(0);
        }
        self.resets.push((event.reset, event.until));
    }

    #[apply]
    fn password_changed(&mut self, event: PasswordChanged) {
        self.set_password(event.password);
        self.sessions.clear();
        self.resets.clear();
        self.attempts.unlock();
        self.attempts.came_from(event.origin);
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

    fn set_password(&mut self, password: Personal<PasswordHash>) {
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
    pub fn email(&self) -> Option<&Personal<Email>> {
        self.email.as_ref()
    }

    /// What the address is called where it is a key; empty of a user who is none any more.
    pub fn email_key(&self) -> &str {
        &self.email_key
    }

    /// What everybody may see.
    pub fn profile(&self) -> Option<&Profile> {
        self.profile.as_ref()
    }

    /// What a password from there is compared with: that of a user who may log in, or could with a confirmed
    /// address.
    pub fn credentials(&self, origin: &OriginId, now: Timestamp) -> Option<&Credentials> {
        let is_listened_to = self.attempts.is_listened_to(origin, now);
        self.credentials.as_ref().filter(|_| is_listened_to)
    }

    /// Whether this session of the user goes on.
    pub fn has_session(&self, session: &SessionId, now: Timestamp) -> bool {
        self.sessions.get(session).is_some_and(|until| now < *until)
    }

    /// The offers with which a password may be set.
    pub fn resets(&self, now: Timestamp) -> impl Iterator<Item = &str> {
        let standing = self.resets.iter().filter(move |(_, until)| now < *until);
        standing.map(|(reset, _)| reset.as_str())
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

    /// Tells the user that someone wants to have the same address, unless that was said a while ago.
    pub fn tell_again(&self, user: &UserId, now: Timestamp) -> Option<UserRegisteredAgain> {
        let is_user = matches!(self.status, Status::Active | Status::Pending(_));
        let is_quiet = self.quiet_until.is_some_and(|until| now < until);
        (is_user && !is_quiet).then(|| UserRegisteredAgain {
            user: user.clone(),
            quiet_until: now.plus(QUIET_FOR),
        })
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
        self.check(&event.origin, number, now)?;
        match self.status {
            Status::Active => Ok(event),
            _ => Err(LoginRefusal::NotConfirmed),
        }
    }

    /// Notes a wrong password; one too many locks its place out for a while.
    ///
    /// # Errors
    /// See [`LoginRefusal`].
    pub fn fail(
        &self,
        user: &UserId,
        (address, origin): (&str, &OriginId),
        number: u64,
        now: Timestamp,
    ) -> Result<UserLoginFailed, LoginRefusal> {
        self.check(origin, number, now)?;
        let failed = self.attempts.next(origin, now);
        Ok(UserLoginFailed {
            user: user.clone(),
            address: address.to_owned().into(),
            origin: origin.clone(),
            locked_until: failed.locked_until,
            strangers_until: failed.strangers_until,
        })
    }

    fn check(&self, origin: &OriginId, number: u64, now: Timestamp) -> Result<(), LoginRefusal> {
        match self.credentials(origin, now) {
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

    /// Offers to set a new password, to the reader of the user's mail; anyone can ask for it. What was offered
    /// before stands.
    ///
    /// # Errors
    /// [`Refusal::NoUser`] if no one could log in with it, [`Refusal::Enough`] if the last one was a moment ago, or
    /// as many stand as there may be.
    pub fn offer_reset(
        &self,
        event: ResetOffered,
        now: Timestamp,
    ) -> Result<ResetOffered, Refusal> {
        if self.status != Status::Active {
            return Err(Refusal::NoUser);
        }
        let left = self.resets.last().map(|(_, until)| until.since(now));
        let is_too_soon = left.is_some_and(|left| left > RESET_WITHIN.saturating_sub(RESET_EVERY));
        if is_too_soon || self.resets(now).count() >= RESETS_MAX {
            return Err(Refusal::Enough);
        }
        Ok(event)
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
        let mut standing = self.resets(now);
        match event.reset.as_deref() {
            Some(reset) if standing.any(|it| it == reset) => Ok(event),
            _ => Err(Refusal::LinkOver),
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

    /// Publishes a profile in place of that before. Whether it is the same says only who can open both.
    ///
    /// # Errors
    /// [`Refusal::NoUser`].
    pub fn publish(&self, user: &UserId, profile: Profile) -> Result<ProfilePublished, Refusal> {
        match self.status {
            Status::Active => Ok(ProfilePublished {
                user: user.clone(),
                name: profile.name,
                about: profile.about,
            }),
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

    /// Leaves without having asked for it: whose keys are destroyed is no user any more.
    pub fn erase(&self, user: &UserId) -> Option<UserForgotten> {
        let is_user = matches!(self.status, Status::Active | Status::Pending(_));
        is_user.then(|| UserForgotten {
            user: user.clone(),
            email_key: self.email_key.clone(),
        })
    }
}

#[cfg(test)]
mod tests;

//! Sessions: how they begin, who is in one, how they end.

use ensue::Timestamp;
use ensue::prelude::*;

use super::denied::{Denied, OperationError};
use crate::accounts::Accounts;
use crate::domain::{SESSION_LASTS, User};
use crate::email::Email;
use crate::events::{LoginFailed, LoginOfInvalidUser, UserLoggedIn};
use crate::ids::{SessionId, UserId};
use crate::secrets::{Password, SessionToken};

/// A key that no user has: what is loaded for a stranger, to take as long.
const NOBODY: &str = "nobody";

/// A session that has begun.
#[derive(Debug)]
pub struct LoggedIn {
    /// Whose it is.
    pub user: UserId,
    /// What the client shows from now on; it is known to nobody else.
    pub token: SessionToken,
    /// When it ends by itself.
    pub until: Timestamp,
}

/// A user in a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller {
    /// Who.
    pub user: UserId,
    /// In which session.
    pub session: SessionId,
}

impl Accounts {
    /// Begins a session. Whether the user is unknown, the address locked out or the password wrong, it takes one
    /// hash and one append, and says the same.
    ///
    /// # Errors
    /// [`Denied::WrongCredentials`], [`Denied::NotConfirmed`], and what hashing and the engine report.
    pub async fn log_in(
        &self,
        email: &Email,
        password: Password,
        address: &str,
    ) -> Result<LoggedIn, OperationError> {
        let holder = self.holder(&self.email_key(email)).await?;
        let key = holder.as_ref().map_or(NOBODY, UserId::as_str);
        let known = self.users.load(key).await?.state;
        let origin = holder.as_ref().map(|user| self.keys.origin(user, address));
        let credentials = origin
            .as_ref()
            .and_then(|it| known.credentials(it, self.now()));
        let hash = self.hash_of(credentials).await?;
        let is_right = self.hashing.is_of(password, hash).await?;
        let (Some(user), Some(origin), Some(credentials)) = (&holder, origin, credentials) else {
            self.note_stranger(holder.is_none(), address).await?;
            return Err(Denied::WrongCredentials.into());
        };
        let (number, now) = (credentials.number, self.now());
        if !is_right {
            let fail = |it: &User| it.fail(user, (address, &origin), number, now);
            if self.users.decide(user.as_str(), fail).await?.is_err() {
                self.note_stranger(false, address).await?;
            }
            return Err(Denied::WrongCredentials.into());
        }
        let (token, until) = (SessionToken::random(user.clone())?, now.plus(SESSION_LASTS));
        let event = UserLoggedIn {
            user: user.clone(),
            session: token.session(),
            address: address.to_owned().into(),
            origin,
            until,
        };
        let log_in = |it: &User| it.log_in(event.clone(), number, now);
        let decided = self.users.decide(user.as_str(), log_in).await?;
        decided.map_err(Denied::from)?;
        let user = user.clone();
        Ok(LoggedIn { user, token, until })
    }

    /// Notes an attempt that is no user's, or that none listens to.
    async fn note_stranger(&self, is_unknown: bool, address: &str) -> ensue::Result<()> {
        let (address, times) = (address.to_owned(), 1);
        let mut events = Vec::with_capacity(2);
        if is_unknown {
            let address = address.clone();
            events.push(Outgoing::new(LoginOfInvalidUser { address, times }));
        }
        events.push(Outgoing::new(LoginFailed { address, times }));
        self.publisher.publish_all(events).await?;
        Ok(())
    }

    /// Who shows this token.
    ///
    /// # Errors
    /// [`Denied::NoSession`], and what the engine reports.
    pub async fn caller(&self, token: &SessionToken) -> Result<Caller, OperationError> {
        let (user, session) = (token.user(), token.session());
        let loaded = self.users.load(user.as_str()).await?;
        if !loaded.state.has_session(&session, self.now()) {
            return Err(Denied::NoSession.into());
        }
        let user = user.clone();
        Ok(Caller { user, session })
    }

    /// Ends the caller's session.
    ///
    /// # Errors
    /// What the engine reports.
    pub async fn log_out(&self, caller: &Caller) -> Result<(), OperationError> {
        let Caller { user, session } = caller;
        let log_out = |it: &User| it.log_out(user, session);
        let Ok(_) = self.users.decide(user.as_str(), log_out).await?;
        Ok(())
    }
}

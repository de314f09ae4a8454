//! Passwords: changed by who knows the old one, reset by who reads the mail.

use ensue::prelude::*;

use super::denied::{Denied, OperationError};
use super::logging_in::Caller;
use crate::accounts::Accounts;
use crate::domain::User;
use crate::email::Email;
use crate::events::{PasswordChanged, ResetRequested};
use crate::ids::UserId;
use crate::secrets::Password;

impl Accounts {
    /// Sets a new password; all sessions end.
    ///
    /// # Errors
    /// [`Denied::WrongPassword`], [`Denied::PasswordChanged`], and what hashing and the engine report.
    pub async fn change_password(
        &self,
        caller: &Caller,
        old: Password,
        new: Password,
        address: &str,
    ) -> Result<(), OperationError> {
        let number = self.prove(caller, old, address).await?;
        let event = PasswordChanged {
            user: caller.user.clone(),
            password: self.hashing.hash(new).await?.into(),
            origin: self.keys.origin(&caller.user, address),
            reset: None,
        };
        let change = |it: &User| it.change_password(event.clone(), number);
        let decided = self.users.decide(caller.user.as_str(), change).await?;
        decided.map_err(Denied::from)?;
        Ok(())
    }

    /// Which of the caller's passwords this is. A wrong one counts as one at log-in does: who has
    /// found a session must not guess on.
    pub(super) async fn prove(
        &self,
        caller: &Caller,
        password: Password,
        address: &str,
    ) -> Result<u64, OperationError> {
        let user = &caller.user;
        let origin = self.keys.origin(user, address);
        let known = self.users.load(user.as_str()).await?.state;
        let credentials = known.credentials(&origin, self.now());
        let hash = self.hash_of(credentials).await?;
        let is_right = self.hashing.is_of(password, hash).await?;
        let Some(credentials) = credentials else {
            return Err(Denied::WrongPassword.into());
        };
        if !is_right {
            let (number, now) = (credentials.number, self.now());
            let fail = |it: &User| it.fail(user, (address, &origin), number, now);
            // Refused, there is nothing to note.
            let _ = self.users.decide(user.as_str(), fail).await?;
            return Err(Denied::WrongPassword.into());
        }
        Ok(credentials.number)
    }

    /// Asks for a mail with which a new password can be set; whether there is such a user, nothing says.
    ///
    /// # Errors
    /// What the engine reports.
    pub async fn request_reset(&self, email: &Email) -> Result<(), OperationError> {
        let email_key = self.email_key(email);
        self.publisher.publish(ResetRequested { email_key }).await?;
        Ok(())
    }

    /// Sets a new password by the secret of the link in that mail; all sessions end.
    ///
    /// # Errors
    /// [`Denied::LinkOver`], and what hashing and the engine report.
    pub async fn reset_password(
        &self,
        user: &UserId,
        secret: &str,
        new: Password,
        address: &str,
    ) -> Result<(), OperationError> {
        let known = self.users.load(user.as_str()).await?.state;
        let mut standing = known.resets(self.now());
        // Before it is hashed: a guess must not cost more than it takes to refuse it.
        let offer = standing.find(|offer| self.keys.is_reset(user, offer, secret));
        let offer = offer.ok_or(Denied::LinkOver)?.to_owned();
        let event = PasswordChanged {
            user: user.clone(),
            password: self.hashing.hash(new).await?.into(),
            origin: self.keys.origin(user, address),
            reset: Some(offer),
        };
        let reset = |it: &User| it.reset_password(event.clone(), self.now());
        let decided = self.users.decide(user.as_str(), reset).await?;
        decided.map_err(Denied::from)?;
        Ok(())
    }
}

//! Becoming a user.

use ensue::error::PersonalError;
use ensue::prelude::*;
use uuid::Uuid;

use super::denied::{Denied, OperationError};
use crate::accounts::Accounts;
use crate::domain::User;
use crate::email::Email;
use crate::events::{RegistrationRequested, UserConfirmed};
use crate::ids::UserId;
use crate::secrets::Password;

impl Accounts {
    /// Asks to register somebody; the mail says what came of it, and nothing else does. `request` names
    /// one that may be sent again.
    ///
    /// # Errors
    /// [`OperationError::Hashing`], and what the engine reports.
    pub async fn request_registration(
        &self,
        email: Email,
        password: Password,
        request: Option<&str>,
    ) -> Result<(), OperationError> {
        let email_key = self.email_key(&email);
        // Of the address, too: a client's number is not the only one of its kind.
        let id = match request {
            Some(request) => format!("registration-{email_key}-{request}"),
            None => Uuid::now_v7().to_string(),
        };
        let event = RegistrationRequested {
            user: UserId::of_request(&id),
            email_key,
            email: email.into(),
            password: self.hashing.hash(password).await?.into(),
        };
        match self.publisher.publish(Outgoing::new(event).id(id)).await {
            // The same request came to nothing before, and who it was for was forgotten.
            Err(ensue::Error::Personal(PersonalError::Forgotten { .. })) => Ok(()),
            published => Ok(published.map(drop)?),
        }
    }

    /// Confirms an address by the secret of the link that was sent there, with the password that the
    /// user has from then on: that of the registration may be somebody else's, who knew the address
    /// and waits for its owner to confirm it. Again, it changes nothing.
    ///
    /// The address becomes the user's for good before the user becomes active; if the user cannot any
    /// more, it is given back.
    ///
    /// # Errors
    /// [`Denied::LinkOver`], and what hashing and the engine report.
    pub async fn confirm(
        &self,
        user: &UserId,
        secret: &str,
        password: Password,
        address: &str,
    ) -> Result<(), OperationError> {
        if !self.keys.is_confirmation(user, secret) {
            return Err(Denied::LinkOver.into());
        }
        let loaded = self.users.load(user.as_str()).await?;
        let email_key = loaded.state.email_key();
        if email_key.is_empty() {
            return Err(Denied::LinkOver.into());
        }
        let confirmed = UserConfirmed {
            user: user.clone(),
            password: self.hashing.hash(password).await?.into(),
            origin: self.keys.origin(user, address),
        };
        if self
            .emails
            .confirm(email_key, user.as_str())
            .await?
            .is_err()
        {
            return Err(Denied::LinkOver.into());
        }
        let confirm = |it: &User| it.confirm(confirmed.clone(), self.now());
        if let Err(refusal) = self.users.decide(user.as_str(), confirm).await? {
            self.emails.release(email_key, user.as_str()).await?;
            return Err(Denied::from(refusal).into());
        }
        Ok(())
    }
}

//! Profiles: what users show of themselves.

use ensue::Position;
use ensue::prelude::*;

use super::denied::{Denied, OperationError};
use super::logging_in::Caller;
use crate::accounts::Accounts;
use crate::domain::{Profile, REALM, Roles, ShownProfile, User};
use crate::events::Role;
use crate::ids::UserId;
use crate::view::opened;

impl Accounts {
    /// Publishes the caller's profile, and says where in the log that is, if it was not so before: as the state is
    /// sealed, that is looked at here, and two who publish the same at once may both have done it.
    ///
    /// # Errors
    /// [`Denied::NoSession`] if the caller has left meanwhile, and what the engine reports.
    pub async fn publish(
        &self,
        caller: &Caller,
        profile: ShownProfile,
    ) -> Result<Option<Position>, OperationError> {
        let before = self.users.load(caller.user.as_str()).await?.state;
        if let Some(before) = before.profile()
            && opened(&self.engine, before).await? == Some(profile.clone())
        {
            return Ok(None);
        }
        let profile = Profile::from(profile);
        let publish = |it: &User| it.publish(&caller.user, profile.clone());
        let decided = self.users.decide(caller.user.as_str(), publish).await?;
        Ok(decided.map_err(Denied::from)?.position)
    }

    /// Takes a profile down: the caller's own, or as a moderator any; says where in the log that is.
    ///
    /// # Errors
    /// [`Denied::NotModerator`], [`Denied::NoProfile`], and what the engine reports.
    pub async fn unpublish(
        &self,
        caller: &Caller,
        user: &UserId,
    ) -> Result<Option<Position>, OperationError> {
        if caller.user != *user && !self.roles().await?.has(&caller.user, Role::Moderator) {
            return Err(Denied::NotModerator.into());
        }
        let unpublish = |it: &User| it.unpublish(user, &caller.user);
        let decided = self.users.decide(user.as_str(), unpublish).await?;
        Ok(decided.map_err(Denied::from)?.position)
    }

    /// All roles.
    pub(super) async fn roles(&self) -> ensue::Result<Roles> {
        Ok(self.roles.load(REALM).await?.state)
    }
}

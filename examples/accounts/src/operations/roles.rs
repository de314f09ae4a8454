//! Roles: asked of the service that decides about them.

use std::time::Duration;

use super::denied::{Denied, OperationError};
use super::logging_in::Caller;
use crate::accounts::Accounts;
use crate::domain::{REALM, RoleRefusal};
use crate::events::{GrantRole, Role};
use crate::ids::UserId;

/// How long a decision may take.
const DECIDED_WITHIN: Duration = Duration::from_secs(10);

impl Accounts {
    /// Grants a role, or revokes it. Nobody is the operator, who appoints the first administrator.
    ///
    /// # Errors
    /// [`Denied::Role`], and what the engine reports.
    pub async fn grant(
        &self,
        by: Option<&Caller>,
        user: &UserId,
        role: Role,
        is_granted: bool,
    ) -> Result<(), OperationError> {
        let command = GrantRole {
            realm: REALM.to_owned(),
            user: user.clone(),
            role,
            is_granted,
            by: by.map(|caller| caller.user.clone()),
        };
        let decided = self
            .requester
            .command::<RoleRefusal>(command, DECIDED_WITHIN);
        decided.await?.map_err(Denied::Role)?;
        Ok(())
    }

    /// The roles of a user.
    ///
    /// # Errors
    /// What the engine reports.
    pub async fn roles_of(&self, user: &UserId) -> Result<Vec<Role>, OperationError> {
        Ok(self.roles().await?.of(user))
    }
}

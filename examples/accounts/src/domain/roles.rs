//! The roles of all users: one aggregate, because its rules are over all of them.

use std::collections::BTreeSet;

use ensue::prelude::*;

use crate::events::{GrantRole, Role, RoleGranted, RoleRevoked};
use crate::ids::UserId;

/// The key of the one aggregate that there is.
pub const REALM: &str = "accounts";
/// How many roles are granted at a time at the most.
pub const ROLES_MAX: usize = 1_000;

/// Who has which role.
#[derive(Default, Debug, Serialize, Deserialize)]
pub struct Roles(BTreeSet<(Role, UserId)>);

/// Why a role is neither granted nor revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum RoleRefusal {
    /// Who wants it may not.
    #[error("only an administrator grants and revokes roles")]
    NotAllowed,
    /// Nobody could grant roles any more.
    #[error("the last administrator stays one")]
    LastAdministrator,
    /// There are [`ROLES_MAX`].
    #[error("there are {ROLES_MAX} roles, the limit; revoke one first")]
    TooMany,
}

#[aggregate]
impl Roles {
    #[apply]
    fn granted(&mut self, event: RoleGranted) {
        self.0.insert((event.role, event.user));
    }

    #[apply]
    fn revoked(&mut self, event: RoleRevoked) {
        self.0.remove(&(event.role, event.user));
    }

    /// Grants or revokes a role, if who wants that may. What is so already leaves nothing to do.
    ///
    /// # Errors
    /// See [`RoleRefusal`].
    pub fn decide(
        &self,
        command: GrantRole,
    ) -> Result<(Option<RoleGranted>, Option<RoleRevoked>), RoleRefusal> {
        let GrantRole { user, role, by, .. } = command;
        let is_allowed = match &by {
            Some(by) => self.has(by, Role::Administrator),
            None => self.administrators() == 0,
        };
        if !is_allowed {
            return Err(RoleRefusal::NotAllowed);
        }
        let has = self.0.contains(&(role, user.clone()));
        match (command.is_granted, has) {
            (true, false) if self.0.len() >= ROLES_MAX => Err(RoleRefusal::TooMany),
            (true, false) => Ok((Some(RoleGranted { user, role, by }), None)),
            (false, true) if role == Role::Administrator && self.administrators() == 1 => {
                Err(RoleRefusal::LastAdministrator)
            }
            (false, true) => Ok((None, Some(RoleRevoked { user, role, by }))),
            (true, true) | (false, false) => Ok((None, None)),
        }
    }

    /// Revokes all roles of a user who has left, also those of the last administrator: the operator
    /// may appoint another then.
    pub fn leave(&self, user: &UserId) -> Vec<RoleRevoked> {
        let roles = self.of(user).into_iter();
        let revoked = roles.map(|role| RoleRevoked {
            user: user.clone(),
            role,
            by: None,
        });
        revoked.collect()
    }

    /// Whether a user may do what this role may.
    pub fn has(&self, user: &UserId, role: Role) -> bool {
        let enough = [Role::Moderator, Role::Administrator]
            .into_iter()
            .filter(|it| *it >= role);
        enough
            .into_iter()
            .any(|role| self.0.contains(&(role, user.clone())))
    }

    /// The roles of a user.
    pub fn of(&self, user: &UserId) -> Vec<Role> {
        let roles = [Role::Moderator, Role::Administrator].into_iter();
        roles
            .filter(|role| self.0.contains(&(*role, user.clone())))
            .collect()
    }

    fn administrators(&self) -> usize {
        self.0
            .iter()
            .filter(|(role, _)| *role == Role::Administrator)
            .count()
    }
}

#[cfg(test)]
mod tests {
    use ensue::testing::given;

    use super::*;

    fn user(name: &str) -> UserId {
        UserId::of_request(name)
    }

    fn command(name: &str, role: Role, is_granted: bool, by: Option<&str>) -> GrantRole {
        let (realm, user, by) = (REALM.to_owned(), user(name), by.map(user));
        GrantRole {
            realm,
            user,
            role,
            is_granted,
            by,
        }
    }

    fn granted(name: &str, role: Role) -> RoleGranted {
        RoleGranted {
            user: user(name),
            role,
            by: None,
        }
    }

    #[test]
    fn the_operator_appoints_the_first_administrator_alone() {
        let first = command("ada", Role::Administrator, true, None);
        let given_none = given::<Roles>(());
        given_none
            .when(|it| it.decide(first.clone()))
            .then(granted("ada", Role::Administrator));
        given::<Roles>(granted("bob", Role::Administrator))
            .when(|it| it.decide(first))
            .then_refused(RoleRefusal::NotAllowed);
    }

    #[test]
    fn the_last_administrator_stays_one() {
        let revoke = command("ada", Role::Administrator, false, Some("ada"));
        given::<Roles>(granted("ada", Role::Administrator))
            .when(|it| it.decide(revoke.clone()))
            .then_refused(RoleRefusal::LastAdministrator);
        let two = [
            granted("ada", Role::Administrator),
            granted("bob", Role::Administrator),
        ];
        let revoked = RoleRevoked {
            user: user("ada"),
            role: Role::Administrator,
            by: Some(user("ada")),
        };
        given::<Roles>(two)
            .when(|it| it.decide(revoke))
            .then(revoked);
    }

    #[test]
    fn a_moderator_grants_nothing_and_an_administrator_moderates() {
        let grant = command("eve", Role::Moderator, true, Some("bob"));
        given::<Roles>(granted("bob", Role::Moderator))
            .when(|it| it.decide(grant))
            .then_refused(RoleRefusal::NotAllowed);
        let mut roles = Roles::default();
        roles.granted(granted("ada", Role::Administrator));
        assert!(
            roles.has(&user("ada"), Role::Moderator) && !roles.has(&user("bob"), Role::Moderator)
        );
    }
}

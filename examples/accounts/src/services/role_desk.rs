//! The role desk: decides who has which role.

use ensue::prelude::*;

use crate::domain::{RoleRefusal, Roles};
use crate::events::{GrantRole, HolderLeft, RoleGranted, RoleRevoked};

/// `role.grant` → `role.granted` or `role.revoked`, or a refusal; `role.holder_left` → `role.revoked`.
///
/// Commands are decided one after the other, in the commit that settles them: that one administrator
/// stays is a rule over all roles.
pub(super) struct RoleDesk;

#[service]
impl RoleDesk {
    #[on(publishes = [RoleGranted, RoleRevoked])]
    async fn grant(
        &self,
        command: GrantRole,
        ctx: &Context,
    ) -> Result<Decided<RoleRefusal>, Failure> {
        ctx.decide(|roles: &Roles| roles.decide(command)).await
    }

    #[on(publishes = [RoleRevoked])]
    async fn leave(&self, command: HolderLeft, ctx: &Context) -> Result<Decided, Failure> {
        ctx.decide(|roles: &Roles| roles.leave(&command.user)).await
    }
}

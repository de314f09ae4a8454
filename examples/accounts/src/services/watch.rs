//! The watch: has log-ins of users looked at together with those of strangers.

use ensue::prelude::*;

use crate::events::{LoginAccepted, LoginFailed, UserLoggedIn, UserLoginFailed};

/// `user.login_failed` → `login.failed`; `user.logged_in` → `login.accepted`: the same, by where it
/// came from.
pub(super) struct Watch;

#[service]
impl Watch {
    #[on(publishes = [LoginFailed])]
    async fn failed(&self, event: UserLoginFailed, ctx: &Context) -> Option<Outgoing> {
        // Of a user who was forgotten meanwhile no one can say where it came from.
        let address = event.address.into_known()?;
        Some(Outgoing::new(LoginFailed { address, times: 1 }).time(ctx.time()))
    }

    #[on(publishes = [LoginAccepted])]
    async fn accepted(&self, event: UserLoggedIn, ctx: &Context) -> Option<Outgoing> {
        let address = event.address.into_known()?;
        Some(Outgoing::new(LoginAccepted { address, times: 1 }).time(ctx.time()))
    }
}

//! Registration: makes users of strangers.

use ensue::prelude::*;

use super::onboarding::HOLD;
use crate::accounts::Accounts;
use crate::domain::{CONFIRM_WITHIN, Status, User};
use crate::events::{RegistrationRequested, UserRegistered, UserRegisteredAgain};
use crate::ids::UserId;

/// `registration.requested` → `user.registered`, if the address is free; otherwise its user hears
/// of it, `user.registered_again`, and nobody else.
///
/// All steps may be repeated: the user has a name that follows from the request, holds the address
/// again, and is registered once.
pub(super) struct Registration(pub(super) Accounts);

#[service(attempts = 20, backoff = "20ms..5s")]
impl Registration {
    #[on]
    async fn register(&self, request: RegistrationRequested, ctx: &Context) -> Result<(), Failure> {
        let Self(accounts) = self;
        let user = UserId::of_request(ctx.id());
        let RegistrationRequested {
            email_key,
            email,
            password,
        } = request;
        let users = accounts.users.following(ctx);
        if accounts
            .emails
            .reserve(&email_key, user.as_str(), HOLD)
            .await?
            .is_ok()
        {
            let registered = UserRegistered {
                user: user.clone(),
                email_key,
                email,
                password,
                confirm_until: accounts.now().plus(CONFIRM_WITHIN),
            };
            let once = users.of(user.as_str()).once(ctx.id());
            // Who was registered by this request and is none any more stays that.
            let _ = once
                .decide(|it: &User| it.register(registered.clone()))
                .await?;
        } else if let Some(user) = accounts.holder(&email_key).await? {
            let once = users.of(user.as_str()).once(ctx.id());
            let tell = |it: &User| {
                let is_user = matches!(it.status(), Status::Active | Status::Pending(_));
                is_user.then(|| UserRegisteredAgain { user: user.clone() })
            };
            let Ok(_) = once.decide(tell).await?;
        }
        Ok(())
    }
}

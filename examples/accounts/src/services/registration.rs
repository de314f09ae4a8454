//! Registration: makes users of strangers.

use std::time::Duration;

use ensue::Disclosure;
use ensue::prelude::*;

use super::onboarding::HOLD;
use crate::accounts::Accounts;
use crate::domain::{CONFIRM_WITHIN, Status, User};
use crate::events::{RegistrationRequested, UserRegistered};

/// `registration.requested` → `user.registered`, if the address is free; otherwise its user hears
/// of it, `user.registered_again`, and no one else, and what was said of who asked is forgotten.
///
/// All steps may be repeated: the user has a name that follows from the request, holds the address
/// again, and is registered once.
pub(super) struct Registration(pub(super) Accounts);

#[service(attempts = 20, backoff = "20ms..5s")]
impl Registration {
    #[on]
    async fn register(&self, request: RegistrationRequested, ctx: &Context) -> Result<(), Failure> {
        let Self(accounts) = self;
        match request.email.disclosure() {
            Disclosure::Known(_) => {}
            // It came to nothing before.
            Disclosure::Forgotten => return Ok(()),
            Disclosure::Masked => {
                return Err(Failure::retry("the key of the address is not there"));
            }
        }
        let RegistrationRequested {
            email_key,
            user,
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
            return Ok(());
        }
        if let Some(holder) = accounts.holder(&email_key).await? {
            let once = users.of(holder.as_str()).once(ctx.id());
            let tell = |it: &User| it.tell_again(&holder, accounts.now());
            let Ok(_) = once.decide(tell).await?;
        }
        // Nobody becomes a user of it: but never one who is, or was.
        if users.load(user.as_str()).await?.state.status() == Status::Unknown {
            let forgetting = accounts.engine.forget(user.as_str(), Duration::ZERO);
            forgetting.await?;
        }
        Ok(())
    }
}

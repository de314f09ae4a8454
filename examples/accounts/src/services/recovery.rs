//! Recovery: lets users set a new password whose old one is forgotten.

use ensue::prelude::*;
use uuid::Uuid;

use crate::accounts::Accounts;
use crate::domain::{RESET_WITHIN, User};
use crate::events::{ResetOffered, ResetRequested};

/// `reset.requested` → `user.reset_offered`, if there is such a user, who did not get enough of them.
pub(super) struct Recovery(pub(super) Accounts);

#[service(attempts = 20, backoff = "20ms..5s")]
impl Recovery {
    #[on]
    async fn offer(&self, request: ResetRequested, ctx: &Context) -> Result<(), Failure> {
        let Self(accounts) = self;
        if let Some(user) = accounts.holder(&request.email_key).await? {
            let offer = ResetOffered {
                user: user.clone(),
                reset: Uuid::now_v7().to_string(),
                until: accounts.now().plus(RESET_WITHIN),
            };
            let users = accounts.users.following(ctx);
            let once = users.of(user.as_str()).once(ctx.id());
            // Who is no user, has not confirmed the address, or got enough mails, hears nothing.
            let _ = once
                .decide(|it: &User| it.offer_reset(offer.clone(), accounts.now()))
                .await?;
        }
        Ok(())
    }
}

//! Leaving: gives back what a user had, and forgets the person.

use std::time::Duration;

use ensue::Forgotten;
use ensue::prelude::*;

use crate::accounts::Accounts;
use crate::domain::{REALM, Status, User};
use crate::events::{ConfirmationExpired, HolderLeft, UserErased, UserForgotten};
use crate::ids::UserId;

/// `user.forgotten` → the address is free, `role.holder_left`, and `user.erased`: the receipt that nothing can be read
/// any more of who the user was. So it is for one who has not confirmed the address in time.
pub(super) struct Leaving(pub(super) Accounts);

#[service(attempts = 20, backoff = "20ms..5s")]
impl Leaving {
    #[on]
    async fn give_back(&self, event: UserForgotten) -> Result<(HolderLeft, UserErased), Failure> {
        let emails = &self.0.emails;
        emails
            .release(&event.email_key, event.user.as_str())
            .await?;
        let erased = self.erase(event.user.clone()).await?;
        let left = HolderLeft {
            realm: REALM.to_owned(),
            user: event.user,
        };
        Ok((left, erased))
    }

    #[on]
    async fn expire(&self, event: ConfirmationExpired) -> Result<Option<UserErased>, Failure> {
        // Who has confirmed stays; the address is given back by the onboarding.
        let known = self.0.users.load(event.user.as_str()).await?.state;
        if known.status() != Status::Expired {
            return Ok(None);
        }
        self.erase(event.user).await.map(Some)
    }
}

impl Leaving {
    /// Destroys the keys, and tells who holds copies. A handler waits for no one: what they cannot remove is a dead
    /// letter of theirs.
    async fn erase(&self, user: UserId) -> Result<UserErased, Failure> {
        let forgetting = self.0.engine.forget(user.as_str(), Duration::ZERO);
        let receipt = forgetting.await?;
        Ok(UserErased {
            user,
            keys_destroyed: receipt.keys_destroyed,
            destroyed: receipt.destroyed,
            told: receipt.holders.into_iter().map(|it| it.group).collect(),
            told_at: receipt.position,
        })
    }
}

/// `subject.forgotten`, by whomever → the mails of the user are gone, and the user is one no more.
pub(super) struct Copies(pub(super) Accounts);

#[service(attempts = 20, backoff = "20ms..5s")]
impl Copies {
    #[on]
    async fn remove(&self, event: Forgotten, ctx: &Context) -> Result<(), Failure> {
        let Self(accounts) = self;
        let Ok(user) = event.subject.parse::<UserId>() else {
            return Ok(());
        };
        accounts.post.remove(&user).await?;
        let users = accounts.users.following(ctx);
        let once = users.of(user.as_str()).once(ctx.id());
        let Ok(_) = once.decide(|it: &User| it.erase(&user)).await?;
        Ok(())
    }
}
